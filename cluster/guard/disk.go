package guard

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/bits"
	"sync/atomic"
)

// Space is the size of a file system, in bytes.
type Space struct {
	Free  int64 // for a program without privileges
	Total int64
}

// DiskConfig is what a Disk needs.
type DiskConfig struct {
	Path    string // the data directory; "": nothing is kept on disk, and it is never low
	Reserve int64  // bytes that are to stay free; 0: DefaultReserve; below 0: none
	Logger  *slog.Logger
	Probe   func(path string) (Space, error) // for tests; nil: what the file system says
}

// DiskStats is what a Disk knows. Sizes are in bytes; all are zero where nothing is known.
type DiskStats struct {
	Free    int64
	Total   int64
	Reserve int64
	Low     bool
}

// Disk watches the free bytes of a file system.
type Disk struct {
	path   string
	wanted int64 // Config.Reserve
	probe  func(path string) (Space, error)
	logger *slog.Logger
	watch  *watch

	low                  atomic.Bool
	free, total, reserve atomic.Int64
	blind                bool // the last reading failed; look's alone
}

// DefaultReserve is the reserve of a file system of so many bytes: a twentieth of it, but no more than MaxReserve, nor
// less than MinReserve unless that were more than a quarter.
func DefaultReserve(total int64) int64 {
	return min(MaxReserve, max(total/reserveShare, min(MinReserve, total/smallShare)))
}

// OpenDisk takes a first reading, so that the state is right from the start, and goes on taking them.
func OpenDisk(cfg DiskConfig) (*Disk, error) {
	d := &Disk{path: cfg.Path, wanted: cfg.Reserve, probe: cfg.Probe, logger: cfg.Logger, watch: newWatch()}
	if d.path == "" {
		return d, nil
	}
	if d.probe == nil {
		d.probe = freeSpace
	}
	switch space, err := d.probe(d.path); {
	case errors.Is(err, errors.ErrUnsupported):
		d.logger.Warn("the file system of the data directory does not say how full it is: keep an eye on it", "path", d.path, "error", err)
		return d, nil
	case err != nil:
		return nil, fmt.Errorf("read free space: %w", err)
	default:
		d.judge(space)
	}
	d.watch.start(d.look)
	return d, nil
}

// Close stops and waits.
func (d *Disk) Close() { d.watch.close() }

// Low reports whether less than the reserve is free. It takes no lock.
func (d *Disk) Low() bool { return d.low.Load() }

// Stats returns the latest reading.
func (d *Disk) Stats() DiskStats {
	return DiskStats{Free: d.free.Load(), Total: d.total.Load(), Reserve: d.reserve.Load(), Low: d.low.Load()}
}

// look takes a reading. Without one the state stays as it is.
func (d *Disk) look() {
	space, err := d.probe(d.path)
	switch {
	case err != nil && !d.blind:
		d.logger.Warn("free disk space is not known any more", "path", d.path, "disk_low", d.Low(), "error", err)
	case err == nil && d.blind:
		d.logger.Info("free disk space is known again", "path", d.path, "free_bytes", space.Free)
	}
	if d.blind = err != nil; !d.blind {
		d.judge(space)
	}
}

func (d *Disk) judge(space Space) {
	reserve := d.wanted
	if reserve == 0 {
		reserve = DefaultReserve(space.Total) // each time: file systems can be enlarged
	}
	d.free.Store(space.Free)
	d.total.Store(space.Total)
	d.reserve.Store(max(reserve, 0))
	switch low := d.Low(); {
	case !low && space.Free < reserve:
		d.low.Store(true)
		d.logger.Warn("the disk is nearly full: free space on it, or nothing new can be stored",
			"path", d.path, "free_bytes", space.Free, "reserve_bytes", reserve, "total_bytes", space.Total)
	case low && space.Free-reserve >= reserve/releaseDisk: // in this form it can't overflow
		d.low.Store(false)
		d.logger.Info("the disk has room again", "path", d.path, "free_bytes", space.Free, "reserve_bytes", reserve, "total_bytes", space.Total)
	}
}

// sizeOf is the product, or the largest number: some network file systems claim to be endless.
func sizeOf(blocks, unit uint64) int64 {
	high, low := bits.Mul64(blocks, unit)
	if high != 0 || low > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(low)
}
