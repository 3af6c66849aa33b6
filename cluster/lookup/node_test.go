package lookup

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/lease"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// node is one of a world: its log, its peers, its table, its clocks.
type node struct {
	w        *world
	id       string
	reader   *Reader
	handlers map[wire.Kind]wire.Handler

	// Guarded by the world's mutex.
	up       bool
	term     uint64
	leader   string
	leads    bool
	log      []entry
	proposed lease.Time    // when the last command of the protocol was
	stalls   bool          // applies nothing
	torn     time.Duration // by which the next reading of the wall clock is older than that of the other
	halted   bool          // its clocks stand still
	heldMono lease.Time
	heldWall time.Time
	behind   lease.Time    // by which its monotonic clock has stood still
	wallBy   time.Duration // its wall clock was set by as much
	calls    map[wire.Kind]int
	lost     map[wire.Kind]bool // what this node is told of these kinds, it never hears
	flying   map[string]int     // reports under way, by leader
	most     int                // of these at a time

	applied atomic.Uint64
	mu      sync.RWMutex // of the table
	table   map[string]uint64
	handed  bool            // the last entry was a hand-over
	before  map[uint64]bool // that, before each entry
}

var (
	_ Log   = (*node)(nil)
	_ Peers = (*node)(nil)
)

func newNode(w *world, id string) *node {
	n := &node{w: w, id: id, up: true, handlers: map[wire.Kind]wire.Handler{}, table: map[string]uint64{}, before: map[uint64]bool{}, calls: map[wire.Kind]int{}, lost: map[wire.Kind]bool{}, flying: map[string]int{}}
	n.reader = New(Config{
		NodeID: id, Log: n, Peers: n, Lease: w.leaseConfig(), Clock: n.clock, Direct: n.direct,
		Members: func() []string { return w.ids },
	})
	return n
}

func (n *node) locked(fn func()) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	fn()
}

func (n *node) IsLeader() (leads bool) {
	n.locked(func() { leads = n.leads })
	return leads
}

func (n *node) LeaderID() (id string) {
	n.locked(func() { id = n.leader })
	return id
}

func (n *node) Term() (term uint64) {
	n.locked(func() { term = n.term })
	return term
}

func (n *node) CommitIndex() (index uint64) {
	n.locked(func() { index = n.w.commit })
	return index
}

func (n *node) Changed() (changed <-chan struct{}) {
	n.locked(func() { changed = n.w.changed })
	return changed
}

func (n *node) Servers() ([]consensus.Server, error) { return n.w.servers(), nil }

func (n *node) Applied() uint64 { return n.applied.Load() }

