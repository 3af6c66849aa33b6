package storage

import "github.com/hashicorp/raft"

// Stores keep a node's log, vote and snapshots. Tests hand the same Stores to a node and to its successor, as if they
// were a disk.
type Stores struct {
	Log       raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
}

// NewMemoryStores returns empty stores in memory.
func NewMemoryStores() *Stores {
	store := raft.NewInmemStore()
	return &Stores{Log: store, Stable: store, Snapshots: &memorySnapshots{}}
}

// NotFound reports whether an error of a stable store says that there is no such key. The library compares the words too.
func NotFound(err error) bool { return err != nil && err.Error() == "not found" }

// EntrySize returns how many bytes an entry takes in the log, about.
func EntrySize(log *raft.Log) int64 { return int64(len(log.Data)) + entryOverhead }
