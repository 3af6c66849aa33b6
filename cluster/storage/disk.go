package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"cloakroom/cluster/keyring"
)

// The names in a data directory.
const (
	logFile     = "raft.db"
	snapshotDir = "snapshots"
	tempSuffix  = ".tmp"
)

// Disk is the stores of an open node as it sees them: what is stored in them is sealed if there are keys, and what comes
// out is not.
type Disk struct {
	Stores
	snapshots *sealedSnapshots // those of Stores
	vault     *vault           // behind the log of Stores
	journal   *journaled       // behind the vault; nil: there is none
	close     func() error
}

// Close closes what was opened for it.
func (d *Disk) Close() error { return d.close() }

// Settled reports, after Close, whether all of the log is in the database, where a program from before the journal looks for
// it. If not, some of it is in the journal still.
func (d *Disk) Settled() bool { return d.journal == nil || d.journal.settled }

// Wrap makes a disk of stores, which it leaves open. It says which key is missing, if one is, before anything is written.
func Wrap(s *Stores, keys *keyring.Ring) (*Disk, error) {
	v, snapshots := newVault(s.Log, keys), newSealedSnapshots(s.Snapshots, keys)
	d := &Disk{
		Stores: Stores{Log: v, Stable: s.Stable, Snapshots: snapshots}, vault: v, snapshots: snapshots,
		close: func() error { return nil },
	}
	return d, errors.Join(v.survey(), snapshots.survey())
}

// Open opens a directory, makes it if there is none, and locks it. Nobody but the owner may read what is in it: wider
// permissions are taken away. It says which key is missing, if one is, before anything is written. logger is told what
// people should know, library what the library has to say. Errors: ErrLocked, ErrDamaged, ErrNoDataKeys,
// ErrWrongDataKeys, ErrDiskFull.
func Open(dir string, keys *keyring.Ring, logger *slog.Logger, library hclog.Logger) (*Disk, error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, Failed("make data directory", err)
	}
	Tighten(dir, []string{"*"}, logger)
	path := filepath.Join(dir, logFile)
	store, err := openBolt(path, false)
	if err != nil {
		return nil, err
	}
	d, err := openToWrite(dir, store, keys, library)
	if err != nil {
		return nil, err
	}
	return sealDisk(dir, d, keys, logger, library)
}

// openToWrite opens what the lock of the log store protects, and closes the log store if it can't.
func openToWrite(dir string, store *raftboltdb.BoltStore, keys *keyring.Ring, library hclog.Logger) (*Disk, error) {
	d, err := openBehindLock(dir, store, keys, library)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	if err := d.write(dir, store); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// openBehindLock opens what the lock of the log store protects. It changes nothing but for what a crash has left unfinished.
func openBehindLock(dir string, store *raftboltdb.BoltStore, keys *keyring.Ring, library hclog.Logger) (*Disk, error) {
	journal, err := openJournal(dir, store)
	if err != nil {
		return nil, err
	}
	d, err := survey(dir, store, journal, keys, library)
	if err != nil {
		return nil, errors.Join(err, journal.closeFiles())
	}
	return d, nil
}

func survey(dir string, store *raftboltdb.BoltStore, journal *journaled, keys *keyring.Ring, library hclog.Logger) (*Disk, error) {
	v := newVault(journal, keys)
	if err := v.survey(); err != nil {
		return nil, err
	}
	files, err := openDiskSnapshots(dir, library)
	if err != nil {
		return nil, err
	}
	snapshots := newSealedSnapshots(files, keys)
	if err := snapshots.survey(); err != nil {
		return nil, err
	}
	return &Disk{
		Stores: Stores{Log: v, Stable: store, Snapshots: snapshots}, vault: v, snapshots: snapshots, journal: journal,
		close: func() error { return errors.Join(journal.closeFiles(), store.Close()) },
	}, nil
}

// write makes a disk one that can be written to.
func (d *Disk) write(dir string, store *raftboltdb.BoltStore) error {
	if err := removeIfThere(filepath.Join(dir, logFile+tempSuffix)); err != nil {
		return fmt.Errorf("remove unfinished copy of log store: %w", err)
	}
	if err := d.journal.settle(); err != nil {
		return err
	}
	// The names of new files last only with their directory.
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := syncDir(d); err != nil {
			return Failed("sync data directory", err)
		}
	}
	cached, err := raft.NewLogCache(logCacheSize, d.vault)
	if err != nil {
		return fmt.Errorf("make log cache: %w", err)
	}
	d.Log = cached
	d.close = func() error { return errors.Join(d.journal.Close(), store.Close()) }
	return nil
}

// sealDisk makes the mark of the database fit the keys. Without the mark, and with keys, the database is rewritten; if
// that is not possible the node goes on with what there is, as far as new entries are concerned sealed.
func sealDisk(dir string, d *Disk, keys *keyring.Ring, logger *slog.Logger, library hclog.Logger) (*Disk, error) {
	marked, err := neverPlain(d.Stable)
	if err == nil && marked && keys == nil {
		// Plain entries come now. There are no sealed ones, or the survey would have said so.
		err = d.Stable.Set(keyNeverPlain, nil)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if marked || keys == nil {
		return d, nil
	}
	plain := d.vault.use.count()[cover{}]
	if err := d.Close(); err != nil {
		return nil, fmt.Errorf("close log store: %w", err)
	}
	path := filepath.Join(dir, logFile)
	changed, sealing := sealBolt(path, keys, os.Rename)
	if sealing != nil && changed {
		return nil, sealing
	}
	store, err := openBolt(path, false)
	if err != nil {
		return nil, err
	}
	d, err = openToWrite(dir, store, keys, library)
	if err != nil {
		return nil, err
	}
	switch {
	case sealing != nil:
		logger.Warn("the log from before there were data keys stays on disk as it is", "entries", plain, "error", sealing)
	case plain > 0:
		logger.Info("the log from before there were data keys was sealed", "entries", plain)
	}
	return d, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
