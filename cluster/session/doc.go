// Package session owns the replicated state machine: sessions, users, roles, realms, the roster, the commands that
// change them, and the bytes of log entries and snapshots. It does not own time, randomness, goroutines, locks or any
// I/O beyond the reader and writer of a snapshot: whoever holds a Machine brings entries, their order, and an RWMutex.
//
// # What every node does alike
//
// Apply is a function of the machine and the entry. Two machines that applied the same entries hold the same state
// and have the same Hash, whether or not one of them went through a snapshot in between. Time in the machine is
// cluster time: the highest stamp of any entry so far. Every command, failed ones too, takes the next number of one
// sequence; sessions, users and realms carry the number of the command that last changed them as their revision, so
// two changes in one log entry have different revisions. The log index serves as mod, which tells a reader how far
// another node must have applied to show the same answer.
//
// # Sessions end for good
//
// Only Create makes a session. An ended one leaves a tombstone for TombstoneLife, and its key is refused as long as
// that stands. Ending all sessions of a user moves its end index to the current command number: sessions made before
// are over from then on, for readers and commands alike, and Sweep turns their records into tombstones later. The
// state that an end index needs beyond a user's lifetime, or for a user without a record, lives in the queue of
// sweeps; what is not in that queue has nothing left to end.
//
// # What each node does for itself
//
// The expiry wheel is derived state: it is rebuilt by Restore, moved on a little by every entry and by Due, and no
// two nodes need agree on it. What it finds takes effect only as an Expire command. LostAt is derived as well: what
// comes of it are questions to other nodes, and a restored machine asks more of them than it would have to.
//
// # Versions
//
// Nodes of different builds apply one log. So each kind of command carries a version byte of its own and keeps its
// bytes and its meaning for ever, the limits that it goes by included; what is new is a new kind, or a new version of a
// kind, and VersionOf says which nodes know it. A state without anything new is written as the older build writes it.
//
// # Memory
//
// Records are immutable and shared with readers and snapshots. The table, the wheel and the accounts behind it are
// ordinary maps and pointers; the type table is the boundary behind which a denser layout can replace them.
package session
