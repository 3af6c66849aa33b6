package main

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
)

// plot is a picture of lines over one axis, written as SVG: no script, no font, no file besides.
type plot struct {
	Title  string
	Left   string // what y is
	Bottom string // what x is
	X      axis
	Y      axis
	Lines  []line
	Limit  float64 // a line across at that y; 0: none
}

// line is one of them. Low and High, where they are there, are the lowest and highest of the rounds, drawn as a band.
type line struct {
	Name   string
	Points []dot
}

type dot struct {
	X, Y      float64
	Low, High float64
}

// axis maps values to places.
type axis struct {
	Scale scale
	Ticks []tick // nil: chosen
}

type tick struct {
	At    float64
	Label string
}

// scale is how an axis is divided.
type scale int

const (
	linear      scale = iota // from 0
	logarithmic              // values > 0
	nines                    // percentiles: as much room for 99 to 99.9 as for 90 to 99
	steps                    // as many places as there are different values, evenly spaced
)

// Sizes of a plot, in pixels.
const (
	plotWidth   = 680
	plotHeight  = 320
	marginLeft  = 70
	marginRight = 16
	marginTop   = 14
	marginBelow = 46
)

// colours tell lines apart; the dashes do so for who sees no colours.
var colours = [...]string{"#0b6e4f", "#c1440e", "#2b59c3", "#8a4fbf", "#b8860b", "#4b5563", "#be185d", "#0e7490"}

var dashes = [...]string{"", "7 3", "2 3", "9 3 2 3", "12 4", "4 2", "1 4", "6 6"}

// place maps a value to its place on an axis, in units of its own.
func (s scale) place(v float64, all []float64) float64 {
	switch s {
	case logarithmic:
		return math.Log10(max(v, 1e-9))
	case nines:
		return -math.Log10(1 - min(v, lastPercentile)/100)
	case steps:
		return float64(slices.Index(all, v))
	}
	return v
}

// lastPercentile is where 100 % is drawn on a scale that never reaches it.
const lastPercentile = 99.999

// svg draws the plot. The values stand in the titles of its marks, too, so that a pointer shows them and a text search finds
// them.
func (p plot) svg() template.HTML {
	x, y := p.frame()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, plotWidth, plotHeight, html.EscapeString(p.Title))
	p.grid(&b, x, y)
	if p.Limit > 0 {
		fmt.Fprintf(&b, `<line class="limit" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, marginLeft, plotWidth-marginRight, y.at(p.Limit), y.at(p.Limit))
	}
	for i, l := range p.Lines {
		p.draw(&b, l, i, x, y)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" class="axis" text-anchor="middle">%s</text>`, (marginLeft+plotWidth-marginRight)/2, plotHeight-6, html.EscapeString(p.Bottom))
	fmt.Fprintf(&b, `<text transform="translate(14 %d) rotate(-90)" class="axis" text-anchor="middle">%s</text></svg>`, (marginTop+plotHeight-marginBelow)/2, html.EscapeString(p.Left))
	return template.HTML(b.String()) //nolint:gosec // all text in it is escaped
}

// mapping turns values into pixels.
type mapping struct {
	scale    scale
	all      []float64
	from, to float64 // in the scale's units
	low      float64 // pixel of from
	high     float64 // pixel of to
}

func (m mapping) at(v float64) float64 {
	part := 0.5
	if m.to > m.from {
		part = (m.scale.place(v, m.all) - m.from) / (m.to - m.from)
	}
	return m.low + part*(m.high-m.low)
}

// frame chooses what the axes reach.
func (p plot) frame() (x, y mapping) {
	var xs, ys []float64
	for _, l := range p.Lines {
		for _, d := range l.Points {
			xs, ys = append(xs, d.X), append(ys, d.Y)
			if d.High > 0 {
				ys = append(ys, d.Low, d.High)
			}
		}
	}
	if p.Limit > 0 {
		ys = append(ys, p.Limit)
	}
	if p.Y.Scale == linear {
		ys = append(ys, 0)
	}
	x = newMapping(p.X.Scale, xs, marginLeft+8, plotWidth-marginRight-8)
	y = newMapping(p.Y.Scale, ys, plotHeight-marginBelow, marginTop)
	if p.Y.Scale == linear {
		y.to *= 1.05
	}
	return x, y
}

