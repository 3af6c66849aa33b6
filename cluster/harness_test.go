package cluster_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
	"cloakroom/cluster/wire"
)

// harness runs whole nodes in one process, on an in-memory network and in fake time. Their logs are in memory too, and
// outlive them; what else a data directory holds is on the disk.
type harness struct {
	t      *testing.T
	net    *clustertest.Network
	dir    string
	expect int
	idle   time.Duration // idle timeout; zero: half an hour
	lease  time.Duration // zero: the default. A longer one makes fewer entries, so that a day goes by faster
	names  []string
	tune   func(*consensus.Config)
	nodes  map[string]*cluster.Cluster
	host   map[string]string // host that a node runs on
	stores map[string]*storage.Stores
	ids    map[string]string // a node that comes back under another id has an empty log
	fatal  chan error
}

// patience is how much fake time a condition is given.
const patience = 2 * time.Minute

func newHarness(t *testing.T, n *clustertest.Network, expect int, names ...string) *harness {
	h := &harness{
		t: t, net: n, dir: t.TempDir(), expect: expect, names: names,
		nodes: make(map[string]*cluster.Cluster), host: make(map[string]string), stores: make(map[string]*storage.Stores), ids: make(map[string]string),
		fatal: make(chan error, 16),
	}
	for _, name := range names {
		h.host[name] = name
	}
	t.Cleanup(func() {
		for name := range h.nodes {
			h.close(name)
		}
	})
	return h
}

type option func(*cluster.Config)

func ephemeral(c *cluster.Config) { c.Ephemeral = true }
func joinOnly(c *cluster.Config)  { c.Expect = 0 }
func replica(c *cluster.Config)   { c.Expect, c.ReadReplica = 0, true }

func (h *harness) config(name string, options ...option) cluster.Config {
	host := h.net.Host(h.host[name])
	var seeds []string
	for _, other := range h.names {
		if other != name {
			seeds = append(seeds, h.host[other]+":7001")
		}
	}
	cfg := cluster.Config{
		Name: name, DataDir: filepath.Join(h.dir, name), Peer: host.Name() + ":7000", Gossip: host.Name() + ":7001",
		HTTP: host.Name() + ":8080", Join: seeds, Expect: h.expect, Key: testKey(), Idle: 30 * time.Minute,
		Logger: logger(), OnFatal: func(err error) { h.fatal <- fmt.Errorf("%s: %w", name, err) },
		Network: host, Lease: h.lease, Tune: func(c *consensus.Config) { h.store(name, c) },
	}
	if h.idle > 0 {
		cfg.Idle = h.idle
	}
	if h.expect == 1 {
		cfg.Join = nil
	}
	for _, o := range options {
		o(&cfg)
	}
	return cfg
}

// store gives a node that keeps its data the stores of its earlier life.
func (h *harness) store(name string, c *consensus.Config) {
	if h.tune != nil {
		h.tune(c)
	}
	if c.Ephemeral {
		return
	}
	former := h.ids[name] != "" && h.ids[name] != c.NodeID
	if h.stores[name] == nil || former {
		h.stores[name] = storage.NewMemoryStores()
	}
	h.ids[name] = c.NodeID
	c.Dir, c.Stores = "", h.stores[name]
}

func (h *harness) start(name string, options ...option) *cluster.Cluster {
	h.t.Helper()
	cfg := h.config(name, options...)
	cfg.GossipTransport = h.net.Host(h.host[name]).Memberlist(h.host[name] + ":7001")
	c, err := cluster.Open(cfg)
	if err != nil {
		h.t.Fatalf("open %s: %v", name, err)
	}
	h.nodes[name] = c
	return c
}

func (h *harness) startAll(options ...option) {
	h.t.Helper()
	for _, name := range h.names {
		h.start(name, options...)
	}
	h.ready(h.names...)
}

// close stops a node as it is.
func (h *harness) close(name string) {
	h.t.Helper()
	c := h.nodes[name]
	delete(h.nodes, name)
	if err := c.Close(); err != nil {
		h.t.Errorf("close %s: %v", name, err)
	}
}

// crash takes the power from a node's host, and gives it back without the node.
func (h *harness) crash(name string) {
	h.t.Helper()
	host := h.net.Host(h.host[name])
	host.Down()
	h.close(name)
	host.Up()
}

// drain stops a node in order.
func (h *harness) drain(name string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Second)
	defer cancel()
	c := h.nodes[name]
	if err := errors.Join(c.Retire(ctx), c.Leave(ctx)); err != nil {
		h.t.Errorf("drain %s: %v", name, err)
	}
	h.close(name)
}

func (h *harness) until(what string, cond func() bool) {
	h.t.Helper()
	for start := time.Now(); time.Since(start) < patience; time.Sleep(20 * time.Millisecond) { // fake time
		if cond() {
			return
		}
		select {
		case err := <-h.fatal:
			h.t.Fatalf("waiting for %s: %v", what, err)
		default:
		}
	}
	h.t.Fatalf("%s: not within %v", what, patience)
}

