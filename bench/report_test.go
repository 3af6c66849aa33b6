package main

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"cloakroom/bench/load"
)

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
	for _, c := range []struct{ ours, theirs, want []float64 }{
		{[]float64{300, 30, 3}, []float64{100, 10, 1}, []float64{3, 3, 3}},
		{[]float64{200, 30}, []float64{100, 10, 1}, []float64{2, 3}}, // the last round was not played by both
		{[]float64{1, 4}, []float64{0, 2}, []float64{2}},             // there is no ratio to nothing
		{[]float64{1}, nil, nil},
	} {
		if got := ratios(c.ours, c.theirs); !slices.Equal(got, c.want) {
			t.Errorf("%v to %v: %v, want %v", c.ours, c.theirs, got, c.want)
		}
	}
}

// readings makes a row's readings of one figure.
func readings(name string, values ...float64) []reading {
	var all []reading
	for _, v := range values {
		all = append(all, reading{Figures: map[string]float64{name: v}})
	}
	return all
}

func TestGoals(t *testing.T) {
	least := goal{id: "P1", scenario: "lookup", figure: perSecond, ours: us, theirs: "redis", atLeast: true, bound: 2}
	most := goal{id: "P3", scenario: "lookup", figure: serverCPU, ours: us, theirs: "redis", bound: 1.1}
	none := goal{id: "P10", scenario: "lookup", figure: failed, ours: us, every: true, bound: 0}
	for name, c := range map[string]struct {
		goal    goal
		ours    []float64
		theirs  []float64
		want    string
		measure spread
	}{
		"reached":            {least, []float64{200, 40, 6}, []float64{100, 20, 2}, hit, spread{2, 2, 3}},
		"the median decides": {least, []float64{190, 38, 60}, []float64{100, 20, 2}, miss, spread{1.9, 1.9, 30}},
		"low enough":         {most, []float64{11}, []float64{10}, hit, spread{1.1, 1.1, 1.1}},
		"too high":           {most, []float64{12}, []float64{10}, miss, spread{1.2, 1.2, 1.2}},
		"nothing failed":     {none, []float64{0, 0}, nil, hit, spread{0, 0, 0}},
		"something failed":   {none, []float64{0, 0, 1}, nil, miss, spread{0, 0, 1}},
		"nobody to compare":  {least, []float64{5}, nil, notMeasured, spread{}},
		"we are not there":   {least, nil, []float64{5}, notMeasured, spread{}},
	} {
		r := &report{}
		table := r.begin(about{Name: "lookup"})
		if c.ours != nil {
			table.Rows = append(table.Rows, &row{Who: us, Readings: readings(c.goal.figure, c.ours...)})
		}
		if c.theirs != nil {
			table.Rows = append(table.Rows, &row{Who: "redis", Readings: readings(c.goal.figure, c.theirs...)})
		}
		v := judgeGoal(c.goal, r)
		if v.Outcome != c.want || v.Spread == nil != (c.want == notMeasured) || v.Spread != nil && *v.Spread != c.measure {
			t.Errorf("%s: %s, %v; want %s, %v", name, v.Outcome, v.Spread, c.want, c.measure)
		}
	}
	if v := judgeGoal(least, &report{}); v.Outcome != notMeasured {
		t.Errorf("without its scenario: %s", v.Outcome)
	}
}

// A target that was set for ten million sessions is not quietly reached with a thousand.
func TestGoalsNameOtherNumbersOfSessions(t *testing.T) {
	g := goal{scenario: "restart", figure: restartSeconds, ours: us, bound: 15, sessions: 1e7}
	for sessions, want := range map[int]string{1e7: "", 1000: "set for 10,000,000 sessions, measured with 1,000"} {
		r := &report{Settings: settings{Sessions: sessions}}
		r.begin(about{Name: "restart"}).add(sample{Who: us, reading: reading{Figures: map[string]float64{restartSeconds: 3}}})
		if v := judgeGoal(g, r); v.Outcome != hit || v.Remark != want {
			t.Errorf("%d sessions: %s, %q; want %q", sessions, v.Outcome, v.Remark, want)
		}
	}
}

