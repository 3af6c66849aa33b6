package idle

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/session"
)

// Clock is this node's estimate of cluster time.
//
// What cluster time is. The leader's clock is cluster time: its stamps stand in the log. Nobody else's opinion counts
// while it leads, and its wall clock doesn't either: it goes on from an estimate, with its monotonic clock. So what a
// Clock holds is one number, the offset of cluster time to this machine's monotonic clock:
//
//   - A follower asks the leader for it (clock_follow.go) and narrows it down with each answer (reckoning.hear).
//   - A new leader goes on from its estimate: cluster time continues across the change, within the error of that.
//   - A leader that knows nothing, because it has just started, asks all nodes; one that knows tells it.
//   - When none knows, the whole cluster starts cold (clock_lead.go). Only then wall clocks are read, those of all nodes
//     that answer, and their median is taken: one machine whose clock is hours off changes nothing. Whatever they say,
//     cluster time does not go back behind the latest stamp in the log.
//
// Trust. There are three states. Cold: this node has heard nothing since its start; it shows its wall clock, tells it
// nobody, and stamps nothing. Synced: the estimate rests on a leader's time. Suspect: it did, but this machine may have
// stood still since. Stamp, and with it every proposal, needs a synced clock, and so do answers to other nodes, but for
// those to a node that looks for the highest estimate.
//
// The guard. Offsets last as long as monotonic clocks run. A suspended machine's may stand still, and then the estimate
// is behind by as much, silently. The wall clock is set right at the wake-up, so once a second both advances are compared
// (look), and when they differ by MaxJump the estimate is suspect until it is confirmed: by the leader's answer, or for
// a leader by the others, of whom the highest estimate is taken, as standing still makes estimates low, never high. All
// nodes may have stood still together: what a suspect node tells counts there too. A wall clock that an administrator
// has set looks just the same; it costs a question, and the answer shows that nothing has changed. Not seen by the guard
// is a virtual machine that was paused with all its clocks. It finds out by the leader's next answer, and before that by
// the next entry that it applies: time shown is never before a stamp applied here. A leader that is paused for longer
// than an election is none any more. When all nodes stood still together, cluster time did: sessions live on for as long.
//
// Never backwards. What Now returns does not go back, on any goroutine, whatever is heard: a clock that was ahead stands
// until cluster time has come as far. The one exception is the first answer that a cold clock gets, since what it showed
// was no cluster time; it can't bring it before a Floor.
type Clock struct {
	machine func() session.Time // the latest stamp applied here
	source  Source
	logger  *slog.Logger
	voters  func() bool // whether there is another voter; nil: if there is another node

	// current is replaced, never changed, and nil while it is being replaced: see read.
	current atomic.Pointer[reckoning]
	mu      sync.Mutex    // held while current is replaced
	known   chan struct{} // closed, and replaced, when the time becomes known; under mu

	guard guard
	jumps atomic.Uint64

	others atomic.Pointer[func() []string] // the other nodes; nil before this node has led
	asking chan struct{}                   // holds one while a leader asks them: that may take seconds
}

// Source is what a Clock reads on its machine. Tests put other clocks in its place.
type Source struct {
	Wall func() time.Time
	Mono func() time.Duration // since some moment in the past
	both func() (time.Duration, time.Time)
}

// System reads this machine's clocks.
func System() Source {
	start := time.Now()
	both := func() (time.Duration, time.Time) {
		now := time.Now()
		return now.Sub(start), wallOf(now)
	}
	return Source{
		Wall: func() time.Time { return wallOf(time.Now()) },
		Mono: func() time.Duration { return time.Since(start) },
		both: both,
	}
}

// Both reads both clocks, at the same moment if the machine lets it.
func (s Source) Both() (mono time.Duration, wall time.Time) {
	if s.both != nil {
		return s.both()
	}
	return s.Mono(), s.Wall()
}

// ClockOption changes what a Clock works with.
type ClockOption func(*Clock)

// WithSource makes the clock read these clocks instead of the machine's.
func WithSource(s Source) ClockOption { return func(c *Clock) { c.source = s } }

// WithVoters tells the clock whether there is another voter. A leader that may have stood still goes on when another node
// has answered, or when no other could have led meanwhile. Without it every other node may have.
func WithVoters(others func() bool) ClockOption { return func(c *Clock) { c.voters = others } }

// WithLogger makes the clock tell of jumps and cold starts.
func WithLogger(l *slog.Logger) ClockOption { return func(c *Clock) { c.logger = l } }

