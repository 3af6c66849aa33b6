package main

import (
	"context"
	"slices"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// lookups measures how many lookups a second one node answers.
type lookups struct{}

var _ scenario = lookups{}

func (lookups) about() about {
	return about{
		Name: "lookup", What: "lookups of sessions at level lease on one node: GET /auth/verify as a proxy asks (forward auth), GET /api/session as an application does; random sessions of all, or of a hot set of 1,000",
		Loop: closedLoop, Main: throughput,
	}
}

func (lookups) begin(_ context.Context, f *field) ([]turn, error) {
	hot, _ := f.sessions.Split(min(hotSessions, f.sessions.Len()))
	of := func(route peer.Route, sessions *peer.Sessions) func(*peer.Service) load.Open {
		return func(s *peer.Service) load.Open { return s.Lookup(sessions, route, "") }
	}
	leader, follower := f.spotNamed(atLeader), f.spotNamed(atFollower)
	turns := []turn{
		f.loaded("verify, leader", 0, leader, f.set.closed, of(peer.Verify, f.sessions)),
		f.loaded("verify, follower", 0, follower, f.set.closed, of(peer.Verify, f.sessions)),
		f.loaded("verify, leader, hot set", 0, leader, f.set.closed, of(peer.Verify, hot)),
		f.loaded("session, leader", 0, leader, f.set.closed, of(peer.Session, f.sessions)),
		f.loaded("session, leader, hot set", 0, leader, f.set.closed, of(peer.Session, hot)),
	}
	if f.cluster == nil { // one does not know who leads there
		turns = []turn{
			f.loaded("verify, nodes", 0, leader, f.set.closed, of(peer.Verify, f.sessions)),
			f.loaded("verify, nodes, hot set", 0, leader, f.set.closed, of(peer.Verify, hot)),
			f.loaded("session, nodes", 0, leader, f.set.closed, of(peer.Session, f.sessions)),
		}
	}
	others, err := f.others(0, f.set.closed, lookupOf(peer.Lease))
	// etcd has no lease reads: what it calls linearizable asks a majority, and stands in scenario quorum.
	others = slices.DeleteFunc(others, func(t turn) bool { return t.name == "etcd" })
	return append(turns, others...), err
}

// quorumLookups measures lookups that ask a majority.
type quorumLookups struct{}

var _ scenario = quorumLookups{}

func (quorumLookups) about() about {
	return about{
		Name: "quorum", What: "linearizable lookups by asking a majority (level quorum, GET /api/session) on the leader, and etcd's linearizable get on its own",
		Loop: closedLoop, Main: throughput,
	}
}

func (quorumLookups) begin(_ context.Context, f *field) ([]turn, error) {
	turns := []turn{f.everyPID(us, f.spotNamed(atLeader), f.set.closed, func(s *peer.Service) load.Open {
		return s.Lookup(f.sessions, peer.Session, peer.Quorum)
	})}
	others, err := f.others(0, f.set.closed, lookupOf(peer.Quorum))
	return append(turns, others...), err
}

// everyPID is loaded for requests that cost all nodes something: all of their processor time counts.
func (f *field) everyPID(who string, at func(context.Context) (spot, error), loop func(load.Open) load.Config, open func(*peer.Service) load.Open) turn {
	return f.loaded(who, 0, func(ctx context.Context) (spot, error) {
		s, err := at(ctx)
		s.pids = f.everywhere().pids
		return s, err
	}, loop, open)
}

// byConnections measures throughput for several numbers of connections.
type byConnections struct{}

var _ scenario = byConnections{}

func (byConnections) about() about {
	return about{
		Name: "connections", What: "lookups (GET /auth/verify) of random sessions on the leader, by the number of connections",
		Loop: closedLoop + ", as many connections as the row says", Main: throughput, Axis: "connections", Plot: perSecond,
	}
}

func (byConnections) begin(_ context.Context, f *field) ([]turn, error) {
	var turns []turn
	for _, n := range f.set.Loads {
		loop := func(open load.Open) load.Config {
			cfg := f.set.closed(open)
			cfg.Workers = n
			return cfg
		}
		turns = append(turns, f.loaded(us, float64(n), f.spotNamed(atLeader), loop, func(s *peer.Service) load.Open {
			return s.Lookup(f.sessions, peer.Verify, "")
		}))
		others, err := f.others(float64(n), loop, func(p peer.Peer) (load.Open, error) {
			if p.Name() == "etcd" {
				return nil, peer.ErrNotOffered
			}
			return p.Lookup(peer.Lease)
		})
		if err != nil {
			return nil, err
		}
		turns = append(turns, others...)
	}
	return turns, nil
}

// latency measures how long lookups take at a fixed rate.
type latency struct{}

var _ scenario = latency{}

func (latency) about() about {
	return about{
		Name: "latency", What: "latency of lookups (GET /auth/verify) of random sessions on the leader, at a fixed rate, counted from when each should have been sent; also of a second cluster with few sessions",
		Loop: openLoop, Main: latencies,
	}
}

// usFew is the cluster with few sessions.
const usFew = us + ", few sessions"

func (latency) begin(ctx context.Context, f *field) ([]turn, error) {
	turns := []turn{f.loaded(us, 0, f.spotNamed(atLeader), f.set.open, func(s *peer.Service) load.Open {
		return s.Lookup(f.sessions, peer.Verify, "")
	})}
	if f.cluster != nil && f.set.Few < f.set.Sessions {
		few, err := f.extraCluster(ctx, f.config(), f.set.Few)
		if err != nil {
			return nil, err
		}
		turns = append(turns, one(usFew, 0, func(ctx context.Context) (reading, error) {
			leader, err := few.Leader(ctx)
			if err != nil {
				return reading{}, err
			}
			return take(ctx, few.PIDAt(leader), f.set.open(few.ServiceAt(leader).Lookup(few.Sessions(), peer.Verify, "")), f.set.AllowErrors)
		}))
	}
	others, err := f.others(0, f.set.open, lookupOf(peer.Lease))
	others = slices.DeleteFunc(others, func(t turn) bool { return t.name == "etcd" })
	return append(turns, others...), err
}

// bySize measures clusters of several sizes.
type bySize struct{}

var _ scenario = bySize{}

func (bySize) about() about {
	return about{
		Name: "size", What: "lookups (GET /auth/verify) on all nodes in turn, by the number of nodes; they share one machine, so this shows what nodes cost each other, and not what more machines bring",
		Loop: closedLoop, Main: throughput, Axis: "nodes", Plot: perSecond, OwnOnly: true,
	}
}

func (bySize) begin(ctx context.Context, f *field) ([]turn, error) {
	var turns []turn
	for _, n := range f.set.Sizes {
		cfg := f.config()
		cfg.Nodes = n
		c, err := f.extraCluster(ctx, cfg, min(f.set.Few, f.set.Sessions))
		if err != nil {
			return nil, err
		}
		turns = append(turns, one(us, float64(n), func(ctx context.Context) (reading, error) {
			return take(ctx, c.PIDs(), f.set.closed(c.Service().Lookup(c.Sessions(), peer.Verify, "")), f.set.AllowErrors)
		}))
	}
	return turns, nil
}