func newMapping(s scale, values []float64, low, high float64) mapping {
	all := slices.Compact(slices.Sorted(slices.Values(values)))
	m := mapping{scale: s, all: all, low: low, high: high}
	if len(all) > 0 {
		m.from, m.to = s.place(all[0], all), s.place(all[len(all)-1], all)
	}
	return m
}

// grid draws the axes' ticks.
func (p plot) grid(b *strings.Builder, x, y mapping) {
	for _, t := range p.Y.ticks(y) {
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`,
			marginLeft, plotWidth-marginRight, y.at(t.At), y.at(t.At), marginLeft-6, y.at(t.At)+4, html.EscapeString(t.Label))
	}
	for _, t := range p.X.ticks(x) {
		fmt.Fprintf(b, `<line class="grid" y1="%d" y2="%d" x1="%.1f" x2="%.1f"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`,
			marginTop, plotHeight-marginBelow, x.at(t.At), x.at(t.At), x.at(t.At), plotHeight-marginBelow+16, html.EscapeString(t.Label))
	}
}

// ticks returns those that were given, or some that suit the values.
func (a axis) ticks(m mapping) []tick {
	if a.Ticks != nil {
		return a.Ticks
	}
	var ticks []tick
	switch a.Scale {
	case steps:
		for _, v := range m.all {
			ticks = append(ticks, tick{v, figure(v)})
		}
	case logarithmic:
		for e := math.Floor(m.from); e <= math.Ceil(m.to); e++ {
			for _, digit := range []float64{1, 2, 5} {
				if v := digit * math.Pow(10, e); math.Log10(v) >= m.from && math.Log10(v) <= m.to {
					ticks = append(ticks, tick{v, strconv.FormatFloat(v, 'g', 4, 64)})
				}
			}
		}
	default:
		step := niceStep(m.to - m.from)
		for v := math.Ceil(m.from/step) * step; v <= m.to && step > 0; v += step {
			ticks = append(ticks, tick{v, figure(math.Round(v/step) * step)})
		}
	}
	return ticks
}

// niceStep divides a length into about five.
func niceStep(length float64) float64 {
	if length <= 0 {
		return 0
	}
	size := math.Pow(10, math.Floor(math.Log10(length/5)))
	for _, digit := range []float64{1, 2, 5} {
		if digit*size*5 >= length {
			return digit * size
		}
	}
	return 10 * size
}

func (p plot) draw(b *strings.Builder, l line, i int, x, y mapping) {
	colour, dash := colours[i%len(colours)], dashes[i%len(dashes)]
	var path, band []string
	for _, d := range l.Points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(d.X), y.at(d.Y)))
		if d.High > 0 {
			band = append(band, fmt.Sprintf("%.1f,%.1f", x.at(d.X), y.at(d.High)))
		}
	}
	for _, d := range slices.Backward(l.Points) {
		if d.High > 0 {
			band = append(band, fmt.Sprintf("%.1f,%.1f", x.at(d.X), y.at(d.Low)))
		}
	}
	if len(band) > 0 {
		fmt.Fprintf(b, `<polygon points="%s" fill="%s" opacity=".12"/>`, strings.Join(band, " "), colour)
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`, strings.Join(path, " "), colour, dash)
	for _, d := range l.Points {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %s at %s</title></circle>`,
			x.at(d.X), y.at(d.Y), colour, html.EscapeString(l.Name), figure(d.Y), strconv.FormatFloat(d.X, 'g', -1, 64))
	}
}

// Legend is what tells the lines apart.
func (p plot) Legend() []legend {
	var entries []legend
	for i, l := range p.Lines {
		entries = append(entries, legend{Name: l.Name, Colour: template.CSS(colours[i%len(colours)]), Dash: dashes[i%len(dashes)]}) //nolint:gosec // a constant
	}
	return entries
}

type legend struct {
	Name   string
	Colour template.CSS
	Dash   string
}

// SVG is the picture.
func (p plot) SVG() template.HTML { return p.svg() }
