package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

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
	outcomes, err := c.killing().rounds(ctx, a, cluster, c.Rounds)
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(a.stdout, outcomes)
	} else {
		err = printOutcomes(a.stdout, c, outcomes)
	}
	return errors.Join(err, verdict(outcomes))
}

// killing returns what is done in each round.
func (c *failoverCmd) killing() *killing {
	return &killing{connections: c.Connections, puts: c.Puts, lookups: c.Lookups, before: c.Before, after: c.After}
}
