package consensus

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/session"

	"cloakroom/cluster/keyring"
	"cloakroom/cluster/storage"
)

// Config is what a Node needs. Zero durations and sizes take the defaults of limits.go.
type Config struct {
	NodeID string // the server id: for ever the same for the same data, never the same for other data
	// Exactly one of the three says where log and snapshots are. A node without a disk forgets its vote when it
	// stops: it must come back under another NodeID.
	Dir       string
	Ephemeral bool
	Stores    *storage.Stores
	// DataKeys seal log entries and snapshots on disk. Nil: nothing is sealed, and nothing that is sealed can be opened.
	// Each member has its own. Once the node is open, ReplaceDataKeys puts others in their place. In Ephemeral nodes they
	// are ignored.
	DataKeys *keyring.Ring
	// First is the first configuration of a cluster that this node has decided to begin; empty: it has not. A node
	// without log and snapshots writes it before it starts, as Bootstrap would have: so what a crash has cut short is
	// completed, and a vote that was given meanwhile is no obstacle. With a log or a snapshot it is ignored. It must be
	// the very configuration that was decided on, the same in every start and on every node that begins the cluster,
	// and this node a voter in it: two that differ make two clusters.
	First []Server
	// Member says that this node has held a part of a cluster's log under its id: without a log and a snapshot it does not
	// start, see ErrLogLost.
	Member bool
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

	// Version is the newest version of commands that the machine knows: what is newer is refused as this program refuses
	// what is newer than itself. Tests make an older program of this one by it. 0: session.MaxVersion.
	Version uint8

	// OnFatal is told once why the node can't go on: an entry that it does not understand, a failed, full or stalled
	// disk, a snapshot that it can't take. The node applies nothing any more and leaves the network by itself. OnFatal runs
	// on a goroutine of its own and may call Close, which waits for a stalled disk: a program that must end does so
	// without it.
	OnFatal func(error)

	// The hooks tell the read leases (cluster/lease) what they rest on, at the moment when it counts. Each may be nil.
	// They are called on the library's goroutines, some of them before Open has returned, and must not block: log and
	// machine wait for them.

	// OnStored is told the highest term of entries that were just written to the disk. The library learns that they are
	// only when it returns: so before this node can stand for election with the help of an entry, it was told of its
	// term. From the last entry of an older term a new leader counts how long leases of former leaders may be out. What a
	// former process has written is not told: from its start on, a node counts anew.
	OnStored func(term uint64)
	// OnRestoring is told that a leader's snapshot, which was read and is not behind the machine, is about to replace it:
	// nobody can have seen anything of it. A lookup that was begun under a lease from before can find it all the same, and
	// has to look whether the lease is still there. OnRestored follows when it is visible, with the index of the machine.
	// Between the two, a reader may meet either. Of the restore at the start nothing is told: who asks for Applied after
	// Open must take the whole machine for changed at that index.
	OnRestoring func()
	OnRestored  func(applied uint64)
	// OnApplied is told index and term of the last entry of each batch when the effects of the whole batch are visible,
	// and before anybody learns from a Future what came of an entry in it. A leader that is told of a later term than its
	// own leads no more, whatever IsLeader says. The entry by which a leader takes office is none of the machine's and is
	// not told, so the first of its term is a command or a configuration.
	OnApplied func(index, term uint64)
	// OnCommand is told of each command with its result, and OnEnd of each session that a command ends by itself, as they
	// are applied; both under the machine's lock, so they must not read it.
	OnCommand func(session.Command, session.Result)
	OnEnd     func(*session.Session, session.Tombstone)
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	c.Heartbeat = cmp.Or(c.Heartbeat, DefaultHeartbeat)
	c.Election = cmp.Or(c.Election, max(DefaultElection, c.Heartbeat))
	c.Lease = cmp.Or(c.Lease, c.Heartbeat)
	c.Commit = cmp.Or(c.Commit, DefaultCommit)
	c.Stall = cmp.Or(c.Stall, DefaultStall)
	c.Version = cmp.Or(c.Version, session.MaxVersion)
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

// openDisk opens what the configuration names.
func (c Config) openDisk(logger *logAdapter) (*storage.Disk, error) {
	switch {
	case c.Dir != "":
		return storage.Open(c.Dir, c.DataKeys, c.Logger, logger)
	case c.Stores != nil:
		return storage.Wrap(c.Stores, c.DataKeys)
	}
	return storage.Wrap(storage.NewMemoryStores(), nil) // nothing lies anywhere
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
