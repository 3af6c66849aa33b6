package simulation

import "cloakroom/cluster/lease"

// snapshot has a node take one.
func (f *faults) snapshot() {
	if n := f.anybody(); n.able() {
		n.raft.take()
	}
}

// install sends the leader's snapshot, just taken or older, to members that may not need it.
func (f *faults) install() {
	l := f.ableLeader()
	if l == nil {
		return
	}
	if f.w.chance(0.7) {
		l.raft.take()
	}
	for range 2 {
		if n := f.anybody(); n != l && l.raft.snapshot != nil && l.raft.config().has(n.index) {
			f.w.counts.Installs++
			l.raft.sendSnapshot(n.index)
		}
	}
}

// restartFromSnapshot restarts a node whose table then begins not far below what it was; or it stops in order.
func (f *faults) restartFromSnapshot() {
	n := f.anybody()
	if !n.able() {
		return
	}
	n.raft.take()
	if f.w.chance(0.3) {
		f.w.counts.Stops++
		n.runner.step(lease.GiveBack{})
	}
	n.crash(millisecond)
}

// electRestored lets a voter fall behind, catch up by a snapshot and be elected while others are cut off.
func (f *faults) electRestored() {
	w := f.w
	l, n := w.leader(), f.anybody()
	if l == nil || n == l || !l.raft.config().voters.has(n.index) {
		return
	}
	d := w.p.duration
	f.cut(only(n), bothWays, d*3/2)
	w.later(d*3/2-1, func() {
		if l.able() {
			l.raft.take()
		}
	})
	w.later(d*3/2+w.upTo(d/2), func() {
		if gone := f.withFriend(l); w.chance(0.5) && !gone.has(n.index) {
			f.cut(gone, bothWays, d)
		}
		w.later(w.upTo(5*millisecond), func() { f.electNow(n) })
	})
}

// electAgain has another voter call an election, and then the former leader again, which perhaps has not noticed.
func (f *faults) electAgain() {
	w := f.w
	l := f.ableLeader()
	if l == nil {
		return
	}
	f.electBut(only(l))
	w.later(millisecond+w.upTo(max(w.p.notice, 8*w.p.delay)), func() { f.electNow(l) })
}

// standStillDeposed cuts the leader off with a friend, and its machine stands still for long while others elect another.
func (f *faults) standStillDeposed() {
	w := f.w
	l := w.leader()
	if l == nil || !l.able() || w.now < l.steadyFor {
		return
	}
	gone, d := f.withFriend(l), w.p.duration/2+f.outage()
	f.cut(gone, bothWays, d+w.p.duration)
	l.steadyFor = w.now + d + 3*w.p.duration
	l.standStillLong(d)
	w.later(w.upTo(w.p.duration/4), func() { f.electBut(gone) })
}

// electAndReconfigure lets a voter fall behind and cuts the leader off; another is elected and changes the voters.
func (f *faults) electAndReconfigure() {
	w := f.w
	l := w.leader()
	if l == nil || !w.p.membership {
		return
	}
	var others []int
	for i := range maxNodes {
		if i != l.index && l.raft.config().voters.has(i) {
			others = append(others, i)
		}
	}
	if len(others) < 2 {
		return
	}
	w.random.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	behind, next := w.nodes[others[0]], w.nodes[others[1]]
	lag := w.p.duration * 6 / 5
	f.cut(only(behind), bothWays, lag)
	w.later(lag+1, func() {
		f.cut(only(l), bothWays, w.p.duration*3/2)
		f.electNow(next)
	})
	f.reconfigureSoon(lag, w.p.duration/60, 40, 1+w.random.IntN(4))
}

// handOverWhileReading hands over while the leader has many lookups to answer, and its table stands still after that.
func (f *faults) handOverWhileReading() {
	w := f.w
	l := f.ableLeader()
	if l == nil {
		return
	}
	for range 1 + w.random.IntN(8) {
		w.later(w.upTo(w.p.duration/4), func() { w.clients.call(l) })
	}
	l.runner.handOver(w.random.IntN(maxNodes))
	w.later(w.upTo(w.p.duration/4), func() { l.applier.stalled = w.now + f.outage() })
}

// handOver hands the leadership over in order: when the machine says so, or, if that takes too long, perhaps anyway.
func (r *runner) handOver(to int) {
	n, w := r.n, r.n.w
	o := r.machine.Office(n.now())
	if n.raft.role != leader || to == n.index || !n.raft.config().voters.has(to) || o.Term != n.raft.term || o.Handing {
		return
	}
	w.counts.HandOvers++
	n.tell("hands over to n%d", to)
	r.step(lease.HandOver{})
	r.awaitHanded(o.Term, to, n.now().Add(w.p.duration.real()*3/2))
}

func (r *runner) awaitHanded(term uint64, to int, deadline lease.Time) {
	n, w := r.n, r.n.w
	n.later(w.p.duration/50, func() {
		o := r.machine.Office(n.now())
		switch {
		case o.Term != term:
			n.raft.transferring = false
			return
		case n.now() > deadline:
			if !n.raft.transferring && w.chance(0.3) {
				n.raft.transfer(to)
			}
			n.raft.transferring = false
			n.tell("resumes its office")
			r.step(lease.Resume{})
			return
		case o.Handed && n.raft.role == leader && n.raft.term == term:
			n.raft.transferring = true
			if n.raft.match[to] >= n.raft.log.last() {
				n.raft.transfer(to)
			}
		}
		r.awaitHanded(term, to, deadline)
	})
}
