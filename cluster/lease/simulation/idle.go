package simulation

import (
	"fmt"
	"math/rand/v2"

	"cloakroom/cluster/lease"
)

// uses checks what ends sessions for idleness: a leader asks the nodes for what they have seen used, but for those that
// can't have answered a lookup lately, by what Serving says. If that is wrong, a session ends that was used in time.
//
// It only watches: nothing in a history depends on it, not even by the random source.
type uses struct {
	w      *world
	random *rand.Rand
	latest uint64 // the highest term that was led
	noted  [maxNodes][]use
	claims [maxNodes][]claim

	wrong string // the first thing wrong
}

// use is the point in time of an answered lookup.
type use struct {
	at    micros
	clock [maxNodes]lease.Time // what all nodes' clocks showed then
}

// claim is a leader's word that a node has answered nothing at until or later, on the leader's clock.
type claim struct {
	leader int
	until  lease.Time
	at     micros
}

// open has leaders say who needs not be asked, again and again.
func (u *uses) open() {
	d := micros(u.random.ExpFloat64() * float64(u.w.p.duration) / 8)
	u.w.later(d, func() {
		for _, n := range u.w.nodes {
			if n.able() {
				u.ask(n)
			}
		}
		u.open()
	})
}

// ask lets one node say so, if it leads. The word of a leader that has been replaced is worth nothing: what it ends
// doesn't get into the log.
func (u *uses) ask(l *node) {
	o := l.runner.machine.Office(l.now())
	if !o.Taken || o.Frozen || o.Term != u.latest || l.raft.role != leader {
		return
	}
	for i, n := range u.w.nodes {
		until, ok := l.runner.machine.Serving(n.id, l.now())
		switch {
		case !ok || n == l: // what it has seen used itself, it knows
		case until > l.now():
			u.w.counts.Asked++
		default:
			u.w.counts.NotAsked++
			c := claim{leader: l.index, until: until, at: u.w.now}
			u.claims[i] = append(u.claims[i], c)
			for _, one := range u.noted[i] {
				u.check(n, one, c)
			}
		}
	}
}

// now returns a use at this moment.
func (u *uses) now() use {
	one := use{at: u.w.now}
	for i, n := range u.w.nodes {
		one.clock[i] = n.now()
	}
	return one
}

// note notes a use when its lookup is answered, which may be much later.
func (u *uses) note(n *node, one use) {
	u.noted[n.index] = append(u.noted[n.index], one)
	for _, c := range u.claims[n.index] {
		u.check(n, one, c)
	}
}

func (u *uses) check(n *node, one use, c claim) {
	if one.at >= c.at || one.clock[c.leader] < c.until || u.wrong != "" {
		return
	}
	u.wrong = fmt.Sprintf("at %v, n%d takes it that %s has answered nothing for %v, but it has %v ago", c.at.real(), c.leader, n.id,
		u.w.nodes[c.leader].now()-c.until, (c.at - one.at).real())
	u.w.tell("WRONG %s", u.wrong)
}
