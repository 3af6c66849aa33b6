package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// pageOf parses the page of a report.
func pageOf(t *testing.T, r *report) *html.Node {
	t.Helper()
	var out bytes.Buffer
	if err := r.page(&out); err != nil {
		t.Fatal(err)
	}
	// The parser mends whatever it gets; the tokens tell whether it had to.
	var open []string
	void := []string{"meta"}
	tokens := html.NewTokenizer(bytes.NewReader(out.Bytes()))
	for kind := tokens.Next(); kind != html.ErrorToken; kind = tokens.Next() {
		name, _ := tokens.TagName()
		switch {
		case kind == html.StartTagToken && !slices.Contains(void, string(name)):
			open = append(open, string(name))
		case kind == html.EndTagToken && (len(open) == 0 || open[len(open)-1] != string(name)):
			t.Fatalf("</%s> closes %v", name, open)
		case kind == html.EndTagToken:
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Fatalf("not closed: %v", open)
	}
	page, err := html.Parse(&out)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// all returns the elements of a name, in order.
func all(n *html.Node, name string) []*html.Node {
	var found []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && d.Data == name {
			found = append(found, d)
		}
	}
	return found
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// The page opens without a network: nothing in it asks for anything else.
func TestPageNeedsNothingBesides(t *testing.T) {
	page := pageOf(t, exampleReport())
	for d := range page.Descendants() {
		if d.Type != html.ElementNode {
			continue
		}
		switch d.DataAtom {
		case atom.Script, atom.Link, atom.Img, atom.Iframe, atom.Object, atom.Embed, atom.Base, atom.Form:
			t.Errorf("<%s> in it", d.Data)
		case atom.Style:
			for _, word := range []string{"url(", "@import", "@font-face"} {
				if strings.Contains(textOf(d), word) {
					t.Errorf("%s in its style", word)
				}
			}
		}
		for _, a := range d.Attr {
			switch {
			case slices.Contains([]string{"src", "href", "srcset", "action", "data", "poster"}, a.Key), strings.HasPrefix(a.Key, "on"),
				strings.Contains(a.Val, "//"), strings.Contains(a.Val, "url("):
				t.Errorf("<%s %s=%q>", d.Data, a.Key, a.Val)
			}
		}
	}
}

func TestPageEscapesWhatOthersSay(t *testing.T) {
	text := textOf(pageOf(t, exampleReport()))
	for _, want := range []string{"<script>alert(1)</script>", "a <fast> one"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q as text", want)
		}
	}
}

func TestPageHasTheTargets(t *testing.T) {
	page, r := pageOf(t, exampleReport()), exampleReport()
	var table *html.Node
	for _, one := range all(page, "table") {
		if attribute(one, "id") == "targets" {
			table = one
		}
	}
	rows := all(table, "tr")
	if len(rows) != len(r.Goals)+1 {
		t.Fatalf("%d rows, %d targets", len(rows), len(r.Goals))
	}
	for i, v := range r.Goals {
		text := textOf(rows[i+1])
		for _, want := range []string{v.ID, v.What, v.Target, v.measured(), v.Outcome, v.Remark} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in %q", want, text)
			}
		}
	}
}

// Each plot has a line for each of those who are drawn, and each line a mark for each value, with the value as its title.
func TestPlotsHaveTheData(t *testing.T) {
	figures := map[string]*html.Node{}
	for _, f := range all(pageOf(t, exampleReport()), "figure") {
		figures[textOf(all(f, "figcaption")[0])] = f
	}
	for title, lines := range map[string]map[string][]string{
		"Throughput by connections":      {us: {"1,000 at 1", "8,000 at 8", "64,000 at 64"}, "fasthttp": {"2,000 at 1", "16,000 at 8", "128,000 at 64"}},
		"Throughput by nodes":            {us: {"500 at 1", "167 at 3"}},
		"Ratio by round: P3":             {"server CPU a lookup, to a bare handler, target ≤ 1.1, then 1.05": {"1.25 at 1", "1.25 at 2"}},
		"Ratio by round: P1":             {"lookups/s, /auth/verify, to a bare handler, target ≥ 0.92, then 0.97": {"0.900 at 1", "1.80 at 2"}},
		"Latency by percentile: latency": {us: nil},
	} {
		f := figures[title]
		if f == nil {
			t.Errorf("no plot %q", title)
			continue
		}
		var names []string
		for _, entry := range all(f, "li") {
			names = append(names, textOf(entry))
		}
		if len(all(f, "polyline")) != len(lines) || len(names) != len(lines) {
			t.Errorf("%s: %d lines, named %q; want %d", title, len(all(f, "polyline")), names, len(lines))
		}
		titles := map[string][]string{}
		for _, mark := range all(f, "circle") {
			name, value, _ := strings.Cut(textOf(mark), ": ")
			titles[name] = append(titles[name], value)
		}
		for name, want := range lines {
			if want == nil { // a curve
				if len(titles[name]) != len(curvePercentiles) || titles[name][4] != "750 at 75" {
					t.Errorf("%s: %v", title, titles[name])
				}
				continue
			}
			if !slices.Equal(titles[name], want) {
				t.Errorf("%s, %s: %v, want %v", title, name, titles[name], want)
			}
		}
	}
}

// A mark stands inside the picture, further right for more on the one axis and higher up for more on the other.
func TestMarksStandWhereTheyBelong(t *testing.T) {
	for _, f := range all(pageOf(t, exampleReport()), "figure") {
		title := textOf(all(f, "figcaption")[0])
		if title != "Throughput by connections" && !strings.HasPrefix(title, "Latency") {
			continue
		}
		lastX, lastY := -1.0, -1.0
		for _, mark := range all(f, "circle") {
			if !strings.HasPrefix(textOf(mark), us+":") {
				continue
			}
			x, y := number(t, mark, "cx"), number(t, mark, "cy")
			if x < marginLeft || x > plotWidth-marginRight || y < marginTop || y > plotHeight-marginBelow {
				t.Errorf("%s: %s stands at %v, %v", title, textOf(mark), x, y)
			}
			if lastX >= 0 && (x <= lastX || y > lastY) {
				t.Errorf("%s: %s stands at %v, %v, after %v, %v", title, textOf(mark), x, y, lastX, lastY)
			}
			lastX, lastY = x, y
		}
	}
}

func number(t *testing.T, n *html.Node, name string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(attribute(n, name), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAxesHaveSomeTicks(t *testing.T) {
	for name, c := range map[string]struct {
		scale  scale
		values []float64
		want   string
	}{
		"from nothing": {linear, []float64{0, 23}, "0 5 10 15 20"},
		"thousands":    {linear, []float64{0, 120_000}, "0 50,000 100,000"},
		"decades":      {logarithmic, []float64{0.08, 12}, "0.1 0.2 0.5 1 2 5 10"},
		"each":         {steps, []float64{1, 64, 8}, "1 8 64"},
		"one value":    {linear, []float64{5}, ""},
	} {
		var labels []string
		for _, tick := range (axis{Scale: c.scale}).ticks(newMapping(c.scale, c.values, 0, 100)) {
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, " "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if got := fmt.Sprint(niceStep(0)); got != "0" {
		t.Error(got)
	}
}
