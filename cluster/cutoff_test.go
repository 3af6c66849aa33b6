package cluster_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/idle"
	"cloakroom/cluster/session"
)

// A node that was cut off once and can reach the leader again must not go on with local answers only because it has no lease.
func TestCutOffIsForgotten(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		var shaky atomic.Int64 // the wall clock of n3 is set to and fro, so that it keeps no lease for long
		right := idle.System()
		h.names = []string{"n1", "n2", "n3"}
		for _, name := range h.names {
			h.start(name, func(c *cluster.Config) {
				c.CutOff = cluster.Local
				if name == "n3" {
					c.Clocks = &idle.Source{Mono: right.Mono, Wall: func() time.Time {
						now := time.Now()
						return now.Add(time.Duration(shaky.Load() * (now.UnixMilli() / 20 % 2) * int64(time.Second)))
					}}
				}
			})
		}
		h.ready(h.names...)
		h.user(h.nodes["n1"])
		h.create(h.nodes["n1"], key(1))
		time.Sleep(5 * time.Second)
		c := "n3"
		if h.leader() == c {
			h.operate(func(ctx context.Context) error { return h.nodes[c].TransferLeadership(ctx, "n1") })
			time.Sleep(5 * time.Second)
		}
		n.Partition([]string{c}, h.others(c))
		time.Sleep(3 * time.Second)
		_, level, err := h.nodes[c].Lookup(t.Context(), key(1), cluster.Quorum)
		t.Log("cut off:", level, err)
		shaky.Store(1)
		n.Heal()
		time.Sleep(3 * time.Second)
		local := 0
		for range 100 {
			time.Sleep(20 * time.Millisecond)
			_, level, err := h.nodes[c].Lookup(t.Context(), key(1), cluster.Quorum)
			if level == cluster.Local || err != nil {
				local++
			}
		}
		_, err = do(t, h.nodes[c], &session.Tick{})
		st := h.nodes[c].Stats()
		t.Log("leader known:", st.Leader, "a write through it:", err, "ready:", h.nodes[c].Ready(), "lag", st.Lookup.Lag)
		if local > 0 {
			t.Errorf("%d of 100 quorum lookups were answered at level local 3 s after the network was whole", local)
		}
	})
}
