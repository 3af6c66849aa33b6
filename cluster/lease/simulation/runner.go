package simulation

import "cloakroom/cluster/lease"

// runner feeds a node's lease machine with what happens there, and carries out what it says.
type runner struct {
	n       *node
	machine *lease.Machine
	now     lease.Time // of the last step
	lease   lease.Lease
	stable  uint64
	tickAt  micros // when the next tick is scheduled; 0: never

	elections int      // that were won in this life
	notices   []func() // of offices won and lost, in order
	following bool     // news of the leader are on their way
	joining   bool     // news of the members are

	proposals []*proposal // in the log, not applied yet
	waiting   []*proposal // applied, until stable
	inbox     []*operation
	gathering bool
}

// start makes a new machine, as at the start of a process.
func (r *runner) start() {
	n := r.n
	process := n.w.random.Uint64()
	if n.w.breaks.BootReused {
		process = uint64(n.index) + 1
	}
	*r = runner{n: n, machine: lease.New(n.w.leaseConfig(n.id), process, n.now())}
	if n.raft.snapshot != nil {
		r.step(lease.Restored{Applied: n.applied})
	}
	r.step(lease.Members{IDs: n.w.ids(n.raft.config())})
}

// step takes an event to the machine, whose actions go out at once.
func (r *runner) step(e lease.Event) {
	n := r.n
	now := n.now()
	if _, ok := e.(lease.Report); ok && n.w.breaks.ClockCached {
		now = r.now
	}
	r.now = now
	for _, a := range r.machine.Step(now, e) {
		switch a := a.(type) {
		case lease.Send:
			r.send(a)
		case lease.Propose:
			n.later(n.w.upTo(millisecond), func() { r.propose(a) })
		}
	}
	r.look()
	r.schedule()
}

// look publishes what the step has changed.
func (r *runner) look() {
	l, stable := r.machine.Lease(), r.machine.Stable()
	if stable < r.stable {
		r.n.w.judge.invariantBroken(r.n, "its stable index went back")
	}
	moved, renewed := stable > r.stable, l != r.lease
	r.stable, r.lease = stable, l
	r.n.w.judge.onStep(r.n, moved, renewed)
	if moved {
		r.release()
	}
}

// schedule sees to it that the machine's next tick comes, a little late as timers do.
func (r *runner) schedule() {
	n := r.n
	w := n.w
	at := w.now + n.clock.until(w.now, r.machine.Next())
	if r.tickAt > w.now && r.tickAt <= at {
		return // it will be looked at again then
	}
	d := at - w.now + w.upTo(500)
	if w.chance(0.02) {
		d += w.upTo(w.p.duration / 10)
	}
	due := w.now + d + 1
	r.tickAt = due
	n.later(d+1, func() {
		if r.tickAt != due {
			return
		}
		r.tickAt = 0
		if n.now() >= r.machine.Next() {
			r.step(lease.Tick{})
			return
		}
		r.schedule()
	})
}

func (r *runner) send(a lease.Send) {
	w := r.n.w
	to, ok := w.index(a.To)
	if !ok {
		return
	}
	message := a.Message
	if m, ok := message.(lease.Report); ok && w.breaks.SentLate {
		m.Sent = m.Sent.Add(w.upTo(w.p.duration / 10).real())
		message = m
	}
	w.counts.count(message)
	message = signed(message, r.n.id)
	w.network.send(r.n.index, to, func(n *node) { n.runner.step(message) })
}

// signed sets who a message is from.
func signed(e lease.Event, from string) lease.Event {
	switch m := e.(type) {
	case lease.Report:
		m.From = from
		return m
	case lease.Grant:
		m.From = from
		return m
	case lease.Over:
		m.From = from
		return m
	case lease.Recall:
		m.From = from
		return m
	case lease.Stable:
		m.From = from
		return m
	}
	panic("BUG: simulation: not a message")
}

// leaderChanged brings news of the leader, later and perhaps only the latest.
func (r *runner) leaderChanged() {
	if r.following {
		return
	}
	r.following = true
	r.n.later(r.n.w.upTo(2*millisecond), func() {
		r.following = false
		id := ""
		if l := r.n.raft.leader; l != nobody {
			id = r.n.w.nodes[l].id
		}
		r.step(lease.Follows{Leader: id})
	})
}

func (r *runner) membersChanged() {
	if r.joining {
		return
	}
	r.joining = true
	r.n.later(r.n.w.upTo(2*millisecond), func() {
		r.joining = false
		r.step(lease.Members{IDs: r.n.w.ids(r.n.raft.config())})
	})
}

// wonOffice and lostOffice bring news of this node's offices, in order, but late.
func (r *runner) wonOffice(term uint64) {
	r.elections++
	r.notice(r.n.w.upTo(3*millisecond), func() {
		if r.n.w.p.termLate {
			term = r.n.raft.term
		}
		r.step(lease.Elected{Term: term})
	})
}

func (r *runner) lostOffice() {
	w := r.n.w
	won := r.elections
	r.notice(w.upTo(w.p.notice), func() {
		if w.p.coalesced && r.elections > won {
			w.counts.Unnoticed++
			return
		}
		r.step(lease.Deposed{})
	})
	if !w.p.survive {
		r.abandon(func(p *proposal) bool { return p.index > r.n.raft.commit })
	}
}

func (r *runner) notice(d micros, do func()) {
	r.notices = append(r.notices, do)
	r.n.later(d, func() {
		first := r.notices[0]
		r.notices = r.notices[1:]
		first()
	})
}

func (w *world) ids(c config) []string {
	var ids []string
	for i, n := range w.nodes {
		if c.has(i) {
			ids = append(ids, n.id)
		}
	}
	return ids
}
