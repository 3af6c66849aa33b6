// Package cluster is the façade of a node's part in the cluster: commands, lookups, members, statistics. It does not
// own any of them: it wires the packages below it and adds nothing but the order in which they start and stop.
//
//	propose    brings commands into the log
//	lookup     establishes how fresh a read is, and takes part in the read leases (lease)
//	idle       cluster time, last uses, expiry
//	roster     bootstrap, join, leave
//	consensus  raft and the machine
//	gossip     who is there
//	wire       the port between nodes
//	backup     the file that a backup is
//
// # Versions
//
// A program of one version works with those of the version before it, in one cluster and on their data. A version is that
// of the log's commands (session.MaxVersion), which every node announces to all others; the previous version is everything
// that its programs write, and what they can read of what they are sent:
//
//	entries, commands, snapshots      session/testdata/frozen, golden; what each does, too
//	the data directory                testdata/previous, consensus/testdata, roster/testdata/golden/bootstrap-v1.json
//	the journal, sealed files         consensus/testdata
//	a backup                          backup/testdata
//	hello and frames of the stream    wire/testdata/golden; raft's own messages are the library's
//	requests and their answers        testdata/golden of each package: see TestRequestsAreFrozen
//	what gossip says of a node        gossip/testdata; failed logins, tries/testdata/golden
//
// Commands and snapshots change by what all members know: nobody writes what one of them could not read. Everything else
// has stayed as version 1 brought it. A request that came later is answered with wire.ErrUnknownRequest by who does not
// know it, and its caller does without. The hello is read by all versions: elements may be added at its end, which older ones
// pass over, and so may fields of the roster's messages. What gossip says of a node has one form, so another one is spoken
// only when all know it.
//
// Whoever adds a version, raises session.MaxVersion, freezes its log and snapshot, and puts what nodes of the version
// before leave into testdata/previous, written by their own program (see newMixed in the tests).
//
// # Beginning anew with a former state
//
// A backup is restored (Founding.Restore) into an empty data directory, before its node's first start, and not into a
// cluster that runs. That one has promises out: revisions that clients hold, read leases, a stable index, waiters for an applied
// index, entries in journals, and the word that a logout is final. To put another state under them, each would have to be
// taken back everywhere at once, and one command too many would wipe a cluster that is well. An empty directory has promised
// nothing. It is given one snapshot, with this node as the only member, and no log: the node starts as after any other
// snapshot of its own, its applied index begins there, its journal is empty, no boot holds a lease, and as it has state it never
// bootstraps. The others join empty, and get the state as any new node does.
//
// A recovery (Founding.Recover) is the same with the state of a node's own log, when a majority is lost.
package cluster
