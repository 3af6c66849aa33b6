// Package backup owns the file that a backup is: how it is written from a running node's state, checked, and read. It does
// not own the state (session), its encoding and sealing (consensus), who may have it (httpapi), or what is made of it
// (cluster, which restores it into a data directory).
//
// # The file
//
//	mark       20 bytes: a line that people can read, and line ends that a transfer as text would spoil
//	version    one byte
//	head       4 bytes of length, then Info as JSON: what anybody may know without a key
//	frames     4 bytes of length, then as many of the state; one of length 0 is the last
//	checksum   SHA-256 of all bytes before it
//
// Lengths are big-endian. The state is as in a snapshot: compressed, and with data keys sealed (XChaCha20-Poly1305) and
// bound to everything before the frames, so that no other head can be put before it. Frames are there because nobody knows
// the length of what is written while it is served; a file without its end is told from a damaged one by them.
//
// # What is in it
//
// Sessions by the hashes of their tokens, tombstones, users with the hashes of their passwords, roles, realms, limits: what a
// data directory holds. So there is no usable token in it, and the secrets of realms are sealed under the cluster's key,
// which is not in it. Names, addresses and attributes are in the clear unless there are data keys: Info.DataKey says so.
//
// # What it is consistent with
//
// A backup is the state at one index of the log. With level quorum everything is in it that was acknowledged before it was
// asked for; with level local, whatever the node had.
//
// # Memory
//
// The state is written as it is walked through. What a node holds beside it is the encoder's buffers, and of what changes
// meanwhile, the former version: so a reader that takes its time costs memory. Who serves a backup bounds that time
// (httpapi), and has one at a time written.
package backup
