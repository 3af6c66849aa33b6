package cluster_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/keyring"
	"cloakroom/cluster/keyring/keytest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
	"cloakroom/cluster/wire"
)

func newKey(name string) wire.ClusterKey { return sha256.Sum256([]byte(name)) }

func newRing(t *testing.T, keys ...wire.ClusterKey) *wire.KeyRing {
	t.Helper()
	ring, err := wire.NewKeyRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func withKeys(ring *wire.KeyRing) option {
	return func(c *cluster.Config) { c.Keys, c.Key = ring, wire.ClusterKey{} }
}

// steady is callers on every node that want every call answered.
type steady struct {
	t      *testing.T
	cancel context.CancelFunc
	group  sync.WaitGroup
	calls  atomic.Int64
	failed atomic.Int64
}

// startSteady has each node put, at another node than the one that leads too, and look up with a quorum.
func startSteady(h *harness) *steady {
	ctx, cancel := context.WithCancel(h.t.Context())
	s := &steady{t: h.t, cancel: cancel}
	for i, name := range h.names {
		c, k := h.nodes[name], key(i)
		h.create(c, k)
		s.group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				s.one(ctx, c, k, n)
				time.Sleep(7 * time.Millisecond)
			}
		})
	}
	return s
}

func (s *steady) one(ctx context.Context, c *cluster.Cluster, k session.Key, n int) {
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var err error
	if n%3 == 0 {
		_, err = c.Do(call, &session.Put{Key: k, Attrs: []session.Attr{{Key: "n", Value: fmt.Sprint(n)}}})
	} else {
		_, _, err = c.Lookup(call, k, cluster.Quorum)
	}
	s.calls.Add(1)
	if err != nil {
		s.failed.Add(1)
		s.t.Errorf("call %d: %v", n, err)
	}
}

func (s *steady) stop() {
	s.cancel()
	s.group.Wait()
}

// The cluster key is exchanged on three nodes under load, one node after the other, so that at each step there are nodes
// that have taken it and nodes that have not. No call fails, nobody is elected, nobody is taken for dead.
func TestKeysAreExchangedUnderLoad(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		n.SetDelay(time.Millisecond)
		before, after := newKey("the old key"), newKey("the new key")
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		rings := make(map[string]*wire.KeyRing)
		for _, name := range h.names {
			rings[name] = newRing(t, before)
			h.start(name, withKeys(rings[name]))
		}
		h.ready(h.names...)
		h.user(h.nodes["n1"])
		leader := h.leader()
		term := h.nodes[leader].Stats().Term
		load := startSteady(h)
		for i, step := range [][]wire.ClusterKey{{before, after}, {after, before}, {after}} {
			for _, name := range h.names {
				if unasked, err := h.nodes[name].ReplaceKeys(t.Context(), step); err != nil || len(unasked) > 0 {
					t.Fatal(unasked, err)
				}
				time.Sleep(2 * time.Second)
			}
			if i == 1 {
				h.until("no stream is under the old key", func() bool { return streamsUnder(h, before) == 0 })
			}
		}
		load.stop()
		t.Logf("%d calls", load.calls.Load())
		if load.calls.Load() < 3_000 {
			t.Error("too few calls to show anything")
		}
		for _, name := range h.names {
			s := h.nodes[name].Stats()
			if s.Term != term || s.LeaderID != h.nodes[leader].Stats().NodeID {
				t.Errorf("%s: term %d led by %s, was %d led by %s", name, s.Term, s.Leader, term, leader)
			}
			if s.GossipAlive != 3 || s.GossipFailed != 0 {
				t.Errorf("%s: gossip knows %d alive, %d failed", name, s.GossipAlive, s.GossipFailed)
			}
			if len(s.Keys) != 1 || s.Keys[0].ID != string(after.ID()) || !s.Keys[0].First || s.Keys[0].Streams == 0 || s.Keys[0].Raft == 0 || s.Keys[0].Gossip == 0 {
				t.Errorf("%s: keys %+v", name, s.Keys)
			}
		}
		h.converged()
		onlyOldKey(t, h, before)

		// The directories say so too: each starts again with the new key alone, and not with the old one.
		h.drain("n2")
		cfg := h.config("n2", withKeys(newRing(t, before)))
		cfg.GossipTransport = h.net.Host("n2").Memberlist("n2:7001")
		if _, err := cluster.Open(cfg); !errors.Is(err, cluster.ErrForeignData) {
			t.Errorf("n2 with the old key: %v", err)
		}
		if err := cfg.GossipTransport.Shutdown(); err != nil {
			t.Error(err)
		}
		h.start("n2", withKeys(newRing(t, after)))
		h.ready("n2")
	})
}

