package consensus

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloakroom/cluster/keyring/keytest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

// smallDisk mounts a file system of that size; only who administers the machine may.
func smallDisk(t *testing.T, size string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
	if errors.Is(err, syscall.EPERM) {
		t.Skip("mounting a small disk needs an administrator")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func resize(t *testing.T, dir, size string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size="+size); err != nil {
		t.Fatal(err)
	}
}

// fill leaves that much room on a small disk; without the file that it returns there is what there was before.
func fill(t *testing.T, dir string, room int64) (ballast string) {
	t.Helper()
	ballast = filepath.Join(dir, "ballast")
	f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(ballast, fileSize(t, ballast)-room); err != nil {
		t.Fatal(err)
	}
	return ballast
}

// freeBlocks counts those that files without a name hold as taken.
func freeBlocks(t *testing.T, dir string) uint64 {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	return s.Bfree
}

// TestSmallDisk fills a real one. The node says so, again when it is started on the full disk, and when there is room it
// has all that was acknowledged.
func TestSmallDisk(t *testing.T) {
	dir := smallDisk(t, "1m")
	fatal := make(chan error, 1)
	cfg := Config{OnFatal: func(err error) { fatal <- err }}
	fails := func() {
		t.Helper()
		select {
		case err := <-fatal:
			if !errors.Is(err, storage.ErrDiskFull) {
				t.Errorf("the node says %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("the node goes on")
		}
	}
	n := alone(t, dir, cfg)
	acknowledged := uint64(0)
	for i := range 10_000 {
		applied, err := n.Propose(t.Context(), encode(t, role(fmt.Sprintf("r%d", i), 1000))).Wait(t.Context())
		if err != nil {
			break
		}
		acknowledged = applied.Index
	}
	fails()
	hash := hashOf(n)
	if n.Applied() != acknowledged || acknowledged < 20 {
		t.Errorf("applied %d, acknowledged %d", n.Applied(), acknowledged)
	}
	closeNode(t, n)

	n, err := tryDisk(t, "n1", dir, cfg)
	switch {
	case errors.Is(err, storage.ErrDiskFull): // it is told at once
	case err != nil:
		t.Fatal(err)
	default:
		fails() // it can't stand for election
		closeNode(t, n)
	}

	resize(t, dir, "8m")
	n = alone(t, dir, cfg)
	if err := n.WaitApplied(t.Context(), acknowledged); err != nil {
		t.Fatal(err)
	}
	// What was not acknowledged may have reached the disk all the same; then the state moves on, at any time.
	n.Read(func(m *session.Machine) {
		if m.Applied() == acknowledged && m.Hash() != hash {
			t.Error("the state has changed")
		}
	})
	put(t, n, role("after", 10))
	if err := n.Snapshot(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestNoRoomForSnapshot: a snapshot that there is no room for leaves as much room as there was, however often it is
// tried. The library buffers the last 4 KiB, so one that is no larger than the room and these fails at its end.
func TestNoRoomForSnapshot(t *testing.T) {
	for name, size := range map[string]int{"while it is written": 60 << 10, "at its end": 6 << 10} {
		t.Run(name, func(t *testing.T) {
			dir := smallDisk(t, "1m")
			n := alone(t, dir, Config{})
			for i := 0; size > 0; i++ {
				r := role(fmt.Sprint("r", i), 0)
				r.Desc = noise(min(size, session.MaxDescription))
				put(t, n, r)
				size -= len(r.Desc)
			}
			ballast := fill(t, dir, 8<<10) // for the description, and 4 KiB more
			free := freeBlocks(t, dir)
			for range 3 {
				if err := n.Snapshot(t.Context()); err == nil || !strings.Contains(err.Error(), storage.ErrDiskFull.Message) {
					t.Errorf("a snapshot without room: %v", err)
				}
				if left := freeBlocks(t, dir); left != free {
					t.Errorf("%d blocks are free, %d were before", left, free)
				}
				if left, err := os.ReadDir(filepath.Join(dir, "snapshots")); err != nil || len(left) > 0 {
					t.Errorf("there is %v, %v", left, err)
				}
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			if err := n.Snapshot(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// noise is text that compression leaves half of.
func noise(size int) string {
	b := make([]byte, size/2)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// TestNoRoomToSeal: where there is no room for a copy of the log, what is there stays plain, with a word, and new entries
// are sealed. With room, the rest is.
func TestNoRoomToSeal(t *testing.T) {
	dir := smallDisk(t, "1m")
	n := alone(t, dir, Config{})
	for i := range 5 {
		tell(t, n, fmt.Sprint("a", i), 40)
	}
	closeNode(t, n)
	ballast := fill(t, dir, 32<<10) // for the library's small files

	out := &logBuffer{}
	ring := keytest.Ring(t, keytest.Keys(t, 1)...)
	n = alone(t, dir, Config{DataKeys: ring, Logger: out.logger()})
	put(t, n, role("after", 10))
	if s := n.Stats().AtRest; s.PlainEntries < 200 || len(s.Keys) != 1 {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(out.String(), "stays on disk as it is") {
		t.Error("nothing was said of it")
	}
	hash, applied := hashOf(n), n.Applied()
	closeNode(t, n)
	if _, err := tryDisk(t, "n1", dir, Config{}); !errors.Is(err, storage.ErrNoDataKeys) {
		t.Errorf("a mixed log without keys: %v", err)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	n = alone(t, dir, Config{DataKeys: ring})
	if err := n.WaitApplied(t.Context(), applied); err != nil || hashOf(n) != hash {
		t.Errorf("another state, %v", err)
	}
	if s := n.Stats().AtRest; s.PlainEntries != 0 {
		t.Errorf("%+v", s)
	}
	if found := findTale(t, dir); len(found) > 0 {
		t.Errorf("the tell-tale is in %v", found)
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
