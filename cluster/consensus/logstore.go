package consensus

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/histogram"
	"cloakroom/cluster/storage"
)

// logStore stands before the store of the log. It counts and times writes, asks for a snapshot when enough has been
// written, and ends the node when a write fails or takes too long.
type logStore struct {
	raft.LogStore
	meter *meter
	limit int64 // bytes from one snapshot to the next
	watch storage.Watch

	onStored func(term uint64) // may be nil; must not block

	started atomic.Bool // the library runs: who asks for an entry is one of its goroutines

	full chan struct{} // a snapshot is due
	edge atomic.Pointer[raft.SnapshotMeta]

	writes, entries, bytes atomic.Uint64
	took                   histogram.Histogram
	longest                atomic.Int64 // nanoseconds
}

var _ raft.LogStore = (*logStore)(nil)

func newLogStore(inner raft.LogStore, cfg Config, watch storage.Watch) *logStore {
	return &logStore{
		LogStore: inner,
		meter:    newMeter(max(1, cfg.SnapshotBytes/meterSteps), cfg.TrailingBytes),
		limit:    cfg.SnapshotBytes,
		watch:    watch,
		onStored: cfg.OnStored,
		full:     make(chan struct{}, 1),
	}
}

// StoreLog stores one entry.
func (s *logStore) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs returns when the entries are on disk. After an error nobody knows what is on disk: the library would go on
// with its own idea of it, so the node ends and looks again when it starts.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	start := time.Now()
	err := s.watch.Must("store log", func() error { return s.LogStore.StoreLogs(logs) })
	s.count(logs, time.Since(start))
	if err != nil {
		return err
	}
	s.meter.add(logs)
	if s.onStored != nil {
		s.onStored(highestTerm(logs))
	}
	if s.meter.since() >= s.limit || s.meter.entries() >= snapshotEntries {
		s.wantSnapshot()
	}
	return nil
}

// highestTerm returns that of the last: terms never fall from an entry to the next.
func highestTerm(logs []*raft.Log) uint64 { return logs[len(logs)-1].Term }

// GetLog also knows index and term of the entry that the newest snapshot ends with, though nothing else of it. A
// follower compares the entry before the ones that it is sent; if its log begins right behind the snapshot and is longer
// than that, the library finds no such entry and refuses for ever: the leader sends the snapshot again, and then the
// same entries. That takes no more than an answer that was lost after an installed snapshot.
//
// The library never sends this entry to others: it asks for the one before first, which is not there. The log that
// begins with entry 1 is the exception, and the type is one that no member takes.
//
// An entry that can't be read ends the node, and the goroutine that asks for it, as in stableStore: the library panics,
// or would ask for ever.
func (s *logStore) GetLog(index uint64, log *raft.Log) error {
	err := s.read(index, log)
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) && s.started.Load() {
		s.watch.OnFail(fmt.Errorf("read log: %w", err))
		runtime.Goexit()
	}
	return err
}

func (s *logStore) read(index uint64, log *raft.Log) error {
	err := s.LogStore.GetLog(index, log)
	if edge := s.edge.Load(); errors.Is(err, raft.ErrLogNotFound) && edge != nil && edge.Index == index && index > 1 {
		*log = raft.Log{Index: index, Term: edge.Term, Type: edgeType}
		return nil
	}
	return err
}

// edgeType is the type of an entry of which only index and term are known.
const edgeType raft.LogType = 0xff

// setEdge is told of the newest snapshot that the machine has taken or was restored from.
func (s *logStore) setEdge(meta *raft.SnapshotMeta) {
	if edge := s.edge.Load(); edge == nil || edge.Index < meta.Index {
		s.edge.Store(meta)
	}
}

func (s *logStore) count(logs []*raft.Log, took time.Duration) {
	s.writes.Add(1)
	s.entries.Add(uint64(len(logs)))
	var size int64
	for _, l := range logs {
		size += storage.EntrySize(l)
	}
	s.bytes.Add(uint64(size))
	s.took.Observe(took)
	for {
		longest := s.longest.Load()
		if int64(took) <= longest || s.longest.CompareAndSwap(longest, int64(took)) {
			return
		}
	}
}

func (s *logStore) wantSnapshot() {
	select {
	case s.full <- struct{}{}:
	default: // it is wanted already
	}
}

