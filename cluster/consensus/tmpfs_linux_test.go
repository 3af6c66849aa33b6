package consensus

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"
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
			if !errors.Is(err, ErrDiskFull) {
				t.Errorf("the node says %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("the node goes on")
		}
	}
	n := alone(t, dir, cfg)
	acknowledged := uint64(0)
	for i := range 10_000 {
		index, _, err := n.Propose(t.Context(), encode(t, role(fmt.Sprintf("r%d", i), 1000))).Wait(t.Context())
		if err != nil {
			break
		}
		acknowledged = index
	}
	fails()
	hash := hashOf(n)
	if n.Applied() != acknowledged || acknowledged < 20 {
		t.Errorf("applied %d, acknowledged %d", n.Applied(), acknowledged)
	}
	closeNode(t, n)

	n, err := tryDisk(t, "n1", dir, cfg)
	switch {
	case errors.Is(err, ErrDiskFull): // it is told at once
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
	// What was not acknowledged may have reached the disk all the same; then the state has moved on.
	if n.Applied() == acknowledged && hashOf(n) != hash {
		t.Error("the state has changed")
	}
	put(t, n, role("after", 10))
	if err := n.Snapshot(t.Context()); err != nil {
		t.Error(err)
	}
}
