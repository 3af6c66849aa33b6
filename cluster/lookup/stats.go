package lookup

import (
	"maps"
	"sync/atomic"
	"time"
)

// Why leases are given back, besides the reasons of callers.
const (
	GivenBackAtJump    = "clock-jump" // the clock is not to be trusted
	GivenBackAtRecall  = "recall"     // the leader asked for it
	GivenBackAtRestore = "restore"    // the table is being replaced
	GivenBackAtStop    = "stop"       // this node stops
	GivenBackUnwanted  = "unwanted"   // this node is not to have one at the moment
)

// Stats tells how reads and leases do. The counters are since the start.
type Stats struct {
	Local, Quorum     uint64 // reads answered
	ByLease, ByQuorum Outcomes
	Rounds            uint64 // to the voters, as leader

	Held      bool          // this node has a lease
	Remaining time.Duration // of it
	GivenBack map[string]uint64
	Jumps     uint64 // times that the clocks disagreed

	Stable uint64 // the highest index that this node knows to be stable
	Lag    uint64 // how far that is behind what is applied here
	Frozen bool   // as leader: leases of a former one may be out, so that nothing is written
	Out    int    // as leader: leases that others hold
	Grants uint64 // as leader: given to others, renewals included
}

// Outcomes are reads by what became of them.
type Outcomes struct {
	Own     uint64 // answered from this node's memory at once
	Waited  uint64 // until what was read was stable
	Asked   uint64 // the leader
	Refused uint64
}

// Answered returns how many reads were answered.
func (o Outcomes) Answered() uint64 { return o.Own + o.Waited + o.Asked }

// Stats returns the state and the counters.
func (r *Reader) Stats() Stats {
	s := Stats{
		Local: r.counts.local.Load(), ByLease: r.counts.lease.load(), ByQuorum: r.counts.quorum.load(), Rounds: r.counts.rounds.Load(),
	}
	s.Quorum = s.ByQuorum.Answered()
	if r.run != nil {
		r.run.stats(&s)
	}
	return s
}

func (r *runner) stats(s *Stats) {
	applied := r.cfg.Log.Applied()
	r.mu.Lock()
	defer r.mu.Unlock()
	s.GivenBack, s.Jumps, s.Grants = maps.Clone(r.counts.givenBack), r.counts.jumps, r.counts.grants
	if r.machine == nil {
		return
	}
	now, _ := r.cfg.Clock()
	if l := r.machine.Lease(); l.Holds(now, applied) {
		s.Held, s.Remaining = true, time.Duration(l.Until-now)
	}
	s.Stable = r.machine.Stable()
	s.Lag = applied - min(applied, s.Stable)
	s.Frozen = r.machine.Office(now).Frozen
	s.Out = r.machine.Holders(now)
}

// counters are those of reads. The most frequent one has a cache line of its own: what every read looks at lies before it
// and is hardly ever written.
type counters struct {
	_             [64]byte
	lease, quorum outcomes
	local, rounds atomic.Uint64
}

func (c *counters) of(l Level) *outcomes {
	if l == Lease {
		return &c.lease
	}
	return &c.quorum
}

type outcomes struct{ own, waited, asked, refused atomic.Uint64 }

// answered counts a read that had to wait or not.
func (o *outcomes) answered(p Point, waited bool) {
	switch {
	case p.asked:
		o.asked.Add(1)
	case waited:
		o.waited.Add(1)
	default:
		o.own.Add(1)
	}
}

func (o *outcomes) load() Outcomes {
	return Outcomes{Own: o.own.Load(), Waited: o.waited.Load(), Asked: o.asked.Load(), Refused: o.refused.Load()}
}

// leaseCounts are those of the protocol, guarded by the runner's mutex.
type leaseCounts struct {
	givenBack map[string]uint64 // by reason
	jumps     uint64
	grants    uint64
}
