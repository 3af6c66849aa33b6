package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom/bench/peer"
)

// memoryUse measures what a session costs in memory.
type memoryUse struct{}

var _ scenario = memoryUse{}

const (
	bytesEach  = "bytes a session"
	residentMB = "resident, MB"
)

func (memoryUse) about() about {
	return about{
		Name: "memory", What: "how much a node's resident memory has grown with the sessions (user, realm, creation, expiry, and three attributes), and a redis-server's with as many hashes of the same seven fields and a TTL",
		Main: []string{bytesEach, residentMB}, OwnOnly: true, Once: true,
	}
}

func (memoryUse) begin(_ context.Context, f *field) ([]turn, error) {
	if !f.grown.known {
		return nil, fmt.Errorf("%w: this system does not tell how much memory a process has", errLeftOut)
	}
	turns := []turn{one(us, 0, func(context.Context) (reading, error) {
		return f.grown.reading(f.set.Sessions), nil
	})}
	if f.has("redis") {
		turns = append(turns, one("redis", 0, f.redisMemory))
	}
	return turns, nil
}

func (g growth) reading(sessions int) reading {
	return reading{Figures: map[string]float64{
		bytesEach: float64(g.after-g.before) / float64(sessions), residentMB: float64(g.after) / 1e6,
	}}
}

func (f *field) has(name string) bool {
	for _, p := range f.peers {
		if p.Name() == name {
			return true
		}
	}
	return false
}

// redisMemory fills a server of its own: the one that is asked holds strings.
func (f *field) redisMemory(ctx context.Context) (r reading, err error) {
	dir, err := f.newDir("redis-hashes")
	if err != nil {
		return reading{}, err
	}
	server := peer.NewRedis()
	defer func() { err = errors.Join(err, server.Stop()) }()
	if err := server.Start(ctx, dir); err != nil {
		return reading{}, err
	}
	before, known := peer.Resident(server.PIDs()[0])
	if err := server.FillHashes(ctx, f.set.Sessions); err != nil {
		return reading{}, err
	}
	if err := settleDown(ctx, f.set); err != nil {
		return reading{}, err
	}
	after, still := peer.Resident(server.PIDs()[0])
	return growth{before: before, after: after, known: known && still}.reading(f.set.Sessions), nil
}

// settleDown waits for a moment: what a fill has left to do is not to be measured.
func settleDown(ctx context.Context, set *settings) error { return wait(ctx, set.RoundTime) }

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// idleCost measures what nodes do while nobody asks for anything.
type idleCost struct{}

var _ scenario = idleCost{}

const idleShare = "CPU, % of a core"

func (idleCost) about() about {
	return about{
		Name: "idle", What: "processor time of one process while nobody asks for anything: the busiest node of the cluster, the busiest member of etcd, and the others",
		Loop: "none", Main: []string{idleShare}, OwnOnly: true,
	}
}

func (idleCost) begin(_ context.Context, f *field) ([]turn, error) {
	return []turn{{name: "everyone", take: f.idle}}, nil
}

// idle watches everyone at the same time: they do nothing to each other.
func (f *field) idle(ctx context.Context) ([]sample, error) {
	watched := []struct {
		who  string
		pids []int
	}{{us, f.cluster.PIDs()}}
	for _, p := range f.peers {
		watched = append(watched, struct {
			who  string
			pids []int
		}{p.Name(), p.PIDs()})
	}
	used := func() map[int]time.Duration {
		all := map[int]time.Duration{}
		for _, w := range watched {
			for _, pid := range w.pids {
				if t, known := peer.CPUTime([]int{pid}); known {
					all[pid] = t
				}
			}
		}
		return all
	}
	began, before := time.Now(), used()
	if err := wait(ctx, f.idleTime()); err != nil {
		return nil, err
	}
	took, after := time.Since(began), used()
	var samples []sample
	for _, w := range watched {
		most := time.Duration(-1)
		for _, pid := range w.pids {
			if then, known := before[pid]; known {
				most = max(most, after[pid]-then)
			}
		}
		if most >= 0 {
			samples = append(samples, sample{Who: w.who, reading: reading{Figures: map[string]float64{idleShare: 100 * most.Seconds() / took.Seconds()}}})
		}
	}
	return samples, nil
}

// idleTime is as long as a measurement, or as it takes to tell a percent.
func (f *field) idleTime() time.Duration {
	if f.set.RoundTime < time.Second { // somebody wants to see the program run, and no figures
		return f.set.RoundTime
	}
	return max(f.set.RoundTime, idleTime)
}

// restart measures how long a node is away.
type restart struct{}

var _ scenario = restart{}

const restartSeconds = "restart, s"

func (restart) about() about {
	return about{
		Name: "restart", What: "a follower is stopped in order and started again: from the start of its process to its first answer to GET /auth/verify at level lease",
		Loop: "none", Main: []string{restartSeconds}, OwnOnly: true,
	}
}

func (restart) begin(_ context.Context, f *field) ([]turn, error) {
	return []turn{one(us, 0, func(ctx context.Context) (reading, error) {
		if err := f.cluster.WaitWhole(ctx); err != nil {
			return reading{}, err
		}
		leader, err := f.cluster.Leader(ctx)
		if err != nil {
			return reading{}, err
		}
		node := f.cluster.Follower(leader)
		if err := f.cluster.Terminate(node); err != nil {
			return reading{}, err
		}
		began := time.Now()
		if err := f.cluster.Launch(node); err != nil {
			return reading{}, err
		}
		if err := f.firstAnswer(ctx, node); err != nil {
			return reading{}, err
		}
		return reading{Figures: map[string]float64{restartSeconds: time.Since(began).Seconds()}}, f.cluster.WaitWhole(ctx)
	})}, nil
}

// firstAnswer returns when a node looks a session up.
func (f *field) firstAnswer(ctx context.Context, node int) error {
	ctx, cancel := context.WithTimeout(ctx, restartAtMost)
	defer cancel()
	caller, err := f.cluster.ServiceAt(node).Lookup(f.sessions, peer.Verify, "")(ctx, 0)
	if err != nil {
		return err
	}
	for {
		err := caller.Call(ctx)
		if err == nil {
			return caller.Close()
		}
		if late := wait(ctx, restartPolls); late != nil {
			return errors.Join(fmt.Errorf("restart %s: %w", f.cluster.NodeName(node), err), late, caller.Close())
		}
	}
}