// DeleteRange removes entries: from the end, where they differ from the leader's, or from the front, behind a
// snapshot. Those from the front may be very many, and an append waits for a transaction to end: so it takes several,
// oldest first. A crash in between leaves a shorter log. From the end it must be one, or a crash would leave a hole.
//
// A failure at the end ends the node, as that of an append does: the leader would send the same entries for ever. At the
// front it only costs room.
func (s *logStore) DeleteRange(first, last uint64) error {
	lowest, err := s.FirstIndex()
	if err != nil {
		return err
	}
	highest, err := s.LastIndex()
	if err != nil {
		return err
	}
	if highest == 0 {
		return nil // reconcile has cleared it; the library's store in memory would take the end for 2^64-1
	}
	if last >= highest {
		s.meter.truncate(first)
		return s.watch.Must("clear end of log", func() error { return s.LogStore.DeleteRange(first, last) })
	}
	for from := max(first, lowest); from <= last; from += deleteChunk {
		err := s.watch.Try("shorten log", s.watch.Limit, func() error {
			return s.LogStore.DeleteRange(from, min(last, from+deleteChunk-1))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// scan looks at the log once before the library does: it must go on where the newest snapshot ends, without a hole.
// (The library would panic.) What it finds is metered.
func (s *logStore) scan(snapshots raft.SnapshotStore) error {
	list, err := snapshots.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	next := uint64(1)
	if len(list) > 0 {
		// A crash may have come between an installed snapshot and this.
		if err := s.reconcile(list[0]); err != nil && !errors.Is(err, ErrDiverged) {
			return err
		}
		s.meter.covered(list[0].Index)
		s.setEdge(list[0])
		next = list[0].Index + 1
	}
	last, err := s.LastIndex()
	if err != nil {
		return fmt.Errorf("find end of log: %w", err)
	}
	for ; next <= last; next++ {
		var log raft.Log
		if err := s.read(next, &log); err != nil {
			return fmt.Errorf("entry %d of %d is missing or unreadable (%w): %w", next, last, err, storage.ErrDamaged)
		}
		s.meter.add([]*raft.Log{&log})
	}
	if s.meter.since() >= s.limit || s.meter.entries() >= snapshotEntries {
		s.wantSnapshot()
	}
	return nil
}

// reconcile makes the log fit a snapshot of the leader's that was just installed. The library leaves the log as it is,
// but for its front:
//
//   - A log that ends before the snapshot would be left with a gap. Read by a later leader, its old entries could be
//     taken for valid ones; all of them are covered by the snapshot, so they are removed.
//   - A log that goes on beyond the snapshot but has another entry in its place never fitted: nothing from there on was
//     ever committed. The library goes on to compare new entries with it and refuses them for ever (its issue 697). It
//     is cleared, and because the library has its end in memory, the node must be started again: ErrDiverged.
//   - Otherwise the entries beyond the snapshot are good, this node may have acknowledged them, and they stay.
//
// A node that has cleared its log goes on under its id, since it takes back nothing that counts. What it acknowledged up
// to the snapshot's index is in the snapshot, which is on disk before anything is removed; a crash in between is made up
// for by scan. Beyond that index, every entry of its log follows on one that differs from a committed entry in the same
// place. Two logs with an entry of one index and term have all entries before it in common (log matching, section 5.3 of
// the Raft paper), so no log that holds the committed entry holds one of these, and every later leader's log does hold it
// (leader completeness, 5.4): they were never committed and never will be, however many had acknowledged them. To clear
// them is what an append from the leader does to entries that conflict. Term and vote lie elsewhere and stay, so that it
// can't vote twice in a term; a node that loses these as well must come back under a new id.
func (s *logStore) reconcile(meta *raft.SnapshotMeta) error {
	first, err := s.FirstIndex()
	if err != nil {
		return fmt.Errorf("find start of log: %w", err)
	}
	last, err := s.LastIndex()
	if err != nil {
		return fmt.Errorf("find end of log: %w", err)
	}
	diverged, err := divergedFrom(meta, s.LogStore, first, last)
	switch {
	case err != nil:
		return err
	case last == 0, first > meta.Index, last >= meta.Index && !diverged:
		return nil
	}
	if err := s.DeleteRange(first, last); err != nil {
		return fmt.Errorf("clear log behind snapshot: %w", err)
	}
	if diverged {
		return ErrDiverged
	}
	return nil
}

// divergedFrom reports whether a log has another entry in the place of the last one in a snapshot. What follows there is
// nobody's, see reconcile.
func divergedFrom(meta *raft.SnapshotMeta, log raft.LogStore, first, last uint64) (bool, error) {
	if meta.Index < first || meta.Index > last {
		return false, nil
	}
	var entry raft.Log
	if err := log.GetLog(meta.Index, &entry); err != nil {
		return false, fmt.Errorf("entry %d of %d to %d is missing or unreadable (%w): %w", meta.Index, first, last, err, storage.ErrDamaged)
	}
	return entry.Term != meta.Term, nil
}
