package cluster_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/session"
)

// run is a test on a whole cluster, in fake time.
func run(t *testing.T, fn func(t *testing.T, n *clustertest.Network)) {
	t.Helper()
	clustertest.Run(t, 1, fn)
}

func TestThreeNodesFormOneCluster(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.user(h.nodes["n1"])
		h.create(h.nodes["n2"], key(1))
		for _, name := range h.names {
			view, err := lookup(t, h.nodes[name], key(1), cluster.Quorum)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if view.Session.Username != "ann" || !view.HasRole(session.RoleAdmin) {
				t.Fatalf("%s: session of %q with roles %v", name, view.Session.Username, view.Roles())
			}
		}
		h.do(h.nodes["n3"], &session.Invalidate{Key: key(1), Reason: session.EndedByLogout})
		for _, name := range h.names {
			_, err := lookup(t, h.nodes[name], key(1), cluster.Quorum)
			wantErr(t, err, session.ErrSessionInvalid)
		}
		want := map[string]string{"n1": "voter", "n2": "voter", "n3": "voter"}
		if got := roles(t, h.nodes["n2"]); !maps.Equal(got, want) {
			t.Fatalf("roles %v", got)
		}
		h.converged()
	})
}

func TestOneNodeAlone(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 1, "n1")
		h.startAll()
		h.user(h.nodes["n1"])
		h.create(h.nodes["n1"], key(1))
		h.drain("n1")
		h.startAll()
		if _, err := lookup(t, h.nodes["n1"], key(1), cluster.Quorum); err != nil {
			t.Fatalf("after the restart: %v", err)
		}
		if !h.nodes["n1"].Bootstrapper() {
			t.Fatal("the node has forgotten that it made the cluster")
		}
	})
}

// Four empty nodes that all expect three make one cluster of three, which the fourth joins.
func TestFourEmptyNodesExpectThree(t *testing.T) {
	for seed := range int64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			clustertest.Run(t, seed, func(t *testing.T, n *clustertest.Network) {
				n.SetDelay(time.Duration(seed) * 3 * time.Millisecond)
				h := newHarness(t, n, 3, "n1", "n2", "n3", "n4")
				for i, name := range h.names {
					h.start(name)
					time.Sleep(time.Duration(int64(i)*seed) * 300 * time.Millisecond) // fake: they come one after another
				}
				h.ready(h.names...)
				h.one()
				h.converged()
			})
		})
	}
}

// one fails unless all running nodes belong to one cluster that one of them made, all of them as voters.
func (h *harness) one() {
	h.t.Helper()
	ids, makers := make(map[string]bool), 0
	for _, c := range h.nodes {
		ids[c.Stats().ClusterID] = true
		if c.Bootstrapper() {
			makers++
		}
	}
	if len(ids) != 1 || makers != 1 {
		h.t.Fatalf("cluster ids %v, made by %d nodes", ids, makers)
	}
	h.until("every node sees all nodes as voters", func() bool {
		for _, c := range h.nodes {
			seen := roles(h.t, c)
			for _, role := range seen {
				if role != "voter" {
					return false
				}
			}
			if len(seen) != len(h.nodes) {
				return false
			}
		}
		return true
	})
}

// Two pairs of nodes that do not see each other must not make two clusters, nor must they block each other for good.
func TestFormationUnderPartition(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3", "n4")
		n.Partition([]string{"n1", "n2"}, []string{"n3", "n4"})
		for _, name := range h.names {
			h.start(name)
		}
		time.Sleep(30 * time.Second)
		for name, c := range h.nodes {
			wantErr(t, c.Ready(), cluster.ErrJoining)
			if c.Bootstrapper() {
				t.Fatalf("%s made a cluster of two nodes", name)
			}
		}
		n.Heal()
		h.ready(h.names...)
		h.one()
		h.converged()
	})
}

func TestJoin(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.user(h.nodes["n1"])
		for i := range 50 {
			h.create(h.nodes["n1"], key(i))
		}
		h.names = append(h.names, "n4", "n5")
		h.host["n4"], h.host["n5"] = "n4", "n5"
		h.start("n4", joinOnly)
		h.start("n5", replica)
		h.ready("n4", "n5")
		want := map[string]string{"n1": "voter", "n2": "voter", "n3": "voter", "n4": "voter", "n5": "non-voter"}
		h.until("the read replica stays a non-voter", func() bool { return maps.Equal(roles(t, h.nodes["n1"]), want) })
		if _, err := lookup(t, h.nodes["n5"], key(7), cluster.Quorum); err != nil {
			t.Fatalf("lookup on the read replica: %v", err)
		}
		h.do(h.nodes["n5"], &session.Invalidate{Key: key(7), Reason: session.EndedByLogout})
		h.converged()
	})
}

// An ephemeral node leaves for good when it stops; one with a disk stays a member.
func TestLeave(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll(ephemeral)
		leader := h.leader()
		h.drain(leader)
		rest := h.others("")
		h.until("two voters", func() bool { return len(roles(t, h.nodes[rest[0]])) == 2 })
		h.user(h.nodes[rest[1]])
		h.converged()
		h.start(leader, ephemeral, joinOnly)
		h.ready(leader)
		h.until("three voters", func() bool { return len(roles(t, h.nodes[rest[0]])) == 3 })
		h.converged()
	})
}

