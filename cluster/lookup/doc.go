// Package lookup owns how fresh a read is. It does not own what is read: the caller reads the machine after the level
// that it asked for has been established.
//
// Level quorum is linearizable and trusts no clock. A round at the leader of term T goes so:
//
//  1. The leader has applied a command that it proposed itself in T (the tick of its first moment); so everything that
//     was acknowledged by leaders before it is below that command.
//  2. It notes its commit index C. Nothing that was ever acknowledged or shown by a node so far lies above C, unless a
//     later leader is in office already: a node applies only what a leader has committed, and tells its commit index
//     afterwards.
//  3. It asks the voters of the latest configuration for their term. A voter that answers T had not voted in a later
//     term when it did. If a majority, itself included, answers T, then no later leader was in office when the round
//     began: its election would have needed a voter of that majority.
//  4. The reader waits until its own machine has applied C, and reads.
//
// All lookups of a node that wait share one round, and so do all nodes' requests at the leader; a lookup never joins a
// round that has already begun. C counts command and configuration entries, both of which reach the machine: after the
// first command of T there is no noop, and nobody proposes barriers.
//
// hashicorp/raft's VerifyLeader is not used: it counts non-voters against a quorum of voters, and resolves requests
// that came after the heartbeats that it counts.
package lookup
