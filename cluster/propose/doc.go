// Package propose owns the way of a command from any node into the log and of its result back. It does not own what a
// command does (cluster/session) nor how an entry is agreed on (cluster/consensus).
//
// Every node has one Proposer. Do puts a command into the node's batch, and a batch goes to the leader in one frame of the
// peer stream; on the leader itself there is no batch. The leader's merger takes what has arrived, from all nodes, into one
// entry, which costs a cluster about as much as a command does that has one for itself. So it gathers more while an entry is
// on its way, and under load waits for them (pace): the busier the cluster, the more commands share one fsync and one round.
// A command that is alone waits for nothing. Apply gives each command its own result, and they travel back in the order of
// the batch.
//
// Outcomes. A command is sent again only when it is certain that it was not appended: the leader was never reached, or
// it refused because it is not the leader. In every other case the caller gets ErrOutcomeUnknown. A result is answered
// when the entry is applied on the leader, when it is stable, and when it is applied on this node too unless this node
// lags by more than ApplyWait.
//
// Leases. As long as any node may answer lookups from its own memory (cluster/lease), the leader asks its Office for each
// entry: before it gathers one, whether it may propose at all, so that what comes meanwhile queues and shares an entry
// afterwards; and when it is applied, to wait until it is stable, that is until no node can show what was before. This
// holds for the machine's refusals as for its results, since both show what the command met. Only commands that
// got no entry are answered at once. A result that does not become stable within StableTimeout, or before the office is
// lost, is never told: its caller gets ErrOutcomeUnknown. While results wait, further entries are proposed: how many
// can wait is bounded by the batches that nodes have on their way. Who gets a result knows that it is stable, and
// tells its own Office. The commands that the Office itself needs go around all this, by Direct.
//
// Admission. The leader asks Config.Admit about each command right before it puts it into an entry. What that refuses
// is certainly not in the log; its caller gets the error, on whatever node it is, and the rest of the batch goes on. A
// command that not every member knows (Config.Known) is refused likewise: Apply could not read it there, and the node
// would stop. It is refused by the node that it comes from already, since a leader that does not know it can't even
// read the batch.
//
// Bounds. Each queue has a fixed length; a full one refuses with wire.ErrOverloaded at once. At the leader its own callers
// may take a part of the queue only, so that there is room for other nodes.
package propose
