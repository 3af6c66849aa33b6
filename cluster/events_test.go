package cluster_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
)

// Whoever keeps records is told of a member that the cluster removes by itself. That an operator removes one, whichever node
// is asked, is for whoever takes the order to record, with the operator's name.
func TestOrderedRemovalIsNotTold(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		var mu sync.Mutex
		var removed []string
		h := newHarness(t, n, 5, "n1", "n2", "n3", "n4", "n5")
		h.startAll(removing, func(c *cluster.Config) {
			c.OnMember = func(what string, m session.Member) {
				mu.Lock()
				defer mu.Unlock()
				if what == "removed" {
					removed = append(removed, m.ID)
				}
			}
		})
		h.ready(h.names...)
		rest := h.others(h.leader())
		h.operate(func(ctx context.Context) error { return h.nodes[rest[0]].Remove(ctx, rest[1]) })
		wantErr(t, <-h.fatal, roster.ErrDismissed)
		h.close(rest[1])
		h.until("removed", func() bool { return roles(t, h.nodes[rest[0]])[rest[1]] == "" })
		id := h.nodes[rest[2]].Stats().NodeID
		h.crash(rest[2])
		h.until("removed as dead", func() bool { return roles(t, h.nodes[rest[0]])[rest[2]] == "" })
		// It is out of the configuration first, and then struck from the roster, which is when it is told.
		told := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(removed)
		}
		h.until("told", func() bool { return len(told()) > 0 })
		if told := told(); !slices.Equal(told, []string{id}) {
			t.Errorf("told of %v, not of %s alone", told, id)
		}
	})
}
