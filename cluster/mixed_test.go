package cluster_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/propose"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
)

// previous is the version before this program's. A change that brings a new version moves the two together: what nodes of
// the version before have left is frozen anew (see frozenNodes), and these tests are about the step from there.
const previous = session.MaxVersion - 1

// A rolling upgrade, on the data directories of three nodes of the previous version. Under load one node after another is
// replaced, each after it has missed so much that it is sent a snapshot, and the leadership goes to and fro between the
// versions. What only this version knows is refused until the last node is replaced.
func TestRollingUpgrade(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		m := newMixed(t, n)
		for _, name := range m.names {
			m.start(name, previous)
		}
		m.ready(m.names...)
		m.checkFrozen()
		stop := m.load()
		for i, name := range m.names {
			m.refused()
			m.replace(name, session.MaxVersion)
			if older := m.names[i+1:]; len(older) > 0 {
				m.lead(older[0]) // an older leader, which has sent the snapshot
				m.refused()
				m.reserve()
				m.lead(name)
				m.refused()
				m.missSnapshot(older[0], previous) // from a newer leader
				m.lead(older[0])
			}
		}
		m.until("the newest commands are in use", func() bool { return m.version("n1") == session.MaxVersion })
		m.do(m.nodes["n2"], m.newest())
		stop()
		m.checkFrozen()
		m.checkLoad()
		m.converged()
	})
}

// Until the last node is replaced, each may go back to the version that it came from, and those that have gone on may too.
func TestUpgradeIsTakenBack(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		m := newMixed(t, n)
		for _, name := range m.names {
			m.start(name, previous)
		}
		m.ready(m.names...)
		stop := m.load()
		for _, name := range []string{"n1", "n2"} {
			m.replace(name, session.MaxVersion)
			m.lead(name)
		}
		m.missSnapshot("n3", previous) // of a cluster in which most are newer
		for _, name := range []string{"n2", "n1"} {
			m.replace(name, previous)
			m.refused()
		}
		stop()
		m.checkFrozen()
		m.checkLoad()
		m.converged()
	})
}

// From when all nodes are of this version there is no way back: a node says so and serves nothing, whether it has the whole
// log, a snapshot, or nothing. Its data is as it was: the newer program takes it over again.
func TestNoWayBackInTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(m *mixed)
		want    []error // any of them
	}{
		"with the log":    {func(*mixed) {}, []error{session.ErrUnknownKind, roster.ErrTooOld}}, // what it comes upon first
		"with a snapshot": {func(m *mixed) { m.entries() }, []error{session.ErrUnknownKind}},
		"with nothing":    {func(m *mixed) { m.wipe("n3") }, []error{roster.ErrTooOld}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(t *testing.T, n *clustertest.Network) {
				m := newMixed(t, n)
				for _, name := range m.names {
					m.start(name, session.MaxVersion)
				}
				m.ready(m.names...)
				m.until("the newest commands are in use", func() bool { return m.version("n3") == session.MaxVersion })
				c.prepare(m)
				if m.nodes["n3"] != nil {
					m.drain("n3")
				}
				m.refusesToRun("n3", previous, c.want)
				m.start("n3", session.MaxVersion)
				m.ready("n3")
				m.checkFrozen()
				m.converged()
			})
		})
	}
}

// Each node hears from each other one how far it is, whichever version the two are of.
func TestMixedIndexes(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		m := newMixed(t, n)
		for i, name := range m.names {
			m.start(name, []uint8{previous, session.MaxVersion, previous}[i])
		}
		m.ready(m.names...)
		for name, c := range m.nodes {
			for _, member := range c.Members(t.Context()) {
				want := map[bool]uint8{true: session.MaxVersion, false: previous}[member.Name == "n2"]
				if member.AppliedIndex == 0 || member.AppliedIndex > 1000 || member.Version != want {
					t.Errorf("%s says of %s: applied %d, version %d", name, member.Name, member.AppliedIndex, member.Version)
				}
			}
			if got := c.Stats().Version; got != previous {
				t.Errorf("%s: version %d is in use", name, got)
			}
			if got, want := c.Bootstrapper(), name == "n2"; got != want {
				t.Errorf("%s has made the cluster: %v", name, got)
			}
		}
	})
}

// replace stops a node in order, lets the others go on without it, and starts it as one of another version.
func (m *mixed) replace(name string, version uint8) {
	m.t.Helper()
	m.leave(name)
	m.entries()
	m.start(name, version)
	m.ready(name)
	if m.nodes[name].Stats().Restores == 0 {
		m.t.Errorf("%s, of version %d, has got no snapshot", name, version)
	}
	m.until("all say what they know", func() bool { return m.says(name) == version })
}

// missSnapshot has a node miss so much that its leader sends it a snapshot.
func (m *mixed) missSnapshot(name string, version uint8) { m.replace(name, version) }

// lead makes a node the leader.
func (m *mixed) lead(name string) {
	m.t.Helper()
	m.until(name+" leads", func() bool {
		if m.nodes[name].Stats().IsLeader {
			return true
		}
		ctx, cancel := context.WithTimeout(m.t.Context(), 5*time.Second)
		defer cancel()
		if err := m.nodes[name].TransferLeadership(ctx, name); err != nil {
			m.t.Logf("transfer to %s: %v", name, err)
		}
		return m.nodes[name].Stats().IsLeader
	})
}

// newest is a command that only this version knows.
func (m *mixed) newest() session.Command {
	return &session.SetLimits{Limits: session.Limits{SessionsPerUser: session.DefaultSessionsPerUser, Sessions: session.MaxSessions}}
}

// refused checks that no node takes what not all know.
func (m *mixed) refused() {
	m.t.Helper()
	for name, c := range m.nodes {
		if _, err := do(m.t, c, m.newest()); !errors.Is(err, propose.ErrUpgradePending) {
			m.t.Fatalf("%s, in a cluster of two versions: %v, want %v", name, err, propose.ErrUpgradePending)
		}
	}
}

// refusesToRun starts a node that must say that it is too old, and serve nothing.
func (m *mixed) refusesToRun(name string, version uint8, want []error) {
	m.t.Helper()
	cfg := m.config(name, as(version))
	cfg.GossipTransport = m.net.Host(name).Memberlist(name + ":7001")
	said := make(chan error, 1)
	cfg.OnFatal = func(err error) { said <- err }
	c, err := cluster.Open(cfg)
	if err != nil {
		_ = cfg.GossipTransport.Shutdown() // nobody has it
	} else {
		timeout, cancel := context.WithTimeout(m.t.Context(), patience)
		select {
		case err = <-said:
		case <-timeout.Done():
		}
		cancel()
		if c.Ready() == nil {
			m.t.Error("it is ready")
		}
		_ = c.Close() // it has failed
	}
	if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
		m.t.Errorf("%s, of version %d, in a cluster of version %d: %v, want %v", name, version, session.MaxVersion, err, want)
	}
}

// wipe takes a node out and empties its directory.
func (m *mixed) wipe(name string) {
	m.t.Helper()
	m.drain(name)
	m.operate(func(ctx context.Context) error { return m.nodes["n1"].Remove(ctx, name) })
	m.until(name+" is out", func() bool { return roles(m.t, m.nodes["n1"])[name] == "" })
	if err := os.RemoveAll(m.config(name).DataDir); err != nil {
		m.t.Fatal(err)
	}
}

// small makes snapshots frequent, and logs short.
func small(c *consensus.Config) {
	c.SnapshotBytes, c.TrailingBytes, c.TrailingLogs = 4<<10, 1, 16
}
