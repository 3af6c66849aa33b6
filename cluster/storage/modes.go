package storage

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// errNotAlone is why a directory keeps its permissions.
var errNotAlone = errors.New("there are other things in it")

// Tighten takes permissions away that go beyond the owner's, and says so in the log: from what is in dir under one of names,
// patterns of filepath.Match, downwards, and from dir itself if nothing else is in it. A path may be a wrong one, so what is
// not named is left alone, and so are links, what they lead to, and what is neither a directory nor a file. What belongs
// to somebody else, as a volume's directory does to root, stays as it is, with a warning. Open does it for its directory; it
// is here for the one around that.
func Tighten(dir string, names []string, logger *slog.Logger) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // it can't be used either, which others find out
	}
	t, alone := &tightening{}, true
	for _, entry := range entries {
		if named(names, entry.Name()) {
			_ = filepath.WalkDir(filepath.Join(dir, entry.Name()), t.visit) // visit has no errors
		} else {
			alone = false
		}
	}
	if info, err := os.Stat(dir); err == nil {
		t.take(dir, info, alone)
	}
	if t.taken.count > 0 {
		logger.Warn("others could read the data directory, they can't any more",
			"path", t.taken.path, "was", t.taken.mode.String(), "count", t.taken.count)
	}
	if t.left.count > 0 {
		logger.Warn("others can get at the data directory: take their permissions away, or let the node have a directory of its own",
			"path", t.left.path, "mode", t.left.mode.String(), "count", t.left.count, "error", t.left.err)
	}
}

func named(names []string, name string) bool {
	return slices.ContainsFunc(names, func(pattern string) bool {
		ok, err := filepath.Match(pattern, name)
		return ok && err == nil
	})
}

// tightening is what has come of it.
type tightening struct{ taken, left widened }

// widened is what had more permissions than it should.
type widened struct {
	count int
	path  string // of the first
	mode  fs.FileMode
	err   error // why it still has them
}

func (w *widened) note(path string, mode fs.FileMode, err error) {
	if w.count++; w.count == 1 {
		w.path, w.mode, w.err = path, mode, err
	}
}

// visit passes over what can't be looked at: if the node needs it, it finds that out when it opens it.
func (t *tightening) visit(path string, entry fs.DirEntry, err error) error {
	if err != nil || !entry.IsDir() && !entry.Type().IsRegular() {
		return nil
	}
	if info, err := entry.Info(); err == nil {
		t.take(path, info, true)
	}
	return nil
}

func (t *tightening) take(path string, info fs.FileInfo, ours bool) {
	mode, was := fs.FileMode(fileMode), info.Mode().Perm()
	if info.IsDir() {
		mode = dirMode
	}
	if was&^mode == 0 {
		return
	}
	err := errNotAlone
	if ours {
		err = os.Chmod(path, was&mode)
	}
	switch {
	case err == nil:
		t.taken.note(path, was, nil)
	case !errors.Is(err, fs.ErrNotExist): // another process may be about to open it, and clears up
		t.left.note(path, was, err)
	}
}

// Inherit gives what is in dir under one of names, and what is below that, to whom dir belongs, if root calls it: what root
// writes for a node that does not run must be the node's. Nothing outside of dir is changed, whatever its owner has put
// there, and links change themselves.
func Inherit(dir string, names []string) (err error) {
	if os.Geteuid() != 0 {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	top, err := root.Stat(".")
	if err != nil {
		return err
	}
	uid, gid := owner(top)
	return fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		if first, _, _ := strings.Cut(path, "/"); !named(names, first) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if u, g := owner(info); u == uid && g == gid {
			return nil
		}
		return root.Lchown(path, uid, gid)
	})
}

// errLink refuses what root would read for, or give to, somebody who must not have it.
var errLink = errors.New("it is a link, or has another name, and root can't know whose it is: remove it, or run this as the directory's owner")

// CheckLinks looks for links in dir under one of names, if root calls it for somebody else. A node makes none. Whoever has
// taken over the user that it runs as may: what root copies and then gives away (Inherit) must not be from elsewhere.
func CheckLinks(dir string, names []string) error {
	top, err := os.Stat(dir)
	if os.Geteuid() != 0 || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if uid, _ := owner(top); uid == 0 {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if first, _, _ := strings.Cut(name, "/"); !named(names, first) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		stat, _ := info.Sys().(*syscall.Stat_t)
		if info.Mode()&fs.ModeSymlink != 0 || info.Mode().IsRegular() && stat.Nlink > 1 {
			return &fs.PathError{Op: "take over", Path: path, Err: errLink}
		}
		return nil
	})
}

func owner(info fs.FileInfo) (uid, gid int) {
	stat := info.Sys().(*syscall.Stat_t)
	return int(stat.Uid), int(stat.Gid)
}