// Steps of an exchange that come too early are refused, name the nodes that are not ready for them, and change nothing. A
// node that is down holds nobody up, and is named.
func TestKeysOutOfOrder(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		before, after := newKey("the old key"), newKey("the new key")
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		for _, name := range h.names {
			h.start(name, withKeys(newRing(t, before)))
		}
		h.ready(h.names...)
		replace := func(name, says string, keys ...wire.ClusterKey) []string {
			t.Helper()
			unasked, err := h.nodes[name].ReplaceKeys(t.Context(), keys)
			switch {
			case says == "" && err != nil:
				t.Errorf("%s: %v", name, err)
			case says != "" && (!errors.Is(err, cluster.ErrKeysTooEarly) || !strings.Contains(err.Error(), says)):
				t.Errorf("%s: %v, want %q", name, err, says)
			}
			return unasked
		}
		replace("n1", "is not accepted by n2, n3 yet", after, before) // without the first step
		replace("n1", "still the first of n2, n3", after)
		replace("n1", "", before, after)
		replace("n2", "", before, after)
		replace("n1", "is not accepted by n3 yet", after, before) // n3 was left out
		replace("n3", "", before, after)
		replace("n1", "", after, before)
		replace("n1", "still the first of n2, n3", after) // the third step before the second is done
		replace("n2", "still the first of n1", before, newKey("another"))
		replace("n2", "", after, before)
		replace("n3", "", after, before)
		replace("n3", "are being renewed", after) // at once
		h.until("no stream is under the old key", func() bool { return streamsUnder(h, before) == 0 })

		thief := h.thief(before, after) // who has the key that is to go, and would keep it in use
		if streamsUnder(h, before) == 0 {
			t.Error("the thief is not connected")
		}
		h.drain("n2")
		for _, name := range []string{"n1", "n3"} {
			if unasked := replace(name, "", after); !slices.Equal(unasked, []string{"n2"}) {
				t.Errorf("%s: n2 is down, and %v were not reached", name, unasked)
			}
		}
		if err := thief.Close(); err != nil {
			t.Error(err)
		}
		h.start("n2", withKeys(newRing(t, after, before)))
		h.ready(h.names...)
		replace("n2", "", after)
		h.user(h.nodes["n1"])
		h.converged()
	})
}

// thief connects to n1 as somebody who has the keys, shows the first, and is no member.
func (h *harness) thief(keys ...wire.ClusterKey) *wire.Transport {
	h.t.Helper()
	transport, err := wire.Open(wire.Config{NodeID: "thief", Bind: "thief:7000", Keys: newRing(h.t, keys...), Network: h.net.Host("thief")})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, m := range h.nodes["n1"].Members(h.t.Context()) {
		if m.Self {
			_, err = transport.Call(h.t.Context(), wire.Node{Addr: m.Peer}, wire.Kind(255), nil)
		}
	}
	if !errors.Is(err, wire.ErrUnknownRequest) {
		h.t.Fatalf("the thief was not heard: %v", err)
	}
	return transport
}

