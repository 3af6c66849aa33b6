package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/bench/load"
)

// moody fails in two ways, one more often than the other.
type moody struct{ calls int }

func (m *moody) Call(context.Context) error {
	m.calls++
	switch m.calls % 4 {
	case 1:
		return labelled("seldom")
	case 2, 3:
		return labelled("often")
	}
	return nil
}

func (m *moody) Close() error { return nil }

type labelled string

func (l labelled) Error() string { return string(l) }
func (l labelled) Label() string { return string(l) }

func TestPatientCallersRestAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &moody{}
		caller, err := patient(func(context.Context, int) (load.Caller, error) { return m, nil })(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for range 4 {
			if err := caller.Call(t.Context()); (err == nil) != (m.calls%4 == 0) {
				t.Errorf("call %d: %v", m.calls, err)
			}
		}
		if took := time.Since(start); took != 3*failurePause {
			t.Errorf("3 failures and a success took %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start = time.Now()
		if err := caller.Call(ctx); err == nil || time.Since(start) != 0 {
			t.Errorf("%v after %v: the run is over", err, time.Since(start))
		}
	})
}