func (h *harness) ready(names ...string) {
	h.t.Helper()
	h.until("ready "+strings.Join(names, " "), func() bool {
		for _, name := range names {
			if h.nodes[name].Ready() != nil || h.nodes[name].Stats().LeaderID == "" {
				return false
			}
		}
		return true
	})
}

// leader returns the name of the one node that leads, as seen by a majority.
func (h *harness) leader() string {
	h.t.Helper()
	var name string
	h.until("a leader", func() bool {
		name = ""
		for n, c := range h.nodes {
			if c.Stats().IsLeader {
				name = n
			}
		}
		return name != ""
	})
	return name
}

func (h *harness) others(name string) []string {
	var names []string
	for n := range h.nodes {
		if n != name {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

// converged waits until all running nodes have applied the same, and fails when that is not the same state.
func (h *harness) converged() {
	h.t.Helper()
	type point struct {
		index uint64
		hash  [32]byte
	}
	h.until("equal state on all nodes", func() bool {
		var points []point
		for _, c := range h.nodes {
			var p point
			read(h.t, c, func(m *session.Machine) { p = point{m.Applied(), m.Hash()} })
			points = append(points, p)
		}
		for _, p := range points {
			if p.index != points[0].index {
				return false
			}
		}
		for _, p := range points {
			if p.hash != points[0].hash {
				h.t.Fatalf("state differs at index %d: %x and %x", p.index, p.hash[:4], points[0].hash[:4])
			}
		}
		return true
	})
}

func read(t *testing.T, c *cluster.Cluster, fn func(*session.Machine)) {
	t.Helper()
	if err := c.Read(t.Context(), cluster.Local, fn); err != nil {
		t.Fatalf("local read: %v", err)
	}
}

// roles returns each member's role as the node sees it.
func roles(t *testing.T, c *cluster.Cluster) map[string]string {
	byName := make(map[string]string)
	for _, m := range c.Members(t.Context()) {
		byName[m.Name] = m.Role
	}
	return byName
}

func key(n int) session.Key { return session.KeyOf(fmt.Appendf(nil, "token %d", n)) }

// user makes the one user of the tests.
func (h *harness) user(c *cluster.Cluster) {
	h.t.Helper()
	h.do(c, &session.CreateUser{ID: "u1", Realm: session.NativeRealm, Username: "ann", RoleNames: []string{session.RoleAdmin}, PasswordHash: "x"})
}

// create logs the user in.
func (h *harness) create(c *cluster.Cluster, k session.Key) {
	h.t.Helper()
	h.do(c, h.login(c, k))
}

func (h *harness) login(c *cluster.Cluster, k session.Key) *session.Create {
	h.t.Helper()
	cmd := &session.Create{Key: k, Realm: session.NativeRealm, Username: "ann", Surface: session.SurfaceFusion, Idle: 30 * time.Minute, Lifetime: 8 * time.Hour}
	h.until("read of the user", func() bool {
		ctx, cancel := context.WithTimeout(h.t.Context(), 5*time.Second)
		defer cancel()
		return c.Read(ctx, cluster.Quorum, func(m *session.Machine) {
			u, _ := m.UserByName(session.NativeRealm, "ann")
			r, _ := m.RealmByName(session.NativeRealm)
			cmd.UserRev, cmd.RealmRev = u.Rev, r.Rev
		}) == nil
	})
	return cmd
}

func (h *harness) do(c *cluster.Cluster, cmd session.Command) session.Result {
	h.t.Helper()
	result, err := do(h.t, c, cmd)
	if err != nil {
		h.t.Fatalf("%T: %v", cmd, err)
	}
	return result
}

func do(t *testing.T, c *cluster.Cluster, cmd session.Command) (session.Result, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return c.Do(ctx, cmd)
}

func lookup(t *testing.T, c *cluster.Cluster, k session.Key, level cluster.Level) (session.View, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	view, _, err := c.Lookup(ctx, k, level)
	return view, err
}

// whole is lookup of all there is of a session.
func whole(t *testing.T, c *cluster.Cluster, k session.Key, level cluster.Level) (*session.Session, error) {
	if _, err := lookup(t, c, k, level); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return c.Whole(ctx, k, level)
}

// use is lookup, and counts as a use.
func use(t *testing.T, c *cluster.Cluster, k session.Key, level cluster.Level) (session.View, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	view, _, err := c.Use(ctx, k, level)
	return view, err
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func testKey() wire.ClusterKey { return sha256.Sum256([]byte("a key for tests")) }

// logger writes to standard error with CLOAKROOM_TEST_LOG=1.
func logger() *slog.Logger {
	w := io.Discard
	if os.Getenv("CLOAKROOM_TEST_LOG") != "" {
		w = os.Stderr
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
