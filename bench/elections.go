package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// electionsCmd is `bench elections`.
type electionsCmd struct {
	clusterFlags `embed:""`
	Heartbeats   []time.Duration `default:"500ms,750ms,1s" placeholder:"TIME,…" help:"Heartbeat times to try one after the other, each on a new cluster (${default}); 0s: the program's own."`
	For          time.Duration   `name:"for" default:"5m" placeholder:"TIME" help:"How long to keep each cluster under load (${default})."`
	Writers      int             `default:"64" placeholder:"N" help:"Connections that put, closed loop (${default})."`
	Bytes        int             `default:"4096" placeholder:"N" help:"Size of a value (${default})."`
	Prime        int             `default:"230" placeholder:"MIB" help:"Mebibytes of values to put beforehand, without busy processes (${default}): nodes take a snapshot after 256 MiB of log, and one is wanted meanwhile."`
	Lookups      float64         `default:"1000" placeholder:"R" help:"Lookups a second, open loop (${default}); 0: none."`
	Logins       int             `default:"8" placeholder:"N" help:"Connections that log in, closed loop, every second one with a wrong password (${default}); 0: none."`
	Hogs         int             `default:"4" placeholder:"N" help:"Processes beside the nodes that do nothing but take processor time (${default})."`
	Kills        int             `default:"5" placeholder:"N" help:"How often to kill the leader afterwards (${default}), under 300 puts a second, the logins and the busy processes; 0: never."`
	After        time.Duration   `default:"6s" placeholder:"TIME" help:"How long to go on after a kill (${default}); a cluster that has not acknowledged a put by then has failed."`
	Sessions     int             `default:"20000" placeholder:"N" help:"Sessions to pick from at random (${default})."`
	JSON         bool            `name:"json" help:"Print the result as JSON."`
}

