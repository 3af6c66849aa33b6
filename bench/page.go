package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
)

//go:embed page.html
var pageText string

// page writes the report as one HTML page that needs nothing besides: no network, no script.
func (r *report) page(w io.Writer) error {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		panic("BUG: page: " + err.Error())
	}
	view := pageView{report: r, Plots: r.plots()}
	for _, t := range r.Tables {
		view.Sections = append(view.Sections, newSection(t))
	}
	if err := t.Execute(w, view); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// pageView is what the template reads.
type pageView struct {
	*report
	Plots    []plot
	Sections []section
}

// Describe says how it was measured.
func (v pageView) Describe() string { return v.Settings.describe() }

// section is a scenario's table.
type section struct {
	Name, What, Loop string
	Head             []string
	Rows             [][]string
}

func newSection(t *table) section {
	s := section{Name: t.Name, What: t.What, Loop: t.Loop, Head: t.figures()}
	for _, r := range t.Rows {
		cells := []string{r.label()}
		for _, name := range s.Head {
			cells = append(cells, r.cell(name))
		}
		s.Rows = append(s.Rows, cells)
	}
	return s
}

// Measured, Ours and PeerText are for the template.
func (v verdict) Measured() string { return v.measured() }

// OursText is our own figure.
func (v verdict) OursText() string { return v.oursText() }

// PeerText is the peer's figure.
func (v verdict) PeerText() string { return v.peerText() }

// plots draws what was measured.
func (r *report) plots() []plot {
	var plots []plot
	for _, t := range r.Tables {
		if p, ok := t.curves(); ok {
			plots = append(plots, p)
		}
		if p, ok := t.overAxis(); ok {
			plots = append(plots, p)
		}
	}
	return append(plots, r.ratioPlots()...)
}

// curves draws latency by percentile: the median of the rounds, and between which they lie.
func (t *table) curves() (plot, bool) {
	p := plot{
		Title: "Latency by percentile: " + t.Name, Left: "milliseconds", Bottom: "percentile", Y: axis{Scale: logarithmic},
		X: axis{Scale: nines, Ticks: []tick{{1, "0"}, {50, "50"}, {90, "90"}, {99, "99"}, {99.9, "99.9"}, {99.99, "99.99"}, {100, "100"}}},
	}
	for _, r := range t.Rows {
		if l := r.curve(); len(l.Points) > 0 {
			p.Lines = append(p.Lines, l)
		}
	}
	return p, len(p.Lines) > 0
}

func (r *row) curve() line {
	l := line{Name: r.label()}
	for _, q := range curvePercentiles {
		var values []float64
		for _, one := range r.Readings {
			if i := slices.IndexFunc(one.Curve, func(p point) bool { return p.Percentile == q }); i >= 0 {
				values = append(values, one.Curve[i].Ms)
			}
		}
		if len(values) > 0 {
			s := spreadOf(values)
			l.Points = append(l.Points, dot{q, s.Median, s.Min, s.Max})
		}
	}
	return l
}

// overAxis draws a figure over the scenario's axis.
func (t *table) overAxis() (plot, bool) {
	p := plot{Title: "Throughput by " + t.Axis, Left: t.Plot, Bottom: t.Axis, X: axis{Scale: steps}}
	if t.Axis == "" {
		return p, false
	}
	for _, r := range t.Rows {
		values := r.values(t.Plot)
		if values == nil {
			continue
		}
		s := spreadOf(values)
		i := slices.IndexFunc(p.Lines, func(l line) bool { return l.Name == r.Who })
		if i < 0 {
			i = len(p.Lines)
			p.Lines = append(p.Lines, line{Name: r.Who})
		}
		p.Lines[i].Points = append(p.Lines[i].Points, dot{r.X, s.Median, s.Min, s.Max})
	}
	for _, l := range p.Lines {
		slices.SortFunc(l.Points, func(a, b dot) int {
			if a.X < b.X {
				return -1
			}
			return 1
		})
	}
	return p, len(p.Lines) > 0
}

// ratioPlots draws the ratios of the targets round by round, a plot for each scenario: a ratio that wanders says more than
// its median.
func (r *report) ratioPlots() []plot {
	var plots []plot
	for _, v := range r.Goals {
		if !v.Ratio || v.Spread == nil {
			continue
		}
		title := "Ratio by round: " + v.ID
		i := slices.IndexFunc(plots, func(p plot) bool { return p.Title == title })
		if i < 0 {
			i = len(plots)
			plots = append(plots, plot{Title: title, Left: "ours to theirs", Bottom: "round", X: axis{Scale: steps}, Limit: 1})
		}
		l := line{Name: v.What + ", target " + v.Target}
		for round, value := range v.Values {
			l.Points = append(l.Points, dot{X: float64(round + 1), Y: value})
		}
		plots[i].Lines = append(plots[i].Lines, l)
	}
	return plots
}
