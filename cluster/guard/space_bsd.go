//go:build darwin || freebsd || dragonfly

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
	if stat.Blocks == 0 {
		return Space{}, fmt.Errorf("statfs %s: no size: %w", path, errors.ErrUnsupported)
	}
	free := max(int64(stat.Bavail), 0) // below zero when the superuser's share is in use
	unit := uint64(stat.Bsize)
	return Space{Free: sizeOf(uint64(free), unit), Total: sizeOf(stat.Blocks, unit)}, nil
}
