package storage

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring"
)

// sealedSnapshots stands right before the store of the snapshots: what lies in the store is sealed, what comes out is
// not, and is as large as the description says that goes with it. So a snapshot travels to another member as if it had
// never been sealed, inside the connection's own encryption, and is sealed there under that member's key.
type sealedSnapshots struct {
	raft.SnapshotStore
	keys *keyring.Ring // nil: nothing is sealed

	mu   sync.Mutex                     // held by who looks at what is there
	held atomic.Pointer[[]heldSnapshot] // newest first

	writingMu sync.Mutex
	writing   map[*sealedSink]cover // snapshots that are not complete yet
}

// heldSnapshot is a snapshot on disk.
type heldSnapshot struct {
	id    string
	cover cover
}

// snapshotFiles is a store whose snapshots can be looked at, and removed, without a check of the whole.
type snapshotFiles interface {
	peek(id string) (io.ReadCloser, error)
	drop(id string) error
}

var (
	_ snapshotFiles = (*diskSnapshots)(nil)
	_ snapshotFiles = (*memorySnapshots)(nil)
)

func newSealedSnapshots(inner raft.SnapshotStore, keys *keyring.Ring) *sealedSnapshots {
	s := &sealedSnapshots{SnapshotStore: inner, keys: keys, writing: map[*sealedSink]cover{}}
	s.held.Store(&[]heldSnapshot{})
	return s
}

// survey looks at what is there. The key of the newest must be at hand; the others are never read again.
func (s *sealedSnapshots) survey() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	held := make([]heldSnapshot, len(list))
	for i, meta := range list {
		c, err := s.look(meta.ID)
		if err == nil && i == 0 && c.sealed {
			_, err = findKey(s.keys, c.id)
		}
		if err != nil && i == 0 {
			return fmt.Errorf("snapshot %s: %w", meta.ID, err)
		}
		held[i] = heldSnapshot{meta.ID, c}
	}
	s.held.Store(&held)
	return nil
}

// look tells what a snapshot is sealed under.
func (s *sealedSnapshots) look(id string) (c cover, err error) {
	var file io.ReadCloser
	if files, ok := s.SnapshotStore.(snapshotFiles); ok {
		file, err = files.peek(id)
	} else {
		_, file, err = s.SnapshotStore.Open(id)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", err, ErrDamaged)
	}
	if err != nil {
		return c, err
	}
	begin := make([]byte, streamHeader)
	n, err := io.ReadFull(file, begin)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return c, err
	}
	c.id, c.sealed, err = streamKey(begin[:n])
	return c, err
}

// Create begins a snapshot, sealed under the first key.
func (s *sealedSnapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, transport raft.Transport,
) (raft.SnapshotSink, error) {
	inner, err := s.SnapshotStore.Create(version, index, term, configuration, configurationIndex, transport)
	if err != nil {
		return nil, err
	}
	sink := &sealedSink{SnapshotSink: inner, store: s}
	if s.keys == nil {
		return sink, nil
	}
	key := s.begin(sink)
	sink.w, err = newSealWriter(inner, key, snapshotBinding(index, term, configuration, configurationIndex))
	if err != nil {
		return nil, errors.Join(err, sink.Cancel())
	}
	return sink, nil
}

// begin notes that a snapshot is being written under the first key, before anybody can ask what that key is needed for.
func (s *sealedSnapshots) begin(sink *sealedSink) keyring.Key {
	s.writingMu.Lock()
	defer s.writingMu.Unlock()
	key := s.keys.First()
	s.writing[sink] = cover{true, key.ID()}
	return key
}

func (s *sealedSnapshots) end(sink *sealedSink) {
	s.writingMu.Lock()
	defer s.writingMu.Unlock()
	delete(s.writing, sink)
}

// covers returns what snapshots are sealed under, those among them that are being written.
func (s *sealedSnapshots) covers() []cover {
	s.writingMu.Lock()
	defer s.writingMu.Unlock()
	return s.coversLocked()
}

func (s *sealedSnapshots) coversLocked() (list []cover) {
	for _, c := range s.writing {
		list = append(list, c)
	}
	for _, h := range *s.held.Load() {
		list = append(list, h.cover)
	}
	return list
}

// Open returns a snapshot as it was given to Create.
func (s *sealedSnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, file, err := s.SnapshotStore.Open(id)
	if err != nil {
		return nil, nil, err
	}
	source := bufio.NewReaderSize(file, sealedChunk)
	binding := snapshotBinding(meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex)
	opened, sealed, err := newOpenReader(source, s.keys, binding)
	switch {
	case err != nil:
		return nil, nil, errors.Join(fmt.Errorf("snapshot %s: %w", id, err), file.Close())
	case !sealed:
		return meta, readCloser{source, file}, nil
	}
	plain := *meta
	plain.Size = plainSize(meta.Size)
	return &plain, readCloser{opened, file}, nil
}

// dropOthers removes the snapshots but the newest that are not sealed under a key, if that one is.
func (s *sealedSnapshots) dropOthers(current cover) error {
	files, ok := s.SnapshotStore.(snapshotFiles)
	held := *s.held.Load()
	if !ok || len(held) == 0 || held[0].cover != current {
		return nil
	}
	for _, h := range held[1:] {
		if h.cover == current {
			continue
		}
		if err := files.drop(h.id); err != nil {
			return fmt.Errorf("remove snapshot %s: %w", h.id, err)
		}
	}
	return s.survey()
}

// newest tells what the newest snapshot is sealed under.
func (s *sealedSnapshots) newest() (c cover, any bool) {
	held := *s.held.Load()
	if len(held) == 0 {
		return c, false
	}
	return held[0].cover, true
}

// sealedSink is used by one goroutine.
type sealedSink struct {
	raft.SnapshotSink
	store *sealedSnapshots
	w     *sealWriter // nil: nothing is sealed
	done  bool
}

func (s *sealedSink) Write(b []byte) (int, error) {
	if s.w == nil {
		return s.SnapshotSink.Write(b)
	}
	return s.w.Write(b)
}

func (s *sealedSink) Close() error {
	if s.done {
		return s.SnapshotSink.Close()
	}
	s.done = true
	defer s.store.end(s) // when it is among those that are held
	if s.w != nil {
		if err := s.w.Close(); err != nil {
			return errors.Join(err, s.SnapshotSink.Cancel())
		}
	}
	if err := s.SnapshotSink.Close(); err != nil {
		return err
	}
	return s.store.survey()
}

func (s *sealedSink) Cancel() error {
	s.done = true
	s.store.end(s)
	return s.SnapshotSink.Cancel()
}

// readCloser reads from one and closes the other.
type readCloser struct {
	io.Reader
	io.Closer
}
