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

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// The names in the directory of a snapshot.
const (
	metaFile  = "meta.json"
	stateFile = "state.bin"
)

// diskSnapshots is the library's store on disk. The library lets others read what it makes, as far as the umask does;
// this store leaves it to nobody but the owner. Until then nobody gets there: the directory above is the owner's.
type diskSnapshots struct {
	*raft.FileSnapshotStore
	dir string
}

// openDiskSnapshots opens the store, which makes its directory if there is none.
func openDiskSnapshots(dir string, library hclog.Logger) (*diskSnapshots, error) {
	snapshots := filepath.Join(dir, snapshotDir)
	if err := os.MkdirAll(snapshots, dirMode); err != nil {
		return nil, Failed("make directory of snapshots", err)
	}
	if err := removeUnfinished(snapshots); err != nil {
		return nil, fmt.Errorf("remove unfinished snapshots: %w", err)
	}
	files, err := raft.NewFileSnapshotStoreWithLogger(dir, retainSnapshots, library)
	if err != nil {
		return nil, Failed("open snapshot store", err)
	}
	if err := checkNewest(snapshots, files); err != nil {
		return nil, err
	}
	return &diskSnapshots{FileSnapshotStore: files, dir: snapshots}, nil
}

// Create begins a snapshot. Its description is written again in the end, into the same file.
func (d *diskSnapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, transport raft.Transport,
) (raft.SnapshotSink, error) {
	sink, err := d.FileSnapshotStore.Create(version, index, term, configuration, configurationIndex, transport)
	if err != nil {
		return nil, err
	}
	made := filepath.Join(d.dir, sink.ID()+tempSuffix)
	for name, mode := range map[string]fs.FileMode{"": dirMode, metaFile: fileMode, stateFile: fileMode} {
		err = errors.Join(err, os.Chmod(filepath.Join(made, name), mode))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make snapshot the owner's alone: %w", err), sink.Cancel())
	}
	return sink, nil
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

// removeUnfinished removes what a crash in the middle of a snapshot has left. The library only warns of it.
func removeUnfinished(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasSuffix(e.Name(), tempSuffix) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
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
