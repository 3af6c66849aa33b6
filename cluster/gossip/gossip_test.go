package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/wire"
)

// node is a Gossip with a default configuration on the host of its name.
type node struct {
	*Gossip
	id string
}

// ring is a ring of keys that must be good.
func ring(keys ...wire.ClusterKey) *wire.KeyRing {
	r, err := wire.NewKeyRing(keys...)
	if err != nil {
		panic(err)
	}
	return r
}

func config(t *testing.T, n *clustertest.Network, host, id string) Config {
	return Config{
		NodeID:    id,
		Keys:      ring(wire.ClusterKey{1, 2, 3}),
		Meta:      Meta{ID: id, Name: id, Peer: host + ":7000", HTTP: host + ":8080", Expect: 3, MinVersion: 1, MaxVersion: 1},
		Seeds:     []string{"n1:7946"},
		Logger:    slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", id),
		Transport: n.Host(host).Memberlist(":7946"),
	}
}

// start opens a node; change may alter its configuration.
func start(t *testing.T, n *clustertest.Network, id string, change ...func(*Config)) *node {
	t.Helper()
	cfg := config(t, n, id, id)
	for _, c := range change {
		c(&cfg)
	}
	g, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return &node{g, id}
}

func inCluster(id string) func(*Config) {
	return func(c *Config) { c.Meta.ClusterID = id }
}

// states prints what a node believes, as "n1=alive n2=failed".
func states(n *node) string {
	var parts []string
	for _, m := range n.Members() {
		parts = append(parts, fmt.Sprintf("%s=%s", m.ID, m.State))
	}
	return strings.Join(parts, " ")
}

// await lets fake time pass until the condition holds, and returns how long that took.
func await(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !ok() {
		if time.Since(begin) >= limit {
			t.Fatalf("%s: not within %v", what, limit)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(begin)
}

func awaitStates(t *testing.T, limit time.Duration, want string, nodes ...*node) time.Duration {
	t.Helper()
	var took time.Duration
	for _, n := range nodes {
		took += await(t, limit-took, n.id+" sees "+want, func() bool { return states(n) == want })
	}
	return took
}

func member(n *node, id string) Member {
	for _, m := range n.Members() {
		if m.ID == id {
			return m
		}
	}
	return Member{}
}

// trio starts n1, n2 and n3 and waits until all know all.
func trio(t *testing.T, n *clustertest.Network, change ...func(*Config)) (n1, n2, n3 *node) {
	t.Helper()
	n.SetDelay(time.Millisecond)
	n1, n2, n3 = start(t, n, "n1", change...), start(t, n, "n2", change...), start(t, n, "n3", change...)
	awaitStates(t, 5*time.Second, allAlive, n1, n2, n3)
	return n1, n2, n3
}

const (
	allAlive     = "n1=alive n2=alive n3=alive"
	failedWithin = 10 * time.Second // one member of three; limits.go says how it comes about
)

func TestNodesFindEachOtherThroughOneSeedThatComesLast(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n.SetDelay(time.Millisecond)
		n2, n3 := start(t, n, "n2"), start(t, n, "n3")
		time.Sleep(20 * time.Second) // the seed has no address
		n.Host("n1")
		time.Sleep(20 * time.Second) // nothing runs there
		awaitStates(t, 0, "n2=alive", n2)
		if s := n2.Stats(); s.JoinAttempts < 8 || s.JoinFailures != s.JoinAttempts {
			t.Errorf("%+v", s)
		}
		n1 := start(t, n, "n1")
		awaitStates(t, aloneRetry+2*time.Second, allAlive, n1, n2, n3)
		got := member(n1, "n3")
		want := Member{Meta: config(t, n, "x", "n3").Meta, GossipAddr: n3.Addr(), State: StateAlive}
		want.Peer, want.HTTP = "n3:7000", "n3:8080"
		if got != want {
			t.Errorf("n1 knows n3 as %+v, want %+v", got, want)
		}
	})
}

