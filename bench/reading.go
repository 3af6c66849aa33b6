package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// The figures that most readings have. A figure's name says its unit.
const (
	perSecond = "a second"
	p50       = "p50, ms"
	p99       = "p99, ms"
	p999      = "p99.9, ms"
	longestMs = "max, ms"
	serverCPU = "server CPU, µs"
	clientCPU = "client CPU, µs"
	failed    = "failed"
	ownLate   = "own lateness p99, ms"
)

// What the scenarios print, by the kind of their loop.
var (
	throughput = []string{perSecond, serverCPU, clientCPU, failed}
	latencies  = []string{p50, p99, p999, longestMs, ownLate, failed}
)

// reading is one measurement in one round.
type reading struct {
	Figures map[string]float64 `json:"figures"`
	Curve   []point            `json:"curve,omitempty"` // of an open loop
}

// point is a latency by percentile.
type point struct {
	Percentile float64 `json:"percentile"`
	Ms         float64 `json:"ms"`
}

// curvePercentiles are the places at which curves are kept: what lies between, nobody sees on a plot.
var curvePercentiles = [...]float64{1, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100}

// brief names the figures for a line of progress.
func (r reading) brief(names []string) string {
	var parts []string
	for _, name := range names {
		if v, known := r.Figures[name]; known {
			parts = append(parts, figure(v)+" "+name)
		}
	}
	return strings.Join(parts, "; ")
}

// figure prints a number with three significant digits or so.
func figure(v float64) string {
	switch size := max(v, -v); {
	case size >= 100 || v == float64(int64(v)):
		return thousands(v)
	case size >= 10:
		return fmt.Sprintf("%.1f", v)
	case size >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// thousands prints a whole number in groups of three digits.
func thousands(v float64) string {
	text := fmt.Sprintf("%.0f", v)
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return sign + text
}

// newReading reads a result.
func newReading(res *load.Result) reading {
	late := load.PercentilesOf(res.Late)
	r := reading{Figures: map[string]float64{perSecond: res.PerSecond(), failed: float64(res.Failed)}}
	r.latencies(res.Latency)
	if late.Max > 0 { // an open loop
		r.Figures[ownLate] = late.P99 / 1000
		r.Curve = curveOf(res.Latency)
	}
	return r
}

// latencies sets the figures that a histogram of nanoseconds shows.
func (r reading) latencies(h *hdrhistogram.Histogram) {
	at := load.PercentilesOf(h)
	r.Figures[p50], r.Figures[p99], r.Figures[p999], r.Figures[longestMs] = at.P50/1000, at.P99/1000, at.P999/1000, at.Max/1000
}

func curveOf(h *hdrhistogram.Histogram) []point {
	if h.TotalCount() == 0 {
		return nil
	}
	var curve []point
	for _, q := range curvePercentiles {
		curve = append(curve, point{q, float64(h.ValueAtQuantile(q)) / 1e6})
	}
	return curve
}

// take takes one reading. pids are the server's processes; nil: they are not known.
func take(ctx context.Context, pids []int, cfg load.Config, allowErrors bool) (reading, error) {
	self := []int{os.Getpid()}
	server, known := peer.CPUTime(pids)
	client, knownToo := peer.CPUTime(self)
	res, err := load.Run(ctx, cfg)
	if err != nil {
		return reading{}, err
	}
	serverAfter, still := peer.CPUTime(pids)
	clientAfter, stillToo := peer.CPUTime(self)
	if err := judge(res, allowErrors); err != nil {
		return reading{}, explained(err, res)
	}
	r := newReading(res)
	if known && still && res.Sent > 0 {
		r.Figures[serverCPU] = float64((serverAfter - server).Microseconds()) / float64(res.Sent)
	}
	if knownToo && stillToo && res.Sent > 0 {
		r.Figures[clientCPU] = float64((clientAfter - client).Microseconds()) / float64(res.Sent)
	}
	return r, nil
}

// explained adds how requests failed.
func explained(err error, res *load.Result) error {
	for label, failure := range res.Failures {
		err = fmt.Errorf("%w; %s: %s", err, label, failure.Example)
	}
	return err
}
