package storage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"cloakroom/cluster/keyring/keytest"
)

// TestLockOfRenamedFile: who has waited for the lock of a database that was replaced meanwhile has none.
func TestLockOfRenamedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), logFile)
	options, check := boltOptions(path, false)
	db, err := bbolt.Open(path, fileMode, options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := check(); err != nil {
		t.Errorf("the file that is locked: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := check(); !errors.Is(err, ErrLocked) {
		t.Errorf("a file that is gone: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := check(); !errors.Is(err, ErrLocked) {
		t.Errorf("another file: %v", err)
	}
}

// plainDatabase makes a directory with a log that is not sealed, and returns the path of its database.
func plainDatabase(t *testing.T, logs []*raft.Log) (path string) {
	t.Helper()
	dir := t.TempDir()
	d := opened(t, dir, nil)
	storeAll(t, d.Log, logs)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, logFile)
}

// TestOldDatabaseIsLocked: until the sealed copy has the name, nobody else gets the database.
func TestOldDatabaseIsLocked(t *testing.T) {
	path := plainDatabase(t, testEntries(1, 5))
	if !holdsSecret(t, path) {
		t.Fatal("nothing is in the plain log")
	}
	changed, err := sealBolt(path, keytest.Ring(t, keytest.Keys(t, 1)...), func(from, to string) error {
		store, err := openBolt(path, false)
		if err == nil {
			err = store.Close()
		}
		if !errors.Is(err, ErrLocked) {
			t.Errorf("not locked: %v", err)
		}
		return os.Rename(from, to)
	})
	if err != nil || !changed {
		t.Errorf("changed: %v, %v", changed, err)
	}
	if holdsSecret(t, path) {
		t.Error("the log is not sealed")
	}
}

// holdsSecret reports whether what testEntries holds is in a file.
func holdsSecret(t *testing.T, path string) bool {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(b, []byte("secret"))
}

// TestSettledAfterSealing: after a stop the database holds all of the log, that of a node whose log was sealed when it
// started too.
func TestSettledAfterSealing(t *testing.T) {
	ring := keytest.Ring(t, keytest.Keys(t, 1)...)
	for name, path := range map[string]string{
		"new": filepath.Join(t.TempDir(), logFile), "plain before": plainDatabase(t, testEntries(1, 5)),
	} {
		d := opened(t, filepath.Dir(path), ring)
		last, err := d.Log.LastIndex()
		if err != nil {
			t.Fatal(err)
		}
		storeAll(t, d.Log, testEntries(last+1, 3))
		if err := d.Close(); err != nil || !d.Settled() {
			t.Errorf("%s: settled: %v, %v", name, d.Settled(), err)
		}
		store, err := openBolt(path, true)
		if err != nil {
			t.Fatal(err)
		}
		if stored, err := store.LastIndex(); err != nil || stored != last+3 {
			t.Errorf("%s: the database ends with %d, not with %d, %v", name, stored, last+3, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCopyToFullDisk: a copy of the log for which there is no room fails.
func TestCopyToFullDisk(t *testing.T) {
	store, err := openBolt(plainDatabase(t, testEntries(1, 20)), true)
	if err != nil {
		t.Fatal(err)
	}
	ring := keytest.Ring(t, keytest.Keys(t, 1)...)
	if err := copyEntries(store, newVault(failing{store}, ring), ring); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// failing is a store on a full disk.
type failing struct{ raft.LogStore }

func (failing) StoreLogs([]*raft.Log) error { return full }
