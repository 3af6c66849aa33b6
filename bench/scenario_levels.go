package main

import (
	"context"
	"errors"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// levels compares the levels of reads.
type levels struct{}

var _ scenario = levels{}

func (levels) about() about {
	return about{
		Name: "levels", What: "lookups (GET /api/session, the level by header) at each level, on the leader and on a follower; how many had to ask another node",
		Loop: closedLoop, Main: append([]string{askedAnother, p99}, throughput...), OwnOnly: true, Optional: true,
	}
}

func (levels) begin(_ context.Context, f *field) ([]turn, error) {
	var turns []turn
	for _, at := range []string{atLeader, atFollower} {
		for _, level := range []peer.Level{peer.Lease, peer.Local, peer.Quorum} { // one after the other: these are compared most closely
			turns = append(turns, one(string(level)+", "+at, 0, func(ctx context.Context) (reading, error) {
				return f.levelAt(ctx, at, level)
			}))
		}
	}
	return turns, nil
}

// levelAt measures one level on one node, which must count the lookups as that: a level that is not allowed is not measured by
// accident.
func (f *field) levelAt(ctx context.Context, at string, level peer.Level) (reading, error) {
	s, err := f.spotNamed(at)(ctx)
	if err != nil {
		return reading{}, err
	}
	before, err := f.cluster.LookupsAt(ctx, s.node)
	if err != nil {
		return reading{}, err
	}
	r, err := take(ctx, s.pids, f.set.closed(s.service.Lookup(f.sessions, peer.Session, level)), f.set.AllowErrors)
	if err != nil {
		return reading{}, err
	}
	after, err := f.cluster.LookupsAt(ctx, s.node)
	if err != nil {
		return reading{}, err
	}
	since := after[level].Since(before[level])
	if since.All() == 0 {
		return reading{}, errNotCounted
	}
	r.answered(since)
	return r, nil
}

// errNotCounted is a level that the node did not answer at.
var errNotCounted = errors.New("the node has counted no lookup at this level")

// flood measures lookups during many wrong logins.
type flood struct{}

var _ scenario = flood{}

const (
	loginsPerSecond = "logins a second"
	lookedAt        = "passwords looked at"
	throttledLogins = "throttled"
	busyLogins      = "busy"
	electionsSeen   = "elections"
	machineBusy     = "processors busy, %"
)

func (flood) about() about {
	return about{
		Name: "flood", What: "1,000 lookups a second on a cluster without and during a flood of wrong logins from 100,000 addresses: of as many names, so that passwords are looked at as fast as the nodes do, or of the administrator's alone",
		Loop: "open loops", Main: append([]string{loginsPerSecond, lookedAt, throttledLogins, busyLogins, electionsSeen, machineBusy}, latencies...), OwnOnly: true, Optional: true,
	}
}

func (flood) begin(ctx context.Context, f *field) ([]turn, error) {
	cfg := f.config()
	cfg.Spread, cfg.Forwarded = true, true
	c, err := f.extraCluster(ctx, cfg, min(f.set.Few, f.set.Sessions))
	if err != nil {
		return nil, err
	}
	var turns []turn
	for _, t := range []struct {
		who   string
		flood *peer.Flood
	}{{quiet, nil}, {"many names", &peer.Flood{Users: floodAddresses}}, {"one name", &peer.Flood{}}} {
		turns = append(turns, one(t.who, 0, func(ctx context.Context) (reading, error) { return f.flooded(ctx, c, t.flood) }))
	}
	return turns, nil
}

// flooded takes one reading; kind nil is without a flood. Lookups that fail are a finding here.
func (f *field) flooded(ctx context.Context, c *peer.Cloakroom, kind *peer.Flood) (reading, error) {
	if err := c.WaitWhole(ctx); err != nil {
		return reading{}, err
	}
	before, err := c.Counts(ctx)
	if err != nil {
		return reading{}, err
	}
	busy := startBusy()
	s := c.Service()
	var lookups, logins *load.Result
	loads := newTogether(ctx)
	cfg := f.set.open(s.Lookup(c.Sessions(), peer.Verify, ""))
	cfg.Rate = floodLookups
	loads.run(&lookups, cfg)
	wrong := &peer.Flood{Addresses: floodAddresses}
	if kind != nil {
		wrong.Users = kind.Users
		cfg := f.set.open(s.Flood(wrong))
		cfg.Rate, cfg.Workers = floodRate, floodConnections
		loads.run(&logins, cfg)
	}
	if err := loads.wait(); err != nil {
		return reading{}, err
	}
	after, err := c.Counts(ctx)
	if err != nil {
		return reading{}, err
	}
	r := newReading(lookups)
	r.Figures[electionsSeen] = float64(after.Term - before.Term)
	busy.into(r)
	if logins != nil {
		r.Figures[loginsPerSecond] = logins.PerSecond()
	}
	answers := wrong.Counts()
	r.Figures[lookedAt], r.Figures[throttledLogins], r.Figures[busyLogins] = float64(answers.Refused), float64(answers.Throttled), float64(answers.Busy)
	return r, nil
}
