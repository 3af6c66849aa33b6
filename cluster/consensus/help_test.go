package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

// testLayer connects a node to the network in memory. Slow, if set, holds up large writes to an address.
type testLayer struct {
	net.Listener
	host *clustertest.Host
	addr nameAddr
	slow *slowLane
}

// nameAddr is an address by name.
type nameAddr string

func (nameAddr) Network() string  { return "tcp" }
func (a nameAddr) String() string { return string(a) }

func (l *testLayer) Addr() net.Addr { return l.addr }

func (l *testLayer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, err := l.host.Dial(ctx, string(addr))
	if err != nil {
		return nil, err
	}
	return &slowConn{Conn: c, to: string(addr), lane: l.slow}, nil
}

// slowLane says how long requests with entries take to an address, so that a nudge overtakes them.
type slowLane struct {
	mu    sync.Mutex
	delay map[string]time.Duration
}

func (s *slowLane) set(addr string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay[addr] = d
}

func (s *slowLane) get(addr string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delay[addr]
}

// largeWrite is more than any request without entries takes, and less than one with an entry of bigEntry.
const largeWrite = 1500

type slowConn struct {
	net.Conn
	to   string
	lane *slowLane
}

func (c *slowConn) Write(b []byte) (int, error) {
	if d := c.lane.get(c.to); d > 0 && len(b) > largeWrite {
		time.Sleep(d) // in fake time only
	}
	return c.Conn.Write(b)
}

// trio is a cluster of three, or of as many as its tests start, in fake time.
type trio struct {
	t      *testing.T
	net    *clustertest.Network
	slow   *slowLane
	cfg    Config                       // settings that all nodes have
	hooks  func(id string, cfg *Config) // may be nil
	nodes  map[string]*Node
	addrs  map[string]string
	stores map[string]*storage.Stores
	disks  map[string]*badDisk
	fatal  *failures
	serial int
}

// failures collects what OnFatal was told.
type failures struct {
	mu  sync.Mutex
	err map[string]error
}

func (f *failures) of(id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err[id]
}

func (f *failures) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.err)
}

func (f *failures) note(id string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err[id] = errors.Join(f.err[id], err)
}

// inFakeTime runs f with a started and bootstrapped cluster of n1, n2 and n3.
func inFakeTime(t *testing.T, cfg Config, f func(t *testing.T, c *trio)) {
	t.Helper()
	inFakeTimeWith(t, cfg, nil, f)
}

// inFakeTimeWith is inFakeTime with what is different from node to node.
func inFakeTimeWith(t *testing.T, cfg Config, hooks func(id string, cfg *Config), f func(t *testing.T, c *trio)) {
	t.Helper()
	clustertest.Run(t, 1, func(t *testing.T, network *clustertest.Network) {
		c := newTrio(t, network, cfg)
		c.hooks = hooks
		for _, id := range []string{"n1", "n2", "n3"} {
			c.start(id)
		}
		if err := c.nodes["n1"].Bootstrap(c.servers("n1", "n2", "n3")); err != nil {
			t.Fatal(err)
		}
		c.must(&session.Genesis{ClusterID: "c", RealmID: "r", AdminID: "a", ServiceID: "s"})
		f(t, c)
	})
}

func newTrio(t *testing.T, network *clustertest.Network, cfg Config) *trio {
	c := &trio{
		t: t, net: network, cfg: cfg, slow: &slowLane{delay: map[string]time.Duration{}},
		nodes: map[string]*Node{}, addrs: map[string]string{}, stores: map[string]*storage.Stores{}, disks: map[string]*badDisk{},
		fatal: &failures{err: map[string]error{}},
	}
	t.Cleanup(func() {
		for id := range c.nodes {
			c.stop(id)
		}
	})
	return c
}

func (c *trio) servers(voters ...string) []Server {
	var s []Server
	for _, id := range voters {
		s = append(s, Server{ID: id, Addr: c.addrs[id], Voter: true})
	}
	return s
}

