package main

import (
	"slices"
	"time"
)

// report is everything that a run has found out: what is printed, the JSON and the page are made of nothing else.
type report struct {
	Date     time.Time `json:"date"`
	Took     string    `json:"took"`
	Machine  machine   `json:"machine"`
	Settings settings  `json:"settings"`
	Notes    []note    `json:"notes"`   // of those who took part
	LeftOut  []note    `json:"leftOut"` // programs and scenarios, and why
	Failed   []note    `json:"failed"`  // scenarios that broke off, and why
	Goals    []verdict `json:"goals"`
	Tables   []*table  `json:"tables"`
}

// note is what a reader must know of one of those who are measured.
type note struct {
	Of   string `json:"of"`
	Text string `json:"text"`
}

// table holds the readings of one scenario, a row for each of those who are measured, in the order of their first reading.
type table struct {
	about
	Rows []*row `json:"rows"`
}

// row holds one's readings, one a round.
type row struct {
	Who      string    `json:"who"`
	X        float64   `json:"x,omitempty"`
	Readings []reading `json:"readings"`
}

// begin opens the table of a scenario.
func (r *report) begin(is about) *table {
	t := &table{about: is, Rows: []*row{}}
	r.Tables = append(r.Tables, t)
	return t
}

// table returns that of a scenario, nil if there is none.
func (r *report) table(name string) *table {
	i := slices.IndexFunc(r.Tables, func(t *table) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	return r.Tables[i]
}

// add adds the reading of one round.
func (t *table) add(s sample) {
	r := t.row(s.Who, s.X)
	if r == nil {
		r = &row{Who: s.Who, X: s.X}
		t.Rows = append(t.Rows, r)
	}
	r.Readings = append(r.Readings, s.reading)
}

func (t *table) row(who string, x float64) *row {
	i := slices.IndexFunc(t.Rows, func(r *row) bool { return r.Who == who && r.X == x })
	if i < 0 {
		return nil
	}
	return t.Rows[i]
}

// figures returns the names of what the table's readings have of what is printed.
func (t *table) figures() []string {
	var names []string
	for _, name := range t.Main {
		if slices.ContainsFunc(t.Rows, func(r *row) bool { return r.values(name) != nil }) {
			names = append(names, name)
		}
	}
	return names
}

// values returns a figure round by round; nil unless each round has it.
func (r *row) values(name string) []float64 {
	var values []float64
	for _, one := range r.Readings {
		v, known := one.Figures[name]
		if !known {
			return nil
		}
		values = append(values, v)
	}
	return values
}

func (r *row) label() string { return sample{Who: r.Who, X: r.X}.label() }

// cell prints a figure of a row.
func (r *row) cell(name string) string {
	values := r.values(name)
	if values == nil {
		return "–"
	}
	return spreadOf(values).String()
}
