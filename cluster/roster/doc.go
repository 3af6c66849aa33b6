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
// Join. A node announces itself to the leader at every start. The leader adds an unknown one as non-voter, and makes
// it a voter when it announces itself again and has caught up, unless it asked to be a read replica; one that raft has
// not reached yet has applied nothing, and stays without a vote. A node that was let in once and is not in the
// configuration was removed, and is refused. An empty node with the name of a member that neither gossip nor the peer
// port finds alive replaces it: its data directory was lost.
package roster
