package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"

	"cloakroom/bench/load"
)

// electionsReport is the result of `bench elections`.
type electionsReport struct {
	Seconds float64 `json:"seconds"` // under load, each
	Trials  []trial `json:"trials"`
}

// trial is what one heartbeat time led to.
type trial struct {
	Heartbeat string  `json:"heartbeat"`
	Elections int     `json:"elections"` // terms that were begun under load, with a winner or without
	Found     int     `json:"found"`     // times that a node has found a leader, a new one or its own again: near misses, too
	Snapshots int     `json:"snapshots"` // taken meanwhile, all nodes together
	Writes    flow    `json:"writes"`
	Lookups   flow    `json:"lookups"`
	Logins    flow    `json:"logins"`
	Busy      float64 `json:"busy"`   // share of the machine's processor time, 0 where it is not known
	Stolen    float64 `json:"stolen"` // share that the machine's own host took

	Failovers []outcome `json:"failovers"`
}

// flow is one of the loads.
type flow struct {
	PerSecond float64          `json:"perSecond"`
	Failed    int64            `json:"failed"`
	Latency   load.Percentiles `json:"latencyMicroseconds"`
	Failure   string           `json:"failure"` // the first of the most frequent kind
}

// newFlow reads a result; nil: it did not run.
func newFlow(res *load.Result) flow {
	if res == nil {
		return flow{}
	}
	f := flow{PerSecond: res.PerSecond(), Failed: res.Failed, Latency: load.PercentilesOf(res.Latency)}
	var most int64
	for _, failure := range res.Failures {
		if failure.Count > most {
			most, f.Failure = failure.Count, failure.Example
		}
	}
	return f
}

func (t trial) String() string {
	return fmt.Sprintf("%s: %d elections, a leader found %d times, %.0f writes a second, %d failed, longest %s; %d snapshots; %s until a put is acknowledged after a kill",
		t.Heartbeat, t.Elections, t.Found, t.Writes.PerSecond, t.Writes.Failed, milliseconds(t.Writes.Latency.Max), t.Snapshots, t.gap())
}

// gap is the time from a kill to the next acknowledged put.
func (t trial) gap() string {
	var gaps []float64
	for _, o := range t.Failovers {
		if o.Recovered {
			gaps = append(gaps, o.WriteGap)
		}
	}
	if len(gaps) == 0 {
		return "–"
	}
	return number(spreadOf(gaps), "%.0f") + " ms"
}

func (r *electionsReport) print(w io.Writer, c *electionsCmd) error {
	p := &printer{w: w}
	p.linef("three nodes and %d busy processes on %d processors; %v each under %d writers of %d bytes, %g lookups a second and %d logins at once, every second one wrong",
		c.Hogs, runtime.NumCPU(), c.For, c.Writers, c.Bytes, c.Lookups, c.Logins)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows := &printer{w: tw, err: p.err}
	rows.linef("heartbeat\telections\tleader found\twrites/s\tfailed\tp99, ms\tmax, ms\tlookups p99, ms\tfailed\tlogins/s\tsnapshots\tbusy\tstolen\tkill to next put, ms")
	for _, t := range r.Trials {
		rows.linef("%s\t%d\t%d\t%.0f\t%d\t%.0f\t%.0f\t%.0f\t%d\t%.0f\t%d\t%.0f %%\t%.1f %%\t%s",
			t.Heartbeat, t.Elections, t.Found, t.Writes.PerSecond, t.Writes.Failed, t.Writes.Latency.P99/1000, t.Writes.Latency.Max/1000,
			t.Lookups.Latency.P99/1000, t.Lookups.Failed, t.Logins.PerSecond, t.Snapshots, 100*t.Busy, 100*t.Stolen, t.gap())
	}
	if rows.err == nil {
		rows.err = tw.Flush()
	}
	p.err = rows.err
	for _, t := range r.Trials {
		for _, f := range []struct {
			what string
			flow flow
		}{{"puts", t.Writes}, {"lookups", t.Lookups}, {"logins", t.Logins}} {
			if f.flow.Failed > 0 {
				p.linef("%s: %d %s failed, such as: %s", t.Heartbeat, f.flow.Failed, f.what, f.flow.Failure)
			}
		}
	}
	return p.err
}

// verdict is an error when a cluster did not come back after a kill. Elections are a finding, not a failure.
func (r *electionsReport) verdict() error {
	var all []outcome
	for _, t := range r.Trials {
		all = slices.Concat(all, t.Failovers)
	}
	return verdict(all)
}
