package guard

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

func freeSpace(path string) (Space, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return Space{}, fmt.Errorf("statfs %s: %w", path, err)
	}
	if stat.Blocks == 0 { // some FUSE file systems leave all of it out
		return Space{}, fmt.Errorf("statfs %s: no size: %w", path, errors.ErrUnsupported)
	}
	unit := uint64(stat.Frsize)
	return Space{Free: sizeOf(stat.Bavail, unit), Total: sizeOf(stat.Blocks, unit)}, nil
}
