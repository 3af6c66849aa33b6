package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft"
)

// journaled stands before the database of the log and makes appends quick: entries go to a journal, which takes one write
// and one sync for as many as there are, and from there into the database, many at once, beside further appends. The
// database takes two syncs and some ten times the work for each append.
//
// There are two files. While one is written, the entries of the other are moved; then it is emptied, and written when the
// first is full. So the journal holds the end of the log, or nothing, and what is not in the database is in memory as
// well. Opening reads the journal into memory, and settle moves it. The order of things on the disk: an entry leaves the
// journal only when it is in the database; and before anything but an append changes the database, the journal is empty,
// so that it can't bring back what was removed or replaced. Entries from the front are the exception if all that the
// journal holds is behind them.
type journaled struct {
	raft.LogStore
	marks raft.StableStore // of the same database
	dir   string
	size  int64 // of a file, from which on the other one is written

	mu      sync.Mutex      // held by who writes
	files   [2]*journalFile // nil before settle
	active  int             // which is written to
	epoch   uint64          // the highest
	last    uint64          // index of the last entry, 0: none
	settled bool            // closed, and all was moved
	broken  error           // a write has failed: nobody knows what is on the disk, so nothing is written any more
	moving  chan struct{}   // closed when the other file was emptied, nil: it is empty
	moved   error           // what came of that; read when moving is closed

	tailMu sync.RWMutex // taken after mu
	tail   []raft.Log   // not in the database, or not for long
}

var _ raft.LogStore = (*journaled)(nil)

// keyJournal is set in a database whose journal is beside it.
var keyJournal = []byte("CloakroomJournal")

func journalPath(dir string, i int) string {
	return filepath.Join(dir, fmt.Sprintf("raft-%d.journal", i))
}

// database is the store behind the journal.
type database interface {
	raft.LogStore
	raft.StableStore
}

// openJournal reads the journal of a database and changes nothing.
func openJournal(dir string, db database) (*journaled, error) {
	s := &journaled{LogStore: db, marks: db, dir: dir, size: journalBytes}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	return s, nil
}

func (s *journaled) load() error {
	mark, err := s.marks.Get(keyJournal)
	if err != nil && !NotFound(err) {
		return fmt.Errorf("read mark of journal: %w", err)
	}
	for i := range s.files {
		j, err := openJournalFile(journalPath(s.dir, i))
		if err != nil {
			return err
		}
		if j == nil && len(mark) > 0 {
			return fmt.Errorf("journal %s is missing: %w", journalPath(s.dir, i), ErrDamaged)
		}
		s.files[i] = j
	}
	if s.last, err = s.LogStore.LastIndex(); err != nil {
		return fmt.Errorf("find end of log: %w", err)
	}
	order := s.files
	if order[0] != nil && order[1] != nil && order[0].epoch > order[1].epoch {
		order[0], order[1] = order[1], order[0]
	}
	stored := s.last
	for _, j := range order {
		if j == nil {
			continue
		}
		s.epoch = max(s.epoch, j.epoch)
		if err := j.read(func(logs []raft.Log) error { return s.loaded(stored, logs) }); err != nil {
			return err
		}
	}
	return nil
}

// loaded takes the entries of a record.
func (s *journaled) loaded(stored uint64, logs []raft.Log) error {
	for _, l := range logs {
		if l.Index <= stored {
			continue // it was moved, and is the same
		}
		if n := len(s.tail); n > 0 && l.Index != s.tail[n-1].Index+1 || n == 0 && stored > 0 && l.Index > stored+1 {
			return fmt.Errorf("the journal has entry %d where another one belongs: %w", l.Index, ErrDamaged)
		}
		s.tail = append(s.tail, l)
		s.last = max(s.last, l.Index)
	}
	return nil
}

