package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/bench/load"
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
		"unexpected argument":           {"swim"},
		"missing flags: --target":       {"lookup"},
		"need http or https":            {"lookup", "--target=ftp://127.0.0.1:1"},
		"credentials belong":            {"lookup", "--target=http://a:b@127.0.0.1:1"},
		"unknown flag":                  {"lookup", node, "--fast"},
		"--sessions 0":                  {"lookup", node, "--sessions=0"},
		"0 workers":                     {"put", node, "-c", "0"},
		"duration 0s":                   {"put", node, "--for=0s"},
		"warm-up -1s":                   {"put", node, "--warmup=-1s"},
		"rate -5":                       {"create", node, "--rate=-5"},
		"not one request":               {"create", node, "--rate=0.01", "--for=1s"},
		"--bytes 5000":                  {"put", node, "--bytes=5000"},
		"--batch 1001":                  {"create", node, "--batch=1001"},
		"must be one of":                {"lookup", node, "--route=other"},
		"forward auth ignores":          {"lookup", node, "--consistency=local"},
		"no password for admin":         {"lookup", node},
		"set OTHER":                     {"lookup", node, "--password-env=OTHER"},
		"--rounds 0":                    {"compare", "--rounds=0"},
		"--sessions -1":                 {"compare", "--sessions=-1"},
		"workers: need":                 {"compare", "-c", "100000"},
		"must be one of \"cloakroom\"":  {"compare", "--peers=mysql"},
		"must be one of \"lookup-local": {"compare", "--measures=delete"},
		"--rounds 1001":                 {"failover", "--rounds=1001"},
		"--before":                      {"failover", "--before=-1s"},
		"--puts 0":                      {"failover", "--puts=0"},
		"--heartbeats: need":            {"elections", "--heartbeats="},
		"--heartbeats -1s":              {"elections", "--heartbeats=500ms,-1s"},
		"--hogs 65":                     {"elections", "--hogs=65"},
		"--kills -1":                    {"elections", "--kills=-1"},
		"--logins -1":                   {"elections", "--logins=-1"},
		"--prime -1":                    {"elections", "--prime=-1"},
		"--after 0s":                    {"elections", "--after=0s"},
		"duration 0s: need":             {"elections", "--for=0s"},
		"0 workers: need":               {"elections", "--writers=0"},
	} {
		code, stdout, stderr := bench(t, nil, args...)
		if code != exitUsage || !strings.Contains(stderr, want) || stdout != "" && !strings.HasPrefix(stdout, "Usage") {
			t.Errorf("%v: exit %d, %q, %q; want exit %d and %q", args, code, stdout, stderr, exitUsage, want)
		}
	}
}

// startNode serves as much of the product's API as `bench lookup` needs; fail says which lookups fail.
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
		if r.Header.Get("Consistency") != "quorum" {
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
			var rep report
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

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{7}, spread{7, 7, 7}},
		{[]float64{9, 1, 5}, spread{5, 1, 9}},
		{[]float64{4, 1, 3, 2}, spread{2.5, 1, 4}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
}

// The machine is slower in each round for both: the ratio of a round stays what it is, and no ratio is made of what
// was measured at different times.
func TestRatiosAreTakenRoundByRound(t *testing.T) {
	of := func(r reading) float64 { return r.PerSecond }
	column := func(values ...float64) *column {
		c := &column{}
		for _, v := range values {
			c.Readings = append(c.Readings, reading{PerSecond: v})
		}
		return c
	}
	if got, ok := ratios(column(300, 30, 3), column(100, 10, 1), of); !ok || got != (spread{3, 3, 3}) {
		t.Errorf("%v, want 3", got)
	}
	if got, ok := ratios(column(200, 30), column(100, 10, 1), of); !ok || got != (spread{2.5, 2, 3}) {
		t.Errorf("%v, want 2.5 (2–3): the last round was not played by both", got)
	}
	if _, ok := ratios(column(1), column(0), of); ok {
		t.Error("a ratio to nothing")
	}
}

