package storage

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// memorySnapshots keeps snapshots in memory. The library's own store shows a snapshot while it is still being written,
// and keeps one that was cancelled.
type memorySnapshots struct {
	mu     sync.Mutex
	serial int
	kept   []*memorySnapshot // complete ones, newest first, at most retainSnapshots
}

type memorySnapshot struct {
	meta raft.SnapshotMeta
	data []byte
}

var _ raft.SnapshotStore = (*memorySnapshots)(nil)

func (m *memorySnapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, _ raft.Transport,
) (raft.SnapshotSink, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serial++
	return &memorySink{store: m, meta: raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%d-%d-%d", term, index, m.serial), Index: index, Term: term,
		Configuration: configuration, ConfigurationIndex: configurationIndex,
	}}, nil
}

func (m *memorySnapshots) List() ([]*raft.SnapshotMeta, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]*raft.SnapshotMeta, len(m.kept))
	for i, s := range m.kept {
		meta := s.meta
		list[i] = &meta
	}
	return list, nil
}

func (m *memorySnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.kept {
		if s.meta.ID == id {
			meta := s.meta
			return &meta, io.NopCloser(bytes.NewReader(s.data)), nil
		}
	}
	return nil, nil, fmt.Errorf("there is no snapshot %q", id)
}

func (m *memorySnapshots) peek(id string) (io.ReadCloser, error) {
	_, r, err := m.Open(id)
	return r, err
}

func (m *memorySnapshots) drop(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = slices.DeleteFunc(m.kept, func(s *memorySnapshot) bool { return s.meta.ID == id })
	return nil
}

// keep adds a complete snapshot. One that is older than all others has the last place, even if that is one too many:
// the library opens what it has just written.
func (m *memorySnapshots) keep(s *memorySnapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = append(m.kept[:min(len(m.kept), retainSnapshots-1)], s)
	slices.SortStableFunc(m.kept, func(a, b *memorySnapshot) int {
		return cmp.Or(cmp.Compare(b.meta.Term, a.meta.Term), cmp.Compare(b.meta.Index, a.meta.Index))
	})
}

// memorySink is used by one goroutine.
type memorySink struct {
	store *memorySnapshots
	meta  raft.SnapshotMeta
	data  bytes.Buffer
	done  bool
}

func (s *memorySink) ID() string { return s.meta.ID }

func (s *memorySink) Write(b []byte) (int, error) {
	if s.done {
		return 0, errors.New("write to a snapshot that is complete")
	}
	return s.data.Write(b)
}

func (s *memorySink) Close() error {
	if !s.done {
		s.done = true
		s.meta.Size = int64(s.data.Len())
		s.store.keep(&memorySnapshot{meta: s.meta, data: s.data.Bytes()})
	}
	return nil
}

func (s *memorySink) Cancel() error {
	s.done = true
	return nil
}
