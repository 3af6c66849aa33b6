package roster

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/gossip"
	"cloakroom/cluster/wire"
)

// Health is what the leader knows of a member.
type Health struct {
	Applied    uint64 // index that its machine has applied
	DiskLow    bool   // it has no room for what is new
	MemoryFull bool
	Draining   bool      // an operator has taken it out of service, or it is stopping
	Answers    bool      // it answered the last question; if not, the fields above are of its last answer
	DeadSince  time.Time // neither gossip nor the stream has found it since then; zero: one of them has
}

// sight is what has been seen of one member.
type sight struct {
	Health
	voter  bool
	heard  time.Time // last answer; the first round counts as one, since the silence before it means nothing
	steady time.Time // since when every answer said that it keeps up
}

// watch is what this node has seen of the members since it took office.
type watch struct {
	cramped atomic.Bool // most voters have no room on their disks

	mu     sync.Mutex
	looked time.Time
	sights map[string]sight
}

// look is what one round of questions has found of one member.
type look struct {
	server    consensus.Server
	condition condition
	answered  bool
	gossiped  bool // gossip finds it alive
}

func (w *watch) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sights, w.looked = nil, time.Time{}
	w.cramped.Store(false)
}

// note adds a round of questions, asked when commit was the commit index.
func (w *watch) note(now time.Time, commit uint64, looks []look) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.sights
	if now.Sub(w.looked) > WatchGap {
		before = nil
	}
	w.looked, w.sights = now, make(map[string]sight, len(looks))
	for _, l := range looks {
		w.sights[l.server.ID] = before[l.server.ID].with(now, commit, l)
	}
	w.cramped.Store(w.crampedLocked(now))
}

func (s sight) with(now time.Time, commit uint64, l look) sight {
	s.voter, s.Answers = l.server.Voter, l.answered
	if l.answered || s.heard.IsZero() {
		s.heard = now
	}
	if l.answered {
		s.Applied, s.DiskLow, s.MemoryFull = l.condition.Applied, l.condition.DiskLow, l.condition.MemoryFull
		s.Draining = l.condition.Draining
	}
	s.steady = since(s.steady, now, s.keepsUp(commit))
	s.DeadSince = since(s.DeadSince, now, !l.answered && !l.gossiped)
	return s
}

// keepsUp reports whether the vote of a member would help. One that raft has not reached yet has applied nothing; one
// without room on its disk accepts nothing.
func (s sight) keepsUp(commit uint64) bool {
	return s.Answers && s.Applied > 0 && s.Applied+CaughtUp >= commit && !s.DiskLow
}

// since returns the time from which on something has been so.
func since(was, now time.Time, so bool) time.Time {
	switch {
	case !so:
		return time.Time{}
	case was.IsZero():
		return now
	}
	return was
}

// crampedLocked reports whether the voters with room on their disks are less than a majority.
func (w *watch) crampedLocked(now time.Time) bool {
	voters, room := 0, 0
	for _, s := range w.sights {
		if s.voter {
			voters++
			if !s.DiskLow && now.Sub(s.heard) < HealthStale {
				room++
			}
		}
	}
	return room < majority(voters)
}

func (w *watch) all() map[string]sight {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.sights)
}

// survey asks all members how they are.
func (r *Roster) survey(ctx context.Context) error {
	servers, err := r.cfg.Raft.Servers()
	if err != nil {
		return err
	}
	commit := r.cfg.Raft.CommitIndex() // before the questions: what is committed while they are under way, nobody lags behind
	alive := r.gossiped()
	looks := make([]look, len(servers))
	var group sync.WaitGroup
	for i, s := range servers {
		group.Go(func() {
			looks[i] = look{server: s, gossiped: alive[s.ID]}
			looks[i].condition, looks[i].answered = r.howIs(ctx, s.ID)
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return wire.ErrTimeout // the questions were cut short: they say nothing of those who did not answer
	}
	r.watch.note(time.Now(), commit, looks)
	return nil
}

// howIs asks one member. One of the first version, which does not know the question, is there at least.
func (r *Roster) howIs(ctx context.Context, id string) (condition, bool) {
	if id == r.cfg.Self.ID {
		return r.condition(), true
	}
	ctx, cancel := context.WithTimeout(ctx, HealthTimeout)
	defer cancel()
	answer, err := r.cfg.Peers.Call(ctx, id, KindHealth, nil)
	if err != nil {
		return condition{}, errors.Is(err, wire.ErrUnknownRequest)
	}
	c, err := decode[condition](answer)
	return c, err == nil
}

// Ask asks one member, or this node itself, how it is. Of one of the first version only Answers is known.
func (r *Roster) Ask(ctx context.Context, id string) (Health, bool) {
	c, answers := r.howIs(ctx, id)
	return Health{Applied: c.Applied, DiskLow: c.DiskLow, MemoryFull: c.MemoryFull, Draining: c.Draining, Answers: answers}, answers
}

// condition is how this node is.
func (r *Roster) condition() condition {
	c := condition{Applied: r.cfg.Raft.Applied()}
	if r.cfg.Guards != nil {
		c.DiskLow, c.MemoryFull = r.cfg.Guards()
	}
	if r.cfg.Draining != nil {
		c.Draining = r.cfg.Draining()
	}
	return c
}

func (r *Roster) serveHealth(context.Context, wire.Peer, []byte) ([]byte, error) {
	return encode(r.condition())
}

// gossiped returns the nodes that gossip finds alive.
func (r *Roster) gossiped() map[string]bool {
	alive := make(map[string]bool)
	for _, g := range r.cfg.Gossip.Members() {
		if g.State == gossip.StateAlive {
			alive[g.ID] = true
		}
	}
	return alive
}

// Health returns what this node knows of each member as the leader; empty when it does not lead.
func (r *Roster) Health() map[string]Health {
	all := make(map[string]Health)
	if !r.cfg.Raft.IsLeader() {
		return all
	}
	for id, s := range r.watch.all() {
		all[id] = s.Health
	}
	return all
}

// Room reports whether most voters have room on their disks for new entries, as far as this node knows as the leader.
func (r *Roster) Room() bool { return !r.watch.cramped.Load() }
