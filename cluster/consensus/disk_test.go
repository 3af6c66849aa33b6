package consensus

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

// tcpLayer is the loopback without encryption.
type tcpLayer struct{ net.Listener }

func (tcpLayer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(addr), timeout)
}

func listen(t testing.TB) tcpLayer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return tcpLayer{l}
}

// quick makes a node that is alone its own leader soon. No test of time rests on it.
const quick = 50 * time.Millisecond

// onDisk opens a node on a real disk and closes it with the test.
func onDisk(t testing.TB, id, dir string, cfg Config) *Node {
	t.Helper()
	n, err := tryDisk(t, id, dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func tryDisk(t testing.TB, id, dir string, cfg Config) (*Node, error) {
	t.Helper()
	cfg.NodeID, cfg.Dir, cfg.Layer = id, dir, listen(t)
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat, cfg.Election = quick, quick
	}
	n, err := Open(cfg)
	if err == nil {
		t.Cleanup(func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return n, err
}

// alone opens and bootstraps a cluster of one, and waits until it leads.
func alone(t testing.TB, dir string, cfg Config) *Node {
	t.Helper()
	n := onDisk(t, "n1", dir, cfg)
	if !n.HasState() {
		if err := n.Bootstrap([]Server{{ID: "n1", Addr: string(n.transport.LocalAddr()), Voter: true}}); err != nil {
			t.Fatal(err)
		}
	}
	untilLeader(t, n)
	return n
}

func untilLeader(t testing.TB, n *Node) {
	t.Helper()
	for {
		changed := n.Changed()
		if n.IsLeader() {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("no leader")
		}
	}
}

func put(t testing.TB, n *Node, cmds ...session.Command) uint64 {
	t.Helper()
	applied, err := n.Propose(t.Context(), encode(t, cmds...)).Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return applied.Index
}

// putRoles proposes all at once, so that they share writes to the disk.
func putRoles(t testing.TB, n *Node, prefix string, count, size int) {
	t.Helper()
	var futures []Future
	for i := range count {
		futures = append(futures, n.Propose(t.Context(), encode(t, role(fmt.Sprintf("%s%d", prefix, i), size))))
	}
	for _, f := range futures {
		if _, err := f.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func closeNode(t testing.TB, n *Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOpenRefuses: what makes no sense is refused, and the port is free again.
func TestOpenRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no id":      {Ephemeral: true},
		"no place":   {NodeID: "n1"},
		"two places": {NodeID: "n1", Ephemeral: true, Stores: storage.NewMemoryStores()},
		"lease":      {NodeID: "n1", Ephemeral: true, Heartbeat: time.Second, Lease: 2 * time.Second},
		"election":   {NodeID: "n1", Ephemeral: true, Heartbeat: 2 * time.Second, Election: time.Second},
		"negative":   {NodeID: "n1", Ephemeral: true, SnapshotBytes: -1},
		"directory":  {NodeID: "n1", Dir: "/dev/null/x"},
		"library":    {NodeID: "n1", Ephemeral: true, Commit: time.Nanosecond},
	} {
		l := listen(t)
		cfg.Layer = l
		if n, err := Open(cfg); err == nil {
			t.Errorf("%s: opened", name)
			closeNode(t, n)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the listener: %v", name, err)
		}
	}
	if _, err := Open(Config{NodeID: "n1", Ephemeral: true}); err == nil {
		t.Error("opened without a layer")
	}
}

func TestEphemeral(t *testing.T) {
	n, err := Open(Config{NodeID: "n1", Ephemeral: true, Layer: listen(t), Heartbeat: quick, Election: quick})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Bootstrap([]Server{{ID: "n1", Addr: string(n.transport.LocalAddr()), Voter: true}}); err != nil {
		t.Fatal(err)
	}
	untilLeader(t, n)
	index := put(t, n, role("r", 1))
	if err := n.Snapshot(t.Context()); err != nil {
		t.Error(err)
	}
	if n.Applied() != index || !hasRole(n, "r") {
		t.Errorf("applied %d, not %d", n.Applied(), index)
	}
	closeNode(t, n)
	closeNode(t, n) // again
}

func TestDiskRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "raft")
	n := alone(t, dir, Config{})
	putRoles(t, n, "r", 50, 100)
	hash, applied := hashOf(n), n.Applied()
	if s := n.Stats().Store; s.Writes == 0 || s.Entries < 50 || s.Bytes < 5000 || s.Took.Sum <= 0 || s.Longest <= 0 || s.Longest > s.Took.Sum {
		t.Errorf("%+v", s)
	}
	closeNode(t, n)
	if err := n.WaitApplied(t.Context(), applied+1); !errors.Is(err, ErrShutdown) {
		t.Errorf("wait on a closed node: %v", err)
	}

	n = alone(t, dir, Config{}) // under another address
	if err := n.WaitApplied(t.Context(), applied); err != nil {
		t.Fatal(err)
	}
	if hashOf(n) != hash {
		t.Error("the state has changed over the restart")
	}
	if r := n.Stats().Restores; r != 0 {
		t.Errorf("%d restores without a snapshot", r)
	}
	if err := n.Bootstrap([]Server{{ID: "n1", Addr: "x:1", Voter: true}}); !errors.Is(err, ErrBootstrapped) {
		t.Errorf("bootstrap of a node with state: %v", err)
	}
}

func TestDiskSnapshot(t *testing.T) {
	dir := t.TempDir()
	n := alone(t, dir, Config{TrailingLogs: 10})
	putRoles(t, n, "r", 200, 1000)
	if err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := n.Stats()
	if s.Snapshots != 1 || s.SnapshotIndex != n.Applied() || s.LogBytes != 0 {
		t.Errorf("%+v", s)
	}
	if size := stateSize(t, dir); size == 0 || size > 50_000 {
		t.Errorf("200 KB of roles take %d bytes", size)
	}
	put(t, n, role("after", 1))
	if err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if first, err := n.log.FirstIndex(); err != nil || first < 190 {
		t.Errorf("the log begins at %d, %v", first, err)
	}
	hash, applied := hashOf(n), n.Applied()
	closeNode(t, n)

	n = alone(t, dir, Config{})
	if got := n.Applied(); got < applied {
		t.Errorf("applied %d after the restart, was %d", got, applied)
	}
	if n.Stats().Restores != 1 || hashOf(n) != hash {
		t.Error("the state is not the one of the snapshot")
	}
}

// stateSize returns the size of the only snapshot.
func stateSize(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(onlySnapshot(t, dir), "state.bin"))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func reopen(t *testing.T, dir string) *storage.Disk {
	t.Helper()
	d, err := storage.Open(dir, nil, quiet(), newLogAdapter(quiet()))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestLogTruncation: a log whose end was replaced by a new leader's can be read after a restart.
func TestLogTruncation(t *testing.T) {
	dir := t.TempDir()
	d := reopen(t, dir)
	store := newLogStore(d.Log, Config{}.withDefaults(), healthy(t))
	write := func(from, to, term uint64) {
		var logs []*raft.Log
		for i := from; i <= to; i++ {
			logs = append(logs, &raft.Log{Index: i, Term: term, Data: fmt.Appendf(nil, "%d of %d", i, term)})
		}
		if err := store.StoreLogs(logs); err != nil {
			t.Fatal(err)
		}
	}
	check := func(first, last, changed uint64) {
		t.Helper()
		if f, err := store.FirstIndex(); err != nil || f != first {
			t.Errorf("first %d, %v", f, err)
		}
		if l, err := store.LastIndex(); err != nil || l != last {
			t.Errorf("last %d, %v", l, err)
		}
		for i := first; i <= last; i++ {
			term := uint64(1)
			if i >= changed {
				term = 2
			}
			var log raft.Log
			if err := store.GetLog(i, &log); err != nil || log.Index != i || log.Term != term || string(log.Data) != fmt.Sprintf("%d of %d", i, term) {
				t.Fatalf("entry %d: %+v, %v", i, log, err)
			}
		}
		if err := store.GetLog(last+1, &raft.Log{}); !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("beyond the end: %v", err)
		}
	}
	again := func() {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		d = reopen(t, dir)
		store = newLogStore(d.Log, Config{}.withDefaults(), healthy(t))
	}

	const n = deleteChunk + 200
	write(1, n, 1)
	if err := store.DeleteRange(n-50, n); err != nil {
		t.Fatal(err)
	}
	again()
	check(1, n-51, n)
	write(n-50, n-20, 2)
	again()
	check(1, n-20, n-50)
	if err := store.DeleteRange(1, deleteChunk+7); err != nil { // from the front, in several steps
		t.Fatal(err)
	}
	check(deleteChunk+8, n-20, n-50)
	again()
	check(deleteChunk+8, n-20, n-50)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
