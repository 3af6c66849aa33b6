package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"cloakroom/cluster"
	"cloakroom/httpapi/exchange"
)

func TestHealthAndReadiness(t *testing.T) {
	f := newFixture(t)
	f.expect(f.send("GET", "/healthz"), 200, "")
	f.expect(f.send("GET", "/readyz"), 200, "")
	for _, err := range []error{cluster.ErrJoining, cluster.ErrDraining, cluster.ErrCutOff, cluster.ErrNoLeader} {
		f.fake.ready = err
		_, e, _ := exchange.AnswerOf(err)
		f.expect(f.send("GET", "/readyz"), 503, e.Code)
		f.expect(f.send("HEAD", "/readyz"), 503, e.Code)
		f.expect(f.send("GET", "/healthz"), 200, "")
	}
	f.fake.ready = nil
	f.Retire()
	f.expect(f.send("GET", "/readyz"), 503, "draining")
}

func TestOperatorListener(t *testing.T) {
	f := newFixture(t).opened()
	fetch := func(path string) (int, string) {
		res, err := http.Get("http://" + f.OperatorAddr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	f.loginAs("ann")
	f.send("GET", "/auth/verify")
	f.send("GET", "/no/such/path")
	status, body := fetch("/metrics")
	if status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	for _, line := range []string{
		`cloakroom_http_requests_total{route="/api/session",status="201"} 1`,
		`cloakroom_http_requests_total{route="/auth/verify",status="401"} 1`,
		`cloakroom_http_requests_total{route="other",status="404"} 1`,
		`cloakroom_http_request_duration_seconds_count{route="/auth/verify"} 1`,
		`cloakroom_http_request_duration_seconds_bucket{route="/auth/verify",le="+Inf"} 1`,
		`cloakroom_info{cluster="c1",name="n1",node="id-1",version="test"} 1`,
		`cloakroom_sessions 1`, `cloakroom_sessions_created_total 1`, `cloakroom_raft_term 3`, `cloakroom_raft_is_leader 1`,
		`cloakroom_sessions_ended_total{reason="logout"} 0`, `cloakroom_ready 1`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if strings.Contains(body, "no/such") {
		t.Error("a stranger makes labels")
	}
	status, body = fetch("/cluster")
	var c map[string]any
	if err := json.Unmarshal([]byte(body), &c); err != nil || status != 200 {
		t.Fatalf("%d %v %s", status, err, body)
	}
	member := c["members"].([]any)[0].(map[string]any)
	if c["clusterId"] != "c1" || c["leader"] != "n1" || c["term"] != 3.0 || member["id"] != "id-1" || member["name"] != "n1" ||
		member["http"] != "n1:8080" || member["role"] != "voter" || member["state"] != "alive" || member["appliedIndex"] != 7.0 {
		t.Errorf("body is %s", body)
	}
	if status, _ = fetch("/debug/pprof/goroutine?debug=1"); status != 200 {
		t.Errorf("pprof answers %d", status)
	}
	if status, _ = fetch("/readyz"); status != 200 {
		t.Errorf("readyz answers %d", status)
	}
	if !f.health.visits.watched() {
		t.Error("that somebody looks there is not known")
	}
	f.fake.set(func(c *fakeCluster) { c.ready = cluster.ErrJoining })
	if status, body = fetch("/readyz"); status != 503 || errorCode(t, body) != "joining" {
		t.Errorf("readyz answers %d %s", status, body)
	}
	if status, _ = fetch("/api/users"); status != 404 {
		t.Errorf("the operator's listener serves the API: %d", status)
	}
}

// The operator's listener has errors of the same form as the API.
func TestOperatorErrors(t *testing.T) {
	f := newFixture(t).opened()
	f.fake.set(func(c *fakeCluster) { c.ready = cluster.ErrJoining })
	for _, tt := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/readyz", 503, "joining"},
		{"GET", "/", 404, "not-found"},
		{"GET", "/api/users", 404, "not-found"},
		{"POST", "/cluster", 405, "method-not-allowed"},
		{"DELETE", "/metrics", 405, "method-not-allowed"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+f.OperatorAddr().String()+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		var e struct{ Code, Error, Message string }
		if err := json.Unmarshal(body, &e); err != nil || res.StatusCode != tt.status || e.Code != tt.code || e.Error == "" || e.Message == "" {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, res.StatusCode, body)
		}
		for _, name := range []string{"X-Request-Id", "Cache-Control"} {
			if res.Header.Get(name) == "" {
				t.Errorf("%s %s: no %s", tt.method, tt.path, name)
			}
		}
		if (res.Header.Get("Allow") != "") != (tt.status == 405) || (res.Header.Get("Retry-After") != "") != (tt.status == 503) {
			t.Errorf("%s %s: headers %v", tt.method, tt.path, res.Header)
		}
	}
}

func TestTwoServersShareNoMetrics(t *testing.T) {
	a, b := newFixture(t), newFixture(t)
	a.send("GET", "/healthz")
	for _, r := range b.router.All {
		if status, took := r.Meter.Counts(); r.Path == "/healthz" && (status[100] != 0 || took.Total() != 0) {
			t.Error("counted in both")
		}
	}
}
