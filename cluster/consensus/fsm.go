package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/session"
)

// fsm is the state machine as the library sees it. The library calls it from one goroutine, but for Persist of a
// snapshot, which runs beside Apply.
type fsm struct {
	mu      sync.RWMutex
	machine *session.Machine // guarded by mu

	applied atomic.Uint64 // stored after the data is visible
	clock   atomic.Int64  // the machine's, stored before the data is visible
	waiters waiters
	failure atomic.Pointer[error] // set: nothing is applied, snapshotted or restored any more

	onApplied   func(index, term uint64, reconfigured bool) // the last entry of a batch; must not block
	onFatal     func(error)                                 // must not block
	onInstalled func(*raft.SnapshotMeta) error              // a snapshot from the leader was restored

	problem   error // why the snapshot of the start could not be restored
	refusals  int   // snapshots in a row that would have turned the machine back
	restores  atomic.Uint64
	snapshots atomic.Uint64
}

var _ raft.BatchingFSM = (*fsm)(nil)

func newFSM() *fsm { return &fsm{machine: session.New()} }

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
	if f.applied.Load() >= index {
		return nil
	}
	return f.waiters.wait(ctx, halted, index, f.applied.Load)
}

// Apply is called by the library's offline recovery only; a running node uses ApplyBatch.
func (f *fsm) Apply(log *raft.Log) any { return f.ApplyBatch([]*raft.Log{log})[0] }

// ApplyBatch applies command and configuration entries in order and returns []session.Result, nil or an error for
// each. The lock is taken for one entry at a time, so that readers get in between.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	answers := make([]any, len(logs))
	reconfigured := false
	for i, log := range logs {
		answers[i] = f.apply(log)
		reconfigured = reconfigured || log.Type == raft.LogConfiguration
	}
	if last := logs[len(logs)-1]; f.failure.Load() == nil {
		f.refusals = 0
		f.onApplied(last.Index, last.Term, reconfigured)
	}
	return answers
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
		f.reach(log.Index)
		return nil
	}
	entry, err := session.DecodeEntry(log.Data)
	if err != nil {
		return f.fail(fmt.Errorf("decode entry %d: %w", log.Index, err))
	}
	var results []session.Result
	f.mutate(func(m *session.Machine) {
		results = m.Apply(log.Index, entry)
		f.clock.Store(int64(m.Clock()))
	})
	f.reach(log.Index)
	return results
}

// reach makes an index known whose effect is visible.
func (f *fsm) reach(index uint64) {
	f.applied.Store(index)
	f.waiters.reached(index)
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
	// The write lock: a capture may change how the machine shares its records, though never what it holds.
	f.mu.Lock()
	defer f.mu.Unlock()
	return &capture{snapshot: f.machine.Snapshot(), written: &f.snapshots}, nil
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
	index, applied := machine.Applied(), f.applied.Load()
	switch {
	case index > meta.Index:
		return fmt.Errorf("snapshot %s holds entries up to %d, more than its name says: %w", meta.ID, index, ErrDamaged)
	case index < applied:
		return &backwardError{snapshot: index, applied: applied}
	}
	f.mu.Lock()
	f.machine = machine
	f.clock.Store(int64(machine.Clock()))
	f.mu.Unlock()
	f.reach(index)
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
