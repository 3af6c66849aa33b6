package propose

import "time"

const (
	// MaxCommandBytes bounds one encoded command: a session's 16 KiB of attributes, or 1,024 touches, with room.
	MaxCommandBytes = 48 << 10
	// MaxEntryBytes bounds one raft entry: hashicorp/raft caps an append by entries, not by bytes.
	MaxEntryBytes = 64 << 10
	// MaxEntryCommands bounds the commands of one entry, and so the time that Apply holds the machine's lock.
	MaxEntryCommands = 512
	// MaxEntriesInFlight is how many entries a leader proposes before the oldest is applied: full ones, or those of commands
	// that have waited for MaxHold.
	MaxEntriesInFlight = 8
	// FreeEntries is how many entries may be on their way for the next to wait for none of them, as long as they have less
	// than Few commands.
	FreeEntries = 4
	// Few is how many commands an entry must have for the next to wait until it is applied: some 2,000 a second.
	Few = 8
	// MaxHold is how long a command waits for others to share its entry: what a round takes in one place under load, with
	// room.
	MaxHold = 10 * time.Millisecond
	// Crowd is how many commands an entry must have for the next to wait until it has as many: some 10,000 a second.
	Crowd = 32
	// calmEntries is how many entries ask for no more commands than the last had, after one asked in vain.
	calmEntries = 16
	// smoothing is the part of the newest that is not in the smoothed time of a round, as 1/smoothing.
	smoothing = 8
	// MaxBatchesInFlight is how many batches a node has on their way to the leader.
	MaxBatchesInFlight = 4
	// maxCallRoom is how many bytes of a command's encoding are kept for the next one.
	maxCallRoom = 4 << 10
	// MaxQueue bounds the commands that wait in a node's batch, and of a leader's own callers for an entry, some 50 ms of a
	// busy node. A full queue refuses.
	MaxQueue = 4096
	// MaxMergeQueue bounds the commands that wait at the leader for all nodes together. A full queue refuses.
	MaxMergeQueue = 16384
	// LeaderWait is how long a command waits for a leader to be known before wire.ErrNoLeader: an election with room.
	LeaderWait = 3 * time.Second
	// FirstPause is the pause before a leader is tried again if nothing is heard of a new one: one that was just elected
	// may not know it yet. It doubles with each attempt, up to RetryPause.
	FirstPause = time.Millisecond
	// RetryPause is the longest pause before a leader is tried again.
	RetryPause = 20 * time.Millisecond
	// BatchTimeout bounds the wait for a leader's answer to a batch. Callers give up earlier, by their contexts.
	BatchTimeout = 10 * time.Second
	// StableTimeout bounds the leader's wait until a result may be told, since the entry was applied. A member that has died
	// holds it up until its lease has run out, for 8 s at the longest lease that may be set (cluster.MaxLease); for a
	// quarter longer if it had stopped to apply before, which callers hardly wait for. Longer than that lease with room,
	// shorter than BatchTimeout.
	StableTimeout = 9 * time.Second
	// ApplyWait bounds the wait for this node to have applied what the leader has: read-your-writes at level local.
	ApplyWait = 250 * time.Millisecond
)
