package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// killing says under which load a leader is killed, and for how long before and after.
type killing struct {
	connections   int     // for puts, and as many for lookups
	puts, lookups float64 // a second; lookups may be 0
	before, after time.Duration
}

// rounds kills the leader so many times; it is started again after each time.
func (k *killing) rounds(ctx context.Context, a *app, cluster *peer.Cloakroom, n int) ([]outcome, error) {
	var outcomes []outcome
	for round := range n {
		o, err := k.round(ctx, cluster)
		if err != nil {
			return outcomes, fmt.Errorf("round %d: %w", round+1, err)
		}
		outcomes = append(outcomes, o)
		a.progressf("round %d of %d: %s", round+1, n, o)
	}
	return outcomes, nil
}

// round kills the leader once and starts it again.
func (k *killing) round(ctx context.Context, cluster *peer.Cloakroom) (outcome, error) {
	if err := cluster.WaitWhole(ctx); err != nil {
		return outcome{}, err
	}
	leader, err := cluster.Leader(ctx)
	if err != nil {
		return outcome{}, err
	}
	survivors := cluster.Service(leader)
	sessions := cluster.Sessions()
	puts, lookups := &witness{}, &witness{}
	runs := []run{{k.puts, survivors.Put(sessions, peer.ValueBytes), puts}}
	if k.lookups > 0 {
		runs = append(runs, run{k.lookups, survivors.Lookup(sessions, peer.Verify, ""), lookups})
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := k.start(ctx, runs)
	killed, gone, err := k.kill(ctx, cluster, leader)
	if err != nil {
		cancel()
		return outcome{}, errors.Join(err, <-done)
	}
	if err := <-done; err != nil {
		return outcome{}, err
	}
	o := newOutcome(cluster.NodeName(leader), killed, gone, puts, lookups)
	return o, cluster.Restart(ctx, leader)
}

// run is one of the loads of a round.
type run struct {
	rate    float64
	open    load.Open
	witness *witness
}

// start starts the loads; their joined errors come when all have ended.
func (k *killing) start(ctx context.Context, runs []run) <-chan error {
	errs := make(chan error, len(runs))
	var wg sync.WaitGroup
	for _, r := range runs {
		wg.Go(func() {
			_, err := load.Run(ctx, load.Config{
				Workers: k.connections, Duration: k.before + k.after, Rate: r.rate, Open: r.open, Observe: r.witness.observe,
			})
			errs <- err
		})
	}
	done := make(chan error, 1)
	go func() {
		wg.Wait()
		close(errs)
		var all []error
		for err := range errs {
			all = append(all, err)
		}
		done <- errors.Join(all...)
	}()
	return done
}

// kill waits until the load has run for a while and kills the node. gone is when it no longer existed: what was sent
// after that, it can't have answered.
func (k *killing) kill(ctx context.Context, cluster *peer.Cloakroom, node int) (killed, gone time.Time, err error) {
	select {
	case <-time.After(k.before):
	case <-ctx.Done():
		return killed, gone, ctx.Err()
	}
	killed = time.Now()
	if err := cluster.Kill(node); err != nil {
		return killed, gone, fmt.Errorf("kill the leader: %w", err)
	}
	return killed, time.Now(), nil
}

// witness remembers the calls of one load.
type witness struct {
	mu    sync.Mutex
	calls []load.Observation // bounded: rate × duration of a round
}

func (w *witness) observe(o load.Observation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, o)
}
