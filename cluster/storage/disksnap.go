package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// The names in the directory of a snapshot.
const (
	metaFile  = "meta.json"
	stateFile = "state.bin"
)

// diskSnapshots is the library's store on disk. The library lets others read what it makes, as far as the umask does;
// this store leaves it to nobody but the owner. Until then nobody gets there: the directory above is the owner's. And what
// is not completed goes at once: the library leaves it when a disk is full, in the way of the next try.
type diskSnapshots struct {
	*raft.FileSnapshotStore
	dir string

	mu      sync.Mutex      // held while one begins: nobody knows the name of its directory yet
	writing map[string]bool // by id, those that are not complete
}

// openDiskSnapshots opens the store, which makes its directory if there is none.
func openDiskSnapshots(dir string, library hclog.Logger) (*diskSnapshots, error) {
	snapshots := filepath.Join(dir, snapshotDir)
	if err := os.MkdirAll(snapshots, dirMode); err != nil {
		return nil, Failed("make directory of snapshots", err)
	}
	if err := removeUnfinished(snapshots, nil); err != nil {
		return nil, err
	}
	files, err := raft.NewFileSnapshotStoreWithLogger(dir, retainSnapshots, library)
	if err != nil {
		return nil, Failed("open snapshot store", err)
	}
	if err := checkNewest(snapshots, files); err != nil {
		return nil, err
	}
	return &diskSnapshots{FileSnapshotStore: files, dir: snapshots, writing: map[string]bool{}}, nil
}

// Create begins a snapshot. Its description is written again in the end, into the same file.
func (d *diskSnapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, transport raft.Transport,
) (raft.SnapshotSink, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sink, err := d.FileSnapshotStore.Create(version, index, term, configuration, configurationIndex, transport)
	if err != nil {
		return nil, errors.Join(err, removeUnfinished(d.dir, d.writing))
	}
	made := filepath.Join(d.dir, sink.ID()+tempSuffix)
	for name, mode := range map[string]fs.FileMode{"": dirMode, metaFile: fileMode, stateFile: fileMode} {
		err = errors.Join(err, os.Chmod(filepath.Join(made, name), mode))
	}
	state, opening := os.OpenFile(filepath.Join(made, stateFile), os.O_WRONLY, fileMode)
	if err = errors.Join(err, opening); err != nil {
		return nil, errors.Join(fmt.Errorf("begin snapshot: %w", err), sink.Cancel(), removeUnfinished(d.dir, d.writing))
	}
	d.writing[sink.ID()] = true
	return &diskSink{SnapshotSink: sink, store: d, state: state}, nil
}

// over is told that nobody writes a snapshot any more.
func (d *diskSnapshots) over(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.writing, id)
}

func (d *diskSnapshots) sweep() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return removeUnfinished(d.dir, d.writing)
}

func (d *diskSnapshots) peek(id string) (io.ReadCloser, error) {
	return os.Open(filepath.Join(d.dir, id, stateFile))
}

// drop removes a snapshot. A crash in the middle leaves what removeUnfinished knows.
func (d *diskSnapshots) drop(id string) error {
	path := filepath.Join(d.dir, id)
	err := os.Rename(path, path+tempSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the library was faster
	}
	if err != nil {
		return err
	}
	if err := os.RemoveAll(path + tempSuffix); err != nil {
		return err
	}
	return syncDir(d.dir)
}

// removeUnfinished removes the snapshots that were not completed and that nobody writes any more. The library only warns of
// them.
func removeUnfinished(dir string, writing map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("remove unfinished snapshots: %w", err)
	}
	for _, e := range entries {
		id, unfinished := strings.CutSuffix(e.Name(), tempSuffix)
		if !unfinished || !e.IsDir() || writing[id] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove unfinished snapshot: %w", err)
		}
	}
	return nil
}

// checkNewest compares the newest directory with what the store lists: the store passes over a snapshot whose
// description it can't read, and would take an older one for the newest.
func checkNewest(dir string, store raft.SnapshotStore) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	var newest [2]uint64
	name := ""
	for _, e := range entries {
		if at, ok := parseSnapshotName(e.Name()); ok && e.IsDir() && (at[0] > newest[0] || at[0] == newest[0] && at[1] > newest[1]) {
			newest, name = at, e.Name()
		}
	}
	listed, err := store.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	if name != "" && (len(listed) == 0 || listed[0].Term != newest[0] || listed[0].Index != newest[1]) {
		return fmt.Errorf("snapshot %s can't be read: %w", name, ErrDamaged)
	}
	return nil
}

// parseSnapshotName takes term and index from a name, which is TERM-INDEX-MILLISECONDS.
func parseSnapshotName(name string) (at [2]uint64, ok bool) {
	parts := strings.Split(name, "-")
	if len(parts) != 3 {
		return at, false
	}
	for i := range at {
		n, err := strconv.ParseUint(parts[i], 10, 64)
		if err != nil {
			return at, false
		}
		at[i] = n
	}
	return at, true
}

// diskSink is used by one goroutine.
type diskSink struct {
	raft.SnapshotSink
	store *diskSnapshots
	state *os.File // the content, opened once more; nil: the snapshot is over
}

// Close completes the snapshot. After an error nothing of it is left, unless it was complete before.
func (s *diskSink) Close() error {
	if err := s.SnapshotSink.Close(); err != nil {
		return errors.Join(err, s.discard())
	}
	s.end()
	return nil
}

// Cancel removes what was written. The library completes it first, of all things, and leaves it if that fails.
func (s *diskSink) Cancel() error {
	_ = s.SnapshotSink.Cancel()
	return s.discard()
}

// discard gives the room on the disk back, which the library, where it fails, may keep by a file that it leaves open.
func (s *diskSink) discard() error {
	if s.state == nil {
		return nil
	}
	var err error
	if _, none := os.Lstat(filepath.Join(s.store.dir, s.ID())); errors.Is(none, fs.ErrNotExist) { // else it was complete
		err = s.state.Truncate(0)
	}
	s.end()
	return errors.Join(err, s.store.sweep())
}

func (s *diskSink) end() {
	if s.state == nil {
		return
	}
	_ = s.state.Close() // nothing was written to it
	s.state = nil
	s.store.over(s.ID())
}
