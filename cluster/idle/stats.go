package idle

import (
	"sync/atomic"
	"time"
)

// Stats tells how the keeping of last uses and the ending of idle sessions do. Counters count since the start.
type Stats struct {
	Uses         uint64  // lookups that counted as a use
	Touched      uint64  // uses that were replicated from here
	OldestUnsent float64 // seconds that the oldest use which is due has waited to be replicated
	Unsent       int     // uses that wait to be replicated
	Forgotten    uint64  // uses that were not remembered because the table was full

	Questions uint64 // sessions that lookups here asked the leader about
	Alive     uint64 // of these, found to have been used elsewhere
	Ended     uint64 // of these, found to be over
	Undecided uint64 // of these, accepted because not all nodes could be asked

	Touches   uint64  // commands that replicated uses, as leader
	Coalesced uint64  // uses for which another one's touch sufficed, as leader
	Expires   uint64  // commands that ended idle sessions, as leader
	ExpiryLag float64 // seconds that the oldest session that is due has been over, as leader
}

type counters struct {
	touched, questions, alive, ended, undecided atomic.Uint64
	touches, coalesced, expires                 atomic.Uint64
	lag                                         atomic.Int64 // milliseconds
}

// Stats returns the counters.
func (k *Keeper) Stats() Stats {
	c := &k.stats
	s := Stats{
		Touched: c.touched.Load(), Unsent: k.sender.waiting(), OldestUnsent: k.sender.oldest().Seconds(),
		Questions: c.questions.Load(), Alive: c.alive.Load(), Ended: c.ended.Load(), Undecided: c.undecided.Load(),
		Touches: c.touches.Load(), Coalesced: c.coalesced.Load(), Expires: c.expires.Load(),
		ExpiryLag: (time.Duration(c.lag.Load()) * time.Millisecond).Seconds(),
	}
	s.Uses, s.Forgotten = k.uses.count()
	return s
}

// judged counts what a question of a lookup has come to.
func (c *counters) judged(v verdict) {
	switch v {
	case alive:
		c.alive.Add(1)
	case ended:
		c.ended.Add(1)
	case undecided:
		c.undecided.Add(1)
	case unsettled: // it is asked again
	}
}
