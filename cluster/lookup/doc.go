// Package lookup owns how fresh a read is: what each level promises, and this node's running part in the lease protocol.
// It does not own what is read, for the caller reads the table between Begin and Confirm; nor the rules of the protocol,
// which are cluster/lease's, and whose argument is there.
//
// # Levels
//
// Local promises nothing: whatever this node has applied, at once.
//
// Lease is linearizable. A node that holds a lease answers from its memory: every write that was acknowledged to anybody
// is applied here, and of what is applied here only what is stable is shown, that is, what every node with a lease has
// applied. It rests on the rates of clocks, and on clocks that don't stand still. A node without a lease, because it is
// behind, has just come up, or has given it back, asks the leader for an index, once for all lookups that wait; it waits
// until its table has reached the index, and reads there. The leader answers from its own lease, or by a round as for
// quorum while it has none: in a hand-over, or when its commands have not been committed lately.
//
// Quorum is linearizable and trusts no clock but for this: what is shown must be stable too, so that a lookup by lease on
// another node can't show less afterwards. A round at the leader of term T goes so:
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
//
// # Begin, read, Confirm
//
// Begin loads the lease, reads the clock, and looks how far the table is, in this order and after the request has come in.
// Then the caller reads its records. Confirm looks whether the boot is still that of the lease: a new one begins before a
// restore touches the table, and before anybody hears that the lease was given back. A lease that has run out meanwhile,
// or a node that was stopped for an hour between Begin and Confirm, does no harm: the table has only gone on from where it
// was when the lease did hold. Last, Confirm compares the latest change of what was read with the stable index; if it is
// not stable yet, it waits for that. The old value is never shown instead. The records need not be read again when it has
// become stable: the lookup's point in time is when that happened.
//
// Without a lease there is no boot to compare. A restore in between does not take anything back, since cluster/consensus
// refuses a snapshot that is older than the table; so who has waited for an index once has it for good. But the table of
// a snapshot may not know when its keys have changed, so that all of them count as changed at its index, the floor. The
// table is replaced before the floor is known; therefore Begin waits while a restore is under way, and Confirm has the
// record read again when one has begun since.
//
// A leader is asked by others how long ago a node can have answered something (Served). So an index that was asked for
// is good for one lease duration, less what clocks may differ by; a Confirm that comes later asks again first.
//
// # The runner
//
// The machine of cluster/lease is stepped under one mutex, and the clock is read under it right before. What a step has
// changed is published before the mutex is left and before anybody is told: the lease in an atomic pointer, the stable
// index in a mark, the office on a channel. Then the messages go out, see post; a report is a call, and the grant its
// answer. Nothing here waits for a message, and no hook of the log waits for anything but the mutex.
//
// Reader.Open makes the machine. What happened before counts as the start of the process, after which a new leader waits
// longest, so no event is missed as long as the hooks lead here by then.
//
// # Clocks that stand still
//
// The guard compares the advance of the wall clock with that of the monotonic clock. If they differ by more than the
// margin, this machine may have stood still, and its monotonic clock is behind that of others. At a member, the lease may
// have run out for all but itself: it is given back before the lookup, or the step, that has found out goes on. At a
// leader, one by one:
//
//   - Leases on record end on its clock: later than they need to. Writes may wait longer, no more.
//   - The time that it waits as a new leader ends later, likewise.
//   - Its own lease ends on its clock: it is given back.
//   - Grants are counted from its anchor, a moment before the halt, up to a now that is too early: they would last longer
//     than a next leader waits. So the anchor is void, and no command that was proposed before the jump was found makes one
//     (the machine sees to both; a later office begins with a tick of its own). The leader proposes a tick and goes on from
//     there. What it has granted before the halt ends in time on
//     the clocks of others, and what it would grant after it is granted by a step, which compares first.
//   - A jump between the reading of the clock and the proposal makes the anchor older than it was, which is harmless; one
//     between the proposal and its application is found by the step that takes the application.
//
// Clocks that are set, by administrators or by NTP, cost a lease for a round trip. A slew does not; but it changes the
// rate of the monotonic clock too, so a time service must not be allowed to slew by more than the rates may differ by.
package lookup
