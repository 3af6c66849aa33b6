package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
)

// pictureOf returns the places of the dots and the texts of a picture, in order, and fails if it is no XML.
func pictureOf(t *testing.T, r *report) (dots []float64, text string) {
	t.Helper()
	var out bytes.Buffer
	if err := r.picture(&out); err != nil {
		t.Fatal(err)
	}
	var words strings.Builder
	for d := xml.NewDecoder(&out); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return dots, words.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.CharData:
			words.Write(token)
		case xml.StartElement:
			for _, a := range token.Attr {
				if token.Name.Local == "circle" && a.Name.Local == "cx" {
					at, err := strconv.ParseFloat(a.Value, 64)
					if err != nil {
						t.Fatal(err)
					}
					dots = append(dots, at)
				}
			}
		}
	}
}

// Right of the line is better, for what must be large as for what must be small.
func TestPicture(t *testing.T) {
	line := pictureAt(1)
	for _, c := range []struct {
		name    string
		atLeast bool
		median  float64
		where   int // of the line
	}{
		{"more than at least", true, 3, 1},
		{"less than at least", true, 1, -1},
		{"less than at most", false, 1, 1},
		{"more than at most", false, 3, -1},
		{"far more than at least", true, 1000, 1},
		{"exactly", true, 2, 0},
	} {
		s := spread{Median: c.median, Min: c.median / 2, Max: c.median * 2}
		r := &report{Goals: []verdict{{ID: "P0", What: "<a> measure", Target: "some", Bound: 2, AtLeast: c.atLeast, Outcome: hit, Spread: &s}}}
		dots, text := pictureOf(t, r)
		if len(dots) != 1 {
			t.Fatalf("%s: dots at %v", c.name, dots)
		}
		switch at := dots[0]; {
		case c.where > 0 && at <= line, c.where < 0 && at >= line, c.where == 0 && at != line, at < pictureLeft, at > pictureRight:
			t.Errorf("%s: at %v, the line at %v", c.name, at, line)
		}
		for _, want := range []string{"P0", "<a> measure", "some", r.Goals[0].measured()} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %q", c.name, want, text)
			}
		}
	}
}

// What was not measured, or has nothing as its target, is not drawn.
func TestPictureLeavesOut(t *testing.T) {
	some := &spread{Median: 1, Min: 1, Max: 1}
	dots, text := pictureOf(t, &report{Goals: []verdict{
		{What: "no failures", Bound: 0, Spread: some},
		{What: "nothing measured", Bound: 1},
		{What: "nothing at all", Bound: 1, Spread: &spread{}},
	}})
	if len(dots) > 0 || strings.Contains(text, "noth") || strings.Contains(text, "no failures") {
		t.Errorf("dots at %v, %q", dots, text)
	}
}
