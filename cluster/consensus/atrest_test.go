package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"cloakroom/cluster/keyring"
	"cloakroom/cluster/keyring/keytest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

// tellTale is in every role of these tests: what must not be found in an encrypted directory.
const tellTale = "tell-tale"

// tell proposes roles that hold the tell-tale, uncompressed as the log has them.
func tell(t testing.TB, n *Node, prefix string, count int) {
	t.Helper()
	for i := range count {
		put(t, n, &session.CreateRole{ID: fmt.Sprint(prefix, i), Name: fmt.Sprint(prefix, i), Desc: fmt.Sprintf("%s %d", tellTale, i)})
	}
}

// sealMark is the first byte of a sealed snapshot.
const sealMark = 0xe5

// findTale returns the files below a directory that hold the tell-tale. Snapshots are compressed, so for them it is the
// mark of a sealed one that counts.
func findTale(t testing.TB, dir string) (files []string) {
	t.Helper()
	walk(t, dir, func(path string, info fs.FileInfo) {
		if !info.Mode().IsRegular() {
			return
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(tellTale)) || filepath.Base(path) == stateFile && b[0] != sealMark {
			files = append(files, path)
		}
	})
	return files
}

func walk(t testing.TB, dir string, look func(path string, info fs.FileInfo)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			look(path, info)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func snapshot(t testing.TB, n *Node) {
	t.Helper()
	if err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestEncryptedFromTheStart: nothing that is proposed can be found in the directory, and all of it is there again.
func TestEncryptedFromTheStart(t *testing.T) {
	keys := keytest.Keys(t, 1)
	for name, ring := range map[string]*keyring.Ring{"plain": nil, "sealed": keytest.Ring(t, keys...)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			n := alone(t, dir, Config{DataKeys: ring, TrailingLogs: 5})
			tell(t, n, "a", 20)
			snapshot(t, n)
			tell(t, n, "b", 20)
			hash, applied := hashOf(n), n.Applied()
			if found := findTale(t, dir); (len(found) > 0) != (ring == nil) {
				t.Errorf("the tell-tale is in %v", found)
			}
			closeNode(t, n)
			if found := findTale(t, dir); (len(found) > 0) != (ring == nil) {
				t.Errorf("after the end the tell-tale is in %v", found)
			}
			n = alone(t, dir, Config{DataKeys: ring})
			if err := n.WaitApplied(t.Context(), applied); err != nil || hashOf(n) != hash {
				t.Errorf("another state, %v", err)
			}
		})
	}
}

