// Package gossip owns what a node knows of the others by hearsay: who is there, where, with which metadata, and who
// has left or failed. It does not decide anything from it: who is a member of the raft group is the roster's business,
// and a failure heard of here means "look".
//
// It adapts hashicorp/memberlist. All traffic is encrypted under one key; nodes of another cluster are refused, nodes
// without a cluster are let in. Changes are not handed out one by one: Changed says that there is something new and
// Members says what is true now, so a slow reader misses steps, never the result, and no queue can run full.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"cloakroom/cluster/seed"
	"cloakroom/cluster/wire"
)

// ErrClosed says that the gossip has been closed.
var ErrClosed = errors.New("gossip is closed")

// Gossip is one node's part in the gossip. Open makes it.
type Gossip struct {
	logger   *slog.Logger
	list     *memberlist.Memberlist
	lines    *logWriter // memberlist's log
	gate     *gate
	unwatch  func() // the ring of keys
	delegate *delegate
	table    *table
	resolver seed.Resolver
	seeds    []seed.Seed
	addr     string        // IP:port that others use
	patience time.Duration // of Leave, for each of its messages; leaveWait

	cancel     context.CancelFunc // stops the group
	cancelJoin context.CancelFunc // stops looking for seeds
	group      sync.WaitGroup

	// mu guards the fields below, and serialises changes of our metadata: memberlist.UpdateNode must not run twice at
	// a time. Lock order: mu, then memberlist's own lock, then table.mu. It is never held while anything waits.
	mu       sync.Mutex
	closed   bool
	left     chan struct{} // nil until Leave is called, closed when it is done
	leaveErr error         // valid when left is closed
}

// Stats are counters since Open and the present number of members by state, this node included.
type Stats struct {
	Alive, Left, Failed int

	Joins, Updates, Leaves, Failures uint64 // changes of members
	RefusedForeign                   uint64 // messages about nodes of another cluster
	RefusedMeta                      uint64 // messages with metadata that can't be read
	Conflicts                        uint64 // messages about one node at two addresses
	JoinAttempts, JoinFailures       uint64 // single addresses tried, and seeds without one

	RefusedPackets uint64     // that no member of this cluster has sent, or not now, or not so
	RefusedStreams uint64     // connections, the same
	Replayed       uint64     // of both, those whose message had come before
	Crowded        uint64     // of the streams, those that were turned out because there were too many
	Keys           []KeyStats // the ring's, in its order

	Health int // memberlist's score of this node itself: 0 is well, more is slow
}

// KeyStats says what has come under one key. An old key can go when no more does: all nodes send under the new one then.
type KeyStats struct {
	ID       wire.KeyID
	Received uint64 // packets and messages on streams
}

// Open starts to listen and to look for the seeds. It does not wait for them: a node may be the first. It fails on a
// wrong configuration, unknown names in it other than the seeds', and a port in use.
func Open(cfg Config) (*Gossip, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("open gossip: %w", err)
	}
	seeds, err := cfg.seeds()
	if err != nil {
		return nil, fmt.Errorf("open gossip: %w", err)
	}
	d := &delegate{id: cfg.NodeID, table: newTable(), news: cfg.News}
	if err := d.announce(announcement{Meta: cfg.Meta}); err != nil {
		return nil, fmt.Errorf("open gossip: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	lines := &logWriter{logger: cfg.Logger}
	list, gate, unwatch, err := create(ctx, cfg, d, lines)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("open gossip: %w", err)
	}
	g := &Gossip{
		logger:   cfg.Logger,
		list:     list,
		lines:    lines,
		gate:     gate,
		unwatch:  unwatch,
		delegate: d,
		table:    d.table,
		resolver: cfg.resolver(),
		seeds:    seeds,
		addr:     list.LocalNode().Address(),
		patience: leaveWait,
		cancel:   cancel,
	}
	joining, cancelJoin := context.WithCancel(ctx)
	g.cancelJoin = cancelJoin
	g.group.Go(func() { g.report(ctx) })
	g.group.Go(func() { g.rejoin(joining) })
	return g, nil
}

