package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/histogram"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
	"cloakroom/cluster/watermark"
)

// fsm is the state machine as the library sees it. The library calls it from one goroutine, but for Persist of a
// snapshot, which runs beside Apply and reads under the lock, a little at a time.
type fsm struct {
	mu      sync.RWMutex
	machine *session.Machine // guarded by mu

	applied watermark.Mark        // raised after the data is visible
	version uint8                 // the newest of commands that is carried out
	clock   atomic.Int64          // the machine's, stored before the data is visible
	slabs   atomic.Int64          // bytes that the machine's slabs hold
	failure atomic.Pointer[error] // set: nothing is applied, snapshotted or restored any more

	onApplied   func(index, term uint64, reconfigured bool) // the last entry of a batch; must not block
	onDisk      func(index uint64) error                    // returns when entries up to there are; nil: they are
	onFatal     func(error)                                 // must not block
	onCommand   func(session.Command, session.Result)       // nil: nobody listens
	onEnd       func(*session.Session, session.Tombstone)   // nil: nobody listens
	onReplacing func()                                      // a snapshot from the leader is good, and about to be restored
	onInstalled func(*raft.SnapshotMeta) error              // it was restored, all of its index or less is visible

	problem   error // why the snapshot of the start could not be restored
	refusals  int   // snapshots in a row that would have turned the machine back
	restores  atomic.Uint64
	snapshots atomic.Uint64
	took      histogram.Histogram // of apply
}

var _ raft.BatchingFSM = (*fsm)(nil)

func newFSM(version uint8) *fsm { return &fsm{machine: session.New(), version: version} }

func (f *fsm) read(fn func(*session.Machine)) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	fn(f.machine)
}

func (f *fsm) mutate(fn func(*session.Machine)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn(f.machine)
}

func (f *fsm) wait(ctx context.Context, halted <-chan struct{}, index uint64) error {
	err := f.applied.Wait(ctx, halted, index)
	if errors.Is(err, watermark.ErrHalted) {
		return ErrShutdown
	}
	return err
}

// Apply is called by the library's offline recovery only; a running node uses ApplyBatch.
func (f *fsm) Apply(log *raft.Log) any { return f.ApplyBatch([]*raft.Log{log})[0] }

// ApplyBatch applies command and configuration entries in order and returns Applied, nil or an error for each. The lock is taken for one entry at a time, so that readers get in between.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	answers := make([]any, len(logs))
	if err := f.await(logs[len(logs)-1].Index); err != nil {
		f.failure.CompareAndSwap(nil, &err) // who has failed, or ends, has said so
	}
	reconfigured := false
	for i, log := range logs {
		begun := time.Now()
		answers[i] = f.apply(log)
		f.took.Observe(time.Since(begun))
		reconfigured = reconfigured || log.Type == raft.LogConfiguration
	}
	if last := logs[len(logs)-1]; f.failure.Load() == nil {
		f.refusals = 0
		f.onApplied(last.Index, last.Term, reconfigured)
	}
	return answers
}

// await returns when the entries up to an index are on this node's disk. A leader's may be on their way there, see ahead.
func (f *fsm) await(index uint64) error {
	if f.onDisk == nil {
		return nil
	}
	return f.onDisk(index)
}

func (f *fsm) apply(log *raft.Log) any {
	if failure := f.failure.Load(); failure != nil {
		return *failure
	}
	if applied := f.applied.Load(); log.Index <= applied {
		return f.fail(fmt.Errorf("apply entry %d: the machine is at %d already", log.Index, applied))
	}
	if log.Type != raft.LogCommand {
		f.mutate(func(m *session.Machine) { m.Advance(log.Index) })
		f.applied.Raise(log.Index)
		return nil
	}
	entry, err := session.DecodeEntry(log.Data)
	if err != nil {
		return f.fail(fmt.Errorf("decode entry %d: %w", log.Index, err))
	}
	if err := f.knows(entry); err != nil {
		return f.fail(fmt.Errorf("decode entry %d: %w", log.Index, err))
	}
	entry.Term = log.Term
	var results []session.Result
	f.mutate(func(m *session.Machine) {
		m.OnEnd(f.onEnd)
		results = m.Apply(log.Index, entry)
		if f.onCommand != nil {
			for i, c := range entry.Commands {
				f.onCommand(c, results[i])
			}
		}
		f.clock.Store(int64(m.Clock()))
		f.slabs.Store(m.Slabs())
	})
	f.applied.Raise(log.Index)
	return Applied{Index: log.Index, Term: log.Term, Results: results}
}

