package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring"
	"cloakroom/cluster/keyring/keytest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// crash copies a node's directory as a loss of power would leave it: what is in the journal is nowhere else.
func crash(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "crashed")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestReadState: what a node has applied is in the state of its directory, by the snapshot, the database of the log and
// its journal, sealed or not; and a node that starts on what is written of that state has it, too.
func TestReadState(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string]*keyring.Ring{"plain": nil, "sealed": keytest.Ring(t, keytest.Keys(t, 1)...)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			n := alone(t, dir, Config{DataKeys: keys, TrailingLogs: 5})
			genesis(t, n)
			for _, with := range []string{"a log alone", "a snapshot, and some log", "a snapshot alone"} {
				if with != "a log alone" {
					snapshot(t, n)
				}
				if with != "a snapshot alone" {
					tell(t, n, strings.ReplaceAll(with[2:6], " ", ""), 30)
				}
				copied := crash(t, dir)
				before := sums(t, copied)
				s, err := ReadState(copied, keys, quiet())
				if err != nil {
					t.Fatalf("%s: %v", with, err)
				}
				if s.Machine.Hash() != hashOf(n) || s.Machine.Applied() != n.Applied() || s.Index < n.Applied() || s.Term == 0 {
					t.Errorf("%s: state of index %d (%d), node of %d; same: %v", with, s.Index, s.Machine.Applied(), n.Applied(), s.Machine.Hash() == hashOf(n))
				}
				if after := sums(t, copied); after != before {
					t.Errorf("%s: the directory has changed\n%s\n%s", with, before, after)
				}
				startsWith(t, s, keys)
			}
			if _, err := ReadState(dir, keys, quiet()); !errors.Is(err, storage.ErrLocked) {
				t.Errorf("beside a running node: %v", err)
			}
		})
	}
}

// sums is the names and the contents of the files in a directory.
func sums(t *testing.T, dir string) string {
	t.Helper()
	var list strings.Builder
	for _, name := range []string{logFile, "raft-0.journal", "raft-1.journal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&list, "%s %x\n", name, fnv(b))
	}
	return list.String()
}

func fnv(b []byte) (sum uint64) {
	sum = 14695981039346656037
	for _, c := range b {
		sum = (sum ^ uint64(c)) * 1099511628211
	}
	return sum
}

// startsWith starts a node on what WriteState makes of a state.
func startsWith(t *testing.T, s *State, keys *keyring.Ring) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "written")
	if err := WriteState(dir, keys, s, []Server{{ID: "n1", Addr: "n1", Voter: true}}, quiet()); err != nil {
		t.Fatal(err)
	}
	if found := findTale(t, dir); keys != nil && len(found) > 0 {
		t.Errorf("not sealed: %v", found)
	}
	if err := WriteState(dir, keys, s, nil, quiet()); !errors.Is(err, os.ErrExist) {
		t.Errorf("written over another: %v", err)
	}
	n := alone(t, dir, Config{DataKeys: keys})
	defer closeNode(t, n)
	servers, err := n.Servers()
	if err != nil || len(servers) != 1 || n.Term() <= s.Term {
		t.Errorf("servers %v, term %d after %d, %v", servers, n.Term(), s.Term, err)
	}
	if hashOf(n) != s.Machine.Hash() {
		t.Error("the node has another state")
	}
	if index := put(t, n, &session.CreateRole{ID: "after", Name: "after"}); index <= s.Index {
		t.Errorf("entry %d after a state of %d", index, s.Index)
	}
}

// genesis gives a node the records that everything else refers to.
func genesis(t *testing.T, n *Node) {
	t.Helper()
	put(t, n, &session.Genesis{ClusterID: "c", RealmID: "r", AdminID: "a", ServiceID: "s"})
}

