package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile is in the data directory, and stays there.
const lockFile = "lock"

// dirLock keeps a second node out of a data directory. The system lets go of it when the process ends, however it
// ends, so a lock that is left over never needs to be removed by hand.
type dirLock struct{ file *os.File }

// lockDir makes the data directory, if there is none, and locks it. Its errors are *FlagError.
func lockDir(dir string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, flagErrorf("data-dir", "%v", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, flagErrorf("data-dir", "%v", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close() // nothing was written
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, flagErrorf("data-dir", "%s is in use by another node", dir)
		}
		return nil, flagErrorf("data-dir", "lock %s: %v", dir, err)
	}
	return &dirLock{file}, nil
}

// Close lets the next node in.
func (l *dirLock) Close() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("unlock the data directory: %w", err)
	}
	return nil
}

// listenControl makes the control socket of a data directory that the caller has locked: whatever socket is there
// belongs to a node that is gone. Only the user who runs the node may open it, from its first moment on, since who
// opens it is an admin. Not for use from several goroutines: the umask belongs to the whole process.
func listenControl(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, flagErrorf("data-dir", "remove the old control socket: %v", err)
	}
	before := syscall.Umask(0o177)
	ln, err := net.Listen("unix", path)
	syscall.Umask(before)
	if err != nil {
		return nil, flagErrorf("data-dir", "make the control socket: %v", err)
	}
	return ln, nil
}

// listenTCP listens for one of the flags.
func listenTCP(flag, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, listenError(flag, addr, err)
	}
	return ln, nil
}

// listenError names the flag. It is wrong use only where no time will help: a port that is in use becomes free, and a machine
// may get an address, or the names of its network, later than this program is started.
func listenError(flag, addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("--%s: the port of %s is in use", flag, addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("--%s: %s is not an address of this machine", flag, addr)
	case errors.Is(err, os.ErrPermission):
		return flagErrorf(flag, "this user may not listen on %s", addr)
	}
	return fmt.Errorf("--%s: listen on %s: %w", flag, addr, err)
}
