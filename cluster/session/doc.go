// Package session owns the replicated state machine: sessions, users, roles, realms, the roster, the commands that
// change them, and the bytes of log entries and snapshots. It does not own time, randomness, locks or any I/O beyond the
// reader and writer of a snapshot: whoever holds a Machine brings entries, their order, and an RWMutex. The only goroutines
// are those of Restore, which end before it returns.
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
// Only Create makes a session. An ended one leaves a tombstone for TombstoneLife, or WhyLife, and its key is refused as
// long as that stands. Ending all sessions of a user moves its end index to the current command number: sessions made
// before are over from then on, for readers and commands alike, and Sweep turns their records into tombstones later. EndAll
// does the same with an end index of each realm. Of several that a session falls under, the first has ended it. The
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
// The table is made for ten million sessions. What there is of each lies in slabs, memory from the system that the
// collector neither scans nor counts:
//
//	row    128 bytes, two cache lines: key, numbers, times, the number of its account, and its places in the
//	       wheel and in the account's list, which are numbers of other rows. It never moves
//	blob   address, user agent and attributes, encoded as in a snapshot, in a block of its size's class
//	index  65,536 hash tables by the key's first bytes, of slots with a tag and the number of a row, or of a
//	       tombstone, in blocks as well; and 4,096 by the hash of a user name, of accounts
//
// On the collector's heap are accounts, one for each user who has sessions or a record; lists of fixed roles, each once;
// users, roles, realms and tombstones. For seven short fields and ten sessions a user that is some 128 + 72 + 12 bytes, and
// the tenth of an account's 155. So a session that is the only one of its user takes some 140 more.
// Measured, as memory of the process: 243 bytes a session of a million, 231 of ten million after a restart.
//
// Blocks of one size lie together in spans of 64 KiB or more, and what is left empty of one size serves another: the index,
// which moves as it grows, leaves nothing behind. New rows and spans are taken from the front. A chunk of 4 MiB that has become empty
// goes back to the system. So when all of a million sessions have ended, the rows go at once; of the rest, the index of their
// tombstones holds on to most chunks until these are forgotten. Then 36 MB of the 246 are left: room for accounts, which is
// never given back, and the collector's own.
//
// A lookup reads the slot, the row, and the account with its user: one after the other, as each says where the next is. All
// three are in huge pages, where a miss costs little more than half of what it does elsewhere. It allocates nothing. A View and a Session hold no pointer into a slab. What is text in a View is the account's, the
// realm's or the roles' own, on the collector's heap, which never changes and is kept by whoever holds it; what is in a blob
// is copied by the methods that return a Session.
//
// So a reader can see neither torn nor reused memory. Slabs are written by Apply, Due and Restore only. The owner's lock
// keeps these from running beside any reader, and no address leaves a reader: not by its result, and a ref, which has one,
// is not exported. Rows and blocks are reused at once, by whoever comes next with the same lock. Memory goes back to the system when
// the machine is garbage, and as a pointer into a slab does not count for the collector, each exported method that follows one
// keeps the machine alive until it returns.
//
// # Snapshots
//
// A snapshot stops nobody. Snapshot notes the table's epoch, and that its walk is to come; WriteTo then goes through the
// index shard by shard, under the owner's read lock for some sessions at a time, and writes to its file without it. Each row
// carries the epoch in which it was last written. Whoever changes or ends a session of an older epoch than a walk's, in a
// shard that the walk has not come to, leaves its encoding with the walk first; whoever makes one gives it the present epoch. So the
// walk finds of each shard: rows of an older epoch, which are as they were, and what was left for it; newer rows are none of
// its business. Sorted by key, that is the shard as it was. Users are in maps that are copied shard by shard when they are first changed
// after a snapshot; everything else is small, or a queue whose elements never change.
//
// # Restoring
//
// Three goroutines take a snapshot in: one reads, decompresses and sums up, one decodes, and one, the caller's, puts the
// sessions into the table. That one's work is mostly waiting for memory, so it goes through some hundred sessions in several short
// loops, of which each has the processor wait for many at a time. As the keys come in order, a shard of the index is made
// when all that is in it is there. Sessions of one user come in no order; the lists are sorted at the end, on all processors.
//
// # Why this table
//
// Other tables were tried with records of 200 bytes, three million of them, and random keys on a busy machine. As ratios to
// this table's index with the same slab (memory; processor time of a lookup; of a full collection):
//
//	built-in maps of pointers, sharded      1.2   1.8   220
//	xsync's map of pointers                 1.2   2.8   140
//	built-in maps of numbers, and the slab  1.05  2.3   0.3
//	the same, slab on the collector's heap  1.05  2.8   0.3
//	cockroachdb/swiss, and the slab         1.05  1.6   0.3
//
// What is scanned decides about the collector, and huge pages about lookups. A slab on the collector's heap counts there: it
// lets the heap grow by as much again before the next collection. With an index of its own the table knows its
// shards, so that walks and pages need no copy of the keys, and a tombstone takes the slot of its session.
//
// Against maps of pointers to records with strings, as this package had before: a third of the memory, less than a hundredth
// of the collector's work, half of the processor time to write a snapshot, a quarter to restore one. A lookup takes
// about twice the processor time: it reads and copies what it returns, where a pointer to a record left that to the caller. What
// the two cost together with their callers was not measured.
package session
