package consensus

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/storage"
)

// snapshotStore stands before the store on disk or in memory. It tells the machine which snapshot it restores, and
// the log which one was taken.
type snapshotStore struct {
	raft.SnapshotStore
	onTaken func(index uint64)
	watch   storage.Watch
	problem error           // why the snapshot of the start could not be opened
	halted  <-chan struct{} // closed: what is being written is given up
	live    atomic.Bool     // a snapshot was made since the start: from then on, what is restored came from the leader
}

func newSnapshotStore(inner raft.SnapshotStore, watch storage.Watch, halted <-chan struct{}) *snapshotStore {
	return &snapshotStore{SnapshotStore: inner, watch: watch, onTaken: func(uint64) {}, halted: halted}
}

// List returns the newest snapshot only. The library would fall back to an older one if the newest can't be read:
// between the two lie entries that this node has said to hold, and that its log may hold no more. A node that has lost
// what it acknowledged must not vote with what is left.
func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	all, err := s.SnapshotStore.List()
	return all[:min(1, len(all))], err
}

// Create begins a snapshot, of this node's own state or of what the leader sends.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, transport raft.Transport,
) (raft.SnapshotSink, error) {
	s.live.Store(true)
	var sink raft.SnapshotSink
	err := s.watch.Try("store snapshot", s.watch.Limit, func() (err error) {
		sink, err = s.SnapshotStore.Create(version, index, term, configuration, configurationIndex, transport)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &snapshotSink{SnapshotSink: sink, watch: s.watch, halted: s.halted, onClose: func() { s.onTaken(index) }}, nil
}

// Open returns the snapshot with its description, for Restore.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	live := s.live.Load()
	meta, source, err := s.SnapshotStore.Open(id)
	if err != nil {
		if !live {
			s.problem = fmt.Errorf("open snapshot %s: %w: %w", id, err, storage.ErrDamaged)
		}
		return nil, nil, err
	}
	return meta, &snapshotSource{ReadCloser: source, meta: meta, live: live}, nil
}

// snapshotSink is a snapshot that is being written. What fails is tried again, by this node or by the leader that sends
// it: there may be room by then. What stalls ends the node: a leader goes on with its heartbeats meanwhile, and a
// follower that installs a snapshot does nothing else.
type snapshotSink struct {
	raft.SnapshotSink
	watch   storage.Watch
	size    int64
	halted  <-chan struct{}
	onClose func()
}

func (s *snapshotSink) Write(b []byte) (n int, err error) {
	select {
	case <-s.halted:
		return 0, ErrShutdown
	default:
	}
	err = s.watch.Try("store snapshot", s.watch.Limit, func() (err error) {
		n, err = s.SnapshotSink.Write(b)
		return err
	})
	s.size += int64(n)
	return n, err
}

// Close puts all that was written on disk, which takes the longer the more it is.
func (s *snapshotSink) Close() error {
	limit := s.watch.Limit + time.Duration(s.size/slowestDisk)*time.Second
	if err := s.watch.Try("store snapshot", limit, s.SnapshotSink.Close); err != nil {
		return err
	}
	s.onClose()
	return nil
}

type snapshotSource struct {
	io.ReadCloser
	meta *raft.SnapshotMeta
	live bool
}

// describe finds what Open has attached to the reader, through the wrapper that the library puts around it.
func describe(source io.ReadCloser) (meta *raft.SnapshotMeta, live bool) {
	if wrapper, ok := source.(raft.ReadCloserWrapper); ok {
		source = wrapper.WrappedReadCloser()
	}
	s, ok := source.(*snapshotSource)
	if !ok {
		panic("BUG: restore of a snapshot that was not opened by its store")
	}
	return s.meta, s.live
}
