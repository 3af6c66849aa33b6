package storage

import "time"

const (
	lockTimeout     = time.Second            // for the lock of the data directory
	slowWrite       = 250 * time.Millisecond // half of the default heartbeat: no disk that is well takes so long
	slowTold        = time.Minute            // between two lines of the log about slow writes
	retainSnapshots = 2                      // on disk
	logCacheSize    = 512                    // entries in memory: those of two requests between members, see cluster/consensus
	entryOverhead   = 64                     // bytes that an entry takes in the log beside its data, about
)

// The journal before the log's database.
const (
	// journalBytes is the size of a file from which on the other one is written. Entries are moved into the database by
	// so many at once, which is what makes that cheap; they are in memory as long, and are read at the start after a crash.
	journalBytes   = 4 << 20
	journalEntries = 8192      // entries in memory, likewise
	maxJournalRoom = 1 << 20   // bytes of the buffer for a record that are kept
	moveBytes      = 512 << 10 // bytes of entries moved in one transaction: votes wait for it
	moveEntries    = 1024      // entries, likewise
)

// Encryption of what is on disk.
const (
	chunkSize     = 256 << 10 // bytes of a snapshot that are sealed at once, and held in memory
	resealBytes   = 1 << 20   // bytes of entries sealed anew in one transaction: appends wait for it
	resealEntries = 1024      // entries, likewise
)

// Nobody but the owner may look at what is in the data directory.
const (
	dirMode  = 0o700
	fileMode = 0o600
)
