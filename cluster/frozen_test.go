package cluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
)

// What nodes of the previous version have left on their disks is taken over where it is. While a node runs on it, no older
// program may: it would not look for the log in the journal. After an orderly stop one may, as far as the files are
// concerned.
func TestFrozenNodes(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		m := newMixed(t, n)
		onDisk := func(c *cluster.Config) { c.Tune = nil }
		for _, name := range m.names {
			m.wantIdentity(name, 1)
			m.harness.start(name, onDisk)
			m.wantIdentity(name, 2)
		}
		m.ready(m.names...)
		m.checkFrozen()
		m.do(m.nodes["n1"], &session.Invalidate{Key: m.live[0], Reason: session.EndedByLogout})
		m.converged()
		crashed := filepath.Join(t.TempDir(), "crashed")
		if err := os.CopyFS(crashed, os.DirFS(m.config("n1").DataDir)); err != nil {
			t.Fatal(err)
		}
		for _, name := range m.names {
			applied := m.nodes[name].Stats().AppliedIndex
			m.close(name)
			m.wantIdentity(name, 1)
			if last := m.inDatabase(name); last < applied {
				t.Errorf("%s: the log ends at %d for a program that does not know of the journal, of %d", name, last, applied)
			}
		}
		// What a crash leaves is this program's own.
		survey, err := founding(t, crashed, true).Survey()
		if err != nil || survey.Sessions != len(m.live)-1 {
			t.Errorf("after a crash: %+v, %v", survey, err)
		}
	})
}

// A start that fails before anything was written takes no way back away.
func TestFailedStartLeavesTheDirectoryAtRest(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		m := newMixed(t, n)
		db := filepath.Join(m.config("n1").DataDir, "raft", "raft.db")
		lock, err := raftboltdb.New(raftboltdb.Options{Path: db})
		if err != nil {
			t.Fatal(err)
		}
		cfg := m.config("n1")
		cfg.Tune = nil
		if c, err := cluster.Open(cfg); err == nil {
			t.Error("it has opened a log that another process has", c.Close())
		}
		m.wantIdentity("n1", 1)
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func (m *mixed) wantIdentity(name string, version int) {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.config(name).DataDir, "node.json"))
	if err != nil {
		m.t.Fatal(err)
	}
	if want := map[int]string{1: `"version": 1,`, 2: `"version": 2,`}[version]; !strings.Contains(string(text), want) {
		m.t.Errorf("%s: want %s in %s", name, want, text)
	}
}

// inDatabase returns the last index that a program finds which looks into the database alone.
func (m *mixed) inDatabase(name string) uint64 {
	m.t.Helper()
	db, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(m.config(name).DataDir, "raft", "raft.db")})
	if err != nil {
		m.t.Fatal(err)
	}
	last, err := db.LastIndex()
	var entry raft.Log
	if err == nil {
		err = db.GetLog(last, &entry)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		m.t.Fatal(err)
	}
	return last
}
