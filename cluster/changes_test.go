package cluster_test

import (
	"sync"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
)

// A read of whatever there is in the machine is answered from any node's own memory, also right behind a tick of the leases
// that another node has not reported yet.
func TestReadsDoNotWaitForTicks(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.user(h.nodes["n1"])
		h.create(h.nodes["n1"], key(1))
		time.Sleep(5 * time.Second)
		before := map[string]cluster.Stats{}
		for _, name := range h.names {
			before[name] = h.nodes[name].Stats()
		}
		const reads = 100
		for range reads {
			time.Sleep(37 * time.Millisecond)
			for _, name := range h.names {
				users := 0
				if err := h.nodes[name].Read(t.Context(), cluster.Lease, func(m *session.Machine) { users = len(m.Users("", 10)) }); err != nil || users != 1 {
					t.Fatalf("%s: %d users, %v", name, users, err)
				}
			}
		}
		for _, name := range h.names {
			own := h.nodes[name].Stats().Lookup.ByLease
			if own := own.Own - before[name].Lookup.ByLease.Own; own != reads {
				t.Errorf("%s: %d of %d reads were answered at once", name, own, reads)
			}
		}
	})
}

// But none shows a change before it is everywhere: here, until the lease of a node that hears of nothing has run out.
func TestReadsWaitForChanges(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		h.user(h.nodes["n1"])
		time.Sleep(5 * time.Second)
		leader := h.leader()
		rest := h.others(leader)
		n.Partition([]string{leader, rest[0]}, []string{rest[1]})
		var work sync.WaitGroup
		work.Go(func() { h.do(h.nodes[leader], &session.CreateRole{ID: "late", Name: "late"}) })
		time.Sleep(50 * time.Millisecond)
		for _, name := range []string{leader, rest[0]} {
			work.Go(func() {
				late, began := false, time.Now()
				if err := h.nodes[name].Read(t.Context(), cluster.Lease, func(m *session.Machine) { _, late = m.RoleByName("late") }); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if took := time.Since(began); !late || took < 300*time.Millisecond {
					t.Errorf("%s: told of the change after %v: %t", name, took, late)
				}
			})
		}
		work.Wait()
		n.Heal()
	})
}
