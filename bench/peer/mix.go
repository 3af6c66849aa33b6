package peer

import (
	"context"
	"errors"
	"math/rand/v2"

	"cloakroom/bench/load"
)

// Mix returns workers that send of each kind of request the share that is theirs, at random: writes of it one kind, the
// rest of it the other.
func Mix(lookups, puts load.Open, writes float64) load.Open {
	return func(ctx context.Context, worker int) (load.Caller, error) {
		lookup, err := lookups(ctx, worker)
		if err != nil {
			return nil, err
		}
		put, err := puts(ctx, worker)
		if err != nil {
			return nil, errors.Join(err, lookup.Close())
		}
		return &mixCaller{lookup: lookup, put: put, writes: writes, rng: rand.New(rand.NewPCG(0x6d6978, uint64(worker)))}, nil
	}
}

type mixCaller struct {
	lookup, put load.Caller
	writes      float64
	rng         *rand.Rand
}

var _ load.Caller = (*mixCaller)(nil)

// Call implements load.Caller.
func (c *mixCaller) Call(ctx context.Context) error {
	if c.rng.Float64() < c.writes {
		return c.put.Call(ctx)
	}
	return c.lookup.Call(ctx)
}

// Close implements load.Caller.
func (c *mixCaller) Close() error { return errors.Join(c.lookup.Close(), c.put.Close()) }
