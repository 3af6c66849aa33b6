package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"cloakroom/bench/load"
)

// reading is one measurement of one peer in one round.
type reading struct {
	PerSecond float64          `json:"perSecond"`
	Latency   load.Percentiles `json:"latencyMicroseconds"`
	ServerCPU float64          `json:"serverCPUMicroseconds"` // a request, all the peer's processes, the warm-up too; 0: not known
	ClientCPU float64          `json:"clientCPUMicroseconds"` // the same of this program: it shares the machine
	Failed    int64            `json:"failed"`
}

func (r reading) String() string {
	return fmt.Sprintf("%.0f/s, p99 %s, CPU a request: server %.1f µs, client %.1f µs", r.PerSecond, milliseconds(r.Latency.P99), r.ServerCPU, r.ClientCPU)
}

// note is what a reader must know of a peer.
type note struct {
	Peer string `json:"peer"`
	Text string `json:"text"`
}

// scoreboard holds all readings of a comparison.
type scoreboard struct {
	Connections int      `json:"connections"`
	Rate        float64  `json:"rate"` // 0: closed loop
	Seconds     float64  `json:"seconds"`
	Sessions    int      `json:"sessions"`
	Rounds      int      `json:"rounds"`
	Notes       []note   `json:"notes"`
	Skipped     []string `json:"skipped"`
	Measures    []*table `json:"measures"`
}

// table holds the readings of one measure, a column for each peer in the order of their first reading.
type table struct {
	Name    string    `json:"name"`
	Columns []*column `json:"peers"`
}

// column holds one peer's readings, one a round.
type column struct {
	Peer     string    `json:"peer"`
	Readings []reading `json:"readings"`
}

func newScoreboard(c *compareCmd) *scoreboard {
	b := &scoreboard{
		Connections: c.Connections, Rate: c.Rate, Seconds: c.For.Seconds(), Sessions: c.Sessions, Rounds: c.Rounds,
		Notes: []note{}, Skipped: []string{},
	}
	for _, name := range c.Measures {
		b.Measures = append(b.Measures, &table{Name: name, Columns: []*column{}})
	}
	return b
}

// add adds the reading of one round.
func (b *scoreboard) add(measure, peer string, r reading) {
	t := b.Measures[slices.IndexFunc(b.Measures, func(t *table) bool { return t.Name == measure })]
	c := t.column(peer)
	if c == nil {
		c = &column{Peer: peer}
		t.Columns = append(t.Columns, c)
	}
	c.Readings = append(c.Readings, r)
}

func (t *table) column(peer string) *column {
	i := slices.IndexFunc(t.Columns, func(c *column) bool { return c.Peer == peer })
	if i < 0 {
		return nil
	}
	return t.Columns[i]
}

// spread is a median with what it lies between.
type spread struct{ Median, Min, Max float64 }

// spreadOf returns the spread of at least one value.
func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + sorted[middle]) / 2
	}
	return spread{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1]}
}

func (c *column) spread(of func(reading) float64) spread {
	values := make([]float64, len(c.Readings))
	for i, r := range c.Readings {
		values[i] = of(r)
	}
	return spreadOf(values)
}

// ratios compares two peers round by round: what slows the machine for a while slows both, and cancels out. It is a
// spread of ratios, which is not the ratio of the medians.
func ratios(ours, theirs *column, of func(reading) float64) (spread, bool) {
	var values []float64
	for i := range min(len(ours.Readings), len(theirs.Readings)) {
		if their := of(theirs.Readings[i]); their > 0 {
			values = append(values, of(ours.Readings[i])/their)
		}
	}
	if len(values) == 0 {
		return spread{}, false
	}
	return spreadOf(values), true
}

// us is the peer that ratios are taken of.
const us = "cloakroom"

func (b *scoreboard) print(w io.Writer) error {
	p := &printer{w: w}
	loop := "closed loop"
	if b.Rate > 0 {
		loop = fmt.Sprintf("open loop, %g a second", b.Rate)
	}
	p.linef("%d callers, %s, %d sessions; %d rounds of %v, median (min–max)", b.Connections, loop, b.Sessions, b.Rounds,
		time.Duration(b.Seconds*float64(time.Second)))
	for _, t := range b.Measures {
		p.linef("\n%s", t.Name)
		if b.Rate > 0 {
			b.printLatencies(p, t)
		} else {
			b.printThroughput(p, t)
		}
	}
	p.linef("")
	for _, n := range b.Notes {
		p.linef("%s: %s", n.Peer, n.Text)
	}
	for _, s := range b.Skipped {
		p.linef("left out: %s", s)
	}
	return p.err
}

func (b *scoreboard) printThroughput(p *printer, t *table) {
	perSecond := func(r reading) float64 { return r.PerSecond }
	server := func(r reading) float64 { return r.ServerCPU }
	client := func(r reading) float64 { return r.ClientCPU }
	b.printTable(p, t, "\ta second\tserver CPU, µs\tclient CPU, µs\tour rate to theirs\tour server CPU to theirs", func(c *column) []string {
		row := []string{number(c.spread(perSecond), "%.0f"), number(c.spread(server), "%.1f"), fmt.Sprintf("%.1f", c.spread(client).Median)}
		for _, of := range []func(reading) float64{perSecond, server} {
			row = append(row, against(t.column(us), c, of))
		}
		return row
	})
}

func (b *scoreboard) printLatencies(p *printer, t *table) {
	percentiles := []func(reading) float64{
		func(r reading) float64 { return r.Latency.P50 },
		func(r reading) float64 { return r.Latency.P99 },
		func(r reading) float64 { return r.Latency.P999 },
	}
	b.printTable(p, t, "\tp50, ms\tp99, ms\tp99.9, ms\tour p50 to theirs\tour p99 to theirs", func(c *column) []string {
		var row []string
		for _, of := range percentiles {
			row = append(row, number(c.spread(func(r reading) float64 { return of(r) / 1000 }), "%.3f"))
		}
		for _, of := range percentiles[:2] {
			row = append(row, against(t.column(us), c, of))
		}
		return row
	})
}

func (b *scoreboard) printTable(p *printer, t *table, head string, row func(*column) []string) {
	if len(t.Columns) == 0 {
		p.linef("  offered by nobody who took part")
		return
	}
	tw := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	lines := &printer{w: tw, err: p.err}
	lines.linef("  %s", head)
	for _, c := range t.Columns {
		lines.linef("  %s\t%s", c.Peer, strings.Join(row(c), "\t"))
	}
	if lines.err == nil {
		lines.err = tw.Flush()
	}
	p.err = lines.err
}

func against(ours, theirs *column, of func(reading) float64) string {
	if ours == nil || ours == theirs {
		return "–"
	}
	s, ok := ratios(ours, theirs, of)
	if !ok {
		return "–"
	}
	return number(s, "%.2f")
}

func number(s spread, format string) string {
	return fmt.Sprintf(format+" ("+format+"–"+format+")", s.Median, s.Min, s.Max)
}
