package cluster_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/backup"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
)

// A backup from any node has what was acknowledged before. A node that is cut off has none to give, not even where it
// answers lookups, unless what it has is asked for.
func TestBackupOfACluster(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		for _, name := range h.names {
			h.start(name, func(c *cluster.Config) { c.CutOff = cluster.Local })
		}
		h.ready(h.names...)
		h.user(h.nodes["n1"])
		for i, name := range h.names {
			h.create(h.nodes["n1"], key(i))
			info, m := h.backup(t, name, cluster.Lease)
			if _, ok := m.Lookup(key(i)); !ok || info.Level != backup.Quorum || info.Node != name || info.Sessions != i+1 || info.Made.IsZero() {
				t.Errorf("%s: session found: %v, %+v", name, ok, info)
			}
		}
		n.Partition([]string{"n3"}, []string{"n1", "n2"})
		time.Sleep(10 * time.Second)
		h.create(h.nodes[h.leader()], key(9))
		if s, err := h.nodes["n3"].Backup(t.Context(), cluster.Quorum); !errors.Is(err, cluster.ErrNoLeader) && !errors.Is(err, cluster.ErrCutOff) {
			t.Errorf("cut off: %v, %v", s, err)
		}
		info, m := h.backup(t, "n3", cluster.Local)
		if _, ok := m.Lookup(key(9)); ok || info.Level != backup.Local || info.Sessions != 3 {
			t.Errorf("cut off: session found: %v, %+v", ok, info)
		}
	})
}

// A node without a cluster has nothing to back up.
func TestNoBackupBeforeTheCluster(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		c := h.start("n1")
		if s, err := c.Backup(t.Context(), cluster.Local); !errors.Is(err, cluster.ErrJoining) {
			t.Errorf("%v, %v", s, err)
		}
	})
}

// backup takes one and reads it.
func (h *harness) backup(t *testing.T, name string, level cluster.Level) (backup.Info, *session.Machine) {
	t.Helper()
	s, err := h.nodes[name].Backup(t.Context(), level)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	info, m, err := backup.Read(bytes.NewReader(b.Bytes()), nil)
	if err != nil {
		t.Fatal(err)
	}
	return info, m
}
