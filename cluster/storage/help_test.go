package storage

import (
	"log/slog"
	"os"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"

	"cloakroom/cluster/keyring"
)

// opened opens a directory for who is not interested in what is said of it.
func opened(t testing.TB, dir string, keys *keyring.Ring) *Disk {
	t.Helper()
	d, err := Open(dir, keys, slog.New(slog.DiscardHandler), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// full is what the system says of a full disk.
var full = &os.PathError{Op: "write", Path: logFile, Err: syscall.ENOSPC}
