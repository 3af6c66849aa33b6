package guard

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A small file system is filled and emptied.
func TestTmpfs(t *testing.T) {
	dir := t.TempDir()
	switch err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=32m"); {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENODEV):
		// Not a failure anywhere: many containers that tests run in don't let root mount either. TestRealDisk asks a
		// real file system, too.
		t.Skipf("mounting a tmpfs needs CAP_SYS_ADMIN and a kernel with tmpfs: %v", err)
	case err != nil:
		t.Fatalf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	said := new(diary)
	d, err := OpenDisk(DiskConfig{Path: dir, Logger: slog.New(said)})
	if err != nil {
		t.Fatal(err)
	}
	d.watch.close() // the readings below are the test's
	if got, want := d.Stats(), (DiskStats{Free: 32 * mib, Total: 32 * mib, Reserve: 8 * mib}); got != want {
		t.Fatalf("empty: %+v, want %+v", got, want)
	}
	fill := filepath.Join(dir, "fill")
	for _, step := range []struct {
		size int
		low  bool
	}{{24 * mib, false}, {24*mib + 1, true}, {32 * mib, true}, {23 * mib, true}, {22 * mib, false}} {
		if err := os.WriteFile(fill, make([]byte, step.size), 0o600); err != nil {
			t.Fatal(err)
		}
		d.look()
		if d.Low() != step.low {
			t.Errorf("%d bytes written: %+v, want low %t", step.size, d.Stats(), step.low)
		}
	}
	if got := said.take(); len(got) != 2 || got[0].level != slog.LevelWarn || got[1].level != slog.LevelInfo {
		t.Errorf("said %+v, want one warning and one all-clear", got)
	}
}
