package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// failoverCmd is `bench failover`.
type failoverCmd struct {
	clusterFlags `embed:""`
	Rounds       int           `default:"5" placeholder:"N" help:"How often to kill the leader (${default}); it is started again after each time."`
	Puts         float64       `default:"300" placeholder:"R" help:"Puts a second, open loop, to the nodes that are not killed (${default})."`
	Lookups      float64       `default:"2000" placeholder:"R" help:"Lookups a second, open loop, to the same nodes (${default}); 0: none."`
	Consistency  string        `default:"quorum" enum:"local,quorum" placeholder:"LEVEL" help:"Level of the nodes' reads: local or quorum (${default})."`
	Connections  int           `short:"c" default:"64" placeholder:"N" help:"Connections for puts, and as many for lookups (${default})."`
	Sessions     int           `default:"2000" placeholder:"N" help:"Sessions to pick from at random (${default})."`
	Before       time.Duration `default:"2s" placeholder:"TIME" help:"How long to send requests before the kill (${default})."`
	After        time.Duration `default:"8s" placeholder:"TIME" help:"How long to go on after it (${default}); a cluster that has not acknowledged a put by then has failed."`
	JSON         bool          `name:"json" help:"Print the result as JSON."`
}

// Validate is called by the command line's parser.
func (c *failoverCmd) Validate() error {
	switch {
	case c.Rounds < 1 || c.Rounds > maxRounds:
		return fmt.Errorf("--rounds %d: need 1 to %d", c.Rounds, maxRounds)
	case c.Sessions < 1 || c.Sessions > peer.MaxSessions:
		return fmt.Errorf("--sessions %d: need 1 to %d", c.Sessions, peer.MaxSessions)
	case c.Before < 0 || c.Before > maxFailover || c.After <= 0 || c.After > maxFailover:
		return fmt.Errorf("--before %v --after %v: need up to %v each", c.Before, c.After, maxFailover)
	case c.Puts <= 0:
		return fmt.Errorf("--puts %g: need more than 0, or nothing shows that writes are back", c.Puts)
	}
	for _, rate := range []float64{c.Puts, c.Lookups} {
		f := loadFlags{For: c.Before + c.After, Connections: c.Connections, Rate: rate}
		if err := f.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Run implements the command.
func (c *failoverCmd) Run(ctx context.Context, a *app) (err error) {
	dir, remove, err := c.workDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	level, err := peer.ParseLevel(c.Consistency)
	if err != nil {
		return usageError{err}
	}
	cluster := peer.NewCloakroom(peer.CloakroomConfig{Binary: c.Binary, Level: level, Progress: a.fillProgress(c.Sessions)})
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	a.progressf("starting three nodes in %s", filepath.Base(dir))
	if err := cluster.Start(ctx, dir); err != nil {
		return err
	}
	if err := cluster.Fill(ctx, c.Sessions); err != nil {
		return err
	}
	var outcomes []outcome
	for round := range c.Rounds {
		o, err := c.round(ctx, cluster)
		if err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		outcomes = append(outcomes, o)
		a.progressf("round %d of %d: %s", round+1, c.Rounds, o)
	}
	if c.JSON {
		err = writeJSON(a.stdout, outcomes)
	} else {
		err = printOutcomes(a.stdout, c, outcomes)
	}
	return errors.Join(err, verdict(outcomes))
}

// round kills the leader once and starts it again.
func (c *failoverCmd) round(ctx context.Context, cluster *peer.Cloakroom) (outcome, error) {
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
	runs := []run{{c.Puts, survivors.Put(sessions, peer.ValueBytes), puts}}
	if c.Lookups > 0 {
		runs = append(runs, run{c.Lookups, survivors.Lookup(sessions, peer.Verify, ""), lookups})
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := c.start(ctx, runs)
	killed, gone, err := c.kill(ctx, cluster, leader)
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
func (c *failoverCmd) start(ctx context.Context, runs []run) <-chan error {
	errs := make(chan error, len(runs))
	var wg sync.WaitGroup
	for _, r := range runs {
		wg.Go(func() {
			_, err := load.Run(ctx, load.Config{
				Workers: c.Connections, Duration: c.Before + c.After, Rate: r.rate, Open: r.open, Observe: r.witness.observe,
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
func (c *failoverCmd) kill(ctx context.Context, cluster *peer.Cloakroom, node int) (killed, gone time.Time, err error) {
	select {
	case <-time.After(c.Before):
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
