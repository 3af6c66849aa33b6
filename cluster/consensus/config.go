package consensus

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

// Config is what a Node needs. Zero durations and sizes take the defaults of limits.go.
type Config struct {
	NodeID string // the server id: for ever the same for the same data, never the same for other data
	// Exactly one of the three says where log and snapshots are. A node without a disk forgets its vote when it
	// stops: it must come back under another NodeID.
	Dir       string
	Ephemeral bool
	Stores    *Stores
	// First is the first configuration of a cluster that this node has decided to begin; empty: it has not. A node
	// without log and snapshots writes it before it starts, as Bootstrap would have: so what a crash has cut short is
	// completed, and a vote that was given meanwhile is no obstacle. With a log or a snapshot it is ignored. It must be
	// the very configuration that was decided on, the same in every start and on every node that begins the cluster,
	// and this node a voter in it: two that differ make two clusters.
	First []Server
	// Layer connects the members. Open owns it from the call on, even if it fails. Its Addr is the advertised
	// address, as other members dial it.
	Layer raft.StreamLayer
	// Resolve says where a member listens now, where that is known from elsewhere than the configuration in the log
	// (which holds the address of a moved member only after AddVoter or AddNonvoter). Without it a cluster whose
	// members all came back under other addresses never finds itself. It must not block. May be nil.
	Resolve func(id string) (addr string, ok bool)
	Logger  *slog.Logger

	Heartbeat time.Duration // a follower that hears nothing for so long starts an election
	Election  time.Duration // how long an election may take, ≥ Heartbeat
	Lease     time.Duration // a leader that reaches no majority for so long steps down, ≤ Heartbeat
	Commit    time.Duration // longest time until an idle follower hears of a commit whose nudge was lost
	Stall     time.Duration // longest time for one write to the disk; then OnFatal

	SnapshotBytes int64  // of log, from one snapshot to the next
	TrailingBytes int64  // of log, kept behind a snapshot
	TrailingLogs  uint64 // entries, kept behind a snapshot at most

	// OnFatal is told once why the node can't go on: an entry that it does not understand, a failed, full or stalled
	// disk, a snapshot that it can't take. The node applies nothing any more and leaves the network by itself. OnFatal runs
	// on a goroutine of its own and may call Close, which waits for a stalled disk: a program that must end does so
	// without it.
	OnFatal func(error)
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	c.Heartbeat = cmp.Or(c.Heartbeat, DefaultHeartbeat)
	c.Election = cmp.Or(c.Election, max(DefaultElection, c.Heartbeat))
	c.Lease = cmp.Or(c.Lease, min(DefaultLease, c.Heartbeat))
	c.Commit = cmp.Or(c.Commit, DefaultCommit)
	c.Stall = cmp.Or(c.Stall, DefaultStall)
	c.SnapshotBytes = cmp.Or(c.SnapshotBytes, DefaultSnapshotBytes)
	c.TrailingBytes = cmp.Or(c.TrailingBytes, DefaultTrailingBytes)
	c.TrailingLogs = cmp.Or(c.TrailingLogs, DefaultTrailingLogs)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnFatal == nil {
		c.OnFatal = func(error) {}
	}
	return c
}

func (c Config) validate() error {
	places := 0
	for _, given := range []bool{c.Dir != "", c.Ephemeral, c.Stores != nil} {
		if given {
			places++
		}
	}
	switch {
	case c.NodeID == "":
		return errors.New("node id is empty")
	case c.Layer == nil:
		return errors.New("stream layer is missing")
	case places != 1:
		return errors.New("give exactly one of directory, ephemeral and stores")
	case c.Lease > c.Heartbeat || c.Heartbeat > c.Election:
		return fmt.Errorf("lease %v, heartbeat %v, election %v: each must be at most the next", c.Lease, c.Heartbeat, c.Election)
	case c.SnapshotBytes < 0 || c.TrailingBytes < 0 || c.Stall < 0:
		return errors.New("sizes and times can't be negative")
	}
	return nil
}

// library returns the library's configuration.
func (c Config) library(logger *logAdapter) *raft.Config {
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(c.NodeID)
	conf.HeartbeatTimeout = c.Heartbeat
	conf.ElectionTimeout = c.Election
	conf.LeaderLeaseTimeout = c.Lease
	conf.CommitTimeout = c.Commit
	conf.MaxAppendEntries = maxAppend
	conf.BatchApplyCh = true // room for MaxPending entries; many then share one write to the disk
	conf.ShutdownOnRemove = false
	conf.NoLegacyTelemetry = true
	conf.TrailingLogs = c.TrailingLogs
	// Snapshots are triggered by bytes of log. A threshold alone would not do: the library subtracts unsigned
	// numbers, and right after an installed snapshot the difference can be the largest of all.
	conf.SnapshotThreshold = 1 << 63
	conf.SnapshotInterval = never
	conf.Logger = logger
	return conf
}