// TestReadStateRefuses: what can't be read is said, and no part of it is taken for the whole.
func TestReadStateRefuses(t *testing.T) {
	t.Parallel()
	keys := keytest.Keys(t, 2)
	ring := keytest.Ring(t, keys[0])
	dir := t.TempDir()
	n := alone(t, dir, Config{DataKeys: ring, TrailingLogs: 5})
	genesis(t, n)
	tell(t, n, "a", 30)
	snapshot(t, n)
	tell(t, n, "b", 30)
	closeNode(t, n)
	if _, err := ReadState(dir, nil, quiet()); !errors.Is(err, storage.ErrNoDataKeys) {
		t.Errorf("without the key: %v", err)
	}
	if _, err := ReadState(dir, keytest.Ring(t, keys[1]), quiet()); !errors.Is(err, storage.ErrWrongDataKeys) {
		t.Errorf("with another key: %v", err)
	}
	if _, err := ReadState(t.TempDir(), nil, quiet()); !errors.Is(err, storage.ErrNoState) {
		t.Errorf("nothing there: %v", err)
	}
	for name, spoil := range map[string]func(dir string) error{
		"no snapshot":      func(dir string) error { return os.RemoveAll(filepath.Join(dir, snapshotDir)) },
		"no journal":       func(dir string) error { return os.Remove(filepath.Join(dir, journalFile)) },
		"half a snapshot":  func(dir string) error { return cutFile(dir, "snapshots/*/state.bin") },
		"another snapshot": func(dir string) error { return flipIn(dir, "snapshots/*/state.bin") },
	} {
		copied := crash(t, dir)
		if err := spoil(copied); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadState(copied, ring, quiet()); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReadStateOfADivergedLog: behind a snapshot of the leader's, entries of a log that never fitted are nobody's. A crash
// has left them.
func TestReadStateOfADivergedLog(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		term, index uint64 // of the snapshot, of the state
	}{"another entry in its place": {3, 3}, "the same": {2, 5}} {
		stores := storage.NewMemoryStores()
		f, _ := newTestFSM()
		for index := uint64(1); index <= 5; index++ {
			entry := &raft.Log{Index: index, Term: 2, Data: encode(t, role(fmt.Sprint("r", index), 10))}
			if err := stores.Log.StoreLog(entry); err != nil {
				t.Fatal(err)
			}
			if index <= 3 {
				f.apply(entry)
			}
		}
		sink, err := stores.Snapshots.Create(1, 3, test.term, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(writeSnapshot(sink, f.machine.Snapshot(nil)), sink.Close()); err != nil {
			t.Fatal(err)
		}
		d, err := storage.Wrap(stores, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := replay(d)
		if err != nil {
			t.Fatal(err)
		}
		if s.Index != test.index || s.Term != test.term || s.Machine.Applied() != test.index || s.Snapshot != 3 {
			t.Errorf("%s: index %d of term %d, the machine is at %d", name, s.Index, s.Term, s.Machine.Applied())
		}
	}
}

func cutFile(dir, pattern string) error {
	return changeFile(dir, pattern, func(b []byte) []byte { return b[:len(b)/2] })
}

func flipIn(dir, pattern string) error {
	return changeFile(dir, pattern, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
}

func changeFile(dir, pattern string, change func([]byte) []byte) error {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) == 0 {
		return fmt.Errorf("%s: %v, %w", pattern, found, err)
	}
	for _, path := range found {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, change(b), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// TestCapture: a capture is the state of its moment, whatever comes while it is written, and opens under its key and its
// binding alone.
func TestCapture(t *testing.T) {
	t.Parallel()
	keys := keytest.Keys(t, 2)
	binding := []byte("what it belongs to")
	n := alone(t, t.TempDir(), Config{})
	genesis(t, n)
	tell(t, n, "a", 30)
	for _, key := range []*keyring.Key{nil, &keys[0]} {
		var hash [32]byte
		c, err := n.Capture(func(m *session.Machine) { hash = m.Hash() })
		if err != nil {
			t.Fatal(err)
		}
		tell(t, n, fmt.Sprint("b", key == nil), 30)
		var b bytes.Buffer
		if err := c.WriteTo(&b, key, binding); err != nil {
			t.Fatal(err)
		}
		c.Release()
		m, err := ReadCapture(bytes.NewReader(b.Bytes()), keytest.Ring(t, keys...), binding)
		if err != nil || m.Hash() != hash || m.Applied() != c.Index || m.Hash() == hashOf(n) {
			t.Fatalf("index %d of %d, %v", m.Applied(), c.Index, err)
		}
		for i := range b.Len() {
			if _, err := ReadCapture(bytes.NewReader(b.Bytes()[:i]), keytest.Ring(t, keys...), binding); err == nil {
				t.Fatalf("cut to %d of %d bytes: no error", i, b.Len())
			}
		}
		if key == nil {
			continue
		}
		if bytes.Contains(b.Bytes(), []byte(tellTale)) {
			t.Error("it is not sealed")
		}
		if _, err := ReadCapture(bytes.NewReader(b.Bytes()), keytest.Ring(t, keys...), []byte("something else")); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("with another binding: %v", err)
		}
		if _, err := ReadCapture(bytes.NewReader(b.Bytes()), keytest.Ring(t, keys[1]), binding); !errors.Is(err, storage.ErrWrongDataKeys) {
			t.Errorf("with another key: %v", err)
		}
	}
	closeNode(t, n)
	if _, err := n.Capture(func(*session.Machine) {}); !errors.Is(err, ErrShutdown) {
		t.Errorf("of a closed node: %v", err)
	}
}

// TestCaptureOfAReplacedMachine: a snapshot from the leader replaces the machine while a capture of it is written. The
// capture stays what it was, though nobody else has the former machine any more.
func TestCaptureOfAReplacedMachine(t *testing.T) {
	t.Parallel()
	snapshot := func(sessions int) (source io.ReadCloser, index uint64, hash [32]byte) {
		m := crowd(t, sessions)
		var b bytes.Buffer
		if err := writeSnapshot(&b, m.Snapshot(nil)); err != nil {
			t.Fatal(err)
		}
		meta := &raft.SnapshotMeta{ID: fmt.Sprint(sessions), Index: m.Applied()}
		return &snapshotSource{ReadCloser: io.NopCloser(&b), meta: meta, live: true}, m.Applied(), m.Hash()
	}
	f, said := newTestFSM()
	first, index, hash := snapshot(5_000)
	if err := f.Restore(first); err != nil {
		t.Fatal(err)
	}
	c, err := f.capture(1, func(*session.Machine) {})
	if err != nil {
		t.Fatal(err)
	}
	next, replacedAt, _ := snapshot(9_000)
	var b bytes.Buffer
	begun := false
	err = c.WriteTo(writerFunc(func(part []byte) (int, error) { // the first part comes before any session is read
		if !begun {
			begun = true
			if err := f.Restore(next); err != nil {
				return 0, err
			}
		}
		for range 2 { // what the former machine has beside the heap goes when the collector finds nobody who has it
			runtime.GC()
		}
		return b.Write(part)
	}), nil, nil)
	if err != nil || said.of("") != nil || f.applied.Load() != replacedAt {
		t.Fatalf("%v, %v, the machine is at %d", err, said.of(""), f.applied.Load())
	}
	if m, err := ReadCapture(&b, nil, nil); err != nil || m.Applied() != index || m.Hash() != hash {
		t.Errorf("another state: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(b []byte) (int, error) { return w(b) }
