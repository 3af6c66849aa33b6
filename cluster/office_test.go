package cluster_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/idle"
	"cloakroom/cluster/session"
)

// Nodes that are all to be left alone do not pass the leadership around among them, whether they stop or not.
func TestLeadershipIsNotPassedAround(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		time.Sleep(5 * time.Second)
		before := h.nodes["n1"].Stats().Term
		var group sync.WaitGroup
		for _, name := range h.names {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if err := h.nodes[name].SetDraining(ctx, true); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		time.Sleep(time.Minute)
		if terms := h.nodes["n1"].Stats().Term - before; terms > 3 {
			t.Fatalf("%d elections", terms)
		}
		h.do(h.nodes["n2"], &session.Tick{})
	})
}

// A leader that is to go does not hand over to a voter that has died.
func TestDeadVoterIsNoSuccessor(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		leader := h.leader()
		for _, dead := range h.others(leader) {
			time.Sleep(10 * time.Second) // all have come as far, as the leader knows
			n.Partition([]string{dead}, h.others(dead))
			h.operate(func(ctx context.Context) error { return h.nodes[leader].TransferLeadership(ctx, "") })
			h.until("the living one leads", func() bool { return h.leader() != leader })
			n.Heal()
			time.Sleep(10 * time.Second)
			h.operate(func(ctx context.Context) error { return h.nodes[leader].TransferLeadership(ctx, leader) })
			h.until("the first one leads again", func() bool { return h.leader() == leader })
		}
	})
}

// A step of the wall clock does not stop a voter that is alone, though its read replica is dead.
func TestClockStepOfALoneVoter(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 1, "n1")
		var step atomic.Int64
		right := idle.System()
		h.start("n1", func(c *cluster.Config) {
			c.Clocks = &idle.Source{Mono: right.Mono, Wall: func() time.Time { return time.Now().Add(time.Duration(step.Load())) }}
		})
		h.ready("n1")
		h.host["r"] = "r"
		h.start("r", replica, func(c *cluster.Config) { c.Join = []string{"n1:7001"} })
		h.ready("r")
		h.crash("r")
		step.Store(int64(time.Second))
		time.Sleep(20 * time.Second)
		h.do(h.nodes["n1"], &session.Tick{})
		if err := h.nodes["n1"].Ready(); err != nil {
			t.Fatal(err)
		}
	})
}
