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
	key := filepath.Join(s.dir, "key") // and the secret that comes with it is root's, and the group's to read
	if err := errors.Join(os.Chown(key, 0, otherUser), os.Chmod(key, 0o440)); err != nil {
		t.Fatal(err)
	}
	s.startAll()
	for text, want := range map[string]bool{"others can get at the data directory": true, "can read " + key: false} {
		if got := slices.ContainsFunc(s.lines(n), func(line string) bool { return strings.Contains(line, text) }); got != want {
			t.Errorf("%q is said: %v", text, got)
		}
	}
	for _, name := range []string{"node.json", "raft", "audit.log", "lock"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 || info.Sys().(*syscall.Stat_t).Uid != otherUser {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// fileOf is what the system says of a file.
type fileOf struct {
	fs.FileInfo
	mode     fs.FileMode
	uid, gid int
}

func (f fileOf) Mode() fs.FileMode { return f.mode }
func (f fileOf) Sys() any          { return &syscall.Stat_t{Uid: uint32(f.uid), Gid: uint32(f.gid)} }

// TestExposed: a secret that a pod gets is root's, and its group's to read, which is the pod's own.
func TestExposed(t *testing.T) {
	uid, gid := os.Geteuid(), os.Getegid()
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range append(groups, gid) {
		if exposed(fileOf{mode: 0o440, uid: uid + 1, gid: group}) {
			t.Errorf("another user's file that group %d may read, which is one of %d and %d", group, gid, groups)
		}
	}
	for _, f := range []fileOf{{mode: 0o400, uid: uid + 1, gid: gid}, {mode: 0o600, uid: uid, gid: gid}} {
		if exposed(f) {
			t.Errorf("%+v", f)
		}
	}
	strange := slices.Max(append(groups, gid)) + 1
	for _, f := range []fileOf{
		{mode: 0o440, uid: uid + 1, gid: strange},
		{mode: 0o444, uid: uid + 1, gid: gid},
		{mode: 0o460, uid: uid + 1, gid: gid},
		{mode: 0o640, uid: uid, gid: gid},
		{mode: 0o604, uid: uid, gid: gid},
	} {
		if !exposed(f) {
			t.Errorf("%+v", f)
		}
	}
}
