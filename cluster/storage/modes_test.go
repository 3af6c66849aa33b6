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

// TestInherit: what root has made under the names is the directory's owner's then, and nothing else.
func TestInherit(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to give files away takes the rights of root")
	}
	const somebody = 65532
	dir, far := t.TempDir(), t.TempDir()
	at := func(path string) string { return filepath.Join(dir, path) }
	err := errors.Join(
		os.Chown(dir, somebody, somebody+1), os.MkdirAll(at("raft/deep"), 0o700), os.Mkdir(at("src"), 0o700),
		os.WriteFile(at("raft/deep/file"), nil, 0o600), os.WriteFile(at("src/raft"), nil, 0o600), os.WriteFile(at("file"), nil, 0o600),
		os.WriteFile(filepath.Join(far, "file"), nil, 0o600), os.Symlink(filepath.Join(far, "file"), at("raft/link")), os.Symlink(far, at("raft/far")),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := Inherit(dir, []string{"raft"}); err != nil {
		t.Fatal(err)
	}
	for path, given := range map[string]bool{
		".": true, "raft": true, "raft/deep": true, "raft/deep/file": true, "raft/link": true, "raft/far": true, "src": false, "src/raft": false, "file": false,
		"../" + filepath.Base(far): false, "../" + filepath.Base(far) + "/file": false,
	} {
		info, err := os.Lstat(at(path))
		if err != nil {
			t.Fatal(err)
		}
		if uid, gid := owner(info); given != (uid == somebody && gid == somebody+1) || !given && (uid != 0 || gid != 0) {
			t.Errorf("%s belongs to %d:%d", path, uid, gid)
		}
	}
}

func TestCheckLinks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to be somebody else's directory takes the rights of root")
	}
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	at := func(path string) string { return filepath.Join(dir, path) }
	check := func(what string, refused bool) {
		t.Helper()
		if err := CheckLinks(dir, []string{"raft", "node.json"}); errors.Is(err, errLink) != refused || !refused && err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	err := errors.Join(
		os.WriteFile(secret, nil, 0o600), os.Mkdir(at("raft"), 0o700), os.WriteFile(at("raft/file"), nil, 0o600),
		os.Symlink(secret, at("other")), os.Symlink(secret, at("raft/link")),
	)
	if err != nil {
		t.Fatal(err)
	}
	check("root's own", false)
	for _, step := range []struct {
		what    string
		do      func() error
		refused bool
	}{
		{"a link", func() error { return os.Chown(dir, 65532, 65532) }, true},
		{"none", func() error { return os.Remove(at("raft/link")) }, false},
		{"a second name", func() error { return os.Link(secret, at("node.json")) }, true},
		{"the log elsewhere", func() error {
			return errors.Join(os.Remove(at("node.json")), os.RemoveAll(at("raft")), os.Symlink(filepath.Dir(secret), at("raft")))
		}, true},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		check(step.what, step.refused)
	}
}
