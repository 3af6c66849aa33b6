package consensus

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

// State is all that log and snapshots of a node that does not run come to.
type State struct {
	Machine *session.Machine
	// Index and Term are those of the last entry in the log, committed or not: an entry that was acknowledged to somebody
	// is in the log of a majority, and nobody can tell by one of them whether it was.
	Index, Term uint64
	// Snapshot is the index that a snapshot holds; the entries behind it were applied one by one.
	Snapshot uint64
}

// ReadState puts together the state of a directory as Config.Dir names one. Nothing in it is changed but for what a crash
// has left unfinished. Errors of storage: ErrLocked, ErrNoState, ErrDamaged, ErrNoDataKeys, ErrWrongDataKeys.
func ReadState(dir string, keys *keyring.Ring, logger *slog.Logger) (s *State, err error) {
	d, err := storage.OpenReadOnly(dir, keys, newLogAdapter(logger))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return replay(d)
}

// replay restores the newest snapshot, and applies the entries behind it.
func replay(d *storage.Disk) (*State, error) {
	f := newFSM(session.MaxVersion)
	f.onFatal = func(error) {} // replayed entries say by their answer that they failed
	s := &State{}
	list, err := d.Snapshots.List()
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	first, err := d.Log.FirstIndex()
	if err != nil {
		return nil, fmt.Errorf("find start of log: %w", err)
	}
	last, err := d.Log.LastIndex()
	if err != nil {
		return nil, fmt.Errorf("find end of log: %w", err)
	}
	if len(list) > 0 { // the newest: see snapshotStore.List
		if err := restoreOffline(f, d.Snapshots, list[0].ID); err != nil {
			return nil, err
		}
		s.Index, s.Term, s.Snapshot = list[0].Index, list[0].Term, list[0].Index
		diverged, err := divergedFrom(list[0], d.Log, first, last)
		if err != nil {
			return nil, err
		}
		if diverged { // a crash came before the log was cleared
			last = s.Index
		}
	}
	for index := s.Index + 1; index <= last; index++ {
		var entry raft.Log
		if err := d.Log.GetLog(index, &entry); err != nil {
			return nil, fmt.Errorf("entry %d of %d is missing or unreadable (%w): %w", index, last, err, storage.ErrDamaged)
		}
		if err, failed := f.apply(&entry).(error); failed {
			return nil, err
		}
		s.Index, s.Term = entry.Index, entry.Term
	}
	if s.Index == 0 {
		return nil, storage.ErrNoState
	}
	s.Machine = f.machine
	return s, nil
}

func restoreOffline(f *fsm, snapshots raft.SnapshotStore, id string) error {
	meta, source, err := snapshots.Open(id)
	if err != nil {
		return fmt.Errorf("open snapshot %s: %w: %w", id, err, storage.ErrDamaged) // for a lack of keys the survey has failed
	}
	err = errors.Join(f.restore(source, meta, false), source.Close())
	if err != nil && !errors.Is(err, session.ErrUnknownKind) {
		return fmt.Errorf("%w: %w", err, storage.ErrDamaged)
	}
	return err
}

// WriteState makes a directory in which a node starts with a state: one snapshot, in which the servers are the members,
// and no log. The directory must not be there yet. When WriteState returns, all of it is on the disk.
func WriteState(dir string, keys *keyring.Ring, s *State, servers []Server, logger *slog.Logger) error {
	meta := raft.SnapshotMeta{Index: s.Index, Term: s.Term, Configuration: configurationOf(servers), ConfigurationIndex: s.Index}
	return storage.Seed(dir, keys, logger, newLogAdapter(logger), meta, func(w io.Writer) error {
		return writeSnapshot(w, s.Machine.Snapshot(nil))
	})
}
