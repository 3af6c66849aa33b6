package consensus

import (
	"runtime"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// ahead lets a leader send commands to its followers while it writes them to its own disk: StoreLogs returns before they
// are there. The library then takes them for stored here, and may find them committed with one follower less than it
// takes. So what it finds is held back until it is true:
//
//   - Apply waits until the leader's own write is done (wait), and so does everybody who waits for a proposal.
//   - No follower hears of a commit beyond what is on the leader's disk (written, see cappedTransport).
//
// At or below written, an entry is where the library counted it, and the commit is one by the rules; section 10.2.1 of
// Ongaro's dissertation has the leader write in parallel too. Entries that are not commands, such as configurations,
// which count from the moment that the library takes them for committed, are written before StoreLogs returns.
//
// Whatever else the library does with entries that are on their way to the disk is as good as with those that are there,
// as long as the process lives: as a voter it refuses whoever lacks them. If it dies, what it did with them dies too, but
// for what it has told others: entries that it has sent, which every new leader may have or not, and nothing else. It must
// not acknowledge them to another leader. Therefore the end of the office waits for the disk (enter), before the library
// does anything else, and there are such entries on a leader only.
//
// A write that fails ends the node, like any other. What waits for it then fails, and is never applied.
type ahead struct {
	raft.LogStore // for one writer

	mu      sync.Mutex
	leading bool        // commands may be written behind
	pending []*raft.Log // not on the disk yet, ascending without holes
	failed  error       // of a write behind: pending stays as it is
	step    broadcast   // wakes who waits for a change of these
	writer  sync.WaitGroup
}

var _ raft.LogStore = (*ahead)(nil)

func newAhead(inner raft.LogStore) *ahead {
	a := &ahead{LogStore: inner}
	a.step.init()
	return a
}

// enter is told by the library's main goroutine of each new state, before it acts on it; no heartbeat ends an office, see
// calmTransport. In any but a leader's, all entries are on the disk when enter returns, or the node has failed. Shutdown is
// told by who ends the node, who must not wait for its disk; if the library goes on for a moment it becomes a follower
// before it acknowledges anything.
func (a *ahead) enter(state raft.RaftState) {
	a.mu.Lock()
	a.leading = state == raft.Leader
	a.mu.Unlock()
	if state == raft.Follower || state == raft.Candidate {
		_ = a.flush() // its error has ended the node
	}
}

// StoreLog stores one entry.
func (a *ahead) StoreLog(log *raft.Log) error { return a.StoreLogs([]*raft.Log{log}) }

// StoreLogs returns when the entries are on the disk, or, of a leader's commands, when they are on their way.
func (a *ahead) StoreLogs(logs []*raft.Log) error {
	if behind, err := a.writeBehind(logs); behind || err != nil {
		return err
	}
	if err := a.flush(); err != nil {
		return err
	}
	return a.LogStore.StoreLogs(logs)
}

func (a *ahead) writeBehind(logs []*raft.Log) (ok bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed != nil {
		return false, a.failed
	}
	if !a.leading {
		return false, nil
	}
	for _, l := range logs {
		if l.Type != raft.LogCommand {
			return false, nil
		}
	}
	idle := len(a.pending) == 0
	a.pending = append(a.pending, logs...)
	if idle {
		a.writer.Go(a.write)
	}
	return true, nil
}

// write writes what waits, and what comes meanwhile, until there is nothing left.
func (a *ahead) write() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.pending) > 0 {
		logs := slices.Clip(a.pending)
		a.mu.Unlock()
		err := a.LogStore.StoreLogs(logs)
		a.mu.Lock()
		if err != nil {
			a.failed = err
			a.step.notify()
			return
		}
		a.pending = append([]*raft.Log(nil), a.pending[len(logs):]...)
		a.step.notify()
	}
}

// flush returns when nothing is on its way to the disk.
func (a *ahead) flush() error { return a.until(nil, func() bool { return len(a.pending) == 0 }) }

// wait returns when the entries up to an index are on the disk, or with an error when they may never be.
func (a *ahead) wait(halted <-chan struct{}, index uint64) error {
	return a.until(halted, func() bool { return len(a.pending) == 0 || index < a.pending[0].Index })
}

func (a *ahead) until(halted <-chan struct{}, done func() bool) error {
	for {
		a.mu.Lock()
		ready, err, step := done(), a.failed, a.step.next()
		a.mu.Unlock()
		if ready {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-step:
		case <-halted:
			return ErrShutdown
		}
	}
}

// written returns the highest index up to which entries are on the disk, no less than limit if all are.
func (a *ahead) written(limit uint64) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.pending) > 0 {
		return min(limit, a.pending[0].Index-1)
	}
	return limit
}

// GetLog returns an entry, one that is on its way to the disk too. One that did not get there ends the goroutine that asks
// for it, as in logStore: it would be acknowledged.
func (a *ahead) GetLog(index uint64, log *raft.Log) error {
	found, err := a.getPending(index, log)
	switch {
	case err != nil:
		runtime.Goexit()
	case found:
		return nil
	}
	return a.LogStore.GetLog(index, log)
}

func (a *ahead) getPending(index uint64, log *raft.Log) (found bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := uint64(len(a.pending))
	if n == 0 || index < a.pending[0].Index || index-a.pending[0].Index >= n {
		return false, nil
	}
	*log = *a.pending[index-a.pending[0].Index]
	return true, a.failed
}

// LastIndex returns that of the last entry.
func (a *ahead) LastIndex() (uint64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.pending); n > 0 {
		return a.pending[n-1].Index, nil
	}
	return a.LogStore.LastIndex()
}

// DeleteRange removes entries.
func (a *ahead) DeleteRange(first, last uint64) error {
	if err := a.wait(nil, last+1); err != nil { // behind the end it would be taken for the end itself
		return err
	}
	return a.LogStore.DeleteRange(first, last)
}

// close returns when nothing is written any more.
func (a *ahead) close() { a.writer.Wait() }

// cappedTransport keeps followers from hearing of commits too early.
type cappedTransport struct {
	*raft.NetworkTransport
	log *ahead
}

// AppendEntries sends entries, and what is committed of those that are on this node's disk.
func (t *cappedTransport) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if written := t.log.written(args.LeaderCommitIndex); written < args.LeaderCommitIndex {
		capped := *args // the library's own is used again
		capped.LeaderCommitIndex = written
		args = &capped
	}
	return t.NetworkTransport.AppendEntries(id, to, args, resp)
}
