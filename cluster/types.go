package cluster

import (
	"errors"

	"cloakroom/cluster/guard"
	"cloakroom/cluster/histogram"
	"cloakroom/cluster/idle"
	"cloakroom/cluster/lookup"
	"cloakroom/cluster/propose"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
	"cloakroom/cluster/tries"
	"cloakroom/cluster/wire"
)

// Level says how fresh a read must be.
type Level = lookup.Level

// The levels of reads.
const (
	Local  = lookup.Local
	Lease  = lookup.Lease
	Quorum = lookup.Quorum
)

// Why a request could not be served. All are for the caller to try again, at another node or a little later; only
// ErrOutcomeUnknown leaves open whether the command took effect.
var (
	ErrNoLeader       = wire.ErrNoLeader
	ErrOverloaded     = wire.ErrOverloaded
	ErrTimeout        = wire.ErrTimeout
	ErrOutcomeUnknown = propose.ErrOutcomeUnknown
	ErrJoining        = &session.Error{Code: "joining", Message: "this node has not joined a cluster yet, or has just started and is not as far as the others"}
	ErrDraining       = &session.Error{Code: "draining", Message: "this node is out of service, or about to stop: use another one"}
	ErrCutOff         = &session.Error{Code: "cut-off", Message: "this node does not hear from the others"}
)

// ErrOpenAgain is handed to OnFatal with the reason when the node is to be closed and opened again, on the same data: it
// then goes on by itself. A node that was removed for having been dead comes back as a new one, with an empty log.
var ErrOpenAgain = errors.New("the node has to be opened again")

// Member is one node as this node sees it: its place in raft's configuration, its entry in the roster, and gossip.
type Member struct {
	ID           string
	Name         string
	Peer         string // address of the peer port
	HTTP         string // address of the API
	Role         string // "voter", "non-voter", "none" (seen by gossip, not in the configuration)
	State        string // "alive", "failed", "left", "unknown"
	ReadReplica  bool   // it asks for no vote
	Pin          string // what an operator has decided about its vote: "voter", "non-voter", "": nothing
	Leader       bool
	Self         bool
	AppliedIndex uint64 // 0: not known

	Version uint8 // the newest version of commands that its program knows; 0: not known

	// What a member says of itself; false where it did not answer.
	Draining   bool // it is out of service, or about to stop
	DiskLow    bool // less than its reserve is free where its data directory is
	MemoryFull bool // it has reached its memory limit
}

// Stats is a snapshot of this node's counters, for metrics and the operator's pages. Durations are in seconds.
type Stats struct {
	ClusterID    string
	NodeID       string
	Name         string
	Leader       string // name of the leader, "" when there is none
	LeaderID     string
	IsLeader     bool
	Version      uint8 // of commands: the newest that all members know
	Term         uint64
	LastLogIndex uint64
	CommitIndex  uint64
	AppliedIndex uint64
	Elections    uint64  // leader changes that this node has seen
	Snapshots    uint64  // taken of this node's own machine
	Restores     uint64  // of this node's machine from a snapshot
	LastContact  float64 // seconds since this node heard from the leader

	LogWrites       histogram.Counts // to this node's log, each with its sync
	LogLongestWrite float64          // seconds
	Commits         histogram.Counts // of entries that this node proposed as leader, until its machine had applied them
	Applies         histogram.Counts // of entries to this node's machine
	Pending         int              // entries proposed here whose outcome is to come

	Machine session.Stats

	QueuedCommands int    // waiting in this node's batch
	Proposed       uint64 // commands sent to the leader from this node
	Refused        uint64 // refused by a full queue
	Unknown        uint64 // outcome unknown
	Entries        uint64 // raft entries proposed as leader
	EntryCommands  uint64 // commands in them
	Denied         uint64 // commands that were not admitted: no room, or not all members know them
	GossipAlive    int
	GossipFailed   int
	MembersMissing int    // members of raft's configuration that gossip does not find alive
	GossipHealth   int    // memberlist's score of this node: 0 is well, more is slow
	GossipFailures uint64 // members that this node has seen fail
	GossipChanges  uint64 // of members, of any kind
	PeerConns      int

	AtRest storage.AtRestStats // under which data keys this node's log and snapshots are

	Keys           []KeyStats // the cluster's keys
	PeersRefused   uint64     // connections to the peer port that did not get through the handshake
	PeersCrowded   uint64     // of these and of gossip's, those that were closed because there were too many
	PeersMalformed uint64     // raft connections that were closed for what the peer sent
	GossipRefused  uint64     // packets and connections of gossip that no member sends
	GossipReplayed uint64     // of these, those whose message had come before

	Lookup lookup.Stats
	Idle   idle.Stats
	Tries  tries.Stats
	Disk   guard.DiskStats
	Memory guard.MemoryStats
	Parts  MemoryParts
}

// MemoryParts is what the memory is used for, in bytes.
type MemoryParts struct {
	guard.Parts
	Sessions      int64 // records of sessions, with their index: beside the heap
	SessionsSpare int64 // room for more of them, taken from the system already
}
