package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// print writes the report for a terminal: first the targets, then what they were judged by.
func (r *report) print(w io.Writer) error {
	p := &printer{w: w}
	p.linef("%s", r.Machine)
	p.linef("%s", r.Settings.describe())
	if len(r.Goals) > 0 {
		p.linef("\nTargets. What is bounded: median (min–max) over the rounds; a ratio is taken round by round.\n")
		r.printGoals(p)
	}
	for _, t := range r.Tables {
		p.linef("\n%s: %s", t.Name, t.What)
		if t.Loop != "" {
			p.linef("%s", t.Loop)
		}
		t.print(p)
	}
	for _, list := range []struct {
		title string
		notes []note
	}{{"Who took part", r.Notes}, {"Left out", r.LeftOut}, {"Broke off", r.Failed}} {
		if len(list.notes) > 0 {
			p.linef("\n%s", list.title)
		}
		for _, n := range list.notes {
			p.linef("  %s: %s", n.Of, n.Text)
		}
	}
	return p.err
}

// String says what is known of the machine.
func (m machine) String() string {
	return fmt.Sprintf("%s × %d, %s, %s %s, %s; data on %s; load before: %s; %s", m.Processor, m.Processors, m.Memory, m.System, m.Kernel, m.Go,
		m.FileSystem, m.LoadBefore, strings.Join(m.Versions, "; "))
}

func (s *settings) describe() string {
	return fmt.Sprintf("%s sessions; %d rounds of %v, %v of warm-up before each; %d connections; open loops at %g a second",
		thousands(float64(s.Sessions)), s.Rounds, s.RoundTime, s.Warmup, s.Connections, s.Rate)
}

func (r *report) printGoals(p *printer) {
	rows := [][]string{{"", "measure", "target", "measured", "ours", "peer's", "", ""}}
	for _, v := range r.Goals {
		rows = append(rows, []string{v.ID, v.What, v.Target, v.measured(), v.oursText(), v.peerText(), v.Outcome, v.Remark})
	}
	p.table(rows)
}

// measured prints what is bounded.
func (v verdict) measured() string {
	if v.Spread == nil {
		return "–"
	}
	if v.Ratio {
		return fmt.Sprintf("%.2f (%.2f–%.2f)", v.Spread.Median, v.Spread.Min, v.Spread.Max)
	}
	return v.Spread.String()
}

func (v verdict) oursText() string {
	if v.Ours == nil || !v.Ratio {
		return "–"
	}
	return v.Ours.String()
}

func (v verdict) peerText() string {
	if v.Theirs == nil {
		return "–"
	}
	return v.Peer + " " + v.Theirs.String()
}

func (t *table) print(p *printer) {
	names := t.figures()
	rows := [][]string{append([]string{""}, names...)}
	for _, r := range t.Rows {
		cells := []string{r.label()}
		for _, name := range names {
			cells = append(cells, r.cell(name))
		}
		rows = append(rows, cells)
	}
	p.table(rows)
}

// table writes rows of cells, aligned.
func (p *printer) table(rows [][]string) {
	tw := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	lines := &printer{w: tw, err: p.err}
	for _, cells := range rows {
		lines.linef("  %s", strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	if lines.err == nil {
		lines.err = tw.Flush()
	}
	p.err = lines.err
}

// took prints how long something took.
func took(since time.Time) string { return time.Since(since).Round(time.Second).String() }
