package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/gossip"
	"cloakroom/cluster/idle"
	"cloakroom/cluster/lookup"
	"cloakroom/cluster/propose"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
	"cloakroom/cluster/tries"
	"cloakroom/cluster/wire"
)

// farewellTimeout bounds the word to the others that a former id is no more.
const farewellTimeout = time.Second

// Cluster is a node's part in the cluster.
type Cluster struct {
	cfg    Config
	logger *slog.Logger
	data   *dataDir
	dial   dialer

	unwatch func() // the ring of keys

	wire     *wire.Transport
	raft     *consensus.Node
	gossip   *gossip.Gossip
	clock    *idle.Clock
	proposer *propose.Proposer
	reader   *lookup.Reader
	leases   atomic.Pointer[lookup.Reader] // reader, for the hooks of raft, which is there before it
	keeper   *idle.Keeper
	roster   *roster.Roster
	counters *tries.Table
	tries    *tries.Tries
	room     room
	changes  changes

	draining  atomic.Bool
	resealing atomic.Bool   // see resealData
	cutOff    atomic.Bool   // lookups are answered at level local
	lost      chan struct{} // capacity 1: a leader is to be looked for
	current   atomic.Bool   // since the start this node was as far as the leader, once
	removed   atomic.Bool   // under its present id it is no member any more
	leading   atomic.Bool   // this node has taken office, and not lost it as far as it knows
	fatal     sync.Once

	leaderless atomic.Pointer[time.Time] // since when this node knows of no leader; nil: it knows of one

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

// Open starts the node. It returns when the node listens; it may not have a cluster yet, which Ready tells.
func Open(cfg Config) (*Cluster, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Ephemeral {
		cfg.DataDir = ""
	}
	if cfg.Network == nil {
		cfg.Network = wire.TCP{}
	}
	if err := cfg.completeKeys(); err != nil {
		return nil, err
	}
	if cfg.DataDir != "" {
		storage.Tighten(cfg.DataDir, ownNames, cfg.Logger)
	}
	data, err := openDataDir(cfg.DataDir, cfg.Keys)
	if err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, data: data, logger: cfg.Logger.With("node", cfg.Name), lost: make(chan struct{}, 1), counters: tries.NewTable()}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.unwatch = cfg.Keys.Watch(c.noteKey)
	if err := errors.Join(c.noteKey(), c.tellOrigin(), c.open()); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// tellOrigin says where a restored or recovered state comes from: once, or twice if the node ends in between.
func (c *Cluster) tellOrigin() error {
	origin := c.data.id.Origin
	if origin == nil {
		return nil
	}
	c.logger.Warn("this cluster has the state of another one", "cluster", c.data.id.ClusterID, "origin", origin.String())
	if c.cfg.OnOrigin != nil {
		c.cfg.OnOrigin(c.data.id.ClusterID, *origin)
	}
	return c.data.setTold()
}

func (c *Cluster) open() error {
	if err := c.openRoom(); err != nil {
		return err
	}
	if err := c.openWire(); err != nil {
		return err
	}
	if err := c.openRaft(); err != nil {
		return err
	}
	if err := c.openGossip(); err != nil {
		return err
	}
	if err := c.wireUp(); err != nil {
		return err
	}
	// Before this node serves: it may be the last thing that it can write. Not before nothing else can fail: a start that
	// comes to nothing takes nothing back of what the last stop has vouched for.
	if err := c.data.setSince(0); err != nil {
		return err
	}
	c.proposer.Open()
	c.reader.Open()
	c.keeper.Open()
	c.roster.Open()
	c.tries.Open()
	c.group.Go(c.leadWhenElected)
	c.group.Go(c.findLeader)
	c.group.Go(c.mindLeader)
	c.resealData()
	return nil
}

func (c *Cluster) openWire() error {
	if err := c.cfg.Keys.CheckBind(c.cfg.Peer); err != nil {
		return fmt.Errorf("peer port: %w", err)
	}
	advertise, err := c.cfg.advertised(c.cfg.Peer)
	if err != nil {
		return fmt.Errorf("peer port: %w", err)
	}
	c.wire, err = wire.Open(wire.Config{
		NodeID: c.id(), Bind: c.cfg.Peer, Advertise: advertise, Keys: c.cfg.Keys,
		Network: c.cfg.Network, Logger: c.logger,
	})
	if err != nil {
		return fmt.Errorf("peer port: %w", err)
	}
	c.wire.SetCluster(c.data.id.ClusterID)
	c.dial = dialer{wire: c.wire, book: roster.NewBook()}
	return nil
}

func (c *Cluster) openRaft() error {
	dir := ""
	if c.data.path != "" {
		dir = c.data.file(raftDir)
	}
	first, err := roster.Decided(c.data.bootstrapStore())
	if err != nil {
		return err
	}
	cfg := consensus.Config{
		NodeID: c.id(), Dir: dir, Ephemeral: c.cfg.Ephemeral, Member: c.data.id.Admitted, Layer: c.dial.raftLayer(c.id()),
		Logger: c.logger, OnFatal: c.fail, Heartbeat: c.cfg.heartbeat(), Election: c.cfg.heartbeat(),
		DataKeys: c.cfg.DataKeys, Version: c.cfg.version(),
	}
	c.hookLeases(&cfg)
	c.hookEvents(&cfg)
	if c.cfg.Tune != nil {
		c.cfg.Tune(&cfg)
	}
	if !cfg.Member { // otherwise the log was there, and must be
		cfg.First = first
	}
	orderly := !c.data.running()
	if err := c.data.setRunning(true); err != nil {
		return err
	}
	if c.raft, err = consensus.Open(cfg); err != nil {
		if orderly { // an earlier program can still take over
			err = errors.Join(err, c.data.setRunning(false))
		}
		return fmt.Errorf("raft: %w", err)
	}
	c.room.raft.Store(c.raft)
	return nil
}

func (c *Cluster) openGossip() error {
	if err := c.cfg.Keys.CheckBind(c.cfg.Gossip); err != nil {
		return fmt.Errorf("gossip port: %w", err)
	}
	advertise, err := c.cfg.advertised(c.cfg.Gossip)
	if err != nil {
		return fmt.Errorf("gossip port: %w", err)
	}
	c.gossip, err = gossip.Open(gossip.Config{
		NodeID: c.id(), Bind: c.cfg.Gossip, Advertise: advertise, Keys: c.cfg.Keys,
		Meta: gossip.Meta{
			ID: c.id(), Name: c.cfg.Name, ClusterID: c.data.id.ClusterID, Peer: c.wire.Addr(), HTTP: c.cfg.HTTP,
			Expect: uint8(c.cfg.Expect), HasState: c.raft.HasState(), ReadReplica: c.cfg.ReadReplica,
			MinVersion: session.MinVersion, MaxVersion: c.cfg.version(),
		},
		Transport: c.cfg.GossipTransport, Seeds: c.cfg.Join, Logger: c.logger, News: c.counters,
	})
	if err != nil {
		return fmt.Errorf("gossip port: %w", err)
	}
	return nil
}

// wireUp makes the parts of floor 4 and hands them what they need of each other.
func (c *Cluster) wireUp() error {
	clocks := idle.System()
	if c.cfg.Clocks != nil {
		clocks = *c.cfg.Clocks
	}
	c.clock = idle.NewClock(c.raft.Clock, idle.WithLogger(c.logger), idle.WithSource(clocks), idle.WithVoters(c.others))
	c.reader = lookup.New(lookup.Config{
		NodeID: c.id(), Log: c.raft, Peers: c.dial, Lease: c.cfg.leases(), Clock: leaseClock(clocks),
		Direct: c.direct, Members: c.servers, Logger: c.logger,
	})
	c.leases.Store(c.reader)
	c.proposer = propose.New(propose.Config{
		Log: c.raft, Peers: c.dial, Now: c.clock.Stamp, Admit: c.room.admit, Known: c.known, Office: c.reader,
	})
	c.keeper = idle.New(idle.Config{
		Self: c.id(), Since: c.data.id.Since, Idle: c.cfg.Idle, Clock: c.clock, Machine: c.raft, Log: c.raft,
		Peers: c.dial, Others: c.otherHolders, Do: c.Do, Leases: c.reader, Lease: c.cfg.lease(), Logger: c.logger,
	})
	c.openTries()
	c.dial.Handle(kindStatus, c.serveStatus)
	var err error
	c.roster, err = roster.New(roster.Config{
		Self: session.Member{
			ID: c.id(), Name: c.cfg.Name, Peer: c.wire.Addr(), HTTP: c.cfg.HTTP, ReadReplica: c.cfg.ReadReplica,
			MinVersion: session.MinVersion, MaxVersion: c.cfg.version(),
		},
		Expect: c.cfg.Expect, ClusterID: c.data.id.ClusterID,
		Admitted: c.data.id.Admitted, OnAdmitted: c.data.setAdmitted, OnDismissed: c.data.setDismissed,
		Raft: office{Node: c.raft, reader: c.reader, handing: make(chan struct{}, 1)}, Peers: c.dial, Gossip: c.gossip, Book: c.dial.book, Store: c.data.bootstrapStore(),
		Do: c.Do, OnCluster: c.joined, OnFatal: c.fail, Logger: c.logger,
		Guards: c.room.own, Draining: c.draining.Load, RemoveAfter: c.cfg.RemoveAfter,
	})
	return err
}

// Close stops the node as it is: without a hand-over, and without leaving. Retire and Leave come before it in an orderly stop.
func (c *Cluster) Close() error {
	c.draining.Store(true)
	return c.close()
}

// close stops whatever has been started, the uppermost first.
func (c *Cluster) close() error {
	c.cancel()
	c.unwatch()
	if c.roster != nil {
		c.tries.Close()
		c.roster.Close()
		c.keeper.Close()
		c.group.Wait()
		c.reader.Close()
		c.proposer.Close()
	}
	var errs []error
	if c.gossip != nil {
		if c.removed.Load() { // else the others would take the former id for a member that fails
			ctx, cancel := context.WithTimeout(context.Background(), farewellTimeout)
			errs = append(errs, c.gossip.Leave(ctx))
			cancel()
		}
		errs = append(errs, c.gossip.Close())
	}
	if c.raft != nil {
		err := c.raft.Close()
		if err == nil && c.raft.Settled() {
			err = c.data.setRunning(false)
		}
		errs = append(errs, err)
	}
	if c.wire != nil {
		errs = append(errs, c.wire.Close())
	}
	c.room.close()
	return errors.Join(errs...)
}

// Retire begins an orderly stop: the node says that it is not ready and hands its leadership over. It serves on.
func (c *Cluster) Retire(ctx context.Context) error {
	c.draining.Store(true)
	if !c.raft.IsLeader() || !c.others() {
		return nil
	}
	if end, ok := ctx.Deadline(); ok { // the requests under way need the rest, also where nobody is elected
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
	}
	if err := c.roster.Transfer(ctx, ""); err != nil && c.raft.IsLeader() {
		return fmt.Errorf("hand over the leadership: %w", err)
	}
	return nil
}

// Leave ends an orderly stop, when the last request is answered: the last uses that this node knows of are replicated,
// and it leaves gossip. It stays a member, unless it is ephemeral: then it leaves for good. Close is to follow.
func (c *Cluster) Leave(ctx context.Context) error {
	errs := []error{c.data.setSince(c.keeper.Flush(ctx))}
	c.roster.Close() // it would go on telling the others about this node
	if c.cfg.Ephemeral {
		if err := c.roster.Leave(ctx); err != nil {
			errs = append(errs, fmt.Errorf("leave the cluster: %w", err))
		}
	}
	return errors.Join(append(errs, c.gossip.Leave(ctx))...)
}

// others reports whether there is another voter that could lead.
func (c *Cluster) others() bool {
	servers, err := c.raft.Servers()
	if err != nil {
		return false
	}
	for _, s := range servers {
		if s.Voter && s.ID != c.id() {
			return true
		}
	}
	return false
}

// Do brings a command into the log. The error is the machine's refusal, or says why there is no answer; after any but
// ErrOutcomeUnknown the command has not taken effect and will not.
func (c *Cluster) Do(ctx context.Context, cmd session.Command) (session.Result, error) {
	for {
		result, _, err := c.proposer.Do(ctx, cmd)
		key, ok := subject(cmd)
		if !ok || !errors.Is(err, session.ErrSessionIdle) {
			return result, err
		}
		// The machine judges by the replicated last use, and a later one may still be on its way. A logout that is refused
		// counts as done, so that is for a lookup to say. After one that says otherwise the log knows of the later use.
		if err := c.keeper.Replicate(ctx, key); err != nil {
			return session.Result{}, err
		}
		if _, err := c.lookupAt(ctx, key, Quorum, false); err != nil {
			return session.Result{}, err
		}
	}
}

// subject returns the session that a command changes.
func subject(cmd session.Command) (session.Key, bool) {
	switch cmd := cmd.(type) {
	case *session.Put:
		return cmd.Key, true
	case *session.Delete:
		return cmd.Key, true
	case *session.Invalidate:
		return cmd.Key, true
	}
	return session.Key{}, false
}

// LastUse returns the latest use of a session that this node knows of, given the replicated one.
func (c *Cluster) LastUse(key session.Key, replicated session.Time) session.Time {
	return c.keeper.LastUse(key, replicated)
}

// Now returns cluster time as this node estimates it. Before it has heard from a leader that may be its own wall clock's,
// which nothing may rest on: see Time.
func (c *Cluster) Now() session.Time { return c.clock.Now() }

// Bootstrapper reports whether this node bootstrapped the cluster.
func (c *Cluster) Bootstrapper() bool { return c.roster.Bootstrapper() }

// Ready says why this node should not be sent requests; nil: it should. One that has lost its leader should for readyGrace.
func (c *Cluster) Ready() error {
	switch {
	case c.draining.Load():
		return ErrDraining
	case !c.roster.Placed():
		return ErrJoining
	case c.clock.Synced() && (c.raft.LeaderID() != "" || c.electing()):
		if !c.current.Load() {
			return ErrJoining
		}
		return nil
	}
	for _, m := range c.gossip.Members() {
		if m.ID != c.id() && m.State == gossip.StateAlive {
			return ErrNoLeader
		}
	}
	return ErrCutOff
}

// otherHolders returns the ids of the other nodes that may know of uses: those of the configuration, and those of the
// roster, from which a node goes last.
func (c *Cluster) otherHolders() ([]string, error) {
	servers, err := c.raft.Servers()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, s := range servers {
		ids = append(ids, s.ID)
	}
	c.raft.Read(func(m *session.Machine) {
		for _, member := range m.Members() {
			ids = append(ids, member.ID)
		}
	})
	slices.Sort(ids)
	return slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return id == c.id() }), nil
}

func (c *Cluster) id() string { return c.data.id.NodeID }

// joined is called when the cluster's id becomes known: from now on this node speaks with no other cluster.
func (c *Cluster) joined(id string) error {
	if err := c.data.setCluster(id); err != nil {
		return err
	}
	c.wire.SetCluster(id)
	return nil
}

// fail reports what this node can't survive, once. A node that was removed for having been dead, and one whose log had
// diverged, are to be opened again: see ErrOpenAgain.
func (c *Cluster) fail(err error) {
	c.fatal.Do(func() {
		switch {
		case errors.Is(err, roster.ErrRemoved):
			c.removed.Store(true)
			if saved := c.data.setAnew(); saved != nil {
				err = errors.Join(err, saved)
				break
			}
			err = fmt.Errorf("%w: it was removed while it could not be reached, and joins as a new one", ErrOpenAgain)
		case errors.Is(err, consensus.ErrDiverged):
			err = fmt.Errorf("%w: %w", ErrOpenAgain, err)
		}
		if !errors.Is(err, ErrOpenAgain) {
			c.logger.Error("this node can't go on", "error", err)
		}
		if c.cfg.OnFatal != nil {
			go c.cfg.OnFatal(err)
		}
	})
}
