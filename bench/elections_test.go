package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/bench/load"
)

func TestElectionsTable(t *testing.T) {
	r := &electionsReport{Trials: []trial{
		{
			Heartbeat: "500ms", Elections: 3, Found: 2, Snapshots: 4, Busy: 0.995, Stolen: 0.012,
			Writes:    flow{PerSecond: 812, Failed: 7, Latency: load.Percentiles{P99: 250_000, Max: 1_900_000}, Failure: "answered 503"},
			Lookups:   flow{PerSecond: 1000, Latency: load.Percentiles{P99: 90_000}},
			Logins:    flow{PerSecond: 21},
			Failovers: []outcome{{Recovered: true, WriteGap: 900}, {Recovered: true, WriteGap: 1300}, {Recovered: true, WriteGap: 1100}},
		},
		{Heartbeat: "1s"},
	}}
	var out bytes.Buffer
	if err := r.print(&out, &electionsCmd{Hogs: 4, For: time.Minute, Writers: 64, Bytes: 4096, Lookups: 1000, Logins: 8}); err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"4 busy processes", "1m0s each under 64 writers of 4096 bytes",
		"500ms 3 2 812 7 250 1900 90 0 21 4 100 % 1.2 % 1100 (900–1300) ms", "1s 0 0 0 0 0 0 0 0 0 0 0 % 0.0 % –",
		"500ms: 7 puts failed, such as: answered 503",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	if err := r.verdict(); err != nil {
		t.Error(err)
	}
	r.Trials[1].Failovers = []outcome{{Killed: "n1"}}
	if err := r.verdict(); !errors.Is(err, errNoRecovery) {
		t.Errorf("%v: a cluster did not come back", err)
	}
}

func TestFlowNamesTheMostFrequentFailure(t *testing.T) {
	if f := newFlow(nil); f != (flow{}) {
		t.Errorf("%+v", f)
	}
	res, err := load.Run(t.Context(), load.Config{Workers: 1, Duration: 50 * time.Millisecond, Open: func(context.Context, int) (load.Caller, error) {
		return &moody{}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if f := newFlow(res); f.Failure != "often" || f.Failed == 0 || f.PerSecond <= 0 {
		t.Errorf("%+v", f)
	}
}

// moody fails in two ways, one more often than the other.
type moody struct{ calls int }

func (m *moody) Call(context.Context) error {
	m.calls++
	switch m.calls % 4 {
	case 1:
		return labelled("seldom")
	case 2, 3:
		return labelled("often")
	}
	return nil
}

func (m *moody) Close() error { return nil }

type labelled string

func (l labelled) Error() string { return string(l) }
func (l labelled) Label() string { return string(l) }

func TestPatientCallersRestAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &moody{}
		caller, err := patient(func(context.Context, int) (load.Caller, error) { return m, nil })(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for range 4 {
			if err := caller.Call(t.Context()); (err == nil) != (m.calls%4 == 0) {
				t.Errorf("call %d: %v", m.calls, err)
			}
		}
		if took := time.Since(start); took != 3*failurePause {
			t.Errorf("3 failures and a success took %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start = time.Now()
		if err := caller.Call(ctx); err == nil || time.Since(start) != 0 {
			t.Errorf("%v after %v: the run is over", err, time.Since(start))
		}
	})
}

func TestElections(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and starts three nodes")
	}
	code, stdout, stderr := bench(t, nil, "elections", "--heartbeats=900ms", "--for=1s", "--writers=4", "--lookups=50", "--logins=2",
		"--hogs=1", "--kills=1", "--after=5s", "--sessions=60", "--prime=1", "--dir="+t.TempDir(), "--json")
	var r electionsReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v: exit %d, %s %s", err, code, stdout, stderr)
	}
	if code != exitOK || len(r.Trials) != 1 {
		t.Fatalf("exit %d, %s %s", code, stdout, stderr)
	}
	one := r.Trials[0]
	if one.Heartbeat != "900ms" || one.Writes.PerSecond <= 0 || one.Lookups.PerSecond <= 0 || one.Logins.PerSecond <= 0 {
		t.Errorf("%+v", one)
	}
	// Elections under load are a finding, however many.
	if one.Elections < 0 || len(one.Failovers) != 1 || !one.Failovers[0].Recovered {
		t.Errorf("%+v", one)
	}
}
