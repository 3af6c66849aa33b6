//go:build !faults

package storage

// delayDisk comes before each write to the disk that the node can't go on without. Builds tagged faults can be told to
// make it slow.
func delayDisk() {}