// Validate is called by the command line's parser.
func (c *electionsCmd) Validate() error {
	switch {
	case len(c.Heartbeats) == 0 || len(c.Heartbeats) > maxHeartbeats:
		return fmt.Errorf("--heartbeats: need 1 to %d", maxHeartbeats)
	case c.Sessions < 1 || c.Sessions > peer.MaxSessions:
		return fmt.Errorf("--sessions %d: need 1 to %d", c.Sessions, peer.MaxSessions)
	case c.Bytes < 1 || c.Bytes > peer.MaxValue:
		return fmt.Errorf("--bytes %d: need 1 to %d", c.Bytes, peer.MaxValue)
	case c.Prime < 0 || c.Prime > maxPrime:
		return fmt.Errorf("--prime %d: need 0 to %d", c.Prime, maxPrime)
	case c.Hogs < 0 || c.Hogs > peer.MaxHogs:
		return fmt.Errorf("--hogs %d: need 0 to %d", c.Hogs, peer.MaxHogs)
	case c.Kills < 0 || c.Kills > maxRounds:
		return fmt.Errorf("--kills %d: need 0 to %d", c.Kills, maxRounds)
	case c.After <= 0 || c.After > maxFailover:
		return fmt.Errorf("--after %v: need up to %v", c.After, maxFailover)
	case c.Logins < 0:
		return fmt.Errorf("--logins %d: need 0 or more", c.Logins)
	}
	for _, heartbeat := range c.Heartbeats {
		if heartbeat < 0 || heartbeat > maxHeartbeat {
			return fmt.Errorf("--heartbeats %v: need 0s to %v", heartbeat, maxHeartbeat)
		}
	}
	for _, f := range []loadFlags{
		{For: c.For, Connections: c.Writers},
		{For: c.For, Connections: max(1, c.Logins)},
		{For: c.For, Connections: c.Writers, Rate: c.Lookups},
	} {
		if err := f.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Run implements the command.
func (c *electionsCmd) Run(ctx context.Context, a *app) (err error) {
	dir, remove, err := c.workDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	r := &electionsReport{Seconds: c.For.Seconds(), Trials: []trial{}}
	for i, heartbeat := range c.Heartbeats {
		dir := filepath.Join(dir, fmt.Sprintf("%d-%v", i+1, heartbeat))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("make a directory for the servers: %w", err)
		}
		t, err := c.try(ctx, a, dir, self, heartbeat)
		if err != nil {
			return fmt.Errorf("heartbeat %v: %w", heartbeat, err)
		}
		r.Trials = append(r.Trials, t)
		a.progressf("heartbeat %s", t)
	}
	if c.JSON {
		err = writeJSON(a.stdout, r)
	} else {
		err = r.print(a.stdout, c)
	}
	return errors.Join(err, r.verdict())
}

// try measures one heartbeat on a cluster of its own.
func (c *electionsCmd) try(ctx context.Context, a *app, dir, self string, heartbeat time.Duration) (t trial, err error) {
	cluster := peer.NewCloakroom(peer.CloakroomConfig{
		Binary: c.Binary, Level: peer.Quorum, Spread: true, Heartbeat: heartbeat, Progress: a.fillProgress(c.Sessions),
	})
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	a.progressf("heartbeat %v: starting three nodes in %s", heartbeat, dir)
	if err := cluster.Start(ctx, dir); err != nil {
		return trial{}, err
	}
	if err := cluster.Fill(ctx, c.Sessions); err != nil {
		return trial{}, err
	}
	if err := c.prime(ctx, a, cluster); err != nil {
		return trial{}, err
	}
	hogs := peer.NewHogs(self, "hog")
	defer func() { err = errors.Join(err, hogs.Stop()) }()
	if err := hogs.Start(dir, c.Hogs); err != nil {
		return trial{}, err
	}
	t, err = c.measure(ctx, a, cluster)
	if err != nil {
		return trial{}, err
	}
	t.Heartbeat = heartbeat.String()
	if c.Kills > 0 {
		t.Failovers, err = c.kill(ctx, a, cluster)
	}
	return t, errors.Join(err, hogs.Ended())
}

// prime fills the logs.
func (c *electionsCmd) prime(ctx context.Context, a *app, cluster *peer.Cloakroom) error {
	puts := int64(c.Prime) << 20 / int64(c.Bytes)
	if puts == 0 {
		return nil
	}
	a.progressf("%d puts to fill the logs", puts)
	primed, enough := context.WithCancel(ctx)
	defer enough()
	var done atomic.Int64
	_, err := load.Run(primed, load.Config{
		Workers: c.Writers, Duration: load.MaxDuration, Open: cluster.Service().Put(cluster.Sessions(), c.Bytes),
		Observe: func(o load.Observation) {
			if o.Err == nil && done.Add(1) == puts {
				enough()
			}
		},
	})
	return errors.Join(err, ctx.Err())
}

// measure keeps the cluster under load and counts.
func (c *electionsCmd) measure(ctx context.Context, a *app, cluster *peer.Cloakroom) (trial, error) {
	if err := cluster.WaitWhole(ctx); err != nil {
		return trial{}, err
	}
	before, err := cluster.Counts(ctx)
	if err != nil {
		return trial{}, err
	}
	machine, known := peer.ReadMachineTime()
	results, err := c.load(ctx, a, cluster)
	if err != nil {
		return trial{}, err
	}
	machineAfter, still := peer.ReadMachineTime()
	after, err := cluster.Counts(ctx)
	if err != nil {
		return trial{}, err
	}
	t := trial{
		Elections: int(after.Term - before.Term),
		Found:     after.Leaders - before.Leaders,
		Snapshots: after.Snapshots - before.Snapshots,
		Writes:    newFlow(results.puts), Lookups: newFlow(results.lookups), Logins: newFlow(results.logins),
	}
	if known && still {
		spent := machineAfter.Since(machine)
		t.Busy, t.Stolen = spent.Share(spent.Busy), spent.Share(spent.Stolen)
	}
	return t, nil
}

// loads are the results of what ran at the same time; those that did not run are nil.
type loads struct{ puts, lookups, logins *load.Result }

// load runs all loads to their end.
func (c *electionsCmd) load(ctx context.Context, a *app, cluster *peer.Cloakroom) (loads, error) {
	s, sessions := cluster.Service(), cluster.Sessions()
	var results loads
	together := newTogether(ctx)
	together.run(&results.puts, load.Config{
		Workers: c.Writers, Duration: c.For, Open: s.Put(sessions, c.Bytes), Progress: a.progress,
	})
	if c.Lookups > 0 {
		together.run(&results.lookups, load.Config{
			Workers: c.Writers, Duration: c.For, Rate: c.Lookups, Open: s.Lookup(sessions, peer.Verify, ""),
		})
	}
	if c.Logins > 0 {
		together.run(&results.logins, load.Config{Workers: c.Logins, Duration: c.For, Open: s.Login()})
	}
	return results, together.wait()
}

// kill measures what a lost leader costs while logins go on. The next acknowledged put tells.
func (c *electionsCmd) kill(ctx context.Context, a *app, cluster *peer.Cloakroom) ([]outcome, error) {
	k := &killing{connections: failoverConnections, puts: failoverPuts, before: failoverBefore, after: c.After}
	if c.Logins == 0 {
		return k.rounds(ctx, a, cluster, c.Kills)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var ignored *load.Result
	logins := newTogether(ctx)
	logins.run(&ignored, load.Config{Workers: c.Logins, Duration: load.MaxDuration, Open: patient(cluster.Service().Login())})
	outcomes, err := k.rounds(ctx, a, cluster, c.Kills)
	cancel()
	return outcomes, errors.Join(err, logins.wait())
}