// create opens the transport and makes memberlist's part. Both have the keys of the ring from then on, until unwatch.
func create(ctx context.Context, cfg Config, d *delegate, lines *logWriter) (list *memberlist.Memberlist, gate *gate, unwatch func(), err error) {
	conf, err := cfg.memberlist(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	conf.Logger = log.New(lines, "", 0)
	conf.Delegate, conf.Events, conf.Alive, conf.Merge, conf.Conflict = d, d, d, d, d
	t, err := cfg.listen(conf)
	if err != nil {
		return nil, nil, nil, err
	}
	gate = newGate(t, cfg.Logger)
	var exchanging sync.Mutex
	exchange := func() error {
		exchanging.Lock()
		defer exchanging.Unlock()
		return gate.exchange(cfg.Keys, conf.Keyring)
	}
	unwatch = cfg.Keys.Watch(exchange)
	if err = exchange(); err == nil {
		conf.Transport = gate
		list, err = memberlist.Create(conf)
	}
	if err != nil {
		unwatch()
		return nil, nil, nil, errors.Join(err, gate.Shutdown())
	}
	return list, gate, unwatch, nil
}

// Addr returns the IP:port that others use.
func (g *Gossip) Addr() string { return g.addr }

// Members returns the live members, this node included, and those that left or failed within the last ten minutes,
// sorted by id. The slice is the caller's.
func (g *Gossip) Members() []Member { return g.table.list(g.delegate.clusterID()) }

// Changed returns a channel that receives after Members has changed; one signal may stand for many changes. It is
// made for one reader.
func (g *Gossip) Changed() <-chan struct{} { return g.table.changed }

// SetMeta changes what this node announces. It does not wait until others have heard of it. The id can't change, nor
// a cluster id that has been set. After Leave it is refused.
func (g *Gossip) SetMeta(m Meta) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.left != nil {
		return fmt.Errorf("set metadata: %w", ErrClosed)
	}
	old := g.delegate.own.Load()
	if m.ID != old.ID || old.ClusterID != "" && m.ClusterID != old.ClusterID {
		return fmt.Errorf("set metadata: the id %q and the cluster id %q can't change", old.ID, old.ClusterID)
	}
	if m == old.Meta {
		return nil
	}
	if err := g.delegate.announce(announcement{Meta: m}); err != nil {
		return fmt.Errorf("set metadata: %w", err)
	}
	// The only error says that no packet has left within the time, which is not enough for any on purpose.
	_ = g.list.UpdateNode(time.Nanosecond)
	return nil
}

// Leave tells the others that this node goes on purpose, and stops looking for seeds. It waits until some have heard
// it, some seconds at most, and no longer than ctx. A second call waits for the first. Call Close afterwards.
func (g *Gossip) Leave(ctx context.Context) error {
	left, err := g.startLeaving()
	if err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	select {
	case <-left:
		return g.leaveErr
	case <-ctx.Done():
		return fmt.Errorf("leave: %w", context.Cause(ctx))
	}
}

func (g *Gossip) startLeaving() (<-chan struct{}, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, ErrClosed
	}
	if g.left != nil {
		return g.left, nil
	}
	if err := g.delegate.announce(announcement{Meta: g.delegate.own.Load().Meta, leaving: true}); err != nil {
		return nil, err
	}
	g.left = make(chan struct{})
	g.cancelJoin()
	g.group.Go(g.leave)
	return g.left, nil
}

// leave sends two messages: "I am about to leave", then memberlist's own, which its users can't tell from a death.
// The second would replace the first in the queue, hence the wait between them.
func (g *Gossip) leave() {
	defer close(g.left)
	err := g.list.UpdateNode(g.patience)
	if err != nil {
		// An update that memberlist makes of its own accord at the same moment swallows this one.
		err = g.list.UpdateNode(g.patience)
	}
	if err := errors.Join(err, g.list.Leave(g.patience)); err != nil {
		g.leaveErr = fmt.Errorf("leave: %w", err)
	}
}

// Stats returns counters and the number of members.
func (g *Gossip) Stats() Stats {
	s := g.table.stats(g.delegate.clusterID())
	s.Health = g.list.GetHealthScore()
	g.gate.stats(&s)
	return s
}

// Close stops the gossip without a word to the others (see Leave) and waits for what this package started: an attempt
// to reach a seed may take streamTimeout twice. A probe that memberlist has under way ends by itself within
// awarenessMax × probeInterval; it can't be waited for, but logs no more.
func (g *Gossip) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	g.mu.Unlock()
	g.unwatch()
	g.cancelJoin()
	g.cancel()
	g.group.Wait() // first: memberlist panics when a node leaves after the shutdown
	err := g.list.Shutdown()
	g.lines.closed.Store(true)
	if err != nil {
		return fmt.Errorf("close gossip: %w", err)
	}
	return nil
}

// report logs changes of members outside of memberlist's lock.
func (g *Gossip) report(ctx context.Context) {
	for {
		select {
		case e := <-g.table.events:
			g.logger.Info(e.what, "member", e.member.ID, "name", e.member.Name, "address", e.member.GossipAddr, "state", e.member.State)
		case <-ctx.Done():
			return
		}
	}
}
