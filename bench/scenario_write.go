package main

import (
	"context"
	"errors"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// puts measures how many changes a second a cluster makes durable.
type puts struct{}

var _ scenario = puts{}

func (puts) about() about {
	return about{
		Name: "put", What: "one attribute of 66 bytes of a random session is overwritten (POST /api/2/session/put) at the leader, synced to the disks of a majority before the answer; put at etcd's leader, SET of redis with appendfsync always",
		Loop: closedLoop + ", 256 callers", Main: append([]string{p50, p99}, throughput...),
	}
}

func (puts) begin(_ context.Context, f *field) ([]turn, error) {
	loop := func(open load.Open) load.Config {
		cfg := f.set.closed(open)
		cfg.Workers = putCallers
		return cfg
	}
	return f.puts(loop)
}

// puts returns the turns of everyone who can put.
func (f *field) puts(loop func(load.Open) load.Config) ([]turn, error) {
	turns := []turn{f.everyPID(us, f.spotNamed(atLeader), loop, func(s *peer.Service) load.Open {
		return s.Put(f.sessions, peer.ValueBytes)
	})}
	others, err := f.others(0, loop, putOf)
	return append(turns, others...), err
}

// lonePuts measures how long a put takes that nobody disturbs.
type lonePuts struct{}

var _ scenario = lonePuts{}

func (lonePuts) about() about {
	return about{
		Name: "lone-put", What: "how long one put takes while nobody else asks for anything",
		Loop: openLoop + ", 50 a second", Main: latencies,
	}
}

func (lonePuts) begin(_ context.Context, f *field) ([]turn, error) {
	return f.puts(func(open load.Open) load.Config {
		cfg := f.set.open(open)
		cfg.Workers, cfg.Rate, cfg.Duration = loneConnections, loneRate, 3*cfg.Duration // few a second: a tail needs more
		return cfg
	})
}

// creates measures how many sessions a second can be made.
type creates struct{}

var _ scenario = creates{}

func (creates) about() about {
	return about{
		Name: "create", What: "sessions made by a service (POST /api/sessions), one a call, and 100 a call over 8 of the connections; the oldest of a user goes when it has too many",
		Loop: closedLoop, Main: append([]string{sessionsPerSecond, p50, p99}, throughput...),
	}
}

const sessionsPerSecond = "sessions a second"

func (creates) begin(ctx context.Context, f *field) ([]turn, error) {
	s, err := f.opened(ctx)
	if err != nil {
		return nil, err
	}
	// Users of their own, since the sessions that all others look up must stay.
	own, err := s.FillFor(ctx, "bench-create", min(createSessions, f.set.Sessions), func(int) {})
	if err != nil {
		return nil, err
	}
	created := func(who string, batch, connections int) turn {
		return one(who, 0, func(ctx context.Context) (reading, error) {
			cfg := f.set.closed(s.Create(own, batch))
			cfg.Workers = connections
			r, err := take(ctx, f.everywhere().pids, cfg, f.set.AllowErrors)
			if err == nil {
				r.Figures[sessionsPerSecond] = r.Figures[perSecond] * float64(batch)
			}
			return r, err
		})
	}
	return []turn{created("one a call", 1, f.set.Connections), created("100 a call", createBatch, min(createConnections, f.set.Connections))}, nil
}

// opened returns the nodes' API with a login of its own, until the scenario is over.
func (f *field) opened(ctx context.Context) (*peer.Service, error) {
	s := *f.service
	if f.cluster != nil {
		s = *f.cluster.Service()
	}
	err := s.Open(ctx)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	f.later(s.Close)
	return &s, nil
}

// mixed measures lookups with some puts among them.
type mixed struct{}

var _ scenario = mixed{}

func (mixed) about() about {
	return about{
		Name: "mixed", What: "95 % lookups (GET /auth/verify), 5 % puts, of random sessions, on all nodes in turn; how many lookups a node could not answer from its own memory",
		Loop: closedLoop, Main: append([]string{askedAnother, waitedHere}, append([]string{p50, p99}, throughput...)...),
	}
}

const (
	askedAnother = "asked another node, %"
	waitedHere   = "waited in their node, %"
)

func (mixed) begin(_ context.Context, f *field) ([]turn, error) {
	return []turn{one(us, 0, func(ctx context.Context) (reading, error) {
		at := f.everywhere()
		open := peer.Mix(at.service.Lookup(f.sessions, peer.Verify, ""), at.service.Put(f.sessions, peer.ValueBytes), mixedWrites)
		return f.counted(ctx, func() (reading, error) { return take(ctx, at.pids, f.set.closed(open), f.set.AllowErrors) })
	})}, nil
}

// counted adds to a reading how the nodes answered lookups meanwhile, where they can be asked.
func (f *field) counted(ctx context.Context, measure func() (reading, error)) (reading, error) {
	if f.cluster == nil {
		return measure()
	}
	if err := f.cluster.WaitWhole(ctx); err != nil {
		return reading{}, err
	}
	before, err := f.cluster.Lookups(ctx)
	if err != nil {
		return reading{}, err
	}
	r, err := measure()
	if err != nil {
		return reading{}, err
	}
	after, err := f.cluster.Lookups(ctx)
	if err != nil {
		return reading{}, err
	}
	since := after.Since(before)
	if since.All() == 0 {
		return reading{}, errors.New("the nodes have counted no lookup, so nobody knows how they were answered")
	}
	r.answered(since)
	return r, nil
}

func (r reading) answered(l peer.Lookups) {
	r.Figures[askedAnother], r.Figures[waitedHere] = 100*l.Left(), 100*l.Share(l.Waited)
}
