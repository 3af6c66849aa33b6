package main

import (
	"fmt"
	"html"
	"io"
	"strings"
)

// Sizes of the picture, in pixels.
const (
	pictureWidth  = 960
	pictureRow    = 26
	pictureTop    = 58
	pictureBelow  = 40
	pictureLeft   = 380 // the measures' names are left of that
	pictureRight  = 700 // and the figures right of this
	pictureReach  = 4   // times the target, and a quarter of it: what is beyond is drawn at the edge
	pictureColour = "#0b6e4f"
	missColour    = "#c1440e"
)

// picture draws all targets on one scale, as a file by itself: how many times the target was reached, the median as a dot on
// the range of the rounds. Right of the line is better than the target, whether it is a floor or a ceiling. Targets of
// nothing at all, such as no failed lookup, have no such ratio and are left out.
func (r *report) picture(w io.Writer) error {
	drawn := make([]verdict, 0, len(r.Goals))
	for _, v := range r.Goals {
		if v.Spread != nil && v.Bound > 0 && v.Spread.Min > 0 {
			drawn = append(drawn, v)
		}
	}
	height := pictureTop + pictureRow*len(drawn) + pictureBelow
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="13">`+"\n", pictureWidth, height, pictureWidth, height)
	fmt.Fprintf(&b, `<title>Measured against target</title><rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	fmt.Fprintf(&b, `<text x="12" y="22" font-size="15" font-weight="600">Measured against target: right of the line is better</text>`+"\n")
	fmt.Fprintf(&b, `<text x="12" y="41" fill="#4b5563">%s sessions, %d rounds; dot: median, bar: lowest to highest round; what is beyond the scale stands at its edge</text>`+"\n",
		thousands(float64(r.Settings.Sessions)), r.Settings.Rounds)
	bottom := height - pictureBelow
	for _, t := range []struct {
		at    float64
		label string
	}{{0.25, "¼"}, {0.5, "½"}, {1, "target"}, {2, "2×"}, {4, "4×"}} {
		colour, width := "#d1d5db", 1
		if t.at == 1 {
			colour, width = "#111827", 2
		}
		x := pictureAt(t.at)
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s" stroke-width="%d"/><text x="%.1f" y="%d" text-anchor="middle" fill="#4b5563">%s</text>`+"\n",
			x, x, pictureTop-4, bottom, colour, width, x, bottom+18, t.label)
	}
	for i, v := range drawn {
		v.draw(&b, pictureTop+pictureRow*i+pictureRow/2)
	}
	b.WriteString("</svg>\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write picture: %w", err)
	}
	return nil
}

// draw draws one target's row.
func (v verdict) draw(b *strings.Builder, y int) {
	colour := pictureColour
	if v.Outcome == miss {
		colour = missColour
	}
	from, to, at := pictureAt(v.reached(v.Spread.Min)), pictureAt(v.reached(v.Spread.Max)), pictureAt(v.reached(v.Spread.Median))
	fmt.Fprintf(b, `<text x="12" y="%d"><tspan font-weight="600">%s</tspan> %s</text>`, y+4, v.ID, html.EscapeString(v.What))
	fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s" stroke-width="6" opacity=".3"/><circle cx="%.1f" cy="%d" r="5" fill="%s"/>`,
		min(from, to), max(from, to), y, y, colour, at, y, colour)
	fmt.Fprintf(b, `<text x="%d" y="%d">%s <tspan fill="#4b5563">(%s)</tspan></text>`+"\n",
		pictureRight+14, y+4, html.EscapeString(v.measured()), html.EscapeString(v.Target))
}

// reached is how many times a value is as good as the target.
func (v verdict) reached(value float64) float64 {
	if v.AtLeast {
		return value / v.Bound
	}
	return v.Bound / value
}

// pictureAt is where a number of targets is drawn, on a logarithmic scale.
func pictureAt(times float64) float64 {
	scale := newMapping(logarithmic, []float64{1. / pictureReach, pictureReach}, pictureLeft, pictureRight)
	return scale.at(max(1./pictureReach, min(pictureReach, times)))
}
