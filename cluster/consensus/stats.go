package consensus

import (
	"time"

	"cloakroom/cluster/histogram"
	"cloakroom/cluster/storage"
)

// Stats is what a node counts and knows about itself. Counters begin at its start.
type Stats struct {
	Term          uint64
	LastLogIndex  uint64
	CommitIndex   uint64
	Applied       uint64
	SnapshotIndex uint64 // of the newest snapshot
	LogBytes      int64  // beyond the last snapshot
	State         string // "Follower", "Candidate", "Leader", "Shutdown"
	LeaderID      string
	LeaderAddr    string
	// LastContact is how long ago this node heard from a leader: 0 on the leader itself, -1 if it never did.
	LastContact time.Duration

	Elections  uint64 // leaders that this node has seen come
	Snapshots  uint64 // taken of its own state
	Restores   uint64 // of its machine from a snapshot, that of its start included
	Heartbeats uint64 // sent: those that nothing else has made needless
	Pending    int    // proposals and changes whose outcome is to come

	Store  StoreStats
	Commit histogram.Counts // of proposals as leader, until this node's machine has applied them
	Apply  histogram.Counts // of entries to this node's machine, without what they waited for the disk
	Nudges NudgeStats
	AtRest storage.AtRestStats
}

// StoreStats counts writes to the log; each ends with the entries on the disk.
type StoreStats struct {
	Writes  uint64
	Entries uint64
	Bytes   uint64
	Took    histogram.Counts
	Longest time.Duration
}

// NudgeStats counts the announcements of commits to followers.
type NudgeStats struct {
	Sent     uint64 // repetitions included
	Repeated uint64 // because the follower did not have the entry yet, or did not answer
	Failed   uint64 // given up: the follower hears of the commit by replication
}

// Stats returns the counters.
func (n *Node) Stats() Stats {
	id, addr := n.Leader()
	return Stats{
		Term:          n.Term(),
		LastLogIndex:  n.raft.LastIndex(),
		CommitIndex:   n.CommitIndex(),
		Applied:       n.Applied(),
		SnapshotIndex: n.log.meter.snapshotIndex(),
		LogBytes:      n.log.meter.since(),
		State:         n.raft.State().String(),
		LeaderID:      id,
		LeaderAddr:    addr,
		LastContact:   n.lastContact(),
		Elections:     n.elections.Load(),
		Snapshots:     n.fsm.snapshots.Load(),
		Restores:      n.fsm.restores.Load(),
		Heartbeats:    n.calm.sent.Load(),
		Pending:       n.proposals.pending(),
		Store: StoreStats{
			Writes:  n.log.writes.Load(),
			Entries: n.log.entries.Load(),
			Bytes:   n.log.bytes.Load(),
			Took:    n.log.took.Counts(),
			Longest: time.Duration(n.log.longest.Load()),
		},
		Commit: n.committed.Counts(),
		Apply:  n.fsm.took.Counts(),
		Nudges: NudgeStats{Sent: n.nudger.sent.Load(), Repeated: n.nudger.repeated.Load(), Failed: n.nudger.failed.Load()},
		AtRest: n.disk.AtRest(),
	}
}

func (n *Node) lastContact() time.Duration {
	if n.IsLeader() {
		return 0
	}
	last := n.raft.LastContact()
	if last.IsZero() {
		return -1
	}
	return time.Since(last)
}
