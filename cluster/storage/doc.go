// Package storage owns what lies in a node's data directory: the log, the votes and the snapshots of hashicorp/raft, in
// which files and formats they are, what they are sealed under, and the watch over how long the disk takes for them. It
// does not own what is stored when, or what follows from a write that fails (consensus), the keys (keyring), nor what
// room is left (guard).
//
// A Disk is the three stores as raft's side sees them. Below the log, from above: a cache, the vault, which seals and
// opens entries (vault.go), the journal, which makes appends quick (journal.go), and a bbolt database (bolt.go), which
// holds the votes too and whose lock keeps other processes away. Below the snapshots: what seals and opens their streams
// (sealsnap.go), and files or memory (disksnap.go, memsnap.go).
//
// # Writes
//
// Entries go to a journal, one write and one sync for as many as wait, and from there into the log's database in the
// background. After a stop the database holds all of the log; after a crash only together with the journal, so a program
// from before there was one must not be started then.
//
// # At rest
//
// With data keys, the data of log entries and the whole of snapshots are encrypted on disk (XChaCha20-Poly1305), each
// bound to its place. Open without the key that something is sealed under, or with another, fails, names the key and
// changes nothing. In the clear stay: index, term, type and size of entries, term and vote, and the descriptions of
// snapshots with the ids and addresses of the members (bound to the snapshot, so that a change is noticed). Between
// members entries and snapshots travel inside the connection's encryption, and each member has keys of its own.
//
// Keys that are given to a node with plain data are not too late, but not as good as from the start. The log's database
// is copied at Open, because it keeps what was replaced in its free pages; the blocks of the old file, and of the plain
// snapshots that Reseal removes, lie on the disk until the system uses them again, and in backups and the file system's
// own snapshots for ever. Whoever may write to the directory can put plain data of their own there; encryption is
// against those who read it, and against damage.
//
// Rotation: a new first key by ReplaceKeys, or when it is opened anew; Reseal; and when AtRest names the old key no more, it
// may go.
package storage
