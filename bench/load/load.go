// Package load owns when requests are sent and how their outcomes are counted; what a request is, and how it travels,
// belongs to the Caller that it is given.
//
// A closed loop keeps a stated number of workers busy and measures throughput. An open loop sends request i at
// start + i/rate, whatever happened to the requests before it, and measures latency from that moment: a server that
// stands still for a second is charged for every request that should have been sent in that second, and not only for
// the few that were under way (coordinated omission).
package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Caller sends one request at a time and waits for its answer. Each worker owns one.
//
// Call returns nil for a good answer. An error that has a method Label() string is counted under that label. A Caller
// bounds each call itself: the run ends only when the calls under way have ended.
type Caller interface {
	Call(ctx context.Context) error
	Close() error
}

// Open makes the Caller of one worker; workers are numbered from 0.
type Open func(ctx context.Context, worker int) (Caller, error)

// Config says what one run does.
type Config struct {
	Workers  int           // callers that work at the same time
	Duration time.Duration // of the part that is counted
	Warmup   time.Duration // goes before it, and is not counted
	Rate     float64       // requests a second over all workers; 0: closed loop
	Drain    time.Duration // open loop: how long overdue requests may still be sent after the end; 0: DefaultDrain
	Open     Open

	// Progress is called once a second from one goroutine; nil: never.
	Progress func(Progress)
	// Observe is called after each call, of the warm-up too, from the worker's goroutine; nil: never.
	Observe func(Observation)
	// NewTimer makes the open loop's timer; nil: NewTimer of this package. Tests on fake time bring their own.
	NewTimer func() (Timer, error)
}

// Observation is one call as its worker saw it.
type Observation struct {
	Due  time.Time // when it should have been sent; in a closed loop equal to Sent
	Sent time.Time
	Done time.Time
	Err  error
}

// Progress is what happened since the last one.
type Progress struct {
	Elapsed  time.Duration // since the run began
	Warming  bool          // nothing, or not all of it, counts
	Seconds  float64       // length of the interval
	Good     int64
	Failed   int64
	P50, P99 time.Duration // of the good ones
}

// Validate checks the relations between the fields.
func (c Config) Validate() error {
	switch {
	case c.Workers < 1 || c.Workers > MaxWorkers:
		return fmt.Errorf("%d workers: need 1 to %d", c.Workers, MaxWorkers)
	case c.Duration <= 0 || c.Duration > MaxDuration:
		return fmt.Errorf("duration %v: need more than 0, at most %v", c.Duration, MaxDuration)
	case c.Warmup < 0 || c.Warmup > MaxDuration:
		return fmt.Errorf("warm-up %v: need 0 to %v", c.Warmup, MaxDuration)
	case c.Rate < 0 || c.Rate > MaxRate:
		return fmt.Errorf("rate %v: need 0 (closed loop) to %d a second", c.Rate, MaxRate)
	case c.Rate > 0 && c.Rate*c.Duration.Seconds() < 1:
		return fmt.Errorf("rate %v for %v: not one request", c.Rate, c.Duration)
	case c.Drain < 0 || c.Drain > MaxDuration:
		return fmt.Errorf("drain %v: need 0 to %v", c.Drain, MaxDuration)
	case c.Open == nil:
		return errors.New("no caller to run")
	}
	return nil
}

// Run does one run and returns what it counted. When ctx ends early, the result holds what there was until then and
// says so (CutShort). An error means that the run could not begin or that a Caller could not be closed.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Drain == 0 {
		cfg.Drain = DefaultDrain
	}
	callers, err := openAll(ctx, cfg)
	if err != nil {
		return nil, err
	}
	r := newRunner(cfg, callers)
	r.run(ctx)
	return r.result(ctx), closeAll(callers)
}

// openAll opens the callers a few at a time: a listener's backlog is shorter than MaxWorkers.
func openAll(ctx context.Context, cfg Config) ([]Caller, error) {
	callers := make([]Caller, cfg.Workers)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxOpening)
	for worker := range callers {
		group.Go(func() error {
			caller, err := cfg.Open(ctx, worker)
			if err != nil {
				return fmt.Errorf("open caller %d: %w", worker, err)
			}
			callers[worker] = caller
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, errors.Join(err, closeAll(callers))
	}
	return callers, nil
}

func closeAll(callers []Caller) error {
	var errs []error
	for worker, caller := range callers {
		if caller == nil {
			continue
		}
		if err := caller.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close caller %d: %w", worker, err))
		}
	}
	return errors.Join(errs...)
}
