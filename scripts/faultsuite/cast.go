//go:build linux

package main

import (
	"math/rand/v2"
	"strconv"
	"sync"

	"cloakroom/cluster/history"
)

// cast is one user with a client at every node, who all use the user's sessions. What they do is one history.
type cast struct {
	user string
	play *play

	mu      sync.Mutex
	tickets []*ticket
}

// ticket is a session as its clients know it.
type ticket struct {
	label  string // its name in the history: nobody knows its key before it is made
	cookie string // the header; "": it was not made
	guard  bool   // of M/Monit's login: changes need the CSRF token
	csrf   string // "": nobody was told yet
	rev    uint64 // the latest that a client was told
	over   bool   // somebody was told that it has ended
}

// play is the histories of all casts for some seconds, which are closed and checked together.
type play struct {
	recorder *history.Recorder
	acting   sync.WaitGroup // operations under way
}

// label names a session that is about to be made; false: the user has had enough of them.
func (c *cast) label() (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.tickets) >= maxSessions {
		return "", false
	}
	c.tickets = append(c.tickets, &ticket{label: "s" + strconv.Itoa(len(c.tickets)), over: true})
	return c.tickets[len(c.tickets)-1].label, true
}

// made notes the cookie of a session, and returns it.
func (c *cast) made(label, name, token string) *ticket {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tickets {
		if t.label == label {
			t.cookie, t.guard, t.over = name+"="+token, name == mmonitCookie, false
			return t
		}
	}
	panic("BUG: a session that nobody asked for")
}

// pick chooses a session that was made: mostly one that lives, as far as is known, and sometimes one that has ended.
func (c *cast) pick() (t *ticket, live int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var alive, gone []*ticket
	for _, t := range c.tickets {
		switch {
		case t.cookie == "":
		case t.over:
			gone = append(gone, t)
		default:
			alive = append(alive, t)
		}
	}
	from := alive
	if len(alive) == 0 || len(gone) > 0 && rand.IntN(5) == 0 {
		from = gone[max(0, len(gone)-3):]
	}
	if len(from) == 0 {
		return nil, len(alive)
	}
	return from[rand.IntN(len(from))], len(alive)
}

// ended notes that a session is over.
func (c *cast) ended(t *ticket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.over = true
}

// endedAll notes that all sessions that were made are over, and returns them.
func (c *cast) endedAll() (gone []*ticket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tickets {
		if t.cookie != "" && !t.over {
			t.over = true
			gone = append(gone, t)
		}
	}
	return gone
}

// saw notes a revision, and the CSRF token where it is told.
func (c *cast) saw(t *ticket, rev uint64, csrf string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.rev = max(t.rev, rev)
	if csrf != "" {
		t.csrf = csrf
	}
}

// known returns what a change of a session needs. False: the CSRF token is not known yet.
func (c *cast) known(t *ticket) (rev uint64, csrf string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.rev, t.csrf, !t.guard || t.csrf != ""
}

// slot is a place on the stage: casts take it one after another, and its clients stay.
type slot struct {
	mu    sync.Mutex
	now   *cast
	lanes []*lane
}

// enter returns the present cast for one operation, which is to be followed by the play's acting.Done.
func (s *slot) enter() *cast {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		s.now.play.acting.Add(1)
	}
	return s.now
}

func (s *slot) set(c *cast) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = c
}

// tell lets the clients at the other nodes look at a session at once: what was acknowledged must show everywhere.
func (s *slot) tell(from *lane, c *cast, t *ticket) {
	for _, l := range s.lanes {
		if l == from {
			continue
		}
		select {
		case l.news <- news{c, t}:
		default: // it has something to look at
		}
	}
}

// news is a session that has just changed.
type news struct {
	cast   *cast
	ticket *ticket
}