func TestGoalsAreOfScenariosThatThereAre(t *testing.T) {
	about := map[string]about{}
	for _, s := range allScenarios() {
		if _, twice := about[s.about().Name]; twice || s.about().What == "" {
			t.Errorf("scenario %s", s.about().Name)
		}
		about[s.about().Name] = s.about()
	}
	seen := map[string]bool{}
	for _, g := range goals() {
		seen[g.id] = true
		if is, known := about[g.scenario]; !known || !slices.Contains(is.Main, g.figure) {
			t.Errorf("%s: %s has no %q that is printed", g.id, g.scenario, g.figure)
		}
	}
	for _, id := range []string{"P1", "P2", "P3", "P4", "P6", "P7", "P8", "P9", "P10", "P11", "P12", "P13"} { // P5 is a Go benchmark
		if !seen[id] {
			t.Errorf("nothing measures %s", id)
		}
	}
}

// exampleReport has something of everything.
func exampleReport() *report {
	r := &report{
		Date: time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC), Took: "3m0s", Machine: machine{Processor: "a <fast> one", Processors: 2, Versions: []string{"etcd 3"}},
		Settings: settings{Sessions: 1000, Rounds: 2, RoundTime: time.Second, Connections: 8, Rate: 100},
		Notes:    []note{{us, "three nodes"}}, LeftOut: []note{{"redis", "<script>alert(1)</script>"}}, Failed: []note{{"restart", "it did not"}},
	}
	lookup := r.begin(about{Name: "lookup", What: "lookups", Loop: "closed loop", Main: throughput})
	for round, rate := range []float64{1000, 10} {
		scale := []float64{1, 2}[round]
		lookup.add(sample{Who: "verify, leader", reading: reading{Figures: map[string]float64{perSecond: rate * 0.9 * scale, serverCPU: 10, failed: 0}}})
		lookup.add(sample{Who: "fasthttp", reading: reading{Figures: map[string]float64{perSecond: rate, serverCPU: 8, failed: 0}}})
	}
	connections := r.begin(about{Name: "connections", What: "by connections", Main: throughput, Axis: "connections", Plot: perSecond})
	for _, n := range []float64{64, 1, 8} { // in any order
		connections.add(sample{Who: us, X: n, reading: reading{Figures: map[string]float64{perSecond: 1000 * n}}})
		connections.add(sample{Who: "fasthttp", X: n, reading: reading{Figures: map[string]float64{perSecond: 2000 * n}}})
	}
	size := r.begin(about{Name: "size", What: "by size", Main: throughput, Axis: "nodes", Plot: perSecond})
	for _, n := range []float64{1, 3} {
		size.add(sample{Who: us, X: n, reading: reading{Figures: map[string]float64{perSecond: 500 / n}}})
	}
	h := hdrhistogram.New(1000, int64(time.Minute), 3)
	for i := range int64(1000) {
		if err := h.RecordValue((i + 1) * int64(time.Millisecond)); err != nil {
			panic(err)
		}
	}
	open := newReading(&load.Result{Latency: h, Late: h, Elapsed: time.Second, Good: 1000})
	r.begin(about{Name: "latency", What: "latencies", Main: latencies}).add(sample{Who: us, reading: open})
	r.judgeAll(func(string) bool { return true })
	return r
}

func TestTheTerminalShowsTargetsFirst(t *testing.T) {
	var out bytes.Buffer
	if err := exampleReport().print(&out); err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"1,000 sessions; 2 rounds of 1s",
		"P1 lookups/s, /auth/verify, to a bare handler ≥ 0.92, then 0.97 1.35 (0.90–1.80) 459 (18–900) fasthttp 505 (10–1,000) hit set for 1,000,000 sessions, measured with 1,000",
		"P3 server CPU a lookup, to a bare handler ≤ 1.1, then 1.05 1.25 (1.25–1.25) 10 fasthttp 8 miss",
		"P10 leader killed: longest lookup ≤ 400 ms – – – not measured",
		"cloakroom, 64 64,000", "redis: <script>", "restart: it did not",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	if strings.Index(words, "Targets") > strings.Index(words, "closed loop") {
		t.Error("the targets come late")
	}
}