// TestEncryptionIsSwitchedOn: a directory from before is read, its log is sealed at once, and a forced snapshot does the
// rest.
func TestEncryptionIsSwitchedOn(t *testing.T) {
	dir := t.TempDir()
	n := alone(t, dir, Config{})
	tell(t, n, "a", 20)
	snapshot(t, n)
	tell(t, n, "b", 20)
	hash, applied, term := hashOf(n), n.Applied(), n.Term()
	closeNode(t, n)

	out := &logBuffer{}
	ring := keytest.Ring(t, keytest.Keys(t, 1)...)
	n = alone(t, dir, Config{DataKeys: ring, Logger: out.logger()})
	if err := n.WaitApplied(t.Context(), applied); err != nil || hashOf(n) != hash {
		t.Errorf("another state, %v", err)
	}
	if n.Term() <= term {
		t.Errorf("term %d, it was %d: the node has forgotten it", n.Term(), term)
	}
	if found := findTale(t, dir); len(found) != 1 || filepath.Base(found[0]) != stateFile {
		t.Errorf("the tell-tale is in %v", found)
	}
	if s := n.Stats().AtRest; s.PlainEntries != 0 || s.PlainSnapshots != 1 || len(s.Keys) != 1 {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(out.String(), "was sealed") {
		t.Error("nothing was said of it")
	}
	tell(t, n, "c", 1)
	if err := n.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found := findTale(t, dir); len(found) > 0 {
		t.Errorf("the tell-tale is in %v", found)
	}
	if s := n.Stats().AtRest; s.PlainEntries+s.OtherEntries != 0 || s.PlainSnapshots+s.OtherSnapshots != 0 || s.Keys[0] != s.Current {
		t.Errorf("%+v", s)
	}
	hash, applied = hashOf(n), n.Applied()
	closeNode(t, n)

	out = &logBuffer{}
	n = alone(t, dir, Config{DataKeys: ring, Logger: out.logger()})
	if err := n.WaitApplied(t.Context(), applied); err != nil || hashOf(n) != hash {
		t.Errorf("another state, %v", err)
	}
	if strings.Contains(out.String(), "was sealed") {
		t.Error("the log is rewritten at each start")
	}
}

// TestEncryptionIsSwitchedOnAgain: what was written without keys in between is sealed too.
func TestEncryptionIsSwitchedOnAgain(t *testing.T) {
	dir := t.TempDir()
	ring := keytest.Ring(t, keytest.Keys(t, 1)...)
	closeNode(t, onDisk(t, "n1", dir, Config{DataKeys: ring})) // before there is any entry
	n := alone(t, dir, Config{})
	tell(t, n, "a", 5)
	closeNode(t, n)
	n = alone(t, dir, Config{DataKeys: ring})
	if found := findTale(t, dir); len(found) > 0 || n.Stats().AtRest.PlainEntries > 0 {
		t.Errorf("the tell-tale is in %v: %+v", found, n.Stats().AtRest)
	}
}

// TestKeyMissing: without the key, nothing is opened, nothing changed, and it is said which one is needed.
func TestKeyMissing(t *testing.T) {
	keys := keytest.Keys(t, 2)
	for name, left := range map[string]struct {
		snapshots bool
		after     int
	}{"log": {false, 5}, "both": {true, 5}, "snapshot": {true, 0}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			n := alone(t, dir, Config{DataKeys: keytest.Ring(t, keys[0]), TrailingLogs: 1})
			tell(t, n, "a", 5)
			if left.snapshots {
				snapshot(t, n)
			}
			tell(t, n, "b", left.after)
			hash, applied := hashOf(n), n.Applied()
			closeNode(t, n)
			if name == "snapshot" {
				d := reopenWith(t, dir, keytest.Ring(t, keys[0]))
				last, err := d.Log.LastIndex()
				if err := errors.Join(err, d.Log.DeleteRange(1, last), d.Close()); err != nil {
					t.Fatal(err)
				}
			}
			before := contents(t, dir)
			for what, test := range map[string]struct {
				keys *keyring.Ring
				want error
			}{"no key": {nil, storage.ErrNoDataKeys}, "another": {keytest.Ring(t, keys[1]), storage.ErrWrongDataKeys}} {
				_, err := tryDisk(t, "n1", dir, Config{DataKeys: test.keys})
				if !errors.Is(err, test.want) || !strings.Contains(err.Error(), keys[0].ID().String()) || !strings.Contains(err.Error(), "--data-key-file") {
					t.Errorf("%s: %v", what, err)
				}
				if err != nil && strings.Contains(err.Error(), keys[0].Encode()) {
					t.Errorf("%s: the key is in the error", what)
				}
			}
			if after := contents(t, dir); !slices.Equal(before, after) {
				t.Error("the files have changed")
			}
			n = alone(t, dir, Config{DataKeys: keytest.Ring(t, keys[1], keys[0])})
			if err := n.WaitApplied(t.Context(), applied); err != nil || hashOf(n) != hash {
				t.Errorf("another state, %v", err)
			}
		})
	}
}

