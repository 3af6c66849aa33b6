package consensus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloakroom/cluster/storage"
)

// TestDiskDamage: data that can't be read is refused with a reason, never passed over.
func TestDiskDamage(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   error // nil: any
	}{
		"a byte of the snapshot": {func(t *testing.T, dir string) {
			flip(t, filepath.Join(onlySnapshot(t, dir), "state.bin"))
		}, storage.ErrDamaged},
		"description of the snapshot": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(onlySnapshot(t, dir), "meta.json"), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, storage.ErrDamaged},
		"no snapshot": {func(t *testing.T, dir string) {
			if err := os.RemoveAll(onlySnapshot(t, dir)); err != nil {
				t.Fatal(err)
			}
		}, storage.ErrDamaged},
		"hole in the log": {func(t *testing.T, dir string) {
			d := reopen(t, dir)
			defer func() {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}()
			last, err := d.Log.LastIndex()
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Log.DeleteRange(last-1, last-1); err != nil {
				t.Fatal(err)
			}
		}, storage.ErrDamaged},
		"log gone, snapshot left": {func(t *testing.T, dir string) {
			remove(t, dir, logFile, journalFile, "raft-1.journal")
		}, storage.ErrDamaged},
		"term of an older database": {func(t *testing.T, dir string) {
			d := reopen(t, dir)
			defer func() {
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}()
			if err := d.Stable.SetUint64(keyTerm, 1); err != nil { // the node led in a later one
				t.Fatal(err)
			}
		}, storage.ErrDamaged},
		"no database": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, logFile), []byte(strings.Repeat("x", 1<<16)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			n := alone(t, dir, Config{TrailingLogs: 5})
			putRoles(t, n, "r", 30, 10)
			if err := n.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
			putRoles(t, n, "s", 5, 10)
			closeNode(t, n)
			test.damage(t, dir)
			if _, err := tryDisk(t, "n1", dir, Config{}); err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("open: %v", err)
			} else {
				t.Log(err)
			}
		})
	}
}

func remove(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLostDatabase: term and vote are in the database alone; what the journal holds is not enough.
func TestLostDatabase(t *testing.T) {
	dir := t.TempDir()
	n := alone(t, dir, Config{})
	putRoles(t, n, "r", 30, 10)
	copied := crash(t, dir)
	remove(t, copied, logFile)
	if _, err := tryDisk(t, "n1", copied, Config{}); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("open: %v", err)
	}
}

// TestLogLost: a member has a log or a snapshot. A term alone may have come from the others since.
func TestLogLost(t *testing.T) {
	for _, member := range []bool{false, true} {
		for _, term := range []uint64{0, 5} {
			dir := t.TempDir()
			d := reopen(t, dir)
			if err := errors.Join(d.Stable.SetUint64(keyTerm, term), d.Close()); err != nil {
				t.Fatal(err)
			}
			if _, err := tryDisk(t, "n1", dir, Config{Member: member}); errors.Is(err, ErrLogLost) != member {
				t.Errorf("member %v, term %d: %v", member, term, err)
			}
		}
	}
}

// TestDiskNewestUnreadable: an older snapshot is no substitute for the newest, even if the log seems to reach back to it.
func TestDiskNewestUnreadable(t *testing.T) {
	for _, file := range []string{"state.bin", "meta.json"} {
		t.Run(file, func(t *testing.T) {
			dir := t.TempDir()
			n := alone(t, dir, Config{})
			for i := range 2 {
				putRoles(t, n, fmt.Sprintf("r%d-", i), 20, 10)
				if err := n.Snapshot(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			newest := fmt.Sprintf("*-%d-*", n.Stats().SnapshotIndex)
			closeNode(t, n)
			found, err := filepath.Glob(filepath.Join(dir, snapshotDir, newest, file))
			if err != nil || len(found) != 1 {
				t.Fatalf("%v, %v", found, err)
			}
			if file == "meta.json" {
				err = os.Truncate(found[0], 5)
			} else {
				flip(t, found[0])
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tryDisk(t, "n1", dir, Config{}); !errors.Is(err, storage.ErrDamaged) {
				t.Errorf("open: %v", err)
			}
		})
	}
}

func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func onlySnapshot(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, snapshotDir, "*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	return found[0]
}

func TestDiskLocked(t *testing.T) {
	dir := t.TempDir()
	alone(t, dir, Config{})
	if _, err := tryDisk(t, "n1", dir, Config{}); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
}

func TestDiskPermissions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	out := &logBuffer{}
	n := alone(t, dir, Config{Logger: out.logger()})
	if err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{
		dir: 0o700, filepath.Join(dir, logFile): 0o600, filepath.Join(dir, snapshotDir): 0o700,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if !strings.Contains(out.String(), "others could read the data directory") {
		t.Error("nothing was said of the permissions")
	}
	closeNode(t, n)
	if err := os.Chmod(filepath.Join(dir, logFile), 0o644); err != nil {
		t.Fatal(err)
	}
	closeNode(t, alone(t, dir, Config{}))
	if info, err := os.Stat(filepath.Join(dir, logFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tryDisk(t, "n1", file, Config{}); err == nil {
		t.Error("opened a file as a directory")
	}
}

// TestDiskUnfinished: what a crash in the middle of a snapshot has left is removed.
func TestDiskUnfinished(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, snapshotDir, "7-7-7"+tempSuffix)
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	alone(t, dir, Config{})
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
