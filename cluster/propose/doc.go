// Package propose owns the way of a command from any node into the log and of its result back. It does not own what a
// command does (cluster/session) nor how an entry is agreed on (cluster/consensus).
//
// Every node has one Proposer. Do puts a command into the node's batch; a batch goes to the leader in one frame of the
// peer stream. The leader's merger takes whatever has arrived, from all nodes, into one entry while earlier entries are
// in flight; so the busier the cluster, the more commands share one fsync and one round. Apply gives each command its
// own result, and they travel back in the order of the batch.
//
// Outcomes. A command is sent again only when it is certain that it was not appended: the leader was never reached, or
// it refused because it is not the leader. In every other case the caller gets ErrOutcomeUnknown. A result is answered
// when the entry is applied on the leader, and on this node too unless this node lags by more than ApplyWait.
//
// Admission. The leader asks Config.Admit about each command right before it puts it into an entry. What that refuses
// is certainly not in the log; its caller gets the error, on whatever node it is, and the rest of the batch goes on. A
// command that not every member knows (Config.Known) is refused likewise: Apply could not read it there, and the node
// would stop. It is refused by the node that it comes from already, since a leader that does not know it can't even
// read the batch.
//
// Bounds. Each queue has a fixed length; a full one refuses with wire.ErrOverloaded at once.
package propose
