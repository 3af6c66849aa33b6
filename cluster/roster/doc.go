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
//     A proposer that was refused gives way: it notes that it will never complete this attempt, asks all servers of
//     its proposal to release their promise, and drops its own only when all of them have. A release is remembered with its attempt number, so that a promise request
//     that was under way meanwhile is refused. When gossip has told all nodes the same, only one proposes.
//   - The proposer dies after the promises: whether it has bootstrapped is not known. Another promiser asks all servers
//     but the dead one to lock the promise; a locked one is never released. When all have locked it, it bootstraps
//     the identical configuration, which is harmless if the proposer has done it before, and excludes that the
//     proposer ever gives way and promises something else.
//   - A node that promised and is lost for good, with its disk, before the bootstrap: the others wait for it. Nothing
//     has been stored yet: empty the data directories of the nodes that wait and start them again.
//
// More empty nodes than expected: the lowest ids form the cluster, and the others join it.
//
// Join. A node announces itself to the leader at every start. The leader adds an unknown one as non-voter, and makes
// it a voter when it announces itself again and has caught up, unless it asked to be a read replica. A node that has
// state and is not in the configuration was removed, and is refused. An empty node with the name of a member that is
// not alive replaces it: its data directory was lost.
package roster