func TestJSONHasEveryReading(t *testing.T) {
	var out bytes.Buffer
	if err := writeJSON(&out, exampleReport()); err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	row := back.table("lookup").row("verify, leader", 0)
	if row == nil || !slices.Equal(row.values(perSecond), []float64{900, 18}) || back.Settings.Rounds != 2 || back.Machine.Processors != 2 {
		t.Errorf("%s", out.String())
	}
	if latency := back.table("latency").Rows[0].Readings[0]; len(latency.Curve) != len(curvePercentiles) {
		t.Errorf("%+v", latency)
	}
}

func TestReadingsAreInTheirUnits(t *testing.T) {
	r := exampleReport().table("latency").Rows[0].Readings[0]
	for name, want := range map[string]float64{p50: 500, p99: 990, p999: 999, longestMs: 1000, perSecond: 1000, ownLate: 990} {
		if got := r.Figures[name]; math.Abs(got-want) > want/500 {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	for _, p := range r.Curve {
		if want := max(1, 10*p.Percentile); math.Abs(p.Ms-want) > max(1, want/500) {
			t.Errorf("%v %%: %v ms, want %v", p.Percentile, p.Ms, want)
		}
	}
}

// A figure that some round lacks is none: the rounds of two would no longer belong together.
func TestFiguresOfSomeRoundsAreNone(t *testing.T) {
	r := &row{Readings: append(readings(p50, 1, 2), reading{Figures: map[string]float64{}})}
	if got := r.values(p50); got != nil {
		t.Errorf("%v", got)
	}
}

// What was under way in a time counts, from when it was due; what was over before or came later does not.
func TestCallsAreCutOutOfARun(t *testing.T) {
	var s seen
	for _, c := range []load.Observation{
		call(-90, -80, nil), call(-20, 30, nil), call(10, 20, nil), {Due: at(60), Sent: at(200), Done: at(260)}, call(70, 75, errRefused), call(110, 111, nil),
	} {
		s.observe(c)
	}
	if got := s.pause(at(-90)); got != 149*time.Millisecond {
		t.Errorf("longest pause %v, want that from 111 to 260 ms", got)
	}
	if got := s.pause(at(-400)); got != 320*time.Millisecond {
		t.Errorf("longest pause %v, want that from -400 to -80 ms", got)
	}
	r := s.between(at(0), at(100))
	if r.Figures[failed] != 1 || math.Abs(r.Figures[longestMs]-200) > 1 || math.Abs(r.Figures[p50]-50) > 1 {
		t.Errorf("%v: want 10, 50 and 200 ms and one failure", r.Figures)
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.1234: "0.123", 1.255: "1.25", 12.34: "12.3", 999.6: "1,000", 1234567: "1,234,567", -1234: "-1,234", 7: "7"} {
		if got := figure(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestBar(t *testing.T) {
	var out bytes.Buffer
	b := newBar(&app{stderr: &out}, "sessions", 1000)
	for done := 100; done <= 1000; done += 10 {
		b.set(done)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) < 8 || len(lines) > 12 || !strings.Contains(lines[len(lines)-1], "[##############################] 100 % 1,000 of 1,000 sessions") {
		t.Errorf("%s", out.String())
	}
	if got := b.line(250, time.Second); !strings.Contains(got, "[#######.......................]  25 %") || !strings.Contains(got, "250 a second, 3s left") {
		t.Errorf("%s", got)
	}
}

func TestLoopsAreStated(t *testing.T) {
	s := &settings{Connections: 8, Rate: 500}
	for kind, want := range map[string]string{
		closedLoop: "closed loop, 8 connections", closedLoop + ", 256 callers": "closed loop, 256 callers", "none": "none",
		openLoop: "open loop, 500 lookups a second", openLoop + ", and 300 puts": "open loop, 500 lookups a second, and 300 puts",
		openLoop + ", 50 a second": "open loop, 50 a second",
	} {
		if got := s.loop(kind); got != want {
			t.Errorf("%s: %s, want %s", kind, got, want)
		}
	}
}

// What a process had before its first session is not the sessions'.
func TestMemoryIsGrowth(t *testing.T) {
	got := growth{before: 30e6, after: 90e6}.reading(200_000).Figures
	if got[bytesEach] != 300 || got[residentMB] != 90 {
		t.Errorf("%v", got)
	}
}
