package cluster

import (
	"errors"

	"cloakroom/cluster/guard"
	"cloakroom/cluster/idle"
	"cloakroom/cluster/lookup"
	"cloakroom/cluster/propose"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// Level says how fresh a read must be.
type Level = lookup.Level

// The levels of reads.
const (
	Local  = lookup.Local
	Quorum = lookup.Quorum
)

// Why a request could not be served. All are for the caller to try again, at another node or a little later; only
// ErrOutcomeUnknown leaves open whether the command took effect.
var (
	ErrNoLeader       = wire.ErrNoLeader
	ErrOverloaded     = wire.ErrOverloaded
	ErrTimeout        = wire.ErrTimeout
	ErrOutcomeUnknown = propose.ErrOutcomeUnknown
	ErrJoining        = &session.Error{Code: "joining", Message: "this node has not joined a cluster yet"}
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
}

// Stats is a snapshot of this node's counters, for metrics and the operator's pages. Durations are in seconds.
type Stats struct {
	ClusterID    string
	NodeID       string
	Name         string
	Leader       string // name of the leader, "" when there is none
	LeaderID     string
	IsLeader     bool
	Term         uint64
	LastLogIndex uint64
	CommitIndex  uint64
	AppliedIndex uint64
	Elections    uint64  // leader changes that this node has seen
	Snapshots    uint64  // taken of this node's own machine
	Restores     uint64  // of this node's machine from a snapshot
	LastContact  float64 // seconds since this node heard from the leader

	Machine session.Stats

	QueuedCommands int    // waiting in this node's batch
	Proposed       uint64 // commands sent to the leader from this node
	Refused        uint64 // refused by a full queue
	Unknown        uint64 // outcome unknown
	Entries        uint64 // raft entries proposed as leader
	EntryCommands  uint64 // commands in them
	LookupsLocal   uint64
	LookupsQuorum  uint64
	QuorumRounds   uint64
	Denied         uint64 // commands that were not admitted: no room, or not all members know them
	GossipAlive    int
	GossipFailed   int
	PeerConns      int

	Idle   idle.Stats
	Disk   guard.DiskStats
	Memory guard.MemoryStats
}