// settle makes the journal ready for appends. Whatever was in it is in the database then, and its blocks are free: entries
// from before there were data keys must not stay in them.
func (s *journaled) settle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.drainLocked(); err != nil {
		return err
	}
	for i, j := range s.files {
		if j != nil {
			continue
		}
		s.epoch++
		made, err := makeJournalFile(journalPath(s.dir, i), s.epoch)
		if err != nil {
			return err
		}
		s.files[i] = made
	}
	s.beginLocked()
	if err := syncDir(s.dir); err != nil { // before the mark
		return Failed("sync data directory", err)
	}
	if mark, err := s.marks.Get(keyJournal); err == nil && len(mark) > 0 {
		return nil
	}
	if err := s.marks.Set(keyJournal, []byte{1}); err != nil {
		return Failed("mark database as journaled", err)
	}
	return nil
}

// StoreLog stores one entry.
func (s *journaled) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs returns when the entries are on the disk. Those that do not follow on the last go to the database.
func (s *journaled) StoreLogs(logs []*raft.Log) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.broken != nil:
		return s.broken
	case len(logs) == 0:
		return nil
	case !follow(s.last, logs):
		return s.changeLocked(func() error { return s.LogStore.StoreLogs(logs) })
	}
	select {
	case <-s.moving:
		if err := s.waitLocked(); err != nil { // told as soon as possible
			return s.breakLocked(err)
		}
	default:
	}
	if j := s.files[s.active]; j.end >= s.size || j.entries >= journalEntries {
		if err := s.rotateLocked(); err != nil {
			return s.breakLocked(err)
		}
	}
	if err := s.files[s.active].append(logs); err != nil {
		return s.breakLocked(err)
	}
	s.tailMu.Lock()
	for _, l := range logs {
		s.tail = append(s.tail, *l)
	}
	s.tailMu.Unlock()
	s.last = logs[len(logs)-1].Index
	return nil
}

// follow reports whether entries go on without a hole behind an index; 0: there is none.
func follow(last uint64, logs []*raft.Log) bool {
	if last == 0 {
		last = logs[0].Index - 1
	}
	for i, l := range logs {
		if l.Index != last+1+uint64(i) {
			return false
		}
	}
	return true
}

func (s *journaled) breakLocked(err error) error {
	s.broken = err
	return err
}

// rotateLocked goes on in the other file, and has the entries of the full one moved.
func (s *journaled) rotateLocked() error {
	if err := s.waitLocked(); err != nil {
		return err
	}
	full, entries := s.files[s.active], s.tail
	s.epoch++
	epoch, done := s.epoch, make(chan struct{})
	s.moving = done
	go func() { // ends before drainLocked and Close do
		defer close(done)
		if s.moved = s.move(entries); s.moved != nil {
			return
		}
		if s.moved = full.empty(epoch, s.size); s.moved != nil {
			return
		}
		s.tailMu.Lock()
		defer s.tailMu.Unlock()
		s.tail = append([]raft.Log(nil), s.tail[len(entries):]...)
	}()
	s.active = 1 - s.active
	return nil
}

// waitLocked returns when one file is empty. If its entries could not be moved they stay in it.
func (s *journaled) waitLocked() error {
	if s.moving == nil {
		return nil
	}
	<-s.moving
	s.moving = nil
	return s.moved
}

// move stores entries in the database, in several transactions: votes wait for each.
func (s *journaled) move(entries []raft.Log) error {
	for len(entries) > 0 {
		var logs []*raft.Log
		for size := int64(0); len(entries) > 0 && size < moveBytes && len(logs) < moveEntries; entries = entries[1:] {
			size += EntrySize(&entries[0])
			logs = append(logs, &entries[0])
		}
		if err := s.LogStore.StoreLogs(logs); err != nil {
			return Failed("move entries from the journal", err)
		}
	}
	return nil
}

// drainLocked moves all entries and empties the journal.
func (s *journaled) drainLocked() error {
	if err := s.waitLocked(); err != nil {
		return err
	}
	if err := s.move(s.tail); err != nil {
		return err
	}
	s.tailMu.Lock()
	defer s.tailMu.Unlock()
	for _, j := range s.files {
		if j == nil || !j.used {
			continue
		}
		s.epoch++
		if err := j.empty(s.epoch, 0); err != nil {
			return err
		}
	}
	s.tail = nil
	s.beginLocked()
	return nil
}

