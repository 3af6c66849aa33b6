package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// bench runs a command line as main does.
func bench(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, progress bytes.Buffer
	a := &app{stdout: &out, stderr: &progress, env: func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}}
	code = a.run(t.Context(), args)
	return code, out.String(), progress.String()
}

func TestWrongUseIsRefused(t *testing.T) {
	node := "--target=http://127.0.0.1:1"
	for want, args := range map[string][]string{
		"unexpected argument":       {"swim"},
		"missing flags: --target":   {"lookup"},
		"need http or https":        {"lookup", "--target=ftp://127.0.0.1:1"},
		"credentials belong":        {"lookup", "--target=http://a:b@127.0.0.1:1"},
		"unknown flag":              {"lookup", node, "--fast"},
		"--sessions 0":              {"lookup", node, "--sessions=0"},
		"0 workers":                 {"put", node, "-c", "0"},
		"duration 0s":               {"put", node, "--for=0s"},
		"warm-up -1s":               {"put", node, "--warmup=-1s"},
		"rate -5":                   {"create", node, "--rate=-5"},
		"not one request":           {"create", node, "--rate=0.01", "--for=1s"},
		"--bytes 5000":              {"put", node, "--bytes=5000"},
		"--batch 1001":              {"create", node, "--batch=1001"},
		"must be one of":            {"lookup", node, "--route=other"},
		"forward auth ignores":      {"lookup", node, "--consistency=local"},
		"no password for admin":     {"lookup", node},
		"set OTHER":                 {"lookup", node, "--password-env=OTHER"},
		"--rounds 0":                {"--rounds=0"},
		"--rounds 1001":             {"--rounds=1001"},
		"--sessions -1":             {"--sessions=-1"},
		"--few 0":                   {"--few=0"},
		"--expiring -1":             {"--expiring=-1"},
		"--rate 0":                  {"--rate=0"},
		"workers: need":             {"-c", "100000"},
		"duration 0s: need":         {"--round-time=0s"},
		"must be one of \"fasthttp": {"--peers=mysql"},
		"--only swim: there are":    {"--only=lookup,swim"},
		"--sizes 10":                {"--sizes=1,10"},
		"--loads 0":                 {"--loads=0"},
		"--after 0s":                {"--after=0s"},
		"--lease -1s":               {"--lease=-1s"},
		"--heartbeats: need":        {"--heartbeats="},
		"--heartbeats -1s":          {"--heartbeats=500ms,-1s"},
		"--hogs 65":                 {"--hogs=65"},
		"--prime -1":                {"--prime=-1"},
		"--snapshot-log 0":          {"--snapshot-log=0"},
		"need http://":              {"--target=http://127.0.0.1:1/path"},
	} {
		code, stdout, stderr := bench(t, nil, args...)
		if code != exitUsage || !strings.Contains(stderr, want) || stdout != "" && !strings.HasPrefix(stdout, "Usage") {
			t.Errorf("%v: exit %d, %q, %q; want exit %d and %q", args, code, stdout, stderr, exitUsage, want)
		}
	}
}

// startNode serves as much of the product's API as lookups need; fail says which lookups fail.
func startNode(t *testing.T, fail func(n int64) bool) string {
	t.Helper()
	var tokens, lookups atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/session", func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "id", Value: "login"})
		w.WriteHeader(http.StatusCreated)
	})
	mux.HandleFunc("POST /api/realm-configs", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	mux.HandleFunc("DELETE /api/session", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("POST /api/sessions", func(w http.ResponseWriter, r *http.Request) {
		var asked []struct{ Username string }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		answer := []map[string]string{}
		for range asked {
			answer = append(answer, map[string]string{"token": fmt.Sprintf("%036d", tokens.Add(1))})
		}
		w.WriteHeader(http.StatusCreated)
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("GET /api/session", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Cookie"), "id=login") && r.Header.Get("Consistency") != "quorum" {
			t.Error("a local lookup does not tell whether a node has everything")
		}
		if _, err := fmt.Fprint(w, `{"user":{"username":"bench-0000000"}}`); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("GET /auth/verify", func(w http.ResponseWriter, _ *http.Request) {
		if fail(lookups.Add(1)) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Remote-User", "bench-0000000")
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

var credentials = map[string]string{"CLOAKROOM_PASSWORD": "correct horse"}

func TestLookupReports(t *testing.T) {
	url := startNode(t, func(int64) bool { return false })
	for name, extra := range map[string][]string{"closed": nil, "open": {"--rate=500"}} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"lookup", "--target=" + url, "--sessions=20", "-c", "4", "--for=300ms", "--warmup=0s", "--json"}, extra...)
			code, stdout, stderr := bench(t, credentials, args...)
			var rep runReport
			if err := json.Unmarshal([]byte(stdout), &rep); err != nil {
				t.Fatalf("%v: exit %d, %s %s", err, code, stdout, stderr)
			}
			if code != exitOK || rep.Good == 0 || rep.Failed != 0 || rep.Latency.P50 <= 0 || rep.Latency.Max < rep.Latency.P99 {
				t.Errorf("exit %d, %+v", code, rep)
			}
			if name == "open" && rep.Good != 150 {
				t.Errorf("%d answers to 500 a second for 300 ms", rep.Good)
			}
			if !strings.Contains(stderr, "20 of 20 sessions") || strings.Contains(stdout+stderr, "horse") {
				t.Errorf("progress %q", stderr)
			}
		})
	}
}

func TestFailuresDecideTheExitCode(t *testing.T) {
	url := startNode(t, func(n int64) bool { return n%2 == 0 })
	args := []string{"lookup", "--target=" + url, "--sessions=5", "-c", "2", "--for=200ms", "--warmup=0s"}
	code, stdout, stderr := bench(t, credentials, args...)
	if code != exitFailed || !strings.Contains(stdout, "503") || !strings.Contains(stderr, "requests failed") {
		t.Errorf("exit %d, %s %s; want exit %d and the status", code, stdout, stderr, exitFailed)
	}
	if code, _, stderr := bench(t, credentials, append(args, "--allow-errors")...); code != exitOK {
		t.Errorf("with --allow-errors: exit %d, %s", code, stderr)
	}
}

func TestUnreachableNodeIsAFailure(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	code, _, stderr := bench(t, credentials, "put", "--target="+server.URL)
	if code != exitFailed || !strings.Contains(stderr, "log in as admin") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// buildDir is where the program is built for the tests.
var buildDir string

// TestMain lets this test binary stand in for `bench bare` and `bench hog`, which others start as processes of their own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "bare" || os.Args[1] == "hog") {
		main()
	}
	// A busy machine is not to cost etcd its leader: what was under way then would count as failed. It is in milliseconds.
	for name, value := range map[string]string{"ETCD_HEARTBEAT_INTERVAL": "300", "ETCD_ELECTION_TIMEOUT": "3000"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	var err error
	if buildDir, err = os.MkdirTemp("", "bench-test-"); err != nil {
		panic(err)
	}
	code := m.Run()
	if err := os.RemoveAll(buildDir); err != nil {
		panic(err)
	}
	os.Exit(code)
}
