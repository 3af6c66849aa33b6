package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// sink is where lines go: a file with those that it was before, or a writer. Its lock is held over I/O: by the writer, and
// by whoever has asked for a new file or for the end.
type sink struct {
	path     string
	output   io.Writer
	now      func() time.Time
	complain func(error)

	mu          sync.Mutex
	file        *os.File
	size        int64
	torn        bool      // the last line is not whole
	rotateAfter time.Time // a rotation failed: when the next one is tried
}

var errClosed = errors.New("the audit log is closed")

func (s *sink) open() (err error) {
	if s.path == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file, s.size, err = openFile(s.path)
	return err
}

func openFile(path string) (*os.File, int64, error) {
	file, err := os.OpenFile(filepath.Clean(path), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("open audit log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open audit log: %w", err), file.Close())
	}
	return file, info.Size(), nil
}

// write writes one line. A line that got onto the disk in part is ended before the next one begins.
func (s *sink) write(line []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		if s.output == nil {
			return nil
		}
		_, err := s.output.Write(line)
		return err
	}
	if s.size+int64(len(line)) > MaxFile && s.size > 0 && !s.now().Before(s.rotateAfter) {
		if err := s.rotate(); err != nil { // the old file goes on
			s.complain(err)
			s.rotateAfter = s.now().Add(rotatePause)
		}
	}
	if s.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := s.file.Write(line)
	s.size += int64(n)
	if n > 0 {
		s.torn = n < len(line)
	}
	return err
}

func (s *sink) reopen() error {
	if s.path == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return errClosed
	}
	file, size, err := openFile(s.path)
	if err != nil {
		return err
	}
	return s.swap(file, size)
}

func (s *sink) swap(file *os.File, size int64) error {
	old := s.file
	s.file, s.size, s.torn = file, size, false
	if err := old.Close(); err != nil {
		return fmt.Errorf("close old audit log: %w", err)
	}
	return nil
}

// rotate begins a new file, and moves the old one, and those before it, on by one number. Nothing is moved before the new
// one is there.
func (s *sink) rotate() error {
	fresh := s.path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rotate audit log: %w", err)
	}
	file, size, err := openFile(fresh)
	if err != nil {
		return err
	}
	if err := s.shift(fresh); err != nil {
		return errors.Join(err, file.Close())
	}
	return s.swap(file, size)
}

func (s *sink) shift(fresh string) error {
	for n := KeepFiles - 1; n > 0; n-- {
		if err := os.Rename(s.numbered(n), s.numbered(n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotate audit log: %w", err)
		}
	}
	if err := os.Rename(s.path, s.numbered(1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rotate audit log: %w", err)
	}
	if err := os.Rename(fresh, s.path); err != nil {
		return fmt.Errorf("rotate audit log: %w", err)
	}
	return nil
}

func (s *sink) numbered(n int) string { return fmt.Sprintf("%s.%d", s.path, n) }

// close closes the file.
func (s *sink) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	file := s.file
	s.file, s.output = nil, nil
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("close audit log: %w", err)
	}
	return nil
}
