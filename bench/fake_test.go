package main

import "context"

// fakeScenario writes down whose turn it is.
type fakeScenario struct {
	once    bool
	order   string
	stopped bool
}

func (s *fakeScenario) about() about { return about{Name: "fake", Once: s.once} }

func (s *fakeScenario) begin(_ context.Context, f *field) ([]turn, error) {
	f.later(func() error {
		s.stopped = true
		return nil
	})
	var turns []turn
	for _, who := range []string{"a", "b", "c"} {
		turns = append(turns, one(who, 0, func(context.Context) (reading, error) {
			s.order += who
			return reading{Figures: map[string]float64{perSecond: 1}}, nil
		}))
	}
	return turns, nil
}
