package idle

import (
	"context"
	"errors"
	"sync"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// inquire is the rest of a lookup of a session that is over as far as this node knows: the leader asks all nodes, what
// comes out goes into the log, and is judged by here once it is applied.
func (k *Keeper) inquire(ctx context.Context, key session.Key, used Arrival) (session.View, uint64, error) {
	until := time.Now().Add(GreyPatience)
	for asked := 0; asked < MaxQuestions; {
		v, err := k.grey.get(ctx, k.ctx, query{key: key, use: used.counts})
		if err != nil {
			return session.View{}, 0, err
		}
		k.stats.judged(v)
		switch v {
		case unsettled:
			if time.Now().After(until) {
				return session.View{}, 0, wire.ErrNoLeader
			}
			if !sleep(ctx, GreyPause) {
				return session.View{}, 0, wire.ErrTimeout
			}
			continue
		case alive, undecided:
			if !used.counts {
				return k.pass(key)
			}
		case ended:
		}
		asked++
		if view, mod, over, err := k.judge(key, used, true); !over {
			return view, mod, err
		}
	}
	return session.View{}, 0, wire.ErrTimeout
}

// pass returns a session that the leader lets pass, unless it has ended.
func (k *Keeper) pass(key session.Key) (session.View, uint64, error) {
	view, f := k.read(key)
	switch {
	case !f.live:
		return session.View{}, f.mod, f.refusal()
	case k.cfg.Clock.Now() >= f.expires:
		return session.View{}, 0, session.ErrSessionInvalid
	}
	return view, f.mod, nil
}

// askLeader asks the leader about sessions, and returns when this node's machine has come to the answer. A question may
// be repeated whatever has become of it.
func (k *Keeper) askLeader(ctx context.Context, queries []query) ([]verdict, error) {
	k.stats.questions.Add(uint64(len(queries)))
	until := time.Now().Add(GreyPatience)
	for {
		verdicts, err := k.askOnce(ctx, queries)
		if err == nil || errors.Is(err, wire.ErrOverloaded) {
			return verdicts, err
		}
		if time.Now().After(until) || !sleep(ctx, GreyPause) {
			k.cfg.Logger.Debug("sessions not asked about", "sessions", len(queries), "error", err)
			return nil, wire.ErrNoLeader
		}
	}
}

func (k *Keeper) askOnce(ctx context.Context, queries []query) ([]verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, GreyTimeout)
	defer cancel()
	a, err := k.ruling(ctx, queries)
	if err != nil {
		return nil, err
	}
	if len(a.verdicts) != len(queries) {
		return nil, session.ErrBadEncoding
	}
	return a.verdicts, k.cfg.Log.WaitApplied(ctx, a.index)
}

func (k *Keeper) ruling(ctx context.Context, queries []query) (a greyAnswer, err error) {
	if o := k.office.Load(); o != nil {
		a.verdicts, a.index, err = o.hear(ctx, queries, true)
		return a, err
	}
	leader := k.cfg.Log.LeaderID()
	if leader == "" || leader == k.cfg.Self {
		return a, wire.ErrNoLeader
	}
	answer, err := k.cfg.Peers.Call(ctx, leader, KindGrey, greyRequest{queries: queries}.encode())
	if err != nil {
		return a, err
	}
	return decodeVerdicts(answer)
}

func (k *Keeper) serveGrey(ctx context.Context, _ wire.Peer, body []byte) ([]byte, error) {
	q, err := decodeGrey(body)
	if err != nil {
		return nil, err
	}
	o := k.office.Load()
	if o == nil {
		return nil, wire.ErrNoLeader
	}
	verdicts, index, err := o.hear(ctx, q.queries, true)
	if err != nil {
		return nil, err
	}
	return greyAnswer{index: index, verdicts: verdicts}.encode(), nil
}

// rounds lets lookups that ask at the same time share one question. None joins a question that has begun: it would get a
// verdict about a moment before it came.
type rounds struct {
	ask   func(ctx context.Context, queries []query) ([]verdict, error)
	wake  chan struct{} // capacity 1
	slots chan struct{} // one for each round under way

	mu      sync.Mutex
	waiting []*round // the last one takes more
}

type round struct {
	queries  []query
	place    map[session.Key]int // in queries
	done     chan struct{}
	verdicts []verdict
	err      error
}

func newRounds(ask func(context.Context, []query) ([]verdict, error)) *rounds {
	return &rounds{ask: ask, wake: make(chan struct{}, 1), slots: make(chan struct{}, GreyInFlight)}
}

// get asks about a session. The second context is that of the rounds.
func (r *rounds) get(ctx, whole context.Context, q query) (verdict, error) {
	n, place, err := r.join(q)
	if err != nil {
		return 0, err
	}
	select {
	case <-n.done:
		if n.err != nil {
			return 0, n.err
		}
		return n.verdicts[place], nil
	case <-ctx.Done():
		return 0, wire.ErrTimeout
	case <-whole.Done():
		return 0, wire.ErrNoLeader
	}
}

func (r *rounds) join(q query) (n *round, place int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.waiting {
		if i, known := n.place[q.key]; known {
			n.queries[i].use = n.queries[i].use || q.use
			return n, i, nil
		}
	}
	if len(r.waiting) > 0 {
		n = r.waiting[len(r.waiting)-1]
	}
	if n == nil || len(n.queries) == MaxAsk {
		if len(r.waiting) == MaxGrey {
			return nil, 0, wire.ErrOverloaded
		}
		n = &round{place: make(map[session.Key]int), done: make(chan struct{})}
		r.waiting = append(r.waiting, n)
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	n.place[q.key] = len(n.queries)
	n.queries = append(n.queries, q)
	return n, len(n.queries) - 1, nil
}

// run asks until ctx ends, and waits for what is under way.
func (r *rounds) run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		select {
		case <-r.wake:
		case <-ctx.Done():
			return
		}
		for n := r.next(ctx); n != nil; n = r.next(ctx) {
			group.Go(func() {
				n.verdicts, n.err = r.ask(ctx, n.queries)
				<-r.slots
				close(n.done)
			})
		}
	}
}

// next waits for a place and returns the round to take it, nil if there is none or ctx has ended. The place is awaited
// first: who comes meanwhile joins.
func (r *rounds) next(ctx context.Context) *round {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		<-r.slots
		return nil
	}
	n := r.waiting[0]
	r.waiting = r.waiting[1:]
	return n
}