// An ephemeral node that is killed comes back empty under a new id, and replaces the lost one.
func TestLostNodeIsReplaced(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll(ephemeral)
		h.user(h.nodes["n1"])
		for range 4 {
			name := h.leader()
			h.crash(name)
			h.start(name, ephemeral, joinOnly)
			h.ready(name)
			h.until("three voters", func() bool {
				r := roles(t, h.nodes[name])
				return len(r) == 3 && r["n1"] == "voter" && r["n2"] == "voter" && r["n3"] == "voter"
			})
		}
		h.converged()
	})
}

func TestLeaderLoss(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.user(h.nodes["n1"])
		for i := range 5 {
			h.create(h.nodes["n1"], key(i))
			leader := h.leader()
			h.crash(leader)
			survivor := h.nodes[h.others(leader)[0]]
			h.until("a write after the loss", func() bool {
				_, err := do(t, survivor, &session.Put{Key: key(i), Attrs: []session.Attr{{Key: "round", Value: fmt.Sprint(i)}}})
				return err == nil
			})
			h.start(leader)
			h.ready(leader)
			s, err := whole(t, h.nodes[leader], key(i), cluster.Quorum)
			if err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
			if v, _ := s.Attr("round"); v != fmt.Sprint(i) {
				t.Fatalf("round %d: attribute %q after the return", i, v)
			}
		}
		h.converged()
	})
}

// A leader that is cut off must not answer at level quorum, and must not acknowledge; what it was told is not lost
// silently, and the halves agree when they meet again.
func TestPartitionAndHeal(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.user(h.nodes["n1"])
		h.create(h.nodes["n1"], key(1))
		h.converged()
		old := h.leader()
		rest := h.others(old)
		n.Partition([]string{old}, rest)

		outcome := make(chan error, 1)
		go func() {
			_, err := do(t, h.nodes[old], &session.Put{Key: key(1), Attrs: []session.Attr{{Key: "side", Value: "minority"}}})
			outcome <- err
		}()
		_, err := lookup(t, h.nodes[old], key(1), cluster.Quorum)
		if err == nil {
			t.Fatal("a leader that is cut off answered at level quorum")
		}
		wantErr(t, <-outcome, cluster.ErrOutcomeUnknown)
		h.until("a write by the majority", func() bool {
			_, err := do(t, h.nodes[rest[0]], &session.Invalidate{Key: key(1), Reason: session.EndedByLogout})
			return err == nil
		})
		if _, err := lookup(t, h.nodes[old], key(1), cluster.Local); err != nil {
			t.Fatalf("level local on the minority: %v", err)
		}
		_, err = lookup(t, h.nodes[old], key(1), cluster.Quorum)
		if err == nil {
			t.Fatal("an ended session was accepted by the minority")
		}
		_, err = do(t, h.nodes[old], &session.Tick{})
		wantErr(t, err, cluster.ErrNoLeader)

		n.Heal()
		h.ready(h.names...)
		_, err = lookup(t, h.nodes[old], key(1), cluster.Quorum)
		wantErr(t, err, session.ErrSessionInvalid)
		h.converged()
	})
}

// A node that was away for longer than the log goes back gets a snapshot.
func TestSnapshotInstall(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.tune = func(c *consensus.Config) { c.SnapshotBytes, c.TrailingBytes, c.TrailingLogs = 16<<10, 4<<10, 16 }
		h.startAll()
		h.user(h.nodes["n1"])
		h.create(h.nodes["n1"], key(1))
		away := h.others(h.leader())[0]
		h.crash(away)
		writer := h.nodes[h.leader()]
		for i := range 300 {
			h.do(writer, &session.Put{Key: key(1), Attrs: []session.Attr{{Key: fmt.Sprint("k", i%20), Value: fmt.Sprintf("%0200d", i)}}})
		}
		h.until("a snapshot", func() bool { return writer.Stats().Snapshots > 0 })
		h.start(away)
		h.ready(away)
		h.converged()
		if restored := h.nodes[away].Stats().Restores; restored == 0 {
			t.Fatal("the node caught up without a snapshot: the test shows nothing")
		}
	})
}

// A node may come back under another address, and so may all of them at once.
func TestRestartUnderOtherAddresses(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.user(h.nodes["n1"])
		h.create(h.nodes["n1"], key(1))

		h.drain("n2")
		h.host["n2"] = "m2"
		h.start("n2")
		h.ready("n2")
		h.converged()

		for i, name := range h.names {
			h.crash(name)
			h.host[name] = fmt.Sprintf("o%d", i)
		}
		h.startAll()
		if _, err := lookup(t, h.nodes["n3"], key(1), cluster.Quorum); err != nil {
			t.Fatalf("after the move: %v", err)
		}
		h.converged()
		h.until("the roster knows the new addresses", func() bool {
			for _, m := range h.nodes["n1"].Members(t.Context()) {
				if m.Peer != h.host[m.Name]+":7000" {
					return false
				}
			}
			return true
		})
	})
}
