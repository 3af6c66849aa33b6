package gossip

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// State is what this node believes of a member.
type State string

const (
	StateAlive  State = "alive"
	StateLeft   State = "left"   // said so itself
	StateFailed State = "failed" // does not answer, or left and nobody heard it say so
)

// Member is a node as this node knows it.
type Member struct {
	Meta
	GossipAddr string // IP:port
	State      State
}

// table remembers members for longer than memberlist does, and with their state.
//
// Lock order: memberlist's own lock, then mu. memberlist's callbacks take mu, so nobody may call memberlist under it.
type table struct {
	changed chan struct{} // one signal stands for any number of changes
	events  chan event    // to be logged

	mu      sync.Mutex
	entries map[string]*entry
	counts  Stats // only those that count events
}

type entry struct {
	Member
	foreign bool // announces another cluster's id now: no member of ours, though memberlist still probes it
	gone    bool // memberlist no longer has it alive
	since   time.Time
}

// event is one change of one member, for the log.
type event struct {
	what   string
	member Member
}

func newTable() *table {
	return &table{
		changed: make(chan struct{}, 1),
		events:  make(chan event, eventBacklog),
		entries: map[string]*entry{},
	}
}

// put takes over what an alive node announces. Its bytes have passed the alive delegate, so they decode.
func (t *table) put(n *memberlist.Node, a announcement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, known := t.entries[n.Name]
	if !known {
		e = &entry{since: time.Now()}
		t.entries[n.Name] = e
	}
	joined := !known || e.gone
	e.Member = Member{Meta: a.Meta, GossipAddr: n.Address(), State: StateAlive}
	e.foreign, e.gone = false, false
	switch {
	case a.leaving:
		e.State = StateLeft
		t.reportLocked("member leaves", e)
	case joined:
		t.counts.Joins++
		t.reportLocked("member joined", e)
	default:
		t.counts.Updates++
		t.reportLocked("member changed", e)
	}
}

// lose marks a member as gone.
func (t *table) lose(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.entries[name]
	if !ok {
		return
	}
	e.gone, e.since = true, time.Now()
	if e.State == StateLeft {
		t.counts.Leaves++
		t.reportLocked("member left", e)
	} else {
		e.State = StateFailed
		t.counts.Failures++
		t.reportLocked("member failed", e)
	}
	t.pruneLocked()
}

// expel hides a node that announces another cluster's id.
func (t *table) expel(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.RefusedForeign++
	if e, ok := t.entries[name]; ok && !e.foreign {
		e.foreign = true
		t.reportLocked("member went to another cluster", e)
	}
}

// address returns where a member was last seen, or "".
func (t *table) address(name string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.entries[name]; ok {
		return e.GossipAddr
	}
	return ""
}

func (t *table) count(add func(*Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	add(&t.counts)
}

// list returns the members of a cluster and those without one, sorted by id. Some may have been let in before this
// node had a cluster of its own.
func (t *table) list(cluster string) []Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pruneLocked()
	members := make([]Member, 0, len(t.entries))
	for _, e := range t.entries {
		if !e.foreign && !foreign(cluster, e.ClusterID) {
			members = append(members, e.Member)
		}
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return members
}

// alive returns the number of live members, this node included.
func (t *table) alive() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, e := range t.entries {
		if !e.gone && !e.foreign {
			n++
		}
	}
	return n
}

func (t *table) stats(cluster string) Stats {
	members := t.list(cluster)
	t.mu.Lock()
	s := t.counts
	t.mu.Unlock()
	for _, m := range members {
		switch m.State {
		case StateAlive:
			s.Alive++
		case StateLeft:
			s.Left++
		case StateFailed:
			s.Failed++
		}
	}
	return s
}

// pruneLocked forgets those that went long ago, and the oldest of too many: nodes with a new id at each start would
// fill the table otherwise.
func (t *table) pruneLocked() {
	var gone []string
	for name, e := range t.entries {
		switch {
		case !e.gone:
		case time.Since(e.since) > keepGone:
			delete(t.entries, name)
		default:
			gone = append(gone, name)
		}
	}
	if len(gone) <= maxGone {
		return
	}
	slices.SortFunc(gone, func(a, b string) int { return t.entries[a].since.Compare(t.entries[b].since) })
	for _, name := range gone[:len(gone)-maxGone] {
		delete(t.entries, name)
	}
}

// reportLocked never blocks: it runs under memberlist's lock.
func (t *table) reportLocked(what string, e *entry) {
	select {
	case t.events <- event{what, e.Member}:
	default:
	}
	select {
	case t.changed <- struct{}{}:
	default:
	}
}