// TestChangedNeverBlocksAndNeverForgets has a reader that only listens to the signal, on one node, and none on others.
func TestChangedNeverBlocksAndNeverForgets(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1, n2, n3 := trio(t, n)
		for i := range 2 * eventBacklog {
			m := config(t, n, fmt.Sprintf("x%d", i), "n2").Meta
			m.Name = fmt.Sprintf("name %d", i)
			if err := n2.SetMeta(m); err != nil {
				t.Fatal(err)
			}
		}
		last := fmt.Sprintf("name %d", 2*eventBacklog-1)
		for member(n1, "n2").Name != last {
			select {
			case <-n1.Changed():
			case <-time.After(5 * time.Second):
				t.Fatalf("no signal, and n2 is known as %q", member(n1, "n2").Name)
			}
		}
		await(t, 5*time.Second, "n3 sees the last name, with nobody at its channel", func() bool {
			return member(n3, "n2").Name == last
		})
	})
}

func TestSetMetaIsSeenByAll(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1, n2, n3 := trio(t, n)
		m := member(n3, "n3").Meta
		m.ClusterID, m.HasState, m.Expect, m.MaxVersion = "c1", true, 0, 2
		if err := n3.SetMeta(m); err != nil {
			t.Fatal(err)
		}
		for _, g := range []*node{n1, n2, n3} {
			await(t, 2*time.Second, g.id+" sees the change", func() bool { return member(g, "n3").Meta == m })
		}
		if s := n1.Stats(); s.Alive != 3 || s.Updates != 1 || s.Joins != 3 {
			t.Errorf("%+v", s)
		}

		for name, change := range map[string]func(*Meta){
			"another id":         func(m *Meta) { m.ID = "n4" },
			"another cluster id": func(m *Meta) { m.ClusterID = "c2" },
			"no cluster id":      func(m *Meta) { m.ClusterID = "" },
			"too large":          func(m *Meta) { m.Name = strings.Repeat("x", MaxMeta) },
		} {
			wrong := m
			change(&wrong)
			err := n3.SetMeta(wrong)
			if err == nil || errors.Is(err, ErrMetaTooLarge) != (name == "too large") {
				t.Errorf("%s: %v", name, err)
			}
		}
		time.Sleep(time.Minute)
		if got := member(n1, "n3").Meta; got != m {
			t.Errorf("after refused changes: %+v", got)
		}
	})
}

func TestDeadMemberFailsInTime(t *testing.T) {
	for seed := range int64(5) {
		clustertest.Run(t, seed, func(t *testing.T, n *clustertest.Network) {
			n1, n2, n3 := trio(t, n)
			n.Host("n3").Down()
			took := awaitStates(t, failedWithin, "n1=alive n2=alive n3=failed", n1, n2)
			t.Logf("failed after %v", took)
			if s := n1.Stats(); s.Alive != 2 || s.Failed != 1 || s.Failures != 1 || s.Leaves != 0 {
				t.Errorf("%+v", s)
			}
			if err := n3.Close(); err != nil {
				t.Fatal(err)
			}

			n.Host("n3").Up()
			start(t, n, "n3") // the same id at the same address
			awaitStates(t, 5*time.Second, allAlive, n1, n2)
		})
	}
}

func TestGoneMembersAreForgottenInTheEnd(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1, n2, _ := trio(t, n)
		n.Host("n3").Down()
		time.Sleep(keepGone)
		awaitStates(t, time.Second, "n1=alive n2=alive n3=failed", n1, n2)
		awaitStates(t, 10*time.Second, "n1=alive n2=alive", n1, n2)
	})
}

func TestLeave(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1, n2, n3 := trio(t, n)
		begin := time.Now()
		for range 2 { // a second time does no harm
			if err := n3.Leave(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took > 2*leaveWait {
			t.Errorf("leaving took %v", took)
		}
		awaitStates(t, 2*time.Second, "n1=alive n2=alive n3=left", n1, n2)
		attempts := n3.Stats().JoinAttempts
		time.Sleep(2 * rejoinEvery)
		if n3.Stats().JoinAttempts != attempts {
			t.Error("a node that has left looks for seeds")
		}
		if err := n3.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		awaitStates(t, 0, "n1=alive n2=alive n3=left", n1, n2)
		if s := n2.Stats(); s.Left != 1 || s.Leaves != 1 || s.Failures != 0 {
			t.Errorf("%+v", s)
		}
		if err := n3.Leave(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("leave after close: %v", err)
		}
		if err := n3.SetMeta(Meta{ID: "n3"}); !errors.Is(err, ErrClosed) {
			t.Errorf("metadata after close: %v", err)
		}
		start(t, n, "n3")
		awaitStates(t, 5*time.Second, allAlive, n1, n2)
	})
}

