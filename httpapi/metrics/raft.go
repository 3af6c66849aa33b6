package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"cloakroom/cluster"
	"cloakroom/cluster/histogram"
)

// collectRaft renders how long raft's steps take.
func collectRaft(ch chan<- prometheus.Metric, s cluster.Stats) {
	send := func(name, help string, c histogram.Counts) {
		ch <- constHistogram(prometheus.NewDesc("cloakroom_raft_"+name+"_duration_seconds", help, nil, nil), c)
	}
	send("log_write", "Time that a write to this node's log took, with its sync to the disk.", s.LogWrites)
	send("commit", "Time from an entry's proposal by this node as leader until it was committed, and applied here.", s.Commits)
	send("apply", "Time that this node's machine took for an entry, without waiting for the disk.", s.Applies)
}

// raftSamples are the state of raft, and what this node brings into the log.
func raftSamples(s cluster.Stats) []sample {
	return []sample{
		{"raft_is_leader", "1 on the leader.", false, flag(s.IsLeader)},
		{"raft_has_leader", "1 when this node knows a leader.", false, flag(s.LeaderID != "")},
		{"raft_term", "Raft's term.", false, float64(s.Term)},
		{"raft_last_log_index", "Last index of the log.", false, float64(s.LastLogIndex)},
		{"raft_commit_index", "Last committed index that this node knows.", false, float64(s.CommitIndex)},
		{"raft_applied_index", "Last index whose effects this node shows.", false, float64(s.AppliedIndex)},
		{"raft_leader_changes_total", "Changes of leader that this node has seen.", true, float64(s.Elections)},
		{"raft_snapshots_total", "Snapshots that this node has taken.", true, float64(s.Snapshots)},
		{"raft_restores_total", "Snapshots that this node's machine was restored from, that of its start included.", true, float64(s.Restores)},
		{"raft_last_contact_seconds", "Time since this node heard from the leader.", false, s.LastContact},
		{"raft_log_write_longest_seconds", "The longest write to this node's log since the start.", false, s.LogLongestWrite},
		{"raft_proposals_pending", "Entries that this node has proposed as leader and that are not committed yet.", false, float64(s.Pending)},

		{"commands_queued", "Commands that wait in this node's batch.", false, float64(s.QueuedCommands)},
		{"commands_proposed_total", "Commands that this node sent to the leader.", true, float64(s.Proposed)},
		{"commands_refused_total", "Commands refused by a full queue.", true, float64(s.Refused)},
		{"commands_unknown_total", "Commands whose outcome this node never learned.", true, float64(s.Unknown)},
		{"entries_proposed_total", "Log entries that this node proposed as leader.", true, float64(s.Entries)},
		{"entry_commands_total", "Commands in those entries.", true, float64(s.EntryCommands)},
		{"commands_denied_total", "Commands that the leader did not admit, for want of room or for a member that does not know them.", true, float64(s.Denied)},
	}
}
