package storage

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// datasync returns when what was written to a file is on the disk, and its size if that has changed: not its times, which
// would cost a second write.
func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
