package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"cloakroom/bench/load"
)

// together runs several loads at the same time.
type together struct {
	ctx context.Context
	wg  sync.WaitGroup

	mu   sync.Mutex
	errs []error
}

func newTogether(ctx context.Context) *together { return &together{ctx: ctx} }

// run starts a load; its result is stored before wait returns.
func (t *together) run(result **load.Result, cfg load.Config) {
	t.wg.Go(func() {
		res, err := load.Run(t.ctx, cfg)
		t.mu.Lock()
		defer t.mu.Unlock()
		*result = res
		if err != nil {
			t.errs = append(t.errs, err)
		}
	})
}

// wait returns when all have ended.
func (t *together) wait() error {
	t.wg.Wait()
	return errors.Join(t.errs...)
}

// patient makes callers that rest after a failure: in a closed loop, a node that is gone would be asked again and again
// for nothing, which takes the processors from those that are there.
func patient(open load.Open) load.Open {
	return func(ctx context.Context, worker int) (load.Caller, error) {
		caller, err := open(ctx, worker)
		if err != nil {
			return nil, err
		}
		return patientCaller{caller}, nil
	}
}

type patientCaller struct{ load.Caller }

// Call implements load.Caller.
func (c patientCaller) Call(ctx context.Context) error {
	err := c.Caller.Call(ctx)
	if err == nil {
		return nil
	}
	select {
	case <-time.After(failurePause):
	case <-ctx.Done():
	}
	return err
}
