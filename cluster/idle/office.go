package idle

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// office is a leader's part: it begins when the node has taken office, and ends with that.
type office struct {
	*Keeper
	begun time.Time
	board *board
	grey  *limiter     // of uses that lookups wait for
	fence atomic.Int64 // whoever is given leave to serve from now on has applied a stamp not before it

	mu       sync.Mutex
	backlogs map[string]backlog // of each node, as it said last
}

// backlog is how many uses waited at a node for their turn.
type backlog struct {
	uses int
	at   time.Time
}

// Lead does a leader's work until ctx ends: it replicates uses, ends what is over, and sweeps.
func (k *Keeper) Lead(ctx context.Context) {
	o := &office{Keeper: k, begun: time.Now(), grey: newLimiter(GreyTouchRate), backlogs: make(map[string]backlog)}
	o.board = newBoard(o.touch, &k.stats.coalesced)
	k.office.Store(o)
	var work sync.WaitGroup
	work.Go(func() { o.board.run(ctx) })
	work.Go(func() { o.expire(ctx) })
	work.Go(func() { newPacer(o).run(ctx) })
	work.Go(func() { every(ctx, ExpireInterval, o.sweep) })
	<-ctx.Done()
	k.office.CompareAndSwap(o, nil) // first: what comes from now on is for the next leader
	work.Wait()
	k.stats.lag.Store(0)
}

// take brings a node's uses into the log. What is there already is left out.
func (o *office) take(ctx context.Context, from string, q touchRequest) (index uint64, err error) {
	o.mu.Lock()
	o.backlogs[from] = backlog{uses: int(q.backlog), at: time.Now()}
	o.mu.Unlock()
	index = o.applied()
	now := o.cfg.Clock.Now()
	uses := make([]session.Use, 0, len(q.uses))
	for i, f := range o.facts(keysOf(q.uses)) {
		u := q.uses[i]
		u.At = min(u.At, now) // another node's estimate may be a little ahead
		switch {
		case f.live && u.At > f.rep:
			uses = append(uses, u)
		case u.At < f.rep: // else it is the same one, brought again
			o.stats.coalesced.Add(1)
		}
	}
	later, err := o.board.bring(ctx, uses)
	return max(index, later), err
}

// touch proposes a Touch and returns the index to wait for.
func (o *office) touch(ctx context.Context, uses []session.Use) (index uint64, err error) {
	if err := o.propose(ctx, &session.Touch{Uses: uses}); err != nil {
		return 0, err
	}
	o.stats.touches.Add(1)
	return o.applied(), nil
}

// propose proposes a command as leader: one that a former leader has judged right is not for the next one to carry out.
func (o *office) propose(ctx context.Context, cmd session.Command) error {
	now, ok := o.cfg.Clock.Stamp()
	if !ok || !o.cfg.Log.IsLeader() {
		return wire.ErrNoLeader
	}
	_, err := o.cfg.Do(ctx, cmd)
	if err == nil {
		raise(&o.fence, now)
	}
	return err
}

// sweep removes the records of sessions that were ended together.
func (o *office) sweep(ctx context.Context) {
	for {
		var pending bool
		o.cfg.Machine.Read(func(m *session.Machine) { pending = m.SweepPending() })
		if !pending {
			return
		}
		if err := o.propose(ctx, &session.Sweep{}); err != nil {
			o.failed("ended sessions not swept, will be tried again", err)
			return
		}
	}
}

// failed logs what failed, unless it is because the office has ended.
func (o *office) failed(what string, err error) {
	if o.cfg.Log.IsLeader() && o.ctx.Err() == nil {
		o.cfg.Logger.Warn(what, "error", err)
	}
}

// every calls fn at intervals until ctx ends.
func every(ctx context.Context, interval time.Duration, fn func(context.Context)) {
	for sleep(ctx, interval) {
		fn(ctx)
	}
}
