package cluster_test

import (
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
)

// In an election nodes go on wanting requests, which wait for its end: else nobody would take any. Without hope of one they
// stop, and do not begin.
func TestReadyThroughAnElection(t *testing.T) {
	const look, grace = 20 * time.Millisecond, 2 * time.Second
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.ready("n1", "n2", "n3")
		leader := h.leader()
		rest := h.others(leader)
		n.SetDelay(3 * look) // so that an election can't come and go between two looks
		h.crash(leader)
		lost := map[string]time.Time{} // since when a node was seen without a leader
		seen := false
		h.until("another leader", func() bool {
			known := 0
			for _, name := range rest {
				err := h.nodes[name].Ready()
				id := h.nodes[name].Stats().LeaderID
				switch {
				case id != "":
					delete(lost, name)
				case lost[name].IsZero():
					lost[name], seen = time.Now(), true
				}
				if err != nil && time.Since(lost[name]) < grace-look { // votes may be split more than once
					t.Errorf("%s in an election: %v", name, err)
				}
				if id == h.nodes[rest[0]].Stats().NodeID || id == h.nodes[rest[1]].Stats().NodeID {
					known++
				}
			}
			return known == len(rest)
		})
		if !seen {
			t.Error("nobody was seen without a leader")
		}

		h.crash(rest[1])
		last := rest[0]
		h.until("no leader", func() bool { return h.nodes[last].Stats().LeaderID == "" })
		alone := time.Now()
		h.until("it wants none", func() bool { return h.nodes[last].Ready() != nil })
		if wants := time.Since(alone); wants < grace-2*look || wants > grace+2*look {
			t.Errorf("it wants requests for %v without a leader", wants)
		}
		h.crash(last)
		h.start(last)
		for range 10 * time.Second / look {
			if h.nodes[last].Ready() == nil {
				t.Fatal("it wants requests though it has not heard of a leader since its start")
			}
			time.Sleep(look)
		}
		wantErr(t, h.nodes[last].Ready(), cluster.ErrJoining)
	})
}
