package roster

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/gossip"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// Raft is the consensus that the roster configures: *consensus.Node.
type Raft interface {
	Bootstrap(servers []consensus.Server) error
	HasState() bool
	Servers() ([]consensus.Server, error)
	IsLeader() bool
	LeaderID() string
	Changed() <-chan struct{} // closed when IsLeader or LeaderID changes next
	Applied() uint64
	CommitIndex() uint64
	Read(fn func(*session.Machine))
	AddVoter(ctx context.Context, id, addr string) error
	AddNonvoter(ctx context.Context, id, addr string) error
	Demote(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	Transfer(ctx context.Context, to string) error
}

var _ Raft = (*consensus.Node)(nil)

// Peers is the node-to-node stream; nodes are called by their ids.
type Peers interface {
	Call(ctx context.Context, id string, kind wire.Kind, body []byte) ([]byte, error)
	Handle(kind wire.Kind, h wire.Handler)
}

// Gossip is what the roster sees of the other nodes: *gossip.Gossip.
type Gossip interface {
	Members() []gossip.Member
	Changed() <-chan struct{}
	SetMeta(gossip.Meta) error
}

// Config is what a Roster needs.
type Config struct {
	Self      session.Member // Joined is unused
	Expect    int            // empty voters to wait for; 0: never bootstrap, only join
	ClusterID string         // as known from an earlier start; "": none
	Raft      Raft
	Peers     Peers
	Gossip    Gossip
	Book      *Book
	Store     Store
	Do        func(ctx context.Context, cmd session.Command) (session.Result, error)
	Admitted  bool // the cluster has let this node in at an earlier start
	// OnAdmitted is called once, when the cluster has let this node in and its raft has applied something; it returns when
	// that is on disk.
	OnAdmitted func() error
	// OnCluster is called once, when the cluster's id becomes known; it returns when the id is on disk.
	OnCluster func(id string) error
	// OnDismissed is called when an operator has removed this node; it returns when that is on disk.
	OnDismissed func() error
	// OnFatal is called when this node can't go on, such as after its removal.
	OnFatal func(error)
	// Guards says whether this node's disk and memory are nearly full. Nil: they never are.
	Guards func() (diskLow, memoryFull bool)
	// Draining says whether this node is to be left alone. Nil: it never is.
	Draining    func() bool
	RemoveAfter time.Duration // a member that has been dead for so long is removed; 0: never
	Logger      *slog.Logger
}

// ErrRemoved refuses a node that was taken out of the cluster and still has its data.
var ErrRemoved = &session.Error{Code: "removed", Message: "this node was removed from the cluster: empty its data directory to join anew"}

// ErrDismissed stops a node that an operator took out of the cluster while it ran, and keeps it from starting again.
var ErrDismissed = &session.Error{Code: "dismissed", Message: "an operator removed this node from the cluster: empty its data directory to join anew"}

// ErrTooOld refuses a node that may not know what is in the log.
var ErrTooOld = &session.Error{Code: "too-old", Message: "this program is older than that of every member of the cluster: start this node with theirs, or a newer one"}

// ErrNameTaken refuses a new node whose name a live member has.
var ErrNameTaken = &session.Error{Code: "name-taken", Message: "a live member of the cluster has this --name: give each node its own"}

// Roster brings this node to its place in the cluster and, while it leads, lets others in.
type Roster struct {
	cfg      Config
	promiser *promiser
	former   former
	admit    chan struct{} // holds a token while one change of the configuration is made
	watch    watch         // what the leader has seen of the members
	stir     chan struct{} // wakes the leader's loop: somebody has come, or is to get a vote

	mu        sync.Mutex
	clusterID string
	admitted  bool      // the leader has let this node in, now or at an earlier start
	noted     bool      // and that is on disk: see Config.OnAdmitted
	placed    bool      // the leader has confirmed this node's place
	dismissed bool      // an operator has removed this node, which goes before its being removed
	announced time.Time // last confirmation
	meta      gossip.Meta
	ordered   string // the member that is being removed because an operator wants it
	turn      int    // which of the nodes with state is asked next who leads; used by the roster's loop alone

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

// New makes a Roster and registers its requests with the stream.
func New(cfg Config) (*Roster, error) {
	p, err := openPromiser(cfg.Self.ID, cfg.Expect, cfg.Store)
	if err != nil {
		return nil, err
	}
	r := &Roster{cfg: cfg, promiser: p, clusterID: cfg.ClusterID, admitted: cfg.Admitted, noted: cfg.Admitted, admit: make(chan struct{}, 1), stir: make(chan struct{}, 1)}
	r.former = former{roster: r}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	cfg.Peers.Handle(KindAnnounce, r.serveAnnounce)
	cfg.Peers.Handle(KindLeave, r.serveLeave)
	cfg.Peers.Handle(KindHealth, r.serveHealth)
	cfg.Peers.Handle(KindChange, r.serveChange)
	cfg.Peers.Handle(KindDismiss, r.serveDismiss)
	r.handleFormation()
	cfg.Peers.Handle(KindHere, func(context.Context, wire.Peer, []byte) ([]byte, error) { return nil, nil })
	return r, nil
}

// Open starts looking for the cluster.
func (r *Roster) Open() { r.group.Go(r.run) }

// Close stops and waits. The node stays a member.
func (r *Roster) Close() {
	r.cancel()
	r.group.Wait()
}

// Placed reports whether the leader has confirmed this node's place in the configuration.
func (r *Roster) Placed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.placed
}

// Ordered reports whether a member is being removed right now, by this node as the leader, because an operator wants it:
// whoever has asked for that knows of it.
func (r *Roster) Ordered(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return id != "" && r.ordered == id
}

func (r *Roster) order(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ordered = id
}

// Bootstrapper reports whether this node bootstrapped the cluster, at this start or an earlier one.
func (r *Roster) Bootstrapper() bool { return r.promiser.current().Bootstrapper }

// ClusterID returns the cluster's id, "" as long as it is not known.
func (r *Roster) ClusterID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clusterID
}