// start opens a node on what its predecessor of that name has left.
func (c *trio) start(id string) *Node {
	c.t.Helper()
	n, err := c.open(id)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

func (c *trio) open(id string) (*Node, error) {
	if c.addrs[id] == "" {
		c.addrs[id] = id + ":7000"
	}
	if c.stores[id] == nil {
		c.stores[id] = storage.NewMemoryStores()
	}
	if c.disks[id] == nil {
		c.disks[id] = &badDisk{}
	}
	host := c.net.Host(strings.Split(c.addrs[id], ":")[0])
	l, err := host.Listen(c.addrs[id])
	if err != nil {
		return nil, err
	}
	cfg := c.cfg
	cfg.NodeID = id
	cfg.Stores = c.disks[id].before(c.stores[id])
	cfg.Layer = &testLayer{Listener: l, host: host, addr: nameAddr(c.addrs[id]), slow: c.slow}
	cfg.OnFatal = func(err error) { c.fatal.note(id, err) }
	if c.hooks != nil {
		c.hooks(id, &cfg)
	}
	n, err := Open(cfg)
	if err != nil {
		return nil, err
	}
	c.nodes[id] = n
	return n, nil
}

func (c *trio) stop(id string) {
	c.t.Helper()
	if err := c.nodes[id].Close(); err != nil {
		c.t.Errorf("close %s: %v", id, err)
	}
	delete(c.nodes, id)
}

// leader waits for a leader among the nodes named, or among all.
func (c *trio) leader(among ...string) *Node {
	c.t.Helper()
	if len(among) == 0 {
		for id := range c.nodes {
			among = append(among, id)
		}
	}
	for range 600 {
		for _, id := range among {
			if n := c.nodes[id]; n != nil && n.IsLeader() {
				return n
			}
		}
		time.Sleep(50 * time.Millisecond) // fake
	}
	c.t.Fatalf("no leader among %v", among)
	return nil
}

// must proposes a command to whoever leads and returns its index.
func (c *trio) must(cmd session.Command) uint64 {
	c.t.Helper()
	return c.mustAt(c.leader(), cmd)
}

func (c *trio) mustAt(n *Node, cmd session.Command) uint64 {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	applied, err := n.Propose(ctx, encode(c.t, cmd)).Wait(ctx)
	if err != nil {
		c.t.Fatalf("propose: %v", err)
	}
	if len(applied.Results) != 1 || applied.Results[0].Err != nil {
		c.t.Fatalf("results: %+v", applied.Results)
	}
	return applied.Index
}

// role returns a command that makes a role of its own; it takes about size bytes.
func (c *trio) role(size int) *session.CreateRole {
	c.serial++
	return role(fmt.Sprintf("r%d", c.serial), size)
}

func role(name string, size int) *session.CreateRole {
	return &session.CreateRole{ID: name, Name: name, Desc: strings.Repeat("x", min(size, session.MaxDescription))}
}

// bigEntry makes an entry that largeWrite tells from requests without entries.
func (c *trio) bigEntry() []byte {
	return encode(c.t, c.role(1000), c.role(1000))
}

func encode(t testing.TB, cmds ...session.Command) []byte {
	t.Helper()
	b, err := session.EncodeEntry(nil, &session.Entry{Stamp: 1, Commands: cmds})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// equal waits until all running nodes have applied what the leader has, and compares their states.
func (c *trio) equal() {
	c.t.Helper()
	index := c.must(c.role(1))
	hashes := map[[32]byte][]string{}
	for id, n := range c.nodes {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
		if err := n.WaitApplied(ctx, index); err != nil {
			c.t.Errorf("%s is at %d, not at %d: %v; fatal: %v", id, n.Applied(), index, err, c.fatal.of(id))
		}
		cancel()
		hash := hashOf(n)
		hashes[hash] = append(hashes[hash], id)
	}
	if len(hashes) != 1 {
		c.t.Fatalf("states differ: %v", hashes)
	}
}

func hashOf(n *Node) (hash [32]byte) {
	n.Read(func(m *session.Machine) { hash = m.Hash() })
	return hash
}

func hasRole(n *Node, name string) (has bool) {
	n.Read(func(m *session.Machine) { _, has = m.RoleByName(name) })
	return has
}

// healthy watches a disk that nothing may be wrong with.
func healthy(t testing.TB) storage.Watch {
	return storage.Watch{Limit: DefaultStall, OnFail: func(err error) { t.Error(err) }}
}

// logBuffer is a slog target for tests.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// The names in a data directory, which never change: what is there must be found.
const (
	logFile     = "raft.db"
	journalFile = "raft-0.journal"
	snapshotDir = "snapshots"
	metaFile    = "meta.json"
	stateFile   = "state.bin"
	tempSuffix  = ".tmp"
)