// contents returns names and contents of files. Opening a database writes its header anew, without another content: so
// of that the entries count, which TestKeyMissing reads in the end.
func contents(t testing.TB, dir string) (all []string) {
	t.Helper()
	walk(t, dir, func(path string, info fs.FileInfo) {
		text := ""
		if info.Mode().IsRegular() && filepath.Base(path) != logFile {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		all = append(all, path+"\n"+text)
	})
	return all
}

func reopenWith(t testing.TB, dir string, keys *keyring.Ring) *storage.Disk {
	t.Helper()
	d, err := storage.Open(dir, keys, quiet(), newLogAdapter(quiet()))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestRotation: the old key is needed until all is sealed anew, which the node tells, and no longer.
func TestRotation(t *testing.T) {
	keys := keytest.Keys(t, 3)
	dir := t.TempDir()
	n := alone(t, dir, Config{DataKeys: keytest.Ring(t, keys[0]), TrailingLogs: 10})
	tell(t, n, "a", 20)
	snapshot(t, n)
	tell(t, n, "b", 5)
	closeNode(t, n)

	// At a restart.
	n = alone(t, dir, Config{DataKeys: keytest.Ring(t, keys[1], keys[0]), TrailingLogs: 10})
	tell(t, n, "c", 5)
	old := keys[0].ID().String()
	if s := n.Stats().AtRest; s.Keys[0] != old || s.Current != keys[1].ID().String() || s.OtherEntries == 0 || s.OtherSnapshots != 1 {
		t.Errorf("%+v", s)
	}
	// While it runs.
	if err := n.ReplaceDataKeys([]keyring.Key{keys[2], keys[1]}); !errors.Is(err, storage.ErrKeyInUse) || !strings.Contains(err.Error(), old) {
		t.Errorf("took the oldest key away: %v", err)
	}
	if err := n.ReplaceDataKeys(keys[:1]); !errors.Is(err, storage.ErrKeyInUse) {
		t.Errorf("took the current key away: %v", err)
	}
	if err := n.ReplaceDataKeys([]keyring.Key{keys[2], keys[1], keys[0]}); err != nil {
		t.Fatal(err)
	}
	tell(t, n, "d", 5)
	if s := n.Stats().AtRest; len(s.Keys) != 3 || s.Keys[0] != old || s.Current != keys[2].ID().String() {
		t.Errorf("%+v", s)
	}
	if err := n.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	current := keys[2].ID().String()
	if s := n.Stats().AtRest; !slices.Equal(s.Keys, []string{current}) || s.OtherEntries+s.PlainEntries != 0 {
		t.Errorf("%+v", s)
	}
	if err := n.ReplaceDataKeys(keys[2:]); err != nil {
		t.Errorf("the old keys can't be taken away: %v", err)
	}
	tell(t, n, "e", 5)
	hash, applied := hashOf(n), n.Applied()
	closeNode(t, n)
	n = alone(t, dir, Config{DataKeys: keytest.Ring(t, keys[2])})
	if err := n.WaitApplied(t.Context(), applied); err != nil || hashOf(n) != hash {
		t.Errorf("another state, %v", err)
	}
	if err := alone(t, t.TempDir(), Config{}).ReplaceDataKeys(keys); err == nil {
		t.Error("keys for a node that seals nothing")
	}
}

// TestResealUnderWrites: it ends while the log goes on, and loses nothing.
func TestResealUnderWrites(t *testing.T) {
	keys := keytest.Keys(t, 2)
	dir := t.TempDir()
	n := alone(t, dir, Config{DataKeys: keytest.Ring(t, keys[0])})
	putRoles(t, n, "a", 200, 100)
	begun, stop, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var written atomic.Int64
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := n.Propose(t.Context(), encode(t, role(fmt.Sprint("w", written.Load()), 100))).Wait(t.Context()); err != nil {
				t.Error(err)
			}
			if written.Add(1) == 1 {
				close(begun)
			}
		}
	}()
	<-begun
	if err := n.ReplaceDataKeys([]keyring.Key{keys[1], keys[0]}); err != nil {
		t.Fatal(err)
	}
	before := written.Load()
	for i := 0; i < 3 || written.Load() == before; i++ { // until something was written meanwhile
		if err := n.Reseal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-done
	hash, applied := hashOf(n), n.Applied()
	closeNode(t, n)
	n = alone(t, dir, Config{DataKeys: keytest.Ring(t, keys[1])})
	if err := n.WaitApplied(t.Context(), applied); err != nil || hashOf(n) != hash {
		t.Errorf("another state, %v", err)
	}
}

// TestSnapshotWithoutItsKey: an older snapshot whose key is missing anyway is no reason to refuse keys, and goes with the
// next Reseal. When nothing is left to do, Reseal does nothing.
func TestSnapshotWithoutItsKey(t *testing.T) {
	keys := keytest.Keys(t, 3)
	dir := t.TempDir()
	n := alone(t, dir, Config{DataKeys: keytest.Ring(t, keys[0]), TrailingLogs: 1})
	if n.NeedsReseal() {
		t.Error("a new node needs it")
	}
	tell(t, n, "a", 5)
	snapshot(t, n)
	closeNode(t, n)
	n = alone(t, dir, Config{DataKeys: keytest.Ring(t, keys[1], keys[0]), TrailingLogs: 1})
	tell(t, n, "b", 5)
	snapshot(t, n)
	if s := n.Stats().AtRest; s.OtherEntries > 0 {
		t.Fatalf("%+v", s)
	}
	closeNode(t, n)

	n = alone(t, dir, Config{DataKeys: keytest.Ring(t, keys[1]), TrailingLogs: 1})
	if s := n.Stats().AtRest; s.OtherSnapshots != 1 || !n.NeedsReseal() {
		t.Fatalf("%+v", s)
	}
	for _, next := range [][]keyring.Key{{keys[1]}, {keys[2], keys[1]}} {
		if err := n.ReplaceDataKeys(next); err != nil {
			t.Errorf("%d keys: %v", len(next), err)
		}
	}
	if err := n.ReplaceDataKeys(keys[2:]); !errors.Is(err, storage.ErrKeyInUse) {
		t.Errorf("took a key away that is there: %v", err)
	}
	tell(t, n, "c", 5)
	if err := n.Reseal(t.Context()); err != nil || n.NeedsReseal() {
		t.Fatalf("%+v, %v", n.Stats().AtRest, err)
	}
	tell(t, n, "d", 5)
	before := n.log.meter.snapshotIndex()
	if err := errors.Join(n.ReplaceDataKeys(keys[2:]), n.Reseal(t.Context())); err != nil {
		t.Fatal(err)
	}
	if after := n.log.meter.snapshotIndex(); after != before {
		t.Errorf("a snapshot at %d, though nothing was in the way; the last was at %d", after, before)
	}
	if alone(t, t.TempDir(), Config{}).NeedsReseal() {
		t.Error("a node without keys needs it")
	}
}
