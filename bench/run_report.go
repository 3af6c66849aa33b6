package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"cloakroom/bench/load"
)

// runReport is the result of one run on running nodes as JSON. Latencies are in microseconds.
type runReport struct {
	What          string                  `json:"what"`
	Connections   int                     `json:"connections"`
	Rate          float64                 `json:"rate"` // 0: closed loop
	Seconds       float64                 `json:"seconds"`
	Good          int64                   `json:"good"`
	Failed        int64                   `json:"failed"`
	Unsent        int64                   `json:"unsent"`
	PerSecond     float64                 `json:"perSecond"`
	CutShort      bool                    `json:"cutShort"`
	Latency       load.Percentiles        `json:"latencyMicroseconds"`
	FailedLatency load.Percentiles        `json:"failedLatencyMicroseconds"`
	GeneratorLate load.Percentiles        `json:"generatorLateMicroseconds"`
	Failures      map[string]load.Failure `json:"failures"`
}

func newRunReport(r *nodeRun, res *load.Result) *runReport {
	return &runReport{
		What: r.what, Connections: r.load.Connections, Rate: r.load.Rate,
		Seconds: res.Elapsed.Seconds(), Good: res.Good, Failed: res.Failed, Unsent: res.Unsent,
		PerSecond: res.PerSecond(), CutShort: res.CutShort,
		Latency: load.PercentilesOf(res.Latency), FailedLatency: load.PercentilesOf(res.FailedLatency),
		GeneratorLate: load.PercentilesOf(res.Late), Failures: res.Failures,
	}
}

func (a *app) report(r *nodeRun, res *load.Result) error {
	rep := newRunReport(r, res)
	if r.output.JSON {
		return writeJSON(a.stdout, rep)
	}
	p := &printer{w: a.stdout}
	p.linef("%s: %s, %d connections, %d sessions", r.what, r.load.loop(), r.load.Connections, r.nodes.Sessions)
	p.linef("  good      %d in %.1f s: %.0f a second", rep.Good, rep.Seconds, rep.PerSecond)
	p.linef("  failed    %d", rep.Failed)
	for _, label := range slices.Sorted(maps.Keys(rep.Failures)) {
		f := rep.Failures[label]
		p.linef("    %-10s %d, the first: %s", label, f.Count, f.Example)
	}
	if rep.Good > 0 {
		p.linef("  latency   %s", percentiles(rep.Latency))
	}
	if rep.Failed > 0 {
		p.linef("  failures  %s", percentiles(rep.FailedLatency))
	}
	if r.load.Rate > 0 {
		p.linef("  of which this program was late itself: p99 %s, max %s", milliseconds(rep.GeneratorLate.P99), milliseconds(rep.GeneratorLate.Max))
	} else {
		p.linef("  (a closed loop asks nothing while the server stands still: quote latencies from --rate)")
	}
	return p.err
}

func percentiles(p load.Percentiles) string {
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s",
		milliseconds(p.P50), milliseconds(p.P90), milliseconds(p.P99), milliseconds(p.P999), milliseconds(p.Max))
}

// milliseconds prints microseconds as milliseconds with three significant digits or so.
func milliseconds(us float64) string {
	switch {
	case us < 10_000:
		return fmt.Sprintf("%.3f ms", us/1000)
	case us < 100_000:
		return fmt.Sprintf("%.2f ms", us/1000)
	}
	return fmt.Sprintf("%.0f ms", us/1000)
}

// printer writes lines and keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) linef(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print result: %w", err)
	}
	return nil
}
