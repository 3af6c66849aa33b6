package tries

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// Log tells who leads: *consensus.Node.
type Log interface {
	IsLeader() bool
	LeaderID() string
	Term() uint64
	Changed() <-chan struct{} // closed when IsLeader or LeaderID changes next
}

// Peers is the node-to-node stream; nodes are called by their ids.
type Peers interface {
	Call(ctx context.Context, id string, kind wire.Kind, body []byte) ([]byte, error)
	Handle(kind wire.Kind, h wire.Handler)
}

// Config is what a Tries needs.
type Config struct {
	Log   Log
	Peers Peers
	Table *Table                      // which the gossip has too
	Now   func() (session.Time, bool) // cluster time; false: not known yet, so nothing is granted

	// Old reports whether a node is of a version that does not know these requests, as far as anybody has said. That it
	// answers so is not enough: so does one that has just opened its port.
	Old func(id string) bool
}

// Tries asks the leader, and as leader decides.
type Tries struct {
	log     Log
	peers   Peers
	table   *Table
	now     func() (session.Time, bool)
	old     func(id string) bool
	queue   chan *question
	pardons chan pardon
	stats   struct{ asked, overloaded, unanswered, lost atomic.Uint64 }

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

// New makes a Tries and registers its requests with the stream.
func New(cfg Config) *Tries {
	t := &Tries{
		log: cfg.Log, peers: cfg.Peers, table: cfg.Table, now: cfg.Now, old: cfg.Old,
		queue: make(chan *question, MaxQueue), pardons: make(chan pardon, MaxForgiven),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	cfg.Peers.Handle(KindReserve, t.serveReserve)
	cfg.Peers.Handle(KindForgive, t.serveForgive)
	return t
}

// Open starts the questions to the leader.
func (t *Tries) Open() {
	t.group.Go(t.ask)
	t.group.Go(t.tell)
}

// Close stops and waits. Tries that were not decided are refused with wire.ErrNoLeader.
func (t *Tries) Close() {
	t.cancel()
	t.group.Wait()
}

// Ticket is a granted try. It counts as a failure unless it is forgiven.
type Ticket struct {
	tries  *Tries
	pardon pardon
	used   atomic.Bool
}

// Told returns a channel that is closed when a call of Forgive has had its effect, or will have none: from then on it is
// worth asking for another try that was refused for this one.
func (k *Ticket) Told() <-chan struct{} { return k.pardon.told }

// Forgive takes the try back: it was no failure. proven says that the password was right, and so makes the address known;
// otherwise it was not looked at. It does not wait. A second call does nothing.
func (k *Ticket) Forgive(proven bool) {
	if k.used.Swap(true) {
		return
	}
	k.pardon.proven = proven
	k.tries.pardon(k.pardon)
}

// Reserve counts a try as failed before the password is looked at. The errors: a Refusal, when too many have failed;
// wire.ErrNoLeader, ErrOverloaded and ErrTimeout, when nobody could be asked.
func (t *Tries) Reserve(ctx context.Context, try Try) (*Ticket, error) {
	if !try.valid() {
		panic("BUG: a try needs the key of a user and that of an address")
	}
	t.stats.asked.Add(1)
	if d, err := t.decide([]Try{try}); err == nil { // this node leads
		return t.ticket(try, outcome{term: d.term, grant: d.grants[0]})
	}
	q := &question{try: try, done: make(chan outcome, 1)}
	select {
	case t.queue <- q:
	default:
		t.stats.overloaded.Add(1)
		return nil, wire.ErrOverloaded
	}
	select {
	case o := <-q.done:
		return t.ticket(try, o)
	case <-ctx.Done():
		if !q.over.CompareAndSwap(false, true) { // both at the same moment
			return t.ticket(try, <-q.done)
		}
		return nil, wire.ErrTimeout
	case <-t.ctx.Done():
		q.over.Store(true)
		return nil, wire.ErrNoLeader
	}
}

func (t *Tries) ticket(try Try, o outcome) (*Ticket, error) {
	switch {
	case o.err != nil:
		t.stats.unanswered.Add(1)
		return nil, o.err
	case o.grant.wait > 0:
		return nil, &Refusal{Wait: o.grant.wait}
	}
	return &Ticket{tries: t, pardon: pardon{Try: try, counted: o.grant.counted, term: o.term, told: make(chan struct{})}}, nil
}

// decide is the leader's word. The error is wire.ErrNoLeader: this node does not lead.
func (t *Tries) decide(tries []Try) (decision, error) {
	term, now, ok := t.office()
	if !ok {
		return decision{}, wire.ErrNoLeader
	}
	return decision{term: term, grants: t.table.reserve(now, term, tries)}, nil
}

// office returns the term that this node leads in, and cluster time; false: it does not lead. The term is read first: an
// office that is lost comes back in a later term only.
func (t *Tries) office() (term uint64, now session.Time, ok bool) {
	term = t.log.Term()
	if !t.log.IsLeader() || t.log.Term() != term {
		return 0, 0, false
	}
	now, ok = t.now()
	return term, now, ok
}

func (t *Tries) serveReserve(_ context.Context, _ wire.Peer, body []byte) ([]byte, error) {
	tries, err := decodeTries(body)
	if err != nil {
		return nil, err
	}
	d, err := t.decide(tries)
	if err != nil {
		return nil, err
	}
	return d.encode(), nil
}

func (t *Tries) serveForgive(_ context.Context, _ wire.Peer, body []byte) ([]byte, error) {
	pardons, err := decodePardons(body)
	if err != nil {
		return nil, err
	}
	term, now, ok := t.office()
	if !ok {
		return nil, wire.ErrNoLeader
	}
	t.table.forgive(now, term, pardons)
	return nil, nil
}

// pardon takes a try back here, if this node leads, or leaves it to be told to the leader.
func (t *Tries) pardon(p pardon) {
	if p.term == ownTerm {
		now, _ := t.now()
		t.table.forgive(now, ownTerm, []pardon{p})
		p.over()
		return
	}
	if term, now, ok := t.office(); ok {
		t.table.forgive(now, term, []pardon{p})
		p.over()
		return
	}
	select {
	case t.pardons <- p:
	default:
		t.stats.lost.Add(1)
		p.over()
	}
}

// tell brings pardons to the leader, once: what is lost leaks away, and what came twice would forgive a failure.
func (t *Tries) tell() {
	for {
		var first pardon
		select {
		case first = <-t.pardons:
		case <-t.ctx.Done():
			return
		}
		batch := gather(first, t.pardons)
		ctx, cancel := context.WithTimeout(t.ctx, RequestTimeout)
		_, _, err := t.call(ctx, KindForgive, encodePardons(batch))
		cancel()
		if err != nil {
			t.stats.lost.Add(uint64(len(batch)))
		}
		for _, p := range batch {
			p.over()
		}
	}
}

// call sends a request to the leader and returns who that is, and its answer.
func (t *Tries) call(ctx context.Context, kind wire.Kind, body []byte) (leader string, answer []byte, err error) {
	leader = t.log.LeaderID()
	if leader == "" {
		return "", nil, wire.ErrNoLeader
	}
	answer, err = t.peers.Call(ctx, leader, kind, body)
	return leader, answer, err
}

// gather takes first and what else has arrived, up to MaxBatch.
func gather[T any](first T, queue <-chan T) []T {
	batch := []T{first}
	for len(batch) < MaxBatch {
		select {
		case one := <-queue:
			batch = append(batch, one)
		default:
			return batch
		}
	}
	return batch
}

// overloaded reports whether the leader refused because it has too much to do: to ask again would add to that.
func overloaded(err error) bool { return errors.Is(err, wire.ErrOverloaded) }

// Stats counts since the start. The gauges are of this node's table, which decides only on the leader.
type Stats struct {
	Asked      uint64 // logins at this node that asked for a try
	Overloaded uint64 // of those, refused by a full queue
	Unanswered uint64 // of those, without an answer: there was no leader
	Lost       uint64 // tries of this node that were no failures and stay counted, as nobody could be told

	Granted, Refused, Forgiven uint64 // by this node as leader
	Heard, Malformed           uint64 // news of counters that this node did not know; messages that it can't read
	Forgotten                  uint64 // counters pushed out of the full table

	Users, Pairs, Addresses, Known int // counters in the table
	News                           int // counters that wait to be told of
	Waiting                        int // logins that wait to be asked for
}

// Stats returns the counters.
func (t *Tries) Stats() Stats {
	s := t.table.stats()
	s.Asked, s.Overloaded = t.stats.asked.Load(), t.stats.overloaded.Load()
	s.Unanswered, s.Lost = t.stats.unanswered.Load(), t.stats.lost.Load()
	s.Waiting = len(t.queue)
	return s
}

func (t *Table) stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Stats{
		Granted: t.counts.granted, Refused: t.counts.refused, Forgiven: t.counts.forgiven, Heard: t.counts.heard,
		Malformed: t.counts.malformed, Forgotten: t.counts.evicted,
		Users: len(t.kinds[kindUser]), Pairs: len(t.kinds[kindPair]), Addresses: len(t.kinds[kindAddress]),
		Known: len(t.kinds[kindKnown]), News: len(t.pending),
	}
}

// pauseFor waits for a change of the leader, but no longer than so long; false: the node closes.
func (t *Tries) pauseFor(changed <-chan struct{}, long time.Duration) bool {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-t.ctx.Done():
		return false
	}
	return true
}
