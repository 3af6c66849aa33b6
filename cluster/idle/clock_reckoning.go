package idle

import (
	"sync"
	"time"

	"cloakroom/cluster/session"
)

// micros is a moment in Unix microseconds, a reading of the monotonic clock, or the difference of such. Milliseconds
// would do for stamps, but each of many leader changes would lose half of one.
type micros int64

func microsOf(t session.Time) micros { return micros(t) * 1000 }

func microsIn(d time.Duration) micros { return micros(d / time.Microsecond) }

func (m micros) time() session.Time      { return session.Time(m / 1000) }
func (m micros) duration() time.Duration { return time.Duration(m) * time.Microsecond }

// trust is what an estimate rests on.
type trust uint8

const (
	cold    trust = iota // on this machine's wall clock
	suspect              // on a leader's time, but this machine may have stood still since
	synced               // on a leader's time
)

// reckoning is all that a Clock holds. It is a value without a clock: what it is to know of time, it is told.
type reckoning struct {
	trust  trust
	offset micros // cluster time less the monotonic clock
	bound  micros // how far offset was from the leader's at most, at the moment at
	at     micros // on the monotonic clock
	floor  micros // nothing before it is shown: what was shown so far
	base   micros // nothing before it is ever shown: what others have seen of cluster time
}

// shown returns the time to show.
func (r *reckoning) shown(mono micros) micros { return max(r.floor, r.offset+mono) }

// boundAt returns how far the estimate is off at most: clocks drift apart.
func (r *reckoning) boundAt(mono micros) micros { return r.bound + (mono-r.at)/driftShare }

// raise makes use of the knowledge that cluster time has reached t. An estimate that is behind goes on from there.
func (r *reckoning) raise(t, mono micros) {
	r.base, r.floor = max(r.base, t), max(r.floor, t)
	r.offset = max(r.offset, t-mono)
}

// sample is what another node's answer says of a clock's offset to this machine's monotonic clock: it lies within half
// of offset. The other clock was read at some moment of the round trip.
type sample struct{ offset, half micros }

func newSample(told, sent, received micros) sample {
	half := (received - sent + 1) / 2
	return sample{offset: told + half - received, half: half}
}

// lowest is what is certain: when the answer came the other clock had gone as far as it told.
func (s sample) lowest() micros { return s.offset - s.half }

// hear narrows the estimate down to what the leader's answer allows. Of several answers this takes the best: one that
// came fast leaves little room, one that was slow leaves the estimate as it is. When they contradict each other, the
// answer is right: the leader has changed, or this machine stood still.
func (r *reckoning) hear(s sample, mono micros) {
	if r.trust == cold { // what it showed was a wall clock
		r.set(s, mono)
		r.floor = r.base
		return
	}
	bound := r.boundAt(mono)
	low, high := max(r.offset-bound, s.offset-s.half), min(r.offset+bound, s.offset+s.half)
	if low > high {
		r.set(s, mono)
		return
	}
	half := (high - low + 1) / 2
	r.set(sample{offset: low + half, half: half}, mono)
}

func (r *reckoning) set(s sample, mono micros) {
	r.trust, r.offset, r.bound, r.at = synced, s.offset, s.half, mono
}

// lead makes the estimate cluster time. If what is shown is ahead of it, time goes on from there.
func (r *reckoning) lead(mono micros) {
	r.set(sample{offset: r.shown(mono) - mono}, mono)
}

// guard remembers the last comparison of the two clocks.
type guard struct {
	mu         sync.Mutex
	wall, mono time.Duration
	slack      time.Duration // between the two readings
}

// look returns how much more the wall clock has advanced than the monotonic one since the last look, at least. Between
// the two readings a busy machine may let the program wait: that is no jump.
func (g *guard) look(s Source) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := s.Mono()
	wall := time.Duration(s.Wall().UnixNano())
	mono := s.Mono()
	ahead := (wall - g.wall) - (mono - g.mono)
	slack := g.slack + mono - before
	g.wall, g.mono, g.slack = wall, mono, mono-before
	switch {
	case ahead > slack:
		return ahead - slack
	case ahead < -slack:
		return ahead + slack
	}
	return 0
}
