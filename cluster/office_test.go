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

// A write that a lost node holds up is answered when the lease of that node has run out, however long leases are.
func TestWritesOutlastTheLongestLease(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.lease = cluster.MaxLease
		h.startAll()
		h.user(h.nodes["n1"])
		h.create(h.nodes["n1"], key(1))
		time.Sleep(2 * cluster.MaxLease)
		h.crash(h.others(h.leader())[0])
		begun := time.Now()
		var group sync.WaitGroup
		for name, c := range h.nodes {
			group.Go(func() {
				_, err := do(t, c, &session.Put{Key: key(1), Attrs: []session.Attr{{Key: "by", Value: name}}})
				if took := time.Since(begun); err != nil || took < cluster.MaxLease/2 || took > cluster.MaxLease+time.Second {
					t.Errorf("%s: after %v: %v", name, took, err)
				}
			})
		}
		group.Wait()
	})
}

// In an orderly hand-over writes wait for an election, not until leases run out; and lookups are answered all the while.
func TestHandOverIsQuick(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		const most = 100 * time.Millisecond
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.user(h.nodes["n1"])
		h.create(h.nodes["n1"], key(1))
		time.Sleep(5 * time.Second)
		ctx, stop := context.WithCancel(t.Context())
		var group sync.WaitGroup
		var longest [2]atomic.Int64 // write, lookup
		timed := func(i int, op func() error) {
			for ctx.Err() == nil {
				begun := time.Now()
				if err := op(); err != nil {
					t.Error(err)
				}
				if took := int64(time.Since(begun)); took > longest[i].Load() {
					longest[i].Store(took)
				}
				time.Sleep(3 * time.Millisecond)
			}
		}
		for _, name := range h.names {
			group.Go(func() {
				timed(0, func() error {
					_, err := do(t, h.nodes[name], &session.Put{Key: key(1), Attrs: []session.Attr{{Key: "by", Value: name}}})
					return err
				})
			})
			group.Go(func() {
				timed(1, func() error {
					_, err := use(t, h.nodes[name], key(1), cluster.Lease)
					return err
				})
			})
		}
		before := h.nodes["n1"].Stats().Term
		for range 2 {
			h.operate(func(ctx context.Context) error { return h.nodes["n1"].TransferLeadership(ctx, "") })
			time.Sleep(time.Second)
		}
		stop()
		group.Wait()
		if h.nodes["n1"].Stats().Term < before+2 {
			t.Error("nothing was handed over")
		}
		t.Logf("longest write %v, longest lookup %v", time.Duration(longest[0].Load()), time.Duration(longest[1].Load()))
		if w := time.Duration(longest[0].Load()); w > most {
			t.Errorf("a write took %v", w)
		}
		if l := time.Duration(longest[1].Load()); l > most {
			t.Errorf("a lookup took %v", l)
		}
	})
}

// A node that is elected, loses the others before its first tick is committed, and is elected again, takes its office.
func TestElectedLostElected(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		time.Sleep(10 * time.Second)
		n.SetDelay(5 * time.Millisecond)
		first := h.leader()
		rest := h.others(first)
		h.crash(first)
		var who string
		for who == "" {
			for _, name := range rest {
				if h.nodes[name].Stats().IsLeader {
					who = name
				}
			}
			time.Sleep(100 * time.Microsecond)
		}
		n.Partition([]string{rest[0]}, []string{rest[1]})
		time.Sleep(3 * time.Second)
		n.Heal()
		time.Sleep(30 * time.Second)
		for _, name := range rest {
			s := h.nodes[name].Stats()
			t.Log(name, "leads", s.IsLeader, "term", s.Term, "applied", s.AppliedIndex, "commit", s.CommitIndex, "frozen", s.Lookup.Frozen, "held", s.Lookup.Held)
		}
		if _, err := do(t, h.nodes[rest[0]], &session.Tick{}); err != nil {
			t.Fatal("30 s after the network is whole: ", err)
		}
	})
}