func (r *Roster) run() {
	tick := time.NewTicker(Tick)
	defer tick.Stop()
	for {
		r.look(r.ctx)
		select {
		case <-tick.C:
		case <-r.cfg.Gossip.Changed():
		case <-r.ctx.Done():
			return
		}
	}
}

// look takes the next step towards this node's place.
func (r *Roster) look(ctx context.Context) {
	members := r.cfg.Gossip.Members()
	for _, m := range members {
		if m.State == gossip.StateAlive {
			r.cfg.Book.Set(m.ID, m.Peer)
		}
	}
	r.cfg.Raft.Read(func(m *session.Machine) {
		for _, known := range m.Members() {
			r.cfg.Book.SetNew(known.ID, known.Peer)
		}
	})
	if err := r.learn(); err != nil {
		r.cfg.OnFatal(err)
		return
	}
	r.publish()
	leader := r.cfg.Raft.LeaderID()
	switch {
	case leader != "":
		r.announce(ctx, leader)
	case !r.hasState() && r.cfg.ClusterID == "" && !anyState(members, r.cfg.Self.ID):
		r.former.step(ctx, members)
	default: // to be let in, or to learn that this node was removed while it was away
		r.announce(ctx, r.nextHolder(members))
	}
}

// nextHolder returns another node with state at each call: not all of them know who leads. Some may have been removed
// together with this one, and wait for an answer of its kind.
func (r *Roster) nextHolder(members []gossip.Member) string {
	holders := stateHolders(members, r.cfg.Self.ID)
	if len(holders) == 0 {
		return ""
	}
	r.turn++
	return holders[r.turn%len(holders)]
}

// learn notes the cluster's id when the machine has it.
func (r *Roster) learn() error {
	var id string
	r.cfg.Raft.Read(func(m *session.Machine) { id = m.ClusterID() })
	return r.setCluster(id)
}

func (r *Roster) setCluster(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id == "" || id == r.clusterID {
		return nil
	}
	if r.clusterID != "" {
		return fmt.Errorf("%w: the data directory belongs to cluster %s, the others to %s", session.ErrOtherCluster, r.clusterID, id)
	}
	if err := r.cfg.OnCluster(id); err != nil {
		return err
	}
	r.clusterID = id
	return nil
}

// publish tells gossip what has changed about this node.
func (r *Roster) publish() {
	self := r.cfg.Self
	meta := gossip.Meta{
		ID: self.ID, Name: self.Name, ClusterID: r.ClusterID(), Peer: self.Peer, HTTP: self.HTTP,
		Expect: uint8(r.cfg.Expect), HasState: r.hasState(), ReadReplica: self.ReadReplica,
		MinVersion: self.MinVersion, MaxVersion: self.MaxVersion,
	}
	if meta == r.meta {
		return
	}
	if err := r.cfg.Gossip.SetMeta(meta); err != nil {
		r.cfg.Logger.Warn("metadata not published, will be tried again", "error", err)
		return
	}
	r.meta = meta
}

// hasState reports whether this node is in a configuration. A term or a vote alone is not state: a node that was
// called to vote before it was let in has no more than that.
func (r *Roster) hasState() bool {
	servers, err := r.cfg.Raft.Servers()
	return err == nil && len(servers) > 0
}

func anyState(members []gossip.Member, self string) bool { return len(stateHolders(members, self)) > 0 }

// stateHolders returns the ids of the other live nodes that belong to a cluster already.
func stateHolders(members []gossip.Member, self string) []string {
	var holders []string
	for _, m := range members {
		if m.ID != self && m.State == gossip.StateAlive && m.HasState {
			holders = append(holders, m.ID)
		}
	}
	return holders
}

// alone runs fn while nobody else changes the configuration.
func (r *Roster) alone(ctx context.Context, fn func() error) error {
	select {
	case r.admit <- struct{}{}:
	case <-ctx.Done():
		return wire.ErrTimeout
	}
	defer func() { <-r.admit }()
	return fn()
}

// ask sends a message to a node and decodes the answer. It waits for AskTimeout at most.
func ask[T any](ctx context.Context, r *Roster, id string, kind wire.Kind, message any) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, AskTimeout)
	defer cancel()
	return askLong[T](ctx, r, id, kind, message)
}

// askLong is ask without a limit of its own.
func askLong[T any](ctx context.Context, r *Roster, id string, kind wire.Kind, message any) (T, error) {
	var none T
	body, err := encode(message)
	if err != nil {
		return none, err
	}
	answer, err := r.cfg.Peers.Call(ctx, id, kind, body)
	if err != nil {
		return none, err
	}
	return decode[T](answer)
}
