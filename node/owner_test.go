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