// onlyOldKey starts a node that has the old key alone; nobody has it any more.
func onlyOldKey(t *testing.T, h *harness, old wire.ClusterKey) {
	t.Helper()
	refused := func() (n uint64) {
		for _, name := range h.names {
			n += h.nodes[name].Stats().GossipRefused
		}
		return n
	}
	before := refused()
	h.host["late"] = "late"
	late := h.start("late", withKeys(newRing(t, old)), joinOnly)
	time.Sleep(time.Minute)
	if err := late.Ready(); err == nil {
		t.Error("a node with the old key is ready")
	}
	if len(late.Members(t.Context())) != 1 {
		t.Errorf("a node with the old key knows %+v", late.Members(t.Context()))
	}
	for _, name := range h.names {
		s := h.nodes[name].Stats()
		if s.GossipAlive != 3 || s.GossipFailed != 0 {
			t.Errorf("%s knows of the node with the old key: %d, %d", name, s.GossipAlive, s.GossipFailed)
		}
	}
	if refused() == before {
		t.Error("no node says that it has refused anything")
	}
	h.close("late")
}

// streamsUnder counts stream connections that have to do with a key, on all nodes.
func streamsUnder(h *harness, k wire.ClusterKey) int {
	count := 0
	for _, name := range h.names {
		for _, s := range h.nodes[name].Stats().Keys {
			if s.ID == string(k.ID()) {
				count += s.Streams
			}
		}
	}
	return count
}

// A directory may be written under any of the ring's keys, and goes over to the first.
func TestDataDirFollowsTheFirstKey(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		before, after, third := newKey("1"), newKey("2"), newKey("3")
		h := newHarness(t, n, 1, "n1")
		open := func(want error, keys ...wire.ClusterKey) {
			t.Helper()
			cfg := h.config("n1", withKeys(newRing(t, keys...)))
			cfg.GossipTransport = h.net.Host("n1").Memberlist("n1:7001")
			c, err := cluster.Open(cfg)
			if !errors.Is(err, want) {
				t.Fatalf("with %d keys: %v", len(keys), err)
			}
			if c == nil {
				err = cfg.GossipTransport.Shutdown()
			} else {
				err = c.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		open(nil, before)
		open(nil, before, after)
		open(nil, before)
		open(cluster.ErrForeignData, after)
		open(nil, after, before)
		open(cluster.ErrForeignData, before)
		open(cluster.ErrForeignData, third, before)
		open(nil, after)
		if matches, err := filepath.Glob(filepath.Join(h.dir, "n1", "node.json")); err != nil || len(matches) != 1 {
			t.Errorf("%v, %v", matches, err)
		}
	})
}

// refusing is snapshots that can't be begun as often as is said.
type refusing struct {
	raft.SnapshotStore
	left atomic.Int32
}

func (r *refusing) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, transport raft.Transport,
) (raft.SnapshotSink, error) {
	if r.left.Add(-1) >= 0 {
		return nil, errors.New("no snapshot just now")
	}
	return r.SnapshotStore.Create(version, index, term, configuration, configurationIndex, transport)
}

// What is on the disk comes under a new data key though it can't at first, without a second signal.
func TestDataKeysAreTriedAgain(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 1, "n1")
		stores := storage.NewMemoryStores()
		snapshots := &refusing{SnapshotStore: stores.Snapshots}
		stores.Snapshots = snapshots
		h.stores["n1"] = stores
		keys := keytest.Keys(t, 2)
		var lines lineBuffer
		h.start("n1", func(c *cluster.Config) {
			c.DataKeys, c.Logger = keytest.Ring(t, keys[0]), slog.New(slog.NewTextHandler(&lines, nil))
		})
		h.ready("n1")
		snapshots.left.Store(3)
		begun := time.Now()
		for range 2 { // who signals again meanwhile changes nothing
			if err := h.nodes["n1"].ReplaceDataKeys([]keyring.Key{keys[1], keys[0]}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second / 2)
		}
		const done = "log and snapshots are encrypted under the first data key"
		h.until("all is under the new key", func() bool { return strings.Contains(lines.all(), done) })
		took := time.Since(begun)
		time.Sleep(time.Minute)
		if took < 7*time.Second || strings.Count(lines.all(), "again_in=") != 3 || strings.Count(lines.all(), done) != 1 {
			t.Errorf("after %v, and the log says\n%s", took, lines.all())
		}
		if err := h.nodes["n1"].ReplaceDataKeys(keys[1:]); err != nil {
			t.Error(err)
		}
	})
}
