package main

import (
	"context"
)

// failover measures what the loss of a node costs.
type failover struct {
	name string
	how  loss
}

var _ scenario = failover{}

func (s failover) about() about {
	what := map[loss]string{
		lossKill:   "the leader is killed with SIGKILL",
		lossStop:   "the leader is stopped in order",
		lossFreeze: "a follower is frozen with SIGSTOP for a while",
	}[s.how]
	return about{
		Name: s.name, What: what + " under load: lookups (GET /auth/verify) of sessions that no put changes, of some that puts do change about once a second, and these puts, all at the other two nodes; waits count from when a request should have been sent",
		Loop: openLoop + ", and 300 puts", Main: lossFigures, OwnOnly: true, Optional: s.how != lossKill,
	}
}

func (s failover) begin(_ context.Context, f *field) ([]turn, error) {
	l := &losing{
		connections: failoverConnections, puts: failoverPuts, lookups: f.set.Rate, changed: changedShare * f.set.Rate,
		before: f.set.RoundTime, after: failoverAfter, settle: f.set.After,
	}
	return []turn{one(us, 0, func(ctx context.Context) (reading, error) {
		o, err := l.round(ctx, f.cluster, f.sessions, s.how)
		if err != nil {
			return reading{}, err
		}
		f.app.progressf("%s", o)
		if !o.Recovered {
			return reading{}, errNoRecovery
		}
		return o.reading(), nil
	})}, nil
}
