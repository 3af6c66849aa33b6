package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// otherUser is a user and a group that nobody is, like the image's.
const otherUser = 65532

// newSuiteAs makes a suite of one node that runs as otherUser.
func newSuiteAs(t *testing.T) *suite {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("to run a node as another user takes the rights of root")
	}
	s := newSuiteOf(t, 1, cheapHashes...)
	s.user = otherUser
	err := os.Chown(filepath.Join(s.dir, "key"), otherUser, otherUser)
	for _, dir := range []string{buildDir, filepath.Dir(s.dir)} {
		err = errors.Join(err, os.Chmod(dir, 0o711))
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestFoundedByRoot: a node starts on what root has recovered or restored while nobody had the number of its user.
func TestFoundedByRoot(t *testing.T) {
	t.Parallel()
	s := newSuiteAs(t)
	n := s.nodes[0]
	dir, file := s.dataDir(n), filepath.Join(s.dir, "backup")
	keys := []string{"--data-dir", dir, "--cluster-key-file", filepath.Join(s.dir, "key")}
	belongs := func() {
		t.Helper()
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if stat := info.Sys().(*syscall.Stat_t); stat.Uid != otherUser || stat.Gid != otherUser {
				t.Errorf("%s belongs to %d:%d", path, stat.Uid, stat.Gid)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, otherUser, otherUser)); err != nil {
		t.Fatal(err)
	}
	s.startAll()
	s.must("backup", "--data-dir", dir, "--output", file)
	s.kill(n)
	s.must(append([]string{"recover", "--yes"}, keys...)...)
	belongs()
	s.start(n)
	s.awaitReady(n)
	s.kill(n)

	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	if err != nil {
		t.Fatal(err)
	}
	if code, out := s.run(append([]string{"restore", filepath.Join(s.dir, "key")}, keys...)...); code != exitFailed {
		t.Errorf("a restore of something else: exit code %d\n%s", code, out)
	}
	belongs()
	s.must(append([]string{"restore", file}, keys...)...)
	belongs()
}

// TestVolume: a node runs in a volume whose directory is root's and open to a group, as a kubelet leaves it, and where mkfs
// has left a directory that is nobody else's business.
func TestVolume(t *testing.T) {
	t.Parallel()
	s := newSuiteAs(t)
	n := s.nodes[0]
	dir := s.dataDir(n)
	err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "lost+found"), 0o700), os.Chown(dir, 0, otherUser), os.Chmod(dir, 0o775|fs.ModeSetgid),
	)
	if err != nil {
		t.Fatal(err)
	}
	s.startAll()
	if !slices.ContainsFunc(s.lines(n), func(line string) bool { return strings.Contains(line, "others can get at the data directory") }) {
		t.Error("nothing was said of the directory")
	}
	for _, name := range []string{"node.json", "raft", "audit.log", "lock"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 || info.Sys().(*syscall.Stat_t).Uid != otherUser {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
