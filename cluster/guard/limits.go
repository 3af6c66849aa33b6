package guard

import "time"

// CheckInterval is how often a level is read. One reading costs microseconds.
const CheckInterval = time.Second

// The default reserve of a disk: see DefaultReserve.
const (
	// MaxReserve is the log that is written until a snapshot shortens it (consensus.DefaultSnapshotBytes). Touches
	// and ends alone take half an hour for it at their highest rate. A node whose snapshots are larger than this is
	// to be given a larger reserve.
	MaxReserve = 256 << 20 // bytes
	// MinReserve is more than a busy leader logs between two checks.
	MinReserve = 16 << 20 // bytes
	// reserveShare is the part of a file system that is reserved, between these two: 5 %.
	reserveShare = 20
	// smallShare is the part of a small file system that is reserved at most: a quarter.
	smallShare = 4
)

// Hysteresis: how far beyond its limit a level must be before the state is left.
const (
	releaseDisk   = 4  // a quarter of the reserve: snapshots make free space swing by what they replace
	releaseMemory = 10 // a tenth of the limit
)

// heapShare is the part of the memory, in percent, that the heap may fill when it is at its fullest. The rest is for
// what the runtime does not count, above all the pages of the log that are mapped, and for a start: a node that
// restores a snapshot holds more than the state for a while.
const heapShare = 80
