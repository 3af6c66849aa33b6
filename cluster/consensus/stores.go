package consensus

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// The names in Config.Dir.
const (
	logFile     = "raft.db"
	snapshotDir = "snapshots"
	tempSuffix  = ".tmp"
)

// Stores keep a node's log, vote and snapshots. Tests hand the same Stores to a node and to its successor, as if they
// were a disk.
type Stores struct {
	Log       raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
}

// NewMemoryStores returns empty stores in memory.
func NewMemoryStores() *Stores {
	store := raft.NewInmemStore()
	return &Stores{Log: store, Stable: store, Snapshots: &memorySnapshots{}}
}

// disk is the stores of an open node, and what closes them.
type disk struct {
	log       raft.LogStore
	stable    raft.StableStore
	snapshots raft.SnapshotStore
	close     func() error
}

func (d *disk) Close() error { return d.close() }

func openStores(cfg Config, logger *logAdapter) (*disk, error) {
	if cfg.Dir != "" {
		return openDisk(cfg.Dir, cfg.Logger, logger)
	}
	s := cfg.Stores
	if s == nil {
		s = NewMemoryStores()
	}
	return &disk{log: s.Log, stable: s.Stable, snapshots: s.Snapshots, close: func() error { return nil }}, nil
}

// openDisk opens the directory, makes it if there is none, and locks it. Nobody but the owner may read what is in it:
// wider permissions are taken away.
func openDisk(dir string, logger *slog.Logger, library *logAdapter) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, diskError("make data directory", err)
	}
	if err := tighten(dir, 0o700, logger); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, logFile)
	store, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{
		Timeout: lockTimeout,
		// The list of free pages is large after a snapshot has emptied the log, and would be written with each append.
		// Without it, opening reads the file once.
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
	}})
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("open log store: %w", ErrLocked)
	case err != nil:
		return nil, diskError("open log store", err)
	}
	d, err := openBehindLock(dir, store, logger, library)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return d, nil
}

// openBehindLock opens what the lock of the log store protects.
func openBehindLock(dir string, store *raftboltdb.BoltStore, logger *slog.Logger, library *logAdapter) (*disk, error) {
	if err := tighten(filepath.Join(dir, logFile), 0o600, logger); err != nil {
		return nil, err
	}
	snapshots := filepath.Join(dir, snapshotDir)
	if err := removeUnfinished(snapshots); err != nil {
		return nil, fmt.Errorf("remove unfinished snapshots: %w", err)
	}
	files, err := raft.NewFileSnapshotStoreWithLogger(dir, retainSnapshots, library)
	if err != nil {
		return nil, diskError("open snapshot store", err)
	}
	if err := tighten(snapshots, 0o700, nil); err != nil { // the library makes it for all to read
		return nil, err
	}
	if err := checkNewest(snapshots, files); err != nil {
		return nil, err
	}
	// The names of new files last only with their directory.
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := syncDir(d); err != nil {
			return nil, diskError("sync data directory", err)
		}
	}
	cached, err := raft.NewLogCache(logCacheSize, store)
	if err != nil {
		return nil, fmt.Errorf("make log cache: %w", err)
	}
	return &disk{log: cached, stable: store, snapshots: files, close: store.Close}, nil
}

// tighten takes permissions away that go beyond mode.
func tighten(path string, mode fs.FileMode, logger *slog.Logger) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("look at data directory: %w", err)
	}
	if info.Mode().Perm()&^mode == 0 {
		return nil
	}
	if err := os.Chmod(path, info.Mode().Perm()&mode); err != nil {
		return fmt.Errorf("take permissions away that others have: %w", err)
	}
	if logger != nil {
		logger.Warn("others could read the data directory, they can't any more", "path", path, "was", info.Mode().Perm().String())
	}
	return nil
}

// removeUnfinished removes what a crash in the middle of a snapshot has left. The library only warns of it.
func removeUnfinished(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasSuffix(e.Name(), tempSuffix) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkNewest compares the newest directory with what the store lists: the store passes over a snapshot whose
// description it can't read, and would take an older one for the newest.
func checkNewest(dir string, store raft.SnapshotStore) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	var newest [2]uint64
	name := ""
	for _, e := range entries {
		if at, ok := parseSnapshotName(e.Name()); ok && e.IsDir() && (at[0] > newest[0] || at[0] == newest[0] && at[1] > newest[1]) {
			newest, name = at, e.Name()
		}
	}
	listed, err := store.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	if name != "" && (len(listed) == 0 || listed[0].Term != newest[0] || listed[0].Index != newest[1]) {
		return fmt.Errorf("snapshot %s can't be read: %w", name, ErrDamaged)
	}
	return nil
}

// parseSnapshotName takes term and index from a name, which is TERM-INDEX-MILLISECONDS.
func parseSnapshotName(name string) (at [2]uint64, ok bool) {
	parts := strings.Split(name, "-")
	if len(parts) != 3 {
		return at, false
	}
	for i := range at {
		n, err := strconv.ParseUint(parts[i], 10, 64)
		if err != nil {
			return at, false
		}
		at[i] = n
	}
	return at, true
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