func TestScoreboard(t *testing.T) {
	c := &compareCmd{Connections: 8, For: time.Second, Sessions: 10, Rounds: 2, Measures: []string{"lookup-local", "put"}}
	for rate, want := range map[float64][]string{
		0:   {"closed loop", "cloakroom  150 (100–200)", "redis", "0.50 (0.50–0.50)", "offered by nobody", "etcd: not installed", "redis: one server"},
		100: {"open loop, 100 a second", "p99, ms", "0.200 (0.200–0.200)", "2.00 (2.00–2.00)"},
	} {
		c.Rate = rate
		b := newScoreboard(c)
		b.Skipped, b.Notes = []string{"etcd: not installed"}, []note{{"redis", "one server"}}
		for round := range 2 {
			rate := float64(100 * (round + 1))
			b.add("lookup-local", "cloakroom", reading{PerSecond: rate, Latency: load.Percentiles{P50: 100, P99: 200, P999: 300}})
			b.add("lookup-local", "redis", reading{PerSecond: 2 * rate, Latency: load.Percentiles{P50: 50, P99: 100, P999: 150}})
		}
		var out bytes.Buffer
		if err := b.print(&out); err != nil {
			t.Fatal(err)
		}
		for _, text := range want {
			if !strings.Contains(out.String(), text) {
				t.Errorf("rate %v: no %q in:\n%s", rate, text, out.String())
			}
		}
	}
}

func TestOutcomeCountsOnlyWhatTheOldLeaderCannotHaveAnswered(t *testing.T) {
	killed := time.Unix(100, 0)
	gone := killed.Add(10 * time.Millisecond)
	at := func(ms int) time.Time { return killed.Add(time.Duration(ms) * time.Millisecond) }
	put := func(sent, done int, err error) load.Observation {
		return load.Observation{Due: at(sent), Sent: at(sent), Done: at(done), Err: err}
	}
	refused := errors.New("answered 503")
	puts := &witness{calls: []load.Observation{
		put(-500, -490, nil), // before
		put(-5, 3, nil),      // the old leader's last answers
		put(2, 12, nil),
		put(20, 30, refused),
		put(700, 1300, nil),
		put(800, 1200, nil), // the first of the new one
		put(1400, 1401, nil),
	}}
	lookups := &witness{calls: []load.Observation{
		put(-50, -1, refused), // before
		{Due: at(20), Sent: at(300), Done: at(400)},
		put(500, 501, refused),
	}}
	o := newOutcome("n2", killed, gone, puts, lookups)
	want := outcome{Killed: "n2", Recovered: true, WriteGap: 1200, Puts: 6, PutsFailed: 1, Lookups: 2, LookupsLost: 1, LookupWait: 380, Reason: "answered 503"}
	if o != want {
		t.Errorf("%+v\nwant %+v", o, want)
	}
	if err := verdict([]outcome{o}); err != nil {
		t.Error(err)
	}
	puts.calls = puts.calls[:4]
	o = newOutcome("n2", killed, gone, puts, lookups)
	if o.Recovered || !errors.Is(verdict([]outcome{want, o}), errNoRecovery) {
		t.Errorf("%+v: no put was acknowledged by a new leader", o)
	}
}

// TestMain lets this test binary stand in for `bench bare` and `bench hog`, which others start as processes of their own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "bare" || os.Args[1] == "hog") {
		main()
	}
	os.Exit(m.Run())
}

func TestCompareMeasuresEveryoneOnceARound(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	code, stdout, stderr := bench(t, nil, "compare", "--peers=fasthttp,redis", "--measures=lookup-local", "--rounds=3",
		"--for=100ms", "--warmup=0s", "-c", "2", "--sessions=50", "--dir="+t.TempDir(), "--json")
	var board scoreboard
	if err := json.Unmarshal([]byte(stdout), &board); err != nil {
		t.Fatalf("%v: exit %d, %s %s", err, code, stdout, stderr)
	}
	if code != exitOK || len(board.Measures) != 1 || len(board.Measures[0].Columns)+len(board.Skipped) != 2 {
		t.Fatalf("exit %d, %s", code, stdout)
	}
	for _, c := range board.Measures[0].Columns {
		if len(c.Readings) != 3 {
			t.Errorf("%s: %d readings, want 3", c.Peer, len(c.Readings))
		}
		for _, r := range c.Readings {
			if r.PerSecond <= 0 || r.Failed != 0 {
				t.Errorf("%s: %+v", c.Peer, r)
			}
		}
	}
}

func TestAbsentPeersAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // nothing is installed
	code, _, stderr := bench(t, nil, "compare", "--peers=redis,etcd", "--dir="+t.TempDir())
	if code != exitFailed || !strings.Contains(stderr, "redis: left out") || !strings.Contains(stderr, "etcd: left out") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}
