// Package roster owns who belongs to the cluster: bootstrap, join, leave, and where each node is reached. It does not
// own failure detection (cluster/gossip) nor raft's configuration (cluster/consensus), which it changes.
//
// Addresses. In raft's configuration a server's address is its node id, a UUID kept in its data directory. Where that
// id is reached at the moment is looked up when a connection is dialled: in gossip, else in the roster of the machine,
// else in the configuration of the bootstrap. So a node may come back with another address, and so may all of them at
// once. The peer port checks that the node reached is the one that was meant.
//
// Bootstrap, exactly once. A node that sees any peer with state only joins. When the expected number of empty voters
// have been visible for StableFor, the one with the lowest id makes a proposal of the lowest ids: an attempt number
// and the sorted servers. It asks all of them for a promise. Each keeps one promise, on disk before it answers, and
// refuses any other. When all have promised, the proposer bootstraps raft with exactly these servers.
//
//   - Two proposals that share a node: at most one of them gets that node's promise, so at most one is bootstrapped.
//     A proposer that was refused gives way: it notes that it will never complete this attempt, asks the servers of
//     its proposal to release their promise, and drops its own when one of them has. A release is remembered with its
//     attempt number, so that a request for the promise that was under way meanwhile is refused. Who was out of reach
//     then asks the proposer later, or takes its next attempt for the release of this one. When gossip has told all
//     nodes the same, only one proposes.
//   - The proposer dies after the promises: whether it has bootstrapped is not known. Another promiser asks all servers
//     but the dead one to lock the promise; a locked one is not released to the proposer. When all have locked it, it
//     bootstraps the identical configuration, which is harmless if the proposer has done it before. If one of them has
//     released its promise, nobody can get all locks any more, and the locked ones are given up.
//   - A node that was seen and is lost for good, with its disk, before the bootstrap: the proposer gives way, and the
//     next proposal is made without it. Only if the proposer itself is lost for good before all have locked its
//     proposal, and one of the others with it, do the rest wait for ever. Nothing has been stored then: empty their
//     data directories and start them again.
//   - A crash in the middle of the bootstrap: the record says that it was decided, and the next start completes it.
//
// More empty nodes than expected: the lowest ids form the cluster, and the others join it.
//
// Join. A node announces itself to the leader at every start. The leader adds an unknown one as non-voter; the vote comes
// later. A node that was let in once and is not in the configuration was removed, and is refused. A node whose program
// knows less than that of every member is refused, too: the log may hold what it can't read. An empty node with the name
// of a member that neither gossip nor the peer port finds alive replaces it: its data directory was lost.
//
// Care of the members. The leader asks each member how it is every HealthInterval, and then takes at most one step, which
// view.next decides on; that function is the whole rule set. A member that is to vote gets its vote when every answer
// for StabilizeFor said that it keeps up. It is to vote unless it asked to be a read replica; what an operator has
// decided, its pin, goes before that. A member that neither gossip nor the peer port has found for RemoveAfter is
// removed: a voter only while a majority of the voters answers, and if MinVoters are left. Gossip counts as dead who
// has failed and who has left: a node that was stopped in order stays a member for as long as one that crashed. Each
// leader begins to count anew, and so does a member that was seen but once in between.
//
// A node that was removed while it was away, in a half that was cut off say, learns it when gossip has found the others
// again, which takes a minute at most: it announces itself to one after the other, since those next to it may have been
// removed as well, and gets ErrRemoved from the leader. It may join again under a new id. One that was away for less than
// RemoveAfter is simply back. An ephemeral node that died never comes back under its id, and could be removed at once;
// but the roster does not say who is ephemeral, so it stays for RemoveAfter as well, unless its successor has its name.
//
// Operators. Promote, Demote, Remove and Transfer can be asked for at any node and are carried out by the leader, one
// change at a time. It refuses what would leave fewer live voters than a majority of the new configuration, and hands
// over first when it is to go itself. A pin is written before the vote is given or taken, so that the next leader
// completes what this one began. A node that is removed while it runs is told so after the removal has been committed:
// it notes it on disk and stops, and does not join again by itself. One that is away then does not hear it, and comes
// back as a new node if it is ever started on its old data.
//
// Why not raft-autopilot (v0.3.0). What is hard about this it leaves to its user: who is there, how they are, how one is
// taken out. What it would give is the rule set, which is the thirty lines of view.next here, and its rules are not ours.
// A server that it is not told of is removed, while our entries are written after the server was added, and may be
// missing for a while. It has no delay of its own: a server said to have failed goes in its next round; here a dead one
// has its time, and two witnesses. It knows no pins and no operators, who would have to be kept apart from it: it changes
// the configuration from goroutines of its own, past the lock that keeps joins, removals and hand-overs apart. And by
// default it settles votes every ten seconds; a fresh cluster should have its voters within three.
package roster