func (n *node) WaitApplied(ctx context.Context, index uint64) error {
	for n.Applied() < index {
		if !pause(ctx, time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

// clock reads this node's clocks.
func (n *node) clock() (mono lease.Time, wall time.Time) {
	n.locked(func() {
		now := time.Now()
		mono, wall = lease.Time(now.Sub(n.w.start))-n.behind, now.Add(n.wallBy)
		wall, n.torn = wall.Add(-n.torn), 0
		if n.halted {
			mono, wall = n.heldMono, n.heldWall
		}
	})
	return mono, wall
}

// halt stops the clocks, as when the machine is suspended. Its goroutines go on, but not by its time.
func (n *node) halt() {
	mono, wall := n.clock()
	n.locked(func() { n.heldMono, n.heldWall, n.halted = mono, wall, true })
}

// wake lets the monotonic clock go on from where it stood. The wall clock is right.
func (n *node) wake() {
	n.locked(func() {
		n.behind = lease.Time(time.Since(n.w.start)) - n.heldMono
		n.halted = false
	})
}

func (n *node) suspended() (halted bool) {
	n.locked(func() { halted = n.halted })
	return halted
}

// holds reports whether a lookup may be answered from this node's table, by its own clock.
func (n *node) holds() bool {
	s := n.reader.run.state.Load()
	now, _ := n.clock()
	return s.Holds(now, n.Applied())
}

// asked returns how many requests of a kind this node has made.
func (n *node) asked(kind wire.Kind) (count int) {
	n.locked(func() { count = n.calls[kind] })
	return count
}

func (n *node) Handle(kind wire.Kind, h wire.Handler) { n.handlers[kind] = h }

// Call takes a hop in each direction. Over a cut link nothing comes back.
func (n *node) Call(ctx context.Context, id string, kind wire.Kind, body []byte) ([]byte, error) {
	n.locked(func() {
		n.calls[kind]++
		if kind == KindReport {
			n.flying[id]++
			n.most = max(n.most, n.flying[id])
		}
	})
	defer n.locked(func() {
		if kind == KindReport {
			n.flying[id]--
		}
	})
	if !n.travel(ctx, n.id, id) {
		return nil, wire.ErrLost
	}
	var lost bool
	n.locked(func() { lost = n.w.nodes[id].lost[kind] })
	if lost {
		<-ctx.Done()
		return nil, wire.ErrLost
	}
	answer, err := n.w.nodes[id].handlers[kind](ctx, wire.Peer{ID: n.id}, body)
	if !n.travel(ctx, id, n.id) {
		return nil, wire.ErrLost
	}
	return answer, err
}

// travel brings a message over a link, or waits until nobody waits for it.
func (n *node) travel(ctx context.Context, from, to string) bool {
	if !pause(ctx, hop) {
		return false
	}
	if !n.w.linked(from, to) {
		<-ctx.Done()
		return false
	}
	return true
}

// replicate stores what the leader has and applies what is committed, as this node gets to it.
func (n *node) replicate() {
	for pause(n.w.ctx, hop) {
		var stored, upTo uint64
		n.locked(func() {
			if n.w.leader == "" || !n.up || !n.w.linkedLocked(n.w.leader, n.id) {
				return
			}
			if n.term != n.w.term {
				n.term, n.leader, n.leads = n.w.term, n.w.leader, n.id == n.w.leader
				n.w.wakeLocked()
			}
			stored = n.fetchLocked(n.w.nodes[n.w.leader])
			n.w.commitLocked()
			if !n.stalls {
				upTo = min(n.w.commit, uint64(len(n.log)))
			}
		})
		if stored > 0 {
			n.reader.Stored(stored)
		}
		for i := n.Applied() + 1; i <= upTo; i++ {
			n.apply(i)
		}
	}
}

// fetchLocked makes this node's log that of the leader, and returns the highest term of what is new in it.
func (n *node) fetchLocked(leader *node) (term uint64) {
	if n == leader {
		return 0
	}
	same := min(len(n.log), len(leader.log))
	for same > 0 && n.log[same-1].term != leader.log[same-1].term {
		same--
	}
	n.log = append(n.log[:same:same], leader.log[same:]...)
	for _, e := range n.log[same:] {
		term = max(term, e.term)
	}
	return term
}

func (n *node) hasLocked(index, term uint64) bool {
	return uint64(len(n.log)) >= index && n.log[index-1].term == term
}

func (n *node) apply(index uint64) {
	var e entry
	n.locked(func() { e = n.log[index-1] })
	n.mu.Lock()
	n.before[index] = n.handed
	h, ok := e.cmd.(*session.Handover)
	n.handed = ok && h.Term == e.term
	if e.key != "" {
		n.table[e.key] = index
	}
	n.mu.Unlock()
	n.applied.Store(index)
	n.reader.Applied(index, e.term)
}

// install replaces the table by that of another node.
func (n *node) install(from *node) {
	from.mu.RLock()
	table, applied := maps.Clone(from.table), from.Applied()
	from.mu.RUnlock()
	n.reader.Restoring()
	n.mu.Lock()
	n.table = table
	n.mu.Unlock()
	n.applied.Store(applied)
	n.reader.Restored(applied)
}

// govern does what the façade does when this node is elected and when it loses the office.
func (n *node) govern() {
	for n.w.ctx.Err() == nil {
		changed := n.Changed()
		if n.IsLeader() {
			term := n.Term()
			for n.reader.Lead(n.w.ctx, term) && n.IsLeader() && n.Term() == term && n.w.ctx.Err() == nil {
				n.await(changed)
				changed = n.Changed()
			}
			n.reader.Deposed()
			continue
		}
		n.await(changed)
	}
}

func (n *node) await(changed <-chan struct{}) {
	select {
	case <-changed:
	case <-n.w.ctx.Done():
	}
}

// propose brings an entry into the log as this node, and waits until this node has applied it.
func (n *node) propose(ctx context.Context, e entry) (consensus.Applied, error) {
	index, term, ok := n.w.append(n, e)
	for {
		var lost bool
		n.locked(func() {
			lost = !n.leads || n.term != term || ok && !n.hasLocked(index, term)
		})
		if ok && n.Applied() >= index && !lost {
			n.mu.RLock()
			defer n.mu.RUnlock()
			results := []session.Result{{Handed: n.before[index]}}
			return consensus.Applied{Index: index, Term: term, Results: results}, nil
		}
		if lost {
			return consensus.Applied{}, consensus.ErrLeadershipLost
		}
		if !pause(ctx, time.Millisecond) {
			return consensus.Applied{}, ctx.Err()
		}
	}
}

// direct is the Reader's way into the log.
func (n *node) direct(ctx context.Context, cmd session.Command) (consensus.Applied, lease.Time, error) {
	proposed := n.reader.Clock()
	n.locked(func() { n.proposed = proposed })
	applied, err := n.propose(ctx, entry{cmd: cmd})
	return applied, proposed, err
}

var errNotWritten = errors.New("not written")

// write changes a key by way of the leader and returns when that is acknowledged here.
func (n *node) write(ctx context.Context, key string) error {
	leader := n.w.nodes[n.LeaderID()]
	if leader == nil || !n.travel(ctx, n.id, leader.id) {
		return errNotWritten
	}
	if err := leader.reader.Enter(ctx); err != nil {
		return err
	}
	proposed := leader.reader.Clock()
	applied, err := leader.propose(ctx, entry{key: key})
	if err != nil {
		return err
	}
	leader.reader.Committed(lease.OtherCommand, applied.Term, applied.Index, proposed, false)
	if err := leader.reader.Await(ctx, applied.Index); err != nil {
		return err
	}
	if !n.travel(ctx, leader.id, n.id) {
		return errNotWritten
	}
	n.reader.Learn(applied.Index)
	n.w.checkHolders(applied.Index)
	n.w.tell(key, applied.Index)
	return nil
}

// lookup returns the version of a key, and fails the test when that is older than what anybody was told before.
func (n *node) lookup(ctx context.Context, level Level, key string) (uint64, error) {
	least := n.w.promised(key)
	for {
		p, err := n.reader.Begin(ctx, level)
		if err != nil {
			return 0, err
		}
		n.mu.RLock()
		version := n.table[key]
		n.mu.RUnlock()
		ok, err := n.reader.Confirm(ctx, p, version)
		if err != nil {
			return 0, err
		}
		if !ok {
			continue
		}
		if level != Local {
			if version < least {
				n.w.t.Errorf("lookup of %s on %s: version %d, but somebody was told of %d before", key, n.id, version, least)
			}
			n.w.tell(key, version)
		}
		return version, nil
	}
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
