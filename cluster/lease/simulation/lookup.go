package simulation

import "cloakroom/cluster/lease"

// lookup is one read of a key and its owner's record at level lease or quorum, as cluster/lookup does it: step by step,
// and anything may happen between two steps.
type lookup struct {
	op         *operation
	n          *node
	beginnings int
	point      use        // with a lease: when the clock was read
	until      lease.Time // without: when it is too late to answer
	boot       lease.Boot // that asked
}

// gap lets time pass between two steps of a lookup: mostly none.
func (l *lookup) gap(next func()) {
	w := l.n.w
	switch w.random.IntN(20) {
	case 0:
		l.n.later(w.upTo(w.p.readGap), next)
	case 1, 2, 3, 4, 5, 6, 7, 8:
		l.n.later(w.upTo(200), next)
	default:
		next()
	}
}

// begin loads the lease, and reads the clock after that.
func (l *lookup) begin() {
	if l.n.w.breaks.ClockAfter {
		l.beginWrong()
		return
	}
	held := l.n.runner.machine.Lease()
	l.gap(func() {
		if !held.Holds(l.n.now(), l.n.applied) {
			l.ask()
			return
		}
		l.point = l.n.w.uses.now()
		l.n.w.judge.onHeld(l.n, "answers a lookup")
		if held.Term < l.n.raft.term {
			l.n.w.counts.OldLeases++
		}
		l.gap(func() { l.read(held, byLease) })
	})
}

// beginWrong reads the record first: a break.
func (l *lookup) beginWrong() {
	seen := l.n.table.view(l.op.owner, l.op.key)
	l.gap(func() {
		held := l.n.runner.machine.Lease()
		if !held.Holds(l.n.now(), l.n.applied) {
			l.ask()
			return
		}
		l.confirm(held, seen, byLease, stableLooks)
	})
}

// read reads the records, both under one lock.
func (l *lookup) read(held lease.Lease, how means) {
	seen := l.n.table.view(l.op.owner, l.op.key)
	l.gap(func() {
		if l.n.runner.machine.Lease().Boot != held.Boot && !l.n.w.breaks.NoBootCheck {
			l.again()
			return
		}
		l.confirm(held, seen, how, stableLooks)
	})
}

// confirm answers when what was seen is stable, and waits a moment for that.
func (l *lookup) confirm(held lease.Lease, seen view, how means, looks int) {
	b := l.n.w.breaks
	if b.FloorIgnored {
		held.Floor = 0
	}
	early := b.ShowEarly && how == byLease || b.QuorumShowsEarly && how == byQuorum
	switch {
	case early || held.Covers(seen.mod, l.n.runner.machine.Stable()):
		l.used(how)
		l.op.finish(true, seen, how)
	case looks > 0:
		l.n.w.counts.Waited++
		l.n.later(millisecond+l.n.w.upTo(4*millisecond), func() { l.confirm(held, seen, how, looks-1) })
	case how == byLease:
		l.ask()
	}
}

// used notes the use of what is answered. An answer that comes later than a node may give it, or after the clock by which
// it would know that has stood still, is left for the judge of the order alone.
func (l *lookup) used(how means) {
	u := &l.n.w.uses
	switch {
	case l.op.answered:
	case how == byLease:
		u.note(l.n, l.point)
	case l.n.now() < l.until && l.n.runner.machine.Lease().Boot == l.boot:
		u.note(l.n, u.now())
	}
}

func (l *lookup) again() {
	l.n.w.counts.Again++
	if l.beginnings++; l.beginnings < maxBeginnings {
		l.begin()
	}
}

// ask asks the leader for a point: whoever has applied that reads nothing that is too old.
func (l *lookup) ask() {
	to := l.n.raft.leader
	if to == nobody {
		return
	}
	from, life, quorum := l.n.index, l.n.life, l.op.kind == lookUpAtQuorum
	p := &l.n.w.p
	leave := p.duration*micros(1000-p.rate)/1000 - p.margin
	asked := l.n.now()
	l.boot = l.n.runner.machine.Lease().Boot
	l.n.w.network.answer(from, to, func(m *node) {
		m.point(from, quorum, func(index, stable uint64, how means) {
			m.w.network.answer(m.index, from, func(n *node) {
				if n.life != life {
					return
				}
				n.runner.step(lease.Stable{From: m.id, Index: stable})
				l.until = asked.Add(leave.real())
				l.await(index, how, patience)
			})
		})
	})
}

// await waits until the point is applied and reads then.
func (l *lookup) await(index uint64, how means, looks int) {
	held := l.n.runner.machine.Lease() // for its boot and floor
	switch {
	case l.n.applied >= index && !l.n.restoring:
		l.gap(func() { l.read(held, how) })
	case looks > 0:
		l.n.later(millisecond, func() { l.await(index, how, looks-1) })
	}
}

// point answers a lookup of another node or of this one: by the leader's own lease, or by a round to the voters.
func (n *node) point(from int, quorum bool, answer func(index, stable uint64, how means)) {
	if !quorum {
		if index, ok := n.runner.machine.Point(n.now()); ok {
			n.runner.step(lease.Pointed{ID: n.w.nodes[from].id})
			answer(index, n.runner.machine.Stable(), byPoint)
			return
		}
	}
	n.round(from, answer)
}

// round asks the voters whether any of them knows of a later term than this leader's.
func (n *node) round(from int, answer func(index, stable uint64, how means)) {
	o := n.runner.machine.Office(n.now())
	term, index, c := n.raft.term, n.raft.commit, n.raft.config()
	if n.raft.role != leader || !o.Taken || o.Term != term {
		return
	}
	n.w.counts.Rounds++
	var agree members
	answered := false
	count := func(voter int) {
		agree.add(voter)
		if !answered && c.majority(agree) && n.raft.role == leader && n.raft.term == term {
			answered = true
			n.runner.step(lease.Pointed{ID: n.w.nodes[from].id})
			answer(index, n.runner.machine.Stable(), byQuorum)
		}
	}
	for i := range maxNodes {
		if !c.voters.has(i) || i == n.index {
			continue
		}
		n.w.network.send(n.index, i, func(v *node) {
			if v.raft.term == term {
				v.w.network.send(i, n.index, func(*node) { count(i) })
			}
		})
	}
	if c.voters.has(n.index) {
		count(n.index)
	}
}
