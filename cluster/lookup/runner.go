package lookup

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/lease"
	"cloakroom/cluster/watermark"
)

// runner gives this node's part in the lease protocol its clock, its mutex and its hands: it steps the machine, publishes
// what lookups and commands need to know, and then carries out what the machine has told it to do.
//
// In that order, since others act on the messages: a leader must know of a grant before the member does, and no lookup may
// find a lease of which others have been told that it is over.
//
// mu is held while only the machine works; the mutexes of the post and of the mark are taken after it or below it, and
// nothing else.
type runner struct {
	cfg    Config
	logger *slog.Logger
	post   *post
	guard  guard

	// What is published, for readers without the lock.
	state  atomic.Pointer[state]
	stable watermark.Mark

	mu      sync.Mutex
	machine *lease.Machine // nil before open: that this node starts then covers all that has happened before
	office  lease.Office   // as published last
	changed chan struct{}  // closed and replaced when the office changes
	timer   *time.Timer    // of run; nil before open
	armed   lease.Time     // when it is due
	looked  lease.Time     // when the leader and the members were looked up
	known   neighbours
	counts  leaseCounts
	quiet   time.Time // jumps are not logged before
	closed  bool      // nothing is proposed any more

	proposals chan struct{} // one for each under way

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
}

// state is what a lookup needs to know. It is replaced, never changed.
type state struct {
	lease.Lease
	breaks    uint64 // restores that have begun, and jumps of the clock: what the leader has allowed before, it does not any more
	restoring bool   // the last of them is not over: the table may be the new one, but Floor is not
}

// neighbours are whom the machine was told of last.
type neighbours struct {
	leader  string
	members []string
}

func newRunner(cfg Config) *runner {
	r := &runner{
		cfg: cfg, logger: cfg.Logger,
		changed:   make(chan struct{}),
		proposals: make(chan struct{}, MaxProposals),
		counts:    leaseCounts{givenBack: map[string]uint64{}},
	}
	r.guard.margin, r.guard.period = cfg.Lease.Margin, cfg.Lease.Duration
	r.guard.reset(readingOf(cfg.Clock()))
	r.state.Store(&state{})
	r.post = newPost(cfg.Peers, messageTimeout(cfg.Lease.Duration), func(g lease.Grant) { r.step(g) })
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

func (r *runner) open() {
	r.mu.Lock()
	now := readingOf(r.cfg.Clock())
	r.guard.reset(now)
	r.timer = time.NewTimer(maxPause(r.cfg.Lease.Duration))
	r.machine = lease.New(r.cfg.Lease, rand.Uint64(), now.mono)
	actions := r.stepLocked(lease.Restored{Applied: r.cfg.Log.Applied()}, "")
	if r.state.Load().restoring {
		actions = append(actions, r.stepLocked(lease.Restoring{}, "")...)
	}
	r.mu.Unlock()
	r.carry(actions)
	r.group.Go(r.run)
}

// close gives the lease back, so that writes need not wait until it runs out, and stops.
func (r *runner) close() {
	r.giveBack(lease.Want{Lease: false}, GivenBackAtStop)
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.post.close(FarewellTimeout)
	r.cancel()
	r.group.Wait()
}

// step takes an event to the machine and carries out what comes of it.
func (r *runner) step(e lease.Event) { r.carry(r.take(e)) }

// take takes an event to the machine; the caller is to carry out the actions.
func (r *runner) take(e lease.Event) []lease.Action {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.machine == nil {
		return nil
	}
	return r.stepLocked(e, reasonOf(e))
}

// giveBack is step with the reason for which a lease may be given back.
func (r *runner) giveBack(e lease.Event, reason string) {
	r.mu.Lock()
	var actions []lease.Action
	if r.machine != nil {
		actions = r.stepLocked(e, reason)
	}
	r.mu.Unlock()
	r.carry(actions)
}

func (r *runner) stepLocked(e lease.Event, reason string) []lease.Action {
	now, actions := r.nowLocked()
	before := r.state.Load().Lease
	actions = append(actions, r.machine.Step(now, e)...)
	r.publishLocked(now)
	r.countLocked(before, now, reason)
	return actions
}

// nowLocked reads the clock. If it has jumped, what this node has promised is over first, and all that rests on moments
// before: see the package documentation.
func (r *runner) nowLocked() (lease.Time, []lease.Action) {
	now := readingOf(r.cfg.Clock())
	if r.guard.off(now) {
		now = readingOf(r.cfg.Clock())
	}
	if !r.guard.off(now) {
		r.guard.advance(now)
		return now.mono, nil
	}
	by := r.guard.reference.Load().jump(now)
	before := r.state.Load().Lease
	r.guard.reset(now)
	r.counts.jumps++
	s := *r.state.Load()
	s.breaks++
	r.state.Store(&s)
	actions := r.machine.Step(now.mono, lease.GiveBack{})
	r.publishLocked(now.mono)
	r.countLocked(before, now.mono, GivenBackAtJump)
	if at := time.Now(); !at.Before(r.quiet) {
		r.quiet = at.Add(jumpLogEvery)
		r.logger.Warn("the wall clock was set, or this machine stood still: its read lease is given back", "by", by, "jumps", r.counts.jumps)
	}
	return now.mono, actions
}

// publishLocked makes known what the machine says now.
func (r *runner) publishLocked(now lease.Time) {
	old := r.state.Load()
	if l := r.machine.Lease(); l != old.Lease {
		r.state.Store(&state{Lease: l, breaks: old.breaks, restoring: old.restoring})
	}
	r.stable.Raise(r.machine.Stable())
	if office := r.machine.Office(now); office != r.office {
		if office.Mixed && !r.office.Mixed {
			r.logger.Error("a node has another --lease-duration: until all have the same there are no read leases, and lookups ask the leader")
		}
		r.office = office
		close(r.changed)
		r.changed = make(chan struct{})
	}
	r.armLocked(now)
}

// countLocked counts a lease that has come to its end before its time.
func (r *runner) countLocked(before lease.Lease, now lease.Time, reason string) {
	if after := r.state.Load().Lease; after.Boot != before.Boot && now < before.Until {
		r.counts.givenBack[reason]++
	}
}

// carry does what the machine says, without waiting for anything.
func (r *runner) carry(actions []lease.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case lease.Send:
			r.post.send(a.To, a.Message)
		case lease.Propose:
			r.propose(a)
		}
	}
}

