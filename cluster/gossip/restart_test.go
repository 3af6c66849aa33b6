package gossip

import (
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
)

func TestRestartWithAnotherAddress(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1, n2, n3 := trio(t, n)
		n.Host("n3").Down()
		if err := n3.Close(); err != nil {
			t.Fatal(err)
		}
		n3 = &node{id: "n3"}
		var err error
		if n3.Gossip, err = Open(config(t, n, "elsewhere", "n3")); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = n3.Close() }()
		// The old address must fail, stay failed for reclaimTime, and then be tried again.
		took := await(t, failedWithin+reclaimTime+aloneRetry+time.Second, "n1 and n2 see the new address", func() bool {
			return member(n1, "n3").GossipAddr == n3.Addr() && member(n2, "n3").GossipAddr == n3.Addr()
		})
		t.Logf("known at the new address after %v", took)
		awaitStates(t, time.Second, allAlive, n1, n2, n3)
		if n1.Stats().Conflicts == 0 {
			t.Error("no conflict was counted")
		}
		// It tried every aloneRetry until then, at all members, and no longer does.
		attempts := n3.Stats().JoinAttempts
		if attempts < 14 { // 7 rounds with both; nobody reports a conflict once the old address has failed
			t.Errorf("%d attempts to join in %v", attempts, took)
		}
		time.Sleep(5 * rejoinEvery)
		awaitStates(t, 0, allAlive, n1, n2, n3)
		if more := n3.Stats().JoinAttempts - attempts; more > 10 {
			t.Errorf("%d attempts to join afterwards", more)
		}
	})
}

func TestAfterALeaveTheAddressMayChangeAtOnce(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1, n2, n3 := trio(t, n)
		if err := n3.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := n3.Close(); err != nil {
			t.Fatal(err)
		}
		awaitStates(t, 2*time.Second, "n1=alive n2=alive n3=left", n1, n2)
		g, err := Open(config(t, n, "elsewhere", "n3"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = g.Close() }()
		await(t, 3*time.Second, "the new address", func() bool {
			return member(n1, "n3").GossipAddr == g.Addr() && member(n2, "n3").GossipAddr == g.Addr()
		})
		awaitStates(t, time.Second, allAlive, n1, n2)
	})
}
