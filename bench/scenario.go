package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// scenario is one thing to measure, and how. Each is a small file; allScenarios lists them.
type scenario interface {
	about() about
	// begin gets ready, and returns what takes turns; what it starts, it hands to the field to be stopped. It returns an
	// error that is errLeftOut when there is nothing to measure here.
	begin(ctx context.Context, f *field) ([]turn, error)
}

// about is what a reader has to know of a scenario.
type about struct {
	Name     string   `json:"name"` // as --only takes it
	What     string   `json:"what"` // for readers
	Loop     string   `json:"loop"` // closed or open, and with how many callers at which rate
	Axis     string   `json:"axis"` // what a sample's X counts; "": nothing
	Plot     string   `json:"plot"` // the figure that is drawn over the axis
	Main     []string `json:"main"` // the figures that are printed, in this order
	OwnOnly  bool     `json:"-"`    // works only on nodes that this program has started
	Optional bool     `json:"-"`    // only if asked for by name
	Once     bool     `json:"once"` // one round is all: it measures a state, not a speed
}

// turn takes readings when it is its turn. In each round everyone has one turn, and the order moves on by one, so that
// nobody always comes after the same one.
type turn struct {
	name string
	take func(ctx context.Context) ([]sample, error)
}

// sample is one reading of one of those who are measured.
type sample struct {
	Who string
	X   float64 // place on the scenario's axis
	reading
}

// one makes a turn of what has one reading.
func one(who string, x float64, take func(ctx context.Context) (reading, error)) turn {
	name := who
	if x != 0 {
		name = fmt.Sprintf("%s, %g", who, x)
	}
	return turn{name: name, take: func(ctx context.Context) ([]sample, error) {
		r, err := take(ctx)
		return []sample{{Who: who, X: x, reading: r}}, err
	}}
}

// errLeftOut is why a scenario is not measured here, which is no failure.
var errLeftOut = errors.New("left out")

// runScenario measures one scenario, round by round, into the report.
func (f *field) runScenario(ctx context.Context, s scenario, into *report) (err error) {
	is := s.about()
	is.Loop = f.set.loop(is.Loop)
	if is.OwnOnly && f.cluster == nil {
		return fmt.Errorf("%w: it needs nodes that this program has started itself", errLeftOut)
	}
	defer func() { err = errors.Join(err, f.endScenario()) }()
	turns, err := s.begin(ctx, f)
	if err != nil {
		return err
	}
	rounds := f.set.Rounds
	if is.Once {
		rounds = 1
	}
	t := into.begin(is)
	for round := range rounds {
		first := round % len(turns)
		for _, turn := range slices.Concat(turns[first:], turns[:first]) {
			samples, err := turn.take(ctx)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", turn.name, round+1, err)
			}
			for _, s := range samples {
				t.add(s)
				f.app.progressf("%s, round %d of %d: %s: %s", is.Name, round+1, rounds, s.label(), s.brief(is.Main))
			}
		}
	}
	return nil
}

func (s sample) label() string {
	if s.X == 0 {
		return s.Who
	}
	return fmt.Sprintf("%s, %g", s.Who, s.X)
}