// NewClock makes a cold clock. machine returns the latest stamp applied here; it is called on each Now, so it must be
// cheap, and must not wait for anything that is held around a call of this clock.
func NewClock(machine func() session.Time, options ...ClockOption) *Clock {
	c := &Clock{
		machine: machine, source: System(), logger: slog.New(slog.DiscardHandler),
		asking: make(chan struct{}, 1), known: make(chan struct{}),
	}
	for _, o := range options {
		o(c)
	}
	own := c.ownWall()
	c.current.Store(&reckoning{offset: own.offset, bound: own.half, at: c.mono()})
	c.guard.look(c.source)
	return c
}

// Now returns the estimate, never less than the machine's clock.
func (c *Clock) Now() session.Time {
	now, _ := c.now()
	return now
}

// Stamp returns the time for an entry; false means that this node can't vouch for it, and must not propose.
func (c *Clock) Stamp() (session.Time, bool) {
	now, trust := c.now()
	return now, trust == synced
}

// Await returns what Stamp does, as soon as this node can vouch for it. The error is the context's.
func (c *Clock) Await(ctx context.Context) (session.Time, error) {
	for {
		if at, ok := c.Stamp(); ok {
			return at, nil
		}
		c.mu.Lock()
		known := c.known
		c.mu.Unlock()
		if at, ok := c.Stamp(); ok { // since the look before
			return at, nil
		}
		select {
		case <-known:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// Synced reports whether the estimate rests on a leader's time and nothing speaks against it.
func (c *Clock) Synced() bool {
	return c.trust() == synced
}

// Floor makes it known that cluster time has reached t. When it returns, no time before t is shown any more.
func (c *Clock) Floor(t session.Time) {
	reached := microsOf(min(t, session.MaxTime))
	if now, r := c.read(); reached <= now && r.trust != cold {
		return
	}
	c.change(func(r *reckoning, mono micros) { r.raise(reached, mono) })
}

// ClockStats tells how a clock does.
type ClockStats struct {
	Synced bool
	Error  time.Duration // how far the estimate is from the leader's time at most, as far as this node can tell
	Jumps  uint64        // times that this machine seemed to have stood still, since the start
}

// Stats returns the state and the counters.
func (c *Clock) Stats() ClockStats {
	mono := c.mono()
	_, r := c.read()
	return ClockStats{Synced: r.trust == synced, Error: r.boundAt(mono).duration(), Jumps: c.jumps.Load()}
}

func (c *Clock) now() (session.Time, trust) {
	applied := microsOf(c.machine()) // first: it must not be newer than the reading
	now, r := c.read()
	if applied > now {
		// Go on from there: to wait until the estimate has come as far would stop cluster time.
		c.change(func(r *reckoning, mono micros) { r.raise(applied, mono) })
		now, r = c.read()
	}
	return now.time(), r.trust
}

// read returns the time shown and what it was reckoned from. It takes no lock, for it runs on each lookup.
//
// So that time goes back on no goroutine, a reading counts only if the reckoning was still in force after the monotonic
// clock was read. change takes it out of force before it reads that clock itself, so all that was ever shown by the old
// one is known when the new one begins.
func (c *Clock) read() (micros, *reckoning) {
	if r := c.current.Load(); r != nil {
		now := r.shown(c.mono())
		if c.current.Load() == r {
			return now, r
		}
	}
	c.mu.Lock() // it is being replaced
	defer c.mu.Unlock()
	r := c.current.Load()
	return r.shown(c.mono()), r
}

func (c *Clock) trust() trust {
	if r := c.current.Load(); r != nil {
		return r.trust
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.Load().trust
}

// change replaces the reckoning. fn gets a copy that shows no less than was shown so far.
func (c *Clock) change(fn func(r *reckoning, mono micros)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := *c.current.Swap(nil)
	before := next.trust
	mono := c.mono()
	next.floor = next.shown(mono)
	fn(&next, mono)
	c.current.Store(&next)
	if before != synced && next.trust == synced {
		close(c.known)
		c.known = make(chan struct{})
	}
}

func (c *Clock) mono() micros { return microsIn(c.source.Mono()) }

// look compares the advances of the two clocks since the last look.
func (c *Clock) look() {
	jump := c.guard.look(c.source)
	if jump.Abs() < MaxJump {
		return
	}
	c.jumps.Add(1) // before the change: see unless
	if c.trust() == cold {
		return // nothing rests on it yet
	}
	c.change(func(r *reckoning, _ micros) { r.trust = suspect })
	c.logger.Warn("the wall clock was set, or this machine stood still: cluster time has to be confirmed", "by", jump)
}