// knows refuses an entry with a command that is newer than the machine is to know.
func (f *fsm) knows(entry *session.Entry) error {
	if f.version >= session.MaxVersion {
		return nil // it could not have been decoded
	}
	for _, c := range entry.Commands {
		if v := session.VersionOf(c); v > f.version {
			return fmt.Errorf("command of kind %d, version %d: %w", c.Kind(), v, session.ErrUnknownKind)
		}
	}
	return nil
}

// fail stops the machine for good and returns the reason.
func (f *fsm) fail(err error) error {
	f.failure.Store(&err)
	f.onFatal(err)
	return err
}

// Snapshot captures the state; the library writes it beside Apply. A stopped machine must not: the library takes
// every entry that it has handed over for part of the snapshot.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if failure := f.failure.Load(); failure != nil {
		return nil, *failure
	}
	// The write lock: a capture changes what the machine does with the records that it changes, though not what it holds.
	f.mu.Lock()
	defer f.mu.Unlock()
	return &capture{snapshot: f.machine.Snapshot(f.mu.RLocker()), written: &f.snapshots}, nil
}

// Restore replaces the machine by a snapshot: the newest of this node when it starts, one from the leader when its log
// does not reach back far enough. The library does not compare indexes: a snapshot that is older than the machine
// is refused here, because what was shown once would be taken back.
//
// After a refusal nothing has changed but that the snapshot is on disk as well. It is harmless if a leader's request
// was merely late. If the leader insists, it knows of no newer one and this node would not hear from the log again:
// then it gives up, and catches up from that snapshot when it is started again.
func (f *fsm) Restore(source io.ReadCloser) error {
	if failure := f.failure.Load(); failure != nil {
		return *failure
	}
	meta, live := describe(source)
	err := f.restore(source, meta, live)
	switch {
	case err == nil:
		return nil
	case !live:
		f.problem = err
		return err
	case errors.Is(err, ErrBackward):
		f.refusals++
		if f.refusals < maxRefusals {
			return err
		}
	}
	return f.fail(err)
}

func (f *fsm) restore(source io.Reader, meta *raft.SnapshotMeta, live bool) error {
	machine, err := readSnapshot(source)
	if err != nil {
		return fmt.Errorf("read snapshot %s: %w", meta.ID, err)
	}
	if v := machine.Version(); v > f.version {
		return fmt.Errorf("snapshot %s has what version %d brought: %w", meta.ID, v, session.ErrUnknownKind)
	}
	index, applied := machine.Applied(), f.applied.Load()
	switch {
	case index > meta.Index:
		return fmt.Errorf("snapshot %s holds entries up to %d, more than its name says: %w", meta.ID, index, storage.ErrDamaged)
	case index < applied:
		return &backwardError{snapshot: index, applied: applied}
	}
	if live {
		f.onReplacing()
	}
	f.mu.Lock()
	f.machine = machine
	f.clock.Store(int64(machine.Clock()))
	f.slabs.Store(machine.Slabs())
	f.mu.Unlock()
	f.applied.Raise(index)
	f.restores.Add(1)
	if !live {
		return nil
	}
	return f.onInstalled(meta)
}

// backwardError is an ErrBackward with its numbers.
type backwardError struct{ snapshot, applied uint64 }

func (e *backwardError) Error() string {
	return fmt.Sprintf("snapshot of index %d, machine at %d: %v", e.snapshot, e.applied, ErrBackward)
}

func (e *backwardError) Unwrap() error { return ErrBackward }
