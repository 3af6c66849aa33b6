package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"cloakroom/cluster/keyring"
)

// keyNeverPlain is set in a database that has never held an entry that is not sealed, in its free pages neither.
var keyNeverPlain = []byte("CloakroomNeverPlain")

// bucketConf is where the library keeps what is not a log entry.
var bucketConf = []byte("conf")

// openBolt opens the database of log, term and vote, and locks it.
func openBolt(path string, readOnly bool) (*raftboltdb.BoltStore, error) {
	options, check := boltOptions(path, readOnly)
	store, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: options})
	if err != nil {
		return nil, boltError(err)
	}
	if err := check(); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

func boltError(err error) error {
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return fmt.Errorf("open log store: %w", ErrLocked)
	}
	return Failed("open log store", err)
}

// boltOptions returns how the database is opened, and a check for afterwards: the file that is locked must still be the
// one of that name. While this process waited for the lock, another may have put a rewritten database in its place.
func boltOptions(path string, readOnly bool) (options *bbolt.Options, check func() error) {
	var file *os.File
	options = &bbolt.Options{
		Timeout:  lockTimeout,
		ReadOnly: readOnly,
		// The list of free pages is large after a snapshot has emptied the log, and would be written with each append.
		// Without it, opening reads the file once.
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, _ fs.FileMode) (f *os.File, err error) {
			f, err = os.OpenFile(name, flag, fileMode)
			if file == nil { // others are for writing its header
				file = f
			}
			return f, err
		},
	}
	return options, func() error {
		locked, err := file.Stat()
		if err != nil {
			return fmt.Errorf("look at log store: %w", err)
		}
		named, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(locked, named) {
			return fmt.Errorf("open log store: %w", ErrLocked)
		}
		if err != nil {
			return fmt.Errorf("look at log store: %w", err)
		}
		return nil
	}
}

// neverPlain reports whether the database has the mark.
func neverPlain(store raft.StableStore) (bool, error) {
	mark, err := store.Get(keyNeverPlain)
	if err != nil && !NotFound(err) {
		return false, fmt.Errorf("read mark of log store: %w", err)
	}
	return len(mark) > 0, nil
}

// sealBolt puts a copy of the database in its place, in which all entries are sealed. To seal them where they are would
// not do: the database leaves what it has replaced in its free pages. What is in the old file's blocks on the disk is out
// of this program's hands.
//
// The copy is complete and on disk before it gets the name, and the old database is locked until then: a crash leaves one
// or the other. changed is false if it is surely the old one. rename is os.Rename.
func sealBolt(path string, keys *keyring.Ring, rename func(from, to string) error) (changed bool, err error) {
	tmp := path + tempSuffix
	from, err := openBolt(path, true)
	if err != nil {
		return false, fmt.Errorf("seal log store: %w", err)
	}
	// Whoever has waited for the lock finds another file of that name, and may not write to this one.
	defer func() { err = errors.Join(err, from.Close()) }()
	if err := copySealed(from, path, tmp, keys); err != nil {
		return false, errors.Join(fmt.Errorf("seal log store: %w", err), removeIfThere(tmp))
	}
	if err := rename(tmp, path); err != nil {
		return true, Failed("put sealed log store in place", err)
	}
	return true, nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// copySealed copies a database that is open and locked.
func copySealed(from raft.LogStore, path, to string, keys *keyring.Ring) error {
	if err := removeIfThere(to); err != nil {
		return err
	}
	copied, err := openBolt(to, false)
	if err != nil {
		return err
	}
	if err := errors.Join(copyEntries(from, newVault(copied, keys), keys), copied.Close()); err != nil {
		return err
	}
	return copyConf(path, to)
}

// copyEntries reads through a vault of its own, so that entries that are sealed already are opened first.
func copyEntries(from raft.LogStore, to *vault, keys *keyring.Ring) error {
	opened := newVault(from, keys)
	if err := opened.survey(); err != nil {
		return err
	}
	index, err := from.FirstIndex()
	if err != nil {
		return err
	}
	last, err := from.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	for index <= last {
		logs, err := readBatch(opened.GetLog, index, last)
		if err != nil {
			return err
		}
		if err := to.StoreLogs(logs); err != nil {
			return err
		}
		index += uint64(len(logs))
	}
	return nil
}

// copyConf copies what is not an entry, and sets the mark.
func copyConf(path, to string) (err error) {
	source, err := rawBolt(path, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := rawBolt(to, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	return source.View(func(read *bbolt.Tx) error {
		return target.Update(func(write *bbolt.Tx) error {
			conf := write.Bucket(bucketConf)
			if old := read.Bucket(bucketConf); old != nil {
				if err := old.ForEach(conf.Put); err != nil {
					return err
				}
			}
			return conf.Put(keyNeverPlain, []byte{1})
		})
	})
}

func rawBolt(path string, readOnly bool) (*bbolt.DB, error) {
	options, check := boltOptions(path, readOnly)
	db, err := bbolt.Open(path, fileMode, options)
	if err != nil {
		return nil, boltError(err)
	}
	if err := check(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}
