package roster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// FileStore keeps the record in one file, replaced as a whole.
type FileStore struct{ Path string }

type fileRecord struct {
	Version int
	Record
}

// Load reads the record; a missing file is an empty one.
func (s FileStore) Load() (Record, error) {
	data, err := os.ReadFile(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, nil
	}
	if err != nil {
		return Record{}, err
	}
	var f fileRecord
	if err := json.Unmarshal(data, &f); err != nil {
		return Record{}, fmt.Errorf("%s: %w", s.Path, err)
	}
	if f.Version != 1 {
		return Record{}, fmt.Errorf("%s: version %d is not known to this program", s.Path, f.Version)
	}
	return f.Record, nil
}

// Save replaces the file and returns when it is on disk.
func (s FileStore) Save(r Record) error {
	data, err := json.MarshalIndent(fileRecord{Version: 1, Record: r}, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(s.Path, data)
}

// WriteFile replaces a file by a new one of mode 0600 and returns when both the file and its name are on disk.
func WriteFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone when the rename succeeded
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// SyncDir puts on disk what was renamed in a directory.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// MemoryStore keeps the record as long as the process lives: for nodes whose id does not outlive it either.
type MemoryStore struct{ record Record }

// Load returns the record.
func (s *MemoryStore) Load() (Record, error) { return s.record, nil }

// Save keeps the record.
func (s *MemoryStore) Save(r Record) error {
	s.record = r
	return nil
}

var (
	_ Store = FileStore{}
	_ Store = (*MemoryStore)(nil)
)
