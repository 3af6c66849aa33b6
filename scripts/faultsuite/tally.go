//go:build linux

package main

import (
	"maps"
	"sync"
	"time"

	"cloakroom/cluster/history"
)

// tally counts what the clients did, and watches how long each node went without an answer that served its client.
type tally struct {
	mu    sync.Mutex
	ops   map[string]map[string]int // by kind and outcome
	odd   map[string]int            // answers that no node should give
	total int                       // that were answered
	write map[*node]*gap
	look  map[*node]*gap

	served *served
}

// gap is the longest time without success since it was opened.
type gap struct {
	last    time.Time
	longest time.Duration
}

func (g *gap) hit(now time.Time) {
	g.longest = max(g.longest, now.Sub(g.last))
	g.last = now
}

func newTally() *tally {
	return &tally{ops: map[string]map[string]int{}, odd: map[string]int{}}
}

// note counts one operation.
func (t *tally) note(n *node, kind history.Kind, v verdict) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.ops[kind.String()]
	if of == nil {
		of = map[string]int{}
		t.ops[kind.String()] = of
	}
	of[v.outcome.String()]++
	if v.odd != "" {
		t.odd[kind.String()+": "+v.odd]++
	}
	if v.outcome != history.Done && v.outcome != history.Refused {
		return
	}
	t.total++
	// A lookup that is refused was answered as well as one that is not; a write that is refused may have been refused by
	// a lookup.
	looked := kind == history.Get || kind == history.Verify
	gaps := t.look
	if !looked {
		if gaps = t.write; v.outcome == history.Refused {
			return
		}
	}
	if g := gaps[n]; g != nil {
		g.hit(now)
	}
	if t.served != nil {
		t.served.hit(n, looked)
	}
}

func (s *served) hit(n *node, looked bool) {
	switch one := s.nodes[n]; {
	case one == nil:
	case looked:
		one.looks++
	default:
		one.writes++
	}
}

// served counts what each node did for its clients since watch.
type served struct {
	tally *tally
	nodes map[*node]*service
}

type service struct{ writes, looks int }

// watch begins to count.
func (t *tally) watch(nodes []*node) *served {
	s := &served{tally: t, nodes: map[*node]*service{}}
	for _, n := range nodes {
		s.nodes[n] = &service{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.served = s
	return s
}

// missing says who has not served yet; "": every node has answered a write and a lookup.
func (s *served) missing() string {
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	for n, one := range s.nodes {
		switch {
		case one.looks == 0:
			return "no lookup was answered by " + n.name
		case one.writes == 0:
			return "no write was answered by " + n.name
		}
	}
	return ""
}

// answered returns how many operations were answered so far.
func (t *tally) answered() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

// open begins to watch some nodes.
func (t *tally) open(nodes []*node) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.write, t.look = map[*node]*gap{}, map[*node]*gap{}
	for _, n := range nodes {
		t.write[n], t.look[n] = &gap{last: now}, &gap{last: now}
	}
}

// close returns the longest gaps of any of the watched nodes since open.
func (t *tally) close() (write, look time.Duration) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range t.write {
		g.hit(now)
		write = max(write, g.longest)
	}
	for _, g := range t.look {
		g.hit(now)
		look = max(look, g.longest)
	}
	t.write, t.look = nil, nil
	return write, look
}

// counts returns copies.
func (t *tally) counts() (ops map[string]map[string]int, odd map[string]int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ops = map[string]map[string]int{}
	for kind, of := range t.ops {
		ops[kind] = maps.Clone(of)
	}
	return ops, maps.Clone(t.odd)
}
