package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// elections counts how often a cluster changes its leader on a machine that is far too busy.
type elections struct{}

var _ scenario = elections{}

const (
	leaderFound  = "leader found"
	putsFailing  = "puts failed under load"
	lookupsP99   = "lookups p99, ms"
	lookupsLost  = "lookups failed under load"
	loginsFailed = "logins failed"
	hostTook     = "taken by the host, %"
)

func (elections) about() about {
	return about{
		Name: "elections", What: "a new cluster for each heartbeat time, on a machine that is far too busy: 64 writers of 4 KiB, 1,000 lookups a second, 8 logins at once of which every second is wrong, and processes that do nothing but take processor time; then its leader is killed",
		Loop: "closed and open loops", OwnOnly: true, Optional: true,
		Main: []string{electionsSeen, leaderFound, snapshots, perSecond, p99, longestMs, putsFailing, lookupsP99, lookupsLost, loginsPerSecond, loginsFailed, machineBusy, hostTook, writeGap},
	}
}

func (elections) begin(_ context.Context, f *field) ([]turn, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	var turns []turn
	for _, heartbeat := range f.set.Heartbeats {
		turns = append(turns, one("heartbeat "+heartbeat.String(), 0, func(ctx context.Context) (reading, error) {
			return f.elect(ctx, self, heartbeat)
		}))
	}
	return turns, nil
}

// elect measures one heartbeat on a cluster of its own.
func (f *field) elect(ctx context.Context, self string, heartbeat time.Duration) (r reading, err error) {
	cfg := f.config()
	cfg.Level, cfg.Spread, cfg.Forwarded, cfg.Heartbeat, cfg.Lease = peer.Quorum, true, true, heartbeat, 0
	c, err := f.extraCluster(ctx, cfg, min(f.set.Few, f.set.Sessions))
	defer func() { err = errors.Join(err, f.endScenario()) }() // not two of them at once
	if err != nil {
		return reading{}, err
	}
	if err := f.app.putLog(ctx, c.Service().Put(c.Sessions(), electionValue), electionWriters, int64(f.set.Prime)<<20/electionValue); err != nil {
		return reading{}, err
	}
	dir, err := f.newDir("hogs")
	if err != nil {
		return reading{}, err
	}
	hogs := peer.NewHogs(self, "hog")
	defer func() { err = errors.Join(err, hogs.Stop()) }()
	if err := hogs.Start(dir, f.set.Hogs); err != nil {
		return reading{}, err
	}
	if r, err = f.underLoad(ctx, c); err != nil {
		return reading{}, err
	}
	gap, err := f.killUnderLogins(ctx, c)
	r.Figures[writeGap] = gap
	return r, errors.Join(err, hogs.Ended())
}

// underLoad keeps a cluster under load and counts.
func (f *field) underLoad(ctx context.Context, c *peer.Cloakroom) (reading, error) {
	if err := c.WaitWhole(ctx); err != nil {
		return reading{}, err
	}
	before, err := c.Counts(ctx)
	if err != nil {
		return reading{}, err
	}
	busy := startBusy()
	var puts, lookups, logins *load.Result
	s, loads := c.Service(), newTogether(ctx)
	loads.run(&puts, load.Config{Workers: electionWriters, Duration: f.set.RoundTime, Open: s.Put(c.Sessions(), electionValue)})
	loads.run(&lookups, load.Config{Workers: electionWriters, Duration: f.set.RoundTime, Rate: electionLookups, Open: s.Lookup(c.Sessions(), peer.Verify, "")})
	loads.run(&logins, load.Config{Workers: electionLogins, Duration: f.set.RoundTime, Open: s.Login()})
	if err := loads.wait(); err != nil {
		return reading{}, err
	}
	after, err := c.Counts(ctx)
	if err != nil {
		return reading{}, err
	}
	r := newReading(puts)
	r.Figures[electionsSeen] = float64(after.Term - before.Term)
	r.Figures[leaderFound] = float64(after.Leaders - before.Leaders)
	r.Figures[snapshots] = float64(after.Snapshots - before.Snapshots)
	r.Figures[putsFailing], r.Figures[lookupsLost], r.Figures[loginsFailed] = float64(puts.Failed), float64(lookups.Failed), float64(logins.Failed)
	r.Figures[lookupsP99] = load.PercentilesOf(lookups.Latency).P99 / 1000
	r.Figures[loginsPerSecond] = logins.PerSecond()
	busy.into(r)
	return r, nil
}

// killUnderLogins returns how long it takes until a put is acknowledged after the leader was killed, while logins go on.
func (f *field) killUnderLogins(ctx context.Context, c *peer.Cloakroom) (float64, error) {
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	var ignored *load.Result
	logins := newTogether(running)
	logins.run(&ignored, load.Config{Workers: electionLogins, Duration: load.MaxDuration, Open: patient(c.Service().Login())})
	l := &losing{connections: failoverConnections, puts: failoverPuts, before: f.set.RoundTime, after: failoverAfter, settle: f.set.After}
	o, err := l.round(ctx, c, c.Sessions(), lossKill)
	cancel()
	if err = errors.Join(err, logins.wait()); err == nil && !o.Recovered {
		err = errNoRecovery
	}
	return o.WriteGap, err
}

// busy measures how busy the machine is.
type busy struct {
	from  peer.MachineTime
	known bool
}

func startBusy() busy {
	from, known := peer.ReadMachineTime()
	return busy{from, known}
}

// into sets the figures of the time since then, where they are known.
func (b busy) into(r reading) {
	if now, still := peer.ReadMachineTime(); b.known && still {
		spent := now.Since(b.from)
		r.Figures[machineBusy], r.Figures[hostTook] = 100*spent.Share(spent.Busy), 100*spent.Share(spent.Stolen)
	}
}
