package storage

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestTighten: what is not the node's keeps its permissions, and so does the directory around it.
func TestTighten(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	for name, c := range map[string]struct {
		files []string
		want  map[string]fs.FileMode
		says  []string // a line each
	}{
		"nothing else": {
			[]string{"node.json", "node.json.12", "raft/deep/file"},
			map[string]fs.FileMode{"": 0o700, "node.json": 0o600, "node.json.12": 0o600, "raft": 0o700, "raft/deep": 0o700, "raft/deep/file": 0o600},
			[]string{"they can't any more"},
		},
		"somebody's": {
			[]string{"node.json", "raft/file", "file", "src/raft/file"},
			map[string]fs.FileMode{"": 0o777, "node.json": 0o600, "raft": 0o700, "raft/file": 0o600, "file": 0o666, "src": 0o777, "src/raft": 0o777, "src/raft/file": 0o666},
			[]string{"they can't any more", "others can get at the data directory"},
		},
		"links": {
			[]string{"../far/file"},
			map[string]fs.FileMode{"": 0o700, "../far": 0o777, "../far/file": 0o666},
			[]string{"they can't any more"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dir")
			err := errors.Join(os.Mkdir(dir, 0o777), os.Symlink("../far", filepath.Join(dir, "linked")))
			for _, file := range c.files {
				file = filepath.Join(dir, file)
				err = errors.Join(err, os.MkdirAll(filepath.Dir(file), 0o777), os.WriteFile(file, nil, 0o666))
			}
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			Tighten(dir, []string{"node.json*", "raft", "linked"}, slog.New(slog.NewTextHandler(&log, nil)))
			for path, want := range c.want {
				if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode().Perm() != want {
					t.Errorf("%s: %v, %v; want %v", path, info, err, want)
				}
			}
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			for i, text := range c.says {
				if len(lines) != len(c.says) || !strings.Contains(lines[i], text) {
					t.Errorf("not %q, but\n%s", c.says, log.String())
				}
			}
		})
	}
}