// run keeps the machine's time, and tells it who leads and who is a member.
func (r *runner) run() {
	for {
		changed := r.cfg.Log.Changed() // before the questions, so that no change is missed
		r.lookAround()
		select {
		case <-r.timer.C:
			r.step(lease.Tick{})
		case <-changed:
		case <-r.ctx.Done():
			r.timer.Stop()
			return
		}
	}
}

// armLocked sets the timer to what is due next. It is set at each step, so that run sleeps on while others step the machine
// in time: a member at rest is stepped by what it is sent. One that would go off hardly too early is left as it is.
func (r *runner) armLocked(now lease.Time) {
	duration := r.cfg.Lease.Duration
	next := min(r.machine.Next(), now.Add(maxPause(duration)), r.looked.Add(lookEvery(duration)))
	next = max(next, now.Add(minPause))
	if now < r.armed && r.armed <= next && next < r.armed.Add(minPause) {
		return
	}
	r.armed = next
	r.timer.Reset(time.Duration(next - now))
}

// lookAround tells the machine of another leader and of other members.
func (r *runner) lookAround() {
	leader, members := r.cfg.Log.LeaderID(), r.cfg.Members()
	r.mu.Lock()
	var actions []lease.Action
	now, _ := r.cfg.Clock()
	r.looked = now
	if members != nil && !slices.Equal(members, r.known.members) {
		r.known.members = slices.Clone(members)
		actions = r.stepLocked(lease.Members{IDs: slices.Clone(members)}, "")
	}
	if leader != r.known.leader {
		r.known.leader = leader
		actions = append(actions, r.stepLocked(lease.Follows{Leader: leader}, "")...)
	}
	r.armLocked(now)
	r.mu.Unlock()
	r.carry(actions)
}

// look returns the office as it is now, and what is closed when it changes.
func (r *runner) look() (lease.Office, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.machine == nil {
		return lease.Office{}, r.changed
	}
	now, _ := r.cfg.Clock()
	return r.machine.Office(now), r.changed
}

// restoring and restored mark the time in which a reader may find either table.
func (r *runner) restoring() { r.restore(true, lease.Restoring{}) }

func (r *runner) restored(applied uint64) { r.restore(false, lease.Restored{Applied: applied}) }

func (r *runner) restore(begins bool, e lease.Event) {
	r.mu.Lock()
	var actions []lease.Action
	mark := func() {
		s := *r.state.Load()
		s.restoring = begins
		if begins {
			s.breaks++
		}
		r.state.Store(&s)
	}
	if begins {
		mark()
	}
	if r.machine != nil {
		actions = r.stepLocked(e, reasonOf(e))
	}
	if !begins {
		mark()
	}
	r.mu.Unlock()
	r.carry(actions)
}
