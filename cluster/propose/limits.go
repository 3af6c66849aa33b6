package propose

import "time"

const (
	// MaxCommandBytes bounds one encoded command: a session's 16 KiB of attributes, or 1,024 touches, with room.
	MaxCommandBytes = 48 << 10
	// MaxEntryBytes bounds one raft entry: hashicorp/raft caps an append by entries, not by bytes.
	MaxEntryBytes = 64 << 10
	// MaxEntryCommands bounds the commands of one entry, and so the time that Apply holds the machine's lock.
	MaxEntryCommands = 512
	// MaxEntriesInFlight is how many entries a leader proposes before the oldest is applied. More do not help: raft
	// appends what waits in one go.
	MaxEntriesInFlight = 8
	// MaxBatchesInFlight is how many batches a node has on their way to the leader.
	MaxBatchesInFlight = 4
	// MaxQueue bounds the commands that wait in a node's batch, some 50 ms of a busy node. A full queue refuses.
	MaxQueue = 4096
	// MaxMergeQueue bounds the commands that wait at the leader for all nodes together. A full queue refuses.
	MaxMergeQueue = 16384
	// LeaderWait is how long a command waits for a leader to be known before wire.ErrNoLeader: an election with room.
	LeaderWait = 3 * time.Second
	// RetryPause is the pause before a leader is looked for again.
	RetryPause = 20 * time.Millisecond
	// BatchTimeout bounds the wait for a leader's answer to a batch. Callers give up earlier, by their contexts.
	BatchTimeout = 10 * time.Second
	// ApplyWait bounds the wait for this node to have applied what the leader has: read-your-writes at level local.
	ApplyWait = 250 * time.Millisecond
)
