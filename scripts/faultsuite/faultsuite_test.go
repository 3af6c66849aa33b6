//go:build linux

package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/clustertest/mutant"
	"cloakroom/cluster/history"
)

// What a client knows after an answer decides what a history may hold: taking something for not done that was done, or
// for unknown that is known, makes the judge blind or wrong.
func TestJudge(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	read := &net.OpError{Op: "read", Err: errors.New("reset")}
	for name, c := range map[string]struct {
		reply reply
		err   error
		want  verdict
	}{
		"done":            {reply: reply{status: 200}, want: verdict{outcome: history.Done}},
		"created":         {reply: reply{status: 201}, want: verdict{outcome: history.Done}},
		"never sent":      {err: dial, want: verdict{outcome: history.Dropped}},
		"answer missing":  {err: read, want: verdict{}},
		"out of time":     {err: os.ErrDeadlineExceeded, want: verdict{}},
		"outcome unknown": {reply: reply{status: 503, code: "outcome-unknown"}, want: verdict{}},
		"no leader":       {reply: reply{status: 503, code: "no-leader"}, want: verdict{outcome: history.Dropped}},
		"over":            {reply: reply{status: 401, code: "session-invalid"}, want: verdict{outcome: history.Refused, refusal: history.NotLive}},
		"idle":            {reply: reply{status: 401, code: "session-idle-timeout"}, want: verdict{outcome: history.Refused, refusal: history.NotLive}},
		"conflict":        {reply: reply{status: 412, code: "conflict"}, want: verdict{outcome: history.Refused, refusal: history.Conflict}},
		"internal":        {reply: reply{status: 500, code: "internal"}, want: verdict{odd: "500 internal"}},
		"wrong password":  {reply: reply{status: 401, code: "invalid-credentials"}, want: verdict{odd: "401 invalid-credentials"}},
	} {
		if got := judge(c.reply, c.err); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestAnswers(t *testing.T) {
	attrs, csrf, err := attributes([]byte(`{"CSRFToken":"secret","k1":"a"}`))
	if err != nil || csrf != "secret" || !slices.Equal(attrs, []history.Attr{{Key: "k1", Value: "a"}}) {
		t.Errorf("attributes: %v, %v", attrs, err)
	}
	if _, _, err := attributes([]byte("<html>")); err == nil {
		t.Error("a page passes for attributes")
	}
	h := http.Header{"Etag": {`"42"`}, "Set-Cookie": {"other=x", "id=token;HttpOnly;Path=/api"}}
	if rev, token := revision(h), tokenOf(h, fusionCookie); rev != 42 || token != "token" {
		t.Errorf("revision %d, token %q", rev, token)
	}
	if rev := revision(http.Header{}); rev != 0 {
		t.Errorf("revision without an ETag: %d", rev)
	}
}

// A cut that dropped nothing is no fault, and one that dropped something is.
func TestCountDrops(t *testing.T) {
	const text = `{"nftables":[{"metainfo":{"version":"1.0.6"}},{"table":{"family":"ip","name":"cut1"}},{"chain":{"name":"lost"}},
	{"rule":{"expr":[{"match":{"op":"==","left":{},"right":"10.99.1.2"}},{"counter":{"packets":9,"bytes":279}},{"drop":null}]}},
	{"rule":{"expr":[{"counter":{"packets":3,"bytes":100}},{"drop":null}]}}]}`
	if n, err := countDrops([]byte(text)); n != 12 || err != nil {
		t.Errorf("%d, %v, want 12", n, err)
	}
	if n, err := countDrops([]byte(`{"nftables":[]}`)); n != 0 || err != nil {
		t.Errorf("no rules: %d, %v", n, err)
	}
	if _, err := countDrops([]byte("Error: no such table")); err == nil {
		t.Error("what is no JSON passes for counters")
	}
}

func TestRules(t *testing.T) {
	a, b := &host{addr: "10.99.1.2"}, &host{addr: "10.99.2.2"}
	all, some := rules("cut1", []way{{a, b}}, perMille), rules("cut2", both(a, b), 50)
	if !strings.Contains(all, "ip saddr 10.99.1.2 ip daddr 10.99.2.2 counter drop") || strings.Contains(all, "saddr 10.99.2.2") {
		t.Errorf("one way:\n%s", all)
	}
	if strings.Count(some, "numgen random mod 1000 < 50 counter drop") != 2 {
		t.Errorf("both ways, some packets:\n%s", some)
	}
}

func TestProcessState(t *testing.T) {
	for line, want := range map[string]string{
		"12 (cloakroom) T 1 12 0": "T",
		"12 (a) S (b) R 1 12 0":   "R",
		"12 (cloakroom) S 1":      "S",
	} {
		if got := stateOf(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestGauges(t *testing.T) {
	got := parseGauges("# HELP cloakroom_raft_term Raft's term.\ncloakroom_raft_term 7\ncloakroom_http_requests_total{route=\"a b\",status=\"200\"} 3\ngo_threads 9\ncloakroom_raft_applied_index 1.5e+06\n")
	if len(got) != 2 || got["raft_term"] != 7 || got["raft_applied_index"] != 1.5e6 {
		t.Errorf("%v", got)
	}
}

func TestMissing(t *testing.T) {
	running := make(chan struct{}) // of a process that does not end
	c := &cluster{spare: &node{name: "spare"}}
	for _, name := range []string{"n1", "replica"} {
		c.nodes = append(c.nodes, &node{name: name, replica: name == "replica", process: &process{ended: running}})
	}
	view := clusterView{Members: []memberView{{Name: "n1", Role: "voter", State: "alive"}, {Name: "replica", Role: "non-voter", State: "alive"}}}
	if why := c.missing(view); why != "" {
		t.Errorf("all in place: %s", why)
	}
	for name, spoil := range map[string]func(*clusterView){
		"gone":       func(v *clusterView) { v.Members = v.Members[:1] },
		"failed":     func(v *clusterView) { v.Members[0].State = "failed" },
		"no vote":    func(v *clusterView) { v.Members[0].Role = "non-voter" },
		"a stranger": func(v *clusterView) { v.Members = append(v.Members, memberView{Name: "spare", State: "alive"}) },
	} {
		spoiled := clusterView{Members: slices.Clone(view.Members)}
		if spoil(&spoiled); c.missing(spoiled) == "" {
			t.Errorf("%s: not noticed", name)
		}
	}
}

// A run that did too little, or found something, must fail, and say why.
func TestVerdictOnRun(t *testing.T) {
	good := func() *report {
		return &report{
			Rate: 300, Wanted: 1, Incidents: []*incident{{Fault: "kill-leader", Proof: "signal: killed"}},
			Verdicts: verdicts{Histories: 5},
		}
	}
	if r := good(); true {
		if r.judge(); len(r.Problems) > 0 {
			t.Errorf("a run in order: %q", r.Problems)
		}
	}
	for name, spoil := range map[string]func(*report){
		"too slow":      func(r *report) { r.Rate = 99 },
		"no bite":       func(r *report) { r.Incidents[0].fail(errNoBite{"no packet was dropped"}) },
		"no proof":      func(r *report) { r.Incidents[0].Proof = "" },
		"too few":       func(r *report) { r.Wanted = 2 },
		"a death":       func(r *report) { r.Deaths = []string{"n1 ended by itself"} },
		"a violation":   func(r *report) { r.Verdicts.Violations = 1 },
		"undecided":     func(r *report) { r.Verdicts.Undecided = 1 },
		"nothing":       func(r *report) { r.Verdicts.Histories = 0 },
		"an odd answer": func(r *report) { r.Odd = map[string]int{"get: 500 internal": 1} },
		"a missed bug":  func(r *report) { r.Mutant = "cas-ignored" },
	} {
		r := good()
		spoil(r)
		if r.judge(); len(r.Problems) == 0 {
			t.Errorf("%s: not noticed", name)
		}
		if !strings.Contains(r.text(), "FAILED") {
			t.Errorf("%s: not in the text:\n%s", name, r.text())
		}
	}
	caught := good()
	caught.Mutant, caught.Rate, caught.Verdicts.Violations = "cas-ignored", 0, 1
	if caught.judge(); len(caught.Problems) > 0 {
		t.Errorf("a bug that was caught: %q", caught.Problems)
	}
}

func TestDeck(t *testing.T) {
	sequence := func(seed uint64) (names []string) {
		d := &deck{random: rand.New(rand.NewPCG(seed, 0)), kinds: faults()}
		for range 3 * len(faults()) {
			s := d.next()
			for _, f := range s {
				names = append(names, f.name)
			}
			if len(s) > 2 || len(s) == 2 && !compatible(s[0], s[1]) {
				t.Fatalf("%v at once", s)
			}
		}
		return names
	}
	first := sequence(1)
	if !slices.Equal(first, sequence(1)) || slices.Equal(first, sequence(2)) {
		t.Error("the seed does not make the sequence")
	}
	times := map[string]int{}
	for _, name := range first[:len(faults())] {
		times[name]++
	}
	for name, n := range times {
		if n > 1 {
			t.Errorf("%s came %d times before others came once", name, n)
		}
	}
	if n := len(first); n <= 3*len(faults()) {
		t.Errorf("%d faults in %d steps: no two came at once", n, 3*len(faults()))
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"--faults", "kill-leader, lossy", "--seed", "7", "--for", "1h"}, io.Discard)
	if err != nil || o.Seed != 7 || o.For != time.Hour || !slices.Equal(o.Faults, []string{"kill-leader", "lossy"}) {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{
		{"--faults", "typo"},
		{"--mutant", "typo"},
		{"--nodes", "2"},
		{"--for", "0s"},
		{"stray"},
		{"--idle-timeout", "1s"},
		{"--mutant", "cas-ignored", "--binary", "x"},
	} {
		if _, err := parseOptions(args, io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// The table of bugs must fit the program as it is, or a hunt catches nothing; and each must name faults that there are.
func TestMutantsFit(t *testing.T) {
	root, err := mutant.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants() {
		named(m.faults)
		if len(m.faults) == 0 {
			t.Errorf("%s: no faults", m.name)
		}
		if _, err := mutant.Overlay(root, t.TempDir(), append(tuning(), m.changes...)...); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

func TestOffset(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wall")
	if off, err := readOffset(path); off != 0 || err != nil {
		t.Errorf("no file: %v, %v", off, err)
	}
	if err := replaceFile(path, (-5 * time.Hour).String()); err != nil {
		t.Fatal(err)
	}
	if off, err := readOffset(path); off != -5*time.Hour || err != nil {
		t.Errorf("%v, %v", off, err)
	}
}

func TestGaps(t *testing.T) {
	n := &node{name: "n1"}
	g := newTally()
	g.open([]*node{n})
	g.note(n, history.Put, verdict{outcome: history.Done})
	g.note(n, history.Put, verdict{outcome: history.Refused, refusal: history.NotLive}) // perhaps by a lookup
	g.note(n, history.Get, verdict{outcome: history.Dropped})
	s := g.watch([]*node{n})
	if s.missing() == "" {
		t.Error("a node that has done nothing is taken to serve")
	}
	g.note(n, history.Verify, verdict{outcome: history.Refused, refusal: history.NotLive})
	if missing := s.missing(); !strings.Contains(missing, "no write") {
		t.Errorf("a lookup alone: %q", missing)
	}
	g.note(n, history.End, verdict{outcome: history.Done})
	if missing := s.missing(); missing != "" {
		t.Errorf("a lookup and a write: %q", missing)
	}
	if got := g.answered(); got != 4 {
		t.Errorf("%d operations answered, want 4", got)
	}
	watched := g.write[n]
	watched.longest = time.Minute
	if write, look := g.close(); write != time.Minute || look >= time.Minute {
		t.Errorf("gaps %v and %v", write, look)
	}
}