// beginLocked has the older of two empty files written first: by their epochs, load knows which entries come first.
func (s *journaled) beginLocked() {
	if s.files[0] != nil && s.files[1] != nil && s.files[0].epoch > s.files[1].epoch {
		s.active = 1
	} else {
		s.active = 0
	}
}

// changeLocked carries out a change of the database that is no append.
func (s *journaled) changeLocked(change func() error) error {
	if err := s.drainLocked(); err != nil {
		return s.breakLocked(err)
	}
	if err := change(); err != nil {
		return err
	}
	last, err := s.LogStore.LastIndex()
	if err != nil {
		return s.breakLocked(fmt.Errorf("find end of log: %w", err))
	}
	s.last = last
	return nil
}

// DeleteRange removes entries. Those from the front leave the journal as it is, and are removed without mu. Appends wait
// for them all the same: the vault lets one change of the log in at a time, for reseal writes entries anew, and those that
// are gone would come back.
func (s *journaled) DeleteRange(first, last uint64) error {
	front, err := s.deleteUnlessFront(first, last)
	if err != nil || !front {
		return err
	}
	return s.LogStore.DeleteRange(first, last)
}

// deleteUnlessFront removes entries, unless all that the journal holds is behind them.
func (s *journaled) deleteUnlessFront(first, last uint64) (front bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return false, s.broken
	}
	if oldest := s.oldest(); last < s.last && (oldest == 0 || last < oldest) {
		return true, nil
	}
	return false, s.changeLocked(func() error { return s.LogStore.DeleteRange(first, last) })
}

// oldest returns the lowest index that is in the journal, whether it was moved or not; 0: it is empty.
func (s *journaled) oldest() (index uint64) {
	for _, j := range s.files {
		if first := j.first.Load(); first != 0 && (index == 0 || first < index) {
			index = first
		}
	}
	return index
}

// GetLog returns an entry.
func (s *journaled) GetLog(index uint64, log *raft.Log) error {
	if s.inTail(index, log) {
		return nil
	}
	return s.LogStore.GetLog(index, log)
}

func (s *journaled) inTail(index uint64, log *raft.Log) bool {
	s.tailMu.RLock()
	defer s.tailMu.RUnlock()
	if len(s.tail) == 0 || index < s.tail[0].Index || index-s.tail[0].Index >= uint64(len(s.tail)) {
		return false
	}
	*log = s.tail[index-s.tail[0].Index]
	return true
}

// FirstIndex returns that of the first entry, 0 if there is none.
func (s *journaled) FirstIndex() (uint64, error) {
	s.tailMu.RLock() // what leaves it is in the database before
	defer s.tailMu.RUnlock()
	first, err := s.LogStore.FirstIndex()
	if err == nil && first == 0 && len(s.tail) > 0 {
		first = s.tail[0].Index
	}
	return first, err
}

// LastIndex returns that of the last entry, 0 if there is none.
func (s *journaled) LastIndex() (uint64, error) {
	s.tailMu.RLock()
	defer s.tailMu.RUnlock()
	last, err := s.LogStore.LastIndex()
	if n := len(s.tail); err == nil && n > 0 {
		last = max(last, s.tail[n-1].Index)
	}
	return last, err
}

// Close moves what is in the journal, so that the database holds all of the log, and closes the files. Where it can't be
// moved it stays: the next start does it, or says why not.
func (s *journaled) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.settled = s.drainLocked() == nil
	} else {
		_ = s.waitLocked()
	}
	s.broken = raft.ErrRaftShutdown
	return s.closeFiles()
}

func (s *journaled) closeFiles() error {
	var errs []error
	for _, j := range s.files {
		if j != nil {
			errs = append(errs, j.f.Close())
		}
	}
	return errors.Join(errs...)
}
