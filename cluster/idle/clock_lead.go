package idle

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Lead makes this clock cluster time: it is called when this node has become the leader, before it proposes anything.
// others returns the ids of the other nodes of the configuration. If the clock is not synced when Lead returns, Follow
// goes on trying for as long as this node leads.
func (c *Clock) Lead(ctx context.Context, log Log, others func() []string, peers Peers) {
	c.others.Store(&others)
	c.look()
	c.confirm(ctx, log, peers)
	if c.Synced() {
		c.change(func(r *reckoning, mono micros) { r.lead(mono) })
	}
}

// confirm brings a leader whose clock is not synced to a time to lead with.
func (c *Clock) confirm(ctx context.Context, log Log, peers Peers) {
	others := c.others.Load()
	if others == nil || c.Synced() {
		return
	}
	select {
	case c.asking <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-c.asking }()
	if c.Synced() { // by the other call
		return
	}
	inquiry := inquiry{clock: c, peers: peers, since: c.jumps.Load(), silent: (*others)()}
	inquiry.all = len(inquiry.silent)
	if c.trust() == cold {
		inquiry.start(ctx, log)
	} else {
		inquiry.goOn(ctx, log)
	}
}

// inquiry is what a leader that is not sure of cluster time learns from the other nodes.
type inquiry struct {
	clock *Clock
	peers Peers
	since uint64 // jumps of the clock before the first question
	all   int    // the others

	mu     sync.Mutex
	known  []told   // estimates of cluster time, trusted by those who told them or not
	walls  []sample // wall clocks of those who have none
	silent []string // who has not answered
}

// goOn confirms the estimate of a leader that may have stood still. At least one other must have answered, and be it
// that it knows nothing: a leader is never the only node in reach, unless there is no other voter.
func (q *inquiry) goOn(ctx context.Context, log Log) {
	q.askSilent(ctx)
	others := q.all > 0 && (q.clock.voters == nil || q.clock.voters())
	if !log.IsLeader() || others && len(q.silent) == q.all {
		return
	}
	var behind time.Duration
	confirmed := q.clock.unless(q.since, func(r *reckoning, mono micros) {
		// What the others are ahead by less may be their error. Cluster time must not gain it with each inquiry.
		if best, ok := q.highest(); ok && best.lowest() > r.offset+microsIn(MaxJump) {
			behind = (best.offset - r.offset).duration()
			r.set(best.sample, mono)
		}
		r.lead(mono)
	})
	if confirmed {
		q.clock.logger.Info("cluster time is confirmed", "behind", behind)
	}
}

// start finds the time for a leader that knows nothing: from a node that knows it, or else from all wall clocks.
func (q *inquiry) start(ctx context.Context, log Log) {
	c := q.clock
	until := c.mono() + microsIn(ColdPatience)
	q.askSilent(ctx)
	for q.undecided() && c.mono() < until && log.IsLeader() && sleep(ctx, ColdPause) {
		q.askSilent(ctx)
	}
	if !log.IsLeader() || ctx.Err() != nil {
		return // a time that was found for nobody would be shown for ever after
	}
	if best, ok := q.highest(); ok {
		c.unless(q.since, func(r *reckoning, mono micros) {
			r.hear(best.sample, mono)
			r.lead(mono)
		})
		return
	}
	own := c.ownWall()
	median, agree := q.median(own)
	started := c.unless(q.since, func(r *reckoning, mono micros) {
		r.hear(median, mono)
		r.lead(mono)
	})
	if started {
		c.logger.Info("cluster time starts at the median of wall clocks", "clocks", len(q.walls)+1, "agree", agree,
			"own_ahead", (own.offset - median.offset).duration())
	}
}

// undecided reports whether it is worth to wait for more answers.
func (q *inquiry) undecided() bool {
	if _, ok := q.highest(); ok || len(q.silent) == 0 {
		return false
	}
	_, agree := q.median(q.clock.ownWall())
	return agree <= (q.all+1)/2
}

// highest returns the estimate that is certainly as far as any other.
func (q *inquiry) highest() (told, bool) {
	if len(q.known) == 0 {
		return told{}, false
	}
	return slices.MaxFunc(q.known, func(a, b told) int { return cmp.Compare(a.lowest(), b.lowest()) }), true
}

// median returns the middle one of the wall clocks and how many agree with it. Of an even number it is the earlier one
// of the two in the middle: a time that is behind lets sessions live longer, one that is ahead ends them.
func (q *inquiry) median(own sample) (sample, int) {
	walls := slices.SortedFunc(slices.Values(append(slices.Clone(q.walls), own)), func(a, b sample) int { return cmp.Compare(a.offset, b.offset) })
	median := walls[(len(walls)-1)/2]
	agree := 0
	for _, w := range walls {
		if (w.offset - median.offset).duration().Abs() <= WallAgreement {
			agree++
		}
	}
	return median, agree
}

// askSilent asks all who have not answered yet, at once. When most have, the others get StragglerTime: a dead node is
// not to cost more.
func (q *inquiry) askSilent(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	var silent []string
	for _, id := range q.silent {
		group.Go(func() {
			if q.ask(ctx, id) {
				if q.most() {
					time.AfterFunc(StragglerTime, cancel)
				}
				return
			}
			q.mu.Lock()
			defer q.mu.Unlock()
			silent = append(silent, id)
		})
	}
	group.Wait()
	q.silent = silent
}

// most reports whether most nodes, this one too, have said what they know.
func (q *inquiry) most() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.known)+len(q.walls)+1 > (q.all+1)/2
}

// ask asks a node for cluster time, and for its wall clock if it does not know that.
func (q *inquiry) ask(ctx context.Context, id string) bool {
	time, err := q.clock.askTime(ctx, id, q.peers)
	if err == nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.known = append(q.known, time)
		return true
	}
	if !errors.Is(err, ErrNotSynced) {
		return false
	}
	wall, err := q.clock.askWall(ctx, id, q.peers)
	if err != nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.walls = append(q.walls, wall.sample)
	return true
}
