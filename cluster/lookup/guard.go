package lookup

import (
	"sync/atomic"
	"time"

	"cloakroom/cluster/lease"
)

// guard finds out that this machine's clocks have stood still, or were set: then their advances differ.
//
// Leases rest on a monotonic clock that runs all the time. That of a virtual machine which was suspended has stood still,
// and a lease would last too long by as much. The wall clock is set right at the wake-up, so both advances are compared,
// at each step of the protocol and, since a lookup may be the first to run after a wake-up, at each of these too. A wall
// clock that somebody has set looks just the same; then the node goes without a lease for some milliseconds.
//
// They are compared over one lease duration at least, not from step to step, so that several short halts count together:
// all that fall into the life of one lease. An NTP slew does not matter: it drives both clocks alike on Linux, and where
// it does not it makes 500 ppm, a millisecond in two seconds.
//
// A goroutine may be stopped between the one clock and the other, on a busy machine for half a second. So a difference counts
// when a second look shows it too.
//
// Not seen is a machine that stood still with all its clocks. It finds out when somebody sets its wall clock, which may be
// a moment after it has answered from a lease that has run out. The README says so.
type guard struct {
	margin time.Duration // the advances may differ by as much
	period time.Duration // they are compared over one to two periods

	reference atomic.Pointer[reading]
	next      reading // becomes the reference after a period; of the runner alone
}

// reading is both clocks at one moment.
type reading struct {
	mono lease.Time
	wall int64 // nanoseconds since 1970
}

func readingOf(mono lease.Time, wall time.Time) reading { return reading{mono, wall.UnixNano()} }

// jump returns how much further the wall clock has come since r than the monotonic clock has.
func (r reading) jump(now reading) time.Duration {
	return time.Duration(now.wall-r.wall) - time.Duration(now.mono-r.mono)
}

// off reports whether the clocks disagree. It allocates nothing and takes no lock.
func (g *guard) off(now reading) bool { return g.reference.Load().jump(now).Abs() > g.margin }

// advance moves the reference on.
func (g *guard) advance(now reading) {
	if now.mono < g.next.mono.Add(g.period) {
		return
	}
	reference := g.next
	g.reference.Store(&reference)
	g.next = now
}

// reset begins anew: what was read before is worth nothing.
func (g *guard) reset(now reading) {
	g.next = now
	g.reference.Store(&now)
}