func TestLeaveIsBounded(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		_, _, n3 := trio(t, n)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		begin := time.Now()
		if err := n3.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Millisecond {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		if err := n3.SetMeta(Meta{ID: "n3"}); !errors.Is(err, ErrClosed) {
			t.Errorf("metadata of a node that leaves: %v", err)
		}
		// Close lets it finish its leave.
		if err := n3.Close(); err != nil || time.Since(begin) > 2*leaveWait {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1 := start(t, n, "n1")
		begin := time.Now()
		if err := n1.Leave(t.Context()); err != nil || time.Since(begin) != 0 {
			t.Errorf("leave of a single node: after %v, %v", time.Since(begin), err)
		}
	})
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		_, _, n3 := trio(t, n)
		n.Partition([]string{"n3"})
		begin := time.Now()
		err := n3.Leave(t.Context()) // may or may not be an error: packets go out, nobody hears them
		if took := time.Since(begin); took > 2*leaveWait {
			t.Errorf("leave of a node cut off: after %v, %v", took, err)
		}
	})
}

// TestPartitionHeals stays apart until the others are forgotten, so that only the seeds can bring them together.
func TestPartitionHeals(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		nodes := make([]*node, 5)
		for i := range nodes {
			nodes[i] = start(t, n, fmt.Sprintf("n%d", i+1))
		}
		const all = "n1=alive n2=alive n3=alive n4=alive n5=alive"
		awaitStates(t, 10*time.Second, all, nodes...)
		n.Partition([]string{"n1", "n2"}, []string{"n3", "n4", "n5"})
		awaitStates(t, 40*time.Second, "n1=alive n2=alive n3=failed n4=failed n5=failed", nodes[:2]...)
		awaitStates(t, 40*time.Second, "n1=failed n2=failed n3=alive n4=alive n5=alive", nodes[2:]...)
		time.Sleep(keepGone + time.Minute)
		awaitStates(t, 0, "n1=alive n2=alive", nodes[:2]...)
		n.Heal()
		took := awaitStates(t, rejoinEvery+10*time.Second, all, nodes...)
		t.Logf("together again after %v", took)
	})
}

// TestFailedMembersAreTriedToo has the only seed gone for good.
func TestFailedMembersAreTriedToo(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1, n2, n3 := trio(t, n)
		if err := n1.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.Host("n1").Down()
		awaitStates(t, 5*time.Second, "n1=left n2=alive n3=alive", n2, n3)
		n.Partition([]string{"n2"}, []string{"n3"})
		time.Sleep(2 * time.Minute)
		awaitStates(t, 0, "n1=left n2=alive n3=failed", n2)
		n.Heal()
		awaitStates(t, aloneRetry+streamTimeout+time.Second, "n1=left n2=alive n3=alive", n2, n3)
	})
}

func TestOneWayCutIsSurvived(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1, n2, n3 := trio(t, n)
		n.Cut("n2", "n3") // n1 still reaches both
		time.Sleep(5 * time.Minute)
		n.Heal()
		awaitStates(t, rejoinEvery, allAlive, n1, n2, n3)
		if s := n1.Stats(); s.Failures != 0 {
			t.Errorf("a node behind a working detour failed: %+v", s)
		}
	})
}

func TestLostPacketsFailNobody(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1, n2, n3 := trio(t, n)
		n.SetLoss(0.2)
		time.Sleep(10 * time.Minute)
		for _, g := range []*node{n1, n2, n3} {
			if s := g.Stats(); s.Failures != 0 || s.Alive != 3 {
				t.Errorf("%s: %+v", g.id, s)
			}
		}
	})
}
