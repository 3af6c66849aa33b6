package lookup

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/lease"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// The requests between nodes. All are answered from memory, but for those that may take a round.
const (
	KindReadIndex wire.Kind = 16 // to the leader: an index that covers everything shown or acknowledged so far. Answer: 8 bytes
	KindTerm      wire.Kind = 17 // to a voter: its current term. Answer: 8 bytes
	KindReport    wire.Kind = 18 // to the leader: lease.Report. Answer: lease.Grant
	KindPoint     wire.Kind = 19 // to the leader: an index for one read, and how far the log is stable
	KindOver      wire.Kind = 20 // to the leader: lease.Over. The answers to this and the next two are empty
	KindRecall    wire.Kind = 21 // from the leader: lease.Recall
	KindStable    wire.Kind = 22 // from the leader: lease.Stable
)

// Log is the replicated log: *consensus.Node.
type Log interface {
	IsLeader() bool
	LeaderID() string
	Term() uint64
	CommitIndex() uint64
	Applied() uint64
	Changed() <-chan struct{}
	Servers() ([]consensus.Server, error)
	WaitApplied(ctx context.Context, index uint64) error
}

// Peers is the node-to-node stream; nodes are called by their ids.
type Peers interface {
	Call(ctx context.Context, id string, kind wire.Kind, body []byte) ([]byte, error)
	Handle(kind wire.Kind, h wire.Handler)
}

// Config is what a Reader needs. Without a duration in Lease there are no leases: level Lease is as Quorum then, and
// nothing of the fields below it is needed.
type Config struct {
	NodeID string
	Log    Log
	Peers  Peers

	Lease lease.Config // Self is set from NodeID
	// Clock reads both clocks of this machine at the same moment: the monotonic one, which is not negative, and the wall
	// clock. Nil: the system's.
	Clock func() (mono lease.Time, wall time.Time)
	// Direct brings a command into the log, around queues and around Enter, if this node leads; it returns when the command
	// is applied, with the time that Clock returned before it was proposed.
	Direct func(ctx context.Context, cmd session.Command) (consensus.Applied, lease.Time, error)
	// Members returns the ids of the latest configuration, voters or not, in a stable order; nil: not known at the moment.
	Members func() []string
	Logger  *slog.Logger // nil: discards
}

// Reader establishes the level of reads on this node, and takes its part in the lease protocol.
type Reader struct {
	id    string
	log   Log
	peers Peers
	run   *runner // nil: without leases

	patience time.Duration // how long a read waits at most: LeaderWait, or while a new leader is frozen if that is longer

	office  atomic.Uint64 // the term in which this node has applied its own first command, 0: none
	ask     *shared       // this node's quorum reads, to the leader
	point   *shared       // this node's reads without a lease, to the leader
	confirm *shared       // all nodes' quorum reads, at the leader

	counts counters
}

// New makes a Reader and registers its requests with the stream.
func New(cfg Config) *Reader {
	r := &Reader{id: cfg.NodeID, log: cfg.Log, peers: cfg.Peers, patience: max(LeaderWait, cfg.Lease.Duration+LeaderWait/2)}
	r.ask = newShared(r.askLeader)
	r.confirm = newShared(r.confirmOffice)
	cfg.Peers.Handle(KindReadIndex, r.serveReadIndex)
	cfg.Peers.Handle(KindTerm, r.serveTerm)
	if cfg.Lease.Duration == 0 {
		return r
	}
	cfg.Lease.Self = cfg.NodeID
	if cfg.Clock == nil {
		cfg.Clock = systemClock()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r.run = newRunner(cfg)
	r.point = newShared(r.askPoint)
	cfg.Peers.Handle(KindReport, r.run.serveReport)
	cfg.Peers.Handle(KindOver, r.run.serveOver)
	cfg.Peers.Handle(KindRecall, r.run.serveRecall)
	cfg.Peers.Handle(KindStable, r.run.serveStable)
	cfg.Peers.Handle(KindPoint, r.servePoint)
	return r
}

// systemClock reads this machine's clocks; the monotonic one counts from now.
func systemClock() func() (lease.Time, time.Time) {
	start := time.Now()
	return func() (lease.Time, time.Time) {
		now := time.Now()
		return lease.Time(now.Sub(start)), now
	}
}

// Open starts the rounds and this node's part in the lease protocol. The hooks of the log lead to this Reader by now: of
// what has happened before it knows only that it did.
func (r *Reader) Open() {
	r.ask.open()
	r.confirm.open()
	if r.run != nil {
		r.point.open()
		r.run.open()
	}
}

// Close gives this node's lease back, stops and waits. The log may go on for a while.
func (r *Reader) Close() {
	if r.run != nil {
		r.run.close()
		r.point.close()
	}
	r.ask.close()
	r.confirm.close()
}
