package simulation

import "cloakroom/cluster/lease"

// faults bring trouble over the cluster, in scenes of one or several faults.
type faults struct {
	w *world
}

func (f *faults) open() {
	f.w.later(f.w.about(f.w.p.faults), func() {
		scenes := []func(){
			f.crash, f.restart, f.pause, f.pause, f.cutOne, f.cutSome,
			f.depose, f.depose, f.elect, f.cutAndElect,
			f.handOver, f.handOver, f.handOverWhileReading, f.reconfigure, f.snapshot,
			f.changeRate, f.standStill, f.slow, f.stall, f.install,
			f.restartFromSnapshot, f.electRestored, f.electAgain, f.standStillDeposed, f.electAndReconfigure, f.giveBack, f.unwant,
		}
		choose(f.w.random, scenes...)()
		f.open()
	})
}

func (f *faults) anybody() *node { return f.w.nodes[f.w.random.IntN(maxNodes)] }

// somebody prefers the leader.
func (f *faults) somebody(p float64) *node {
	if l := f.w.leader(); l != nil && f.w.chance(p) {
		return l
	}
	return f.anybody()
}

// ableLeader returns the leader, if its process runs, or nil.
func (f *faults) ableLeader() *node {
	if l := f.w.leader(); l != nil && l.able() {
		return l
	}
	return nil
}

func (f *faults) outage() micros { return f.w.upTo(f.w.p.outage) }

func (f *faults) crash()   { f.somebody(0.4).crash(millisecond + f.outage()/2) }
func (f *faults) restart() { f.somebody(0.4).crash(millisecond) }

func (f *faults) pause() {
	if n := f.somebody(0.4); n.up {
		n.pause(f.outage())
	}
}

// standStill stops a machine and its clock. What it stands still within one lease must not add up to more than M.
func (f *faults) standStill() {
	n := f.somebody(0.3)
	d := f.w.upTo(f.w.p.margin) * 9 / 10
	switch {
	case !n.up || n.pausedUntil > f.w.now || f.w.now < n.steadyFor:
	case f.w.chance(0.3):
		d = f.outage()
		n.steadyFor = f.w.now + d + 3*f.w.p.duration
		n.standStillLong(d)
	case d > 0:
		n.steadyFor = f.w.now + 3*f.w.p.duration
		n.standStill(d)
	}
}

func (f *faults) cut(some members, d direction, duration micros) {
	w := f.w
	w.counts.Partitions++
	w.tell("cut of %05b, direction %d, for %v", some, d, duration.real())
	w.network.cut(some, d)
	w.later(duration, w.network.heal)
}

func (f *faults) cutOne() {
	f.cut(only(f.somebody(0.5)), direction(f.w.random.IntN(int(directions))), f.outage())
}

func (f *faults) cutSome() { f.cut(members(f.w.random.IntN(1<<maxNodes)), bothWays, f.outage()) }

// depose takes the leader away, perhaps with a friend, and has the others elect another.
func (f *faults) depose() {
	w := f.w
	l := w.leader()
	if l == nil {
		return
	}
	gone := f.withFriend(l)
	switch how := w.random.Float64(); {
	case how < 0.3:
		l.pause(f.outage())
	case how < 0.44:
		l.crash(millisecond + f.outage())
	default:
		f.cut(gone, bothWays, w.p.duration/4+f.outage())
	}
	w.later(w.upTo(w.p.duration/2), func() { f.electBut(gone) })
}

func (f *faults) withFriend(n *node) members {
	some := only(n)
	if f.w.chance(0.5) {
		some.add(f.w.random.IntN(maxNodes))
	}
	return some
}

func only(n *node) (m members) {
	m.add(n.index)
	return m
}

// elect has a voter call an election though the leader is well.
func (f *faults) elect() { f.electBut(0) }

func (f *faults) electBut(gone members) {
	if n := f.bestVoter(gone); n != nil {
		f.electNow(n)
	}
}

func (f *faults) electNow(n *node) {
	if n.able() && n.raft.role != leader {
		f.w.counts.Forced++
		n.tell("is made to call an election")
		n.raft.campaign()
		n.raft.expectLeader()
	}
}

// bestVoter returns the voter with the longest log, mostly.
func (f *faults) bestVoter(gone members) *node {
	var best *node
	for _, n := range f.w.nodes {
		if !n.able() || gone.has(n.index) || !n.raft.isVoter() {
			continue
		}
		if best == nil || f.w.chance(0.1) || n.raft.log.lastTerm() > best.raft.log.lastTerm() ||
			n.raft.log.lastTerm() == best.raft.log.lastTerm() && n.raft.log.last() > best.raft.log.last() {
			best = n
		}
	}
	return best
}

// cutAndElect cuts a member off and then changes the leader.
func (f *faults) cutAndElect() {
	n, w := f.anybody(), f.w
	f.cut(only(n), bothWays, w.p.duration/2+f.outage())
	w.later(w.upTo(w.p.duration/2), func() { f.electBut(only(n)) })
}

func (f *faults) handOver() {
	if l := f.ableLeader(); l != nil {
		l.runner.handOver(f.w.random.IntN(maxNodes))
	}
}

// reconfigure changes the members a few times.
func (f *faults) reconfigure() {
	if f.w.p.membership {
		f.reconfigureSoon(0, 5*millisecond, 4*(1+f.w.random.IntN(4)), 1+f.w.random.IntN(4))
	}
}

// reconfigureSoon tries so often to make that many changes.
func (f *faults) reconfigureSoon(after, every micros, tries, changes int) {
	for i := range tries {
		f.w.later(after+micros(i)*every, func() {
			if changes > 0 && f.reconfigureNow() {
				changes--
			}
		})
	}
}

func (f *faults) reconfigureNow() bool {
	l := f.ableLeader()
	if l == nil || l.restoring {
		return false
	}
	r := &l.raft
	if term, known := r.log.termAt(r.commit); !known || term != r.term || r.log.configIndex() > r.commit {
		return false // one change at a time, and only by a leader of whom an entry is committed
	}
	c, who := r.config(), f.w.random.IntN(maxNodes)
	switch {
	case !c.has(who):
		choose(f.w.random, &c.others, &c.voters).add(who)
	case c.voters.has(who):
		if c.voters.count() <= 2 {
			return false
		}
		c.voters.drop(who)
		if f.w.chance(0.4) {
			c.others.add(who)
		}
	default:
		c.others.drop(who)
		if f.w.chance(0.7) {
			c.voters.add(who)
		}
	}
	f.w.counts.Configurations++
	l.tell("configures voters %05b, others %05b", c.voters, c.others)
	r.append(entry{kind: configEntry, config: c})
	return true
}

func (f *faults) giveBack() {
	if n := f.anybody(); n.able() {
		f.w.counts.GivenBack++
		n.tell("gives its lease back")
		n.runner.step(lease.GiveBack{})
	}
}

// unwant lets a node do without a lease for some time.
func (f *faults) unwant() {
	n := f.anybody()
	if !n.able() {
		return
	}
	f.w.counts.Unwanted++
	n.tell("wants no lease")
	n.runner.step(lease.Want{Lease: false})
	n.later(f.outage(), func() { n.runner.step(lease.Want{Lease: true}) })
}

func (f *faults) changeRate() {
	f.w.counts.Rates++
	n := f.anybody()
	n.clock.setRate(f.w.now, f.w.clockRate())
}

func (f *faults) slow() {
	f.w.counts.SlowTables++
	n := f.anybody()
	n.applier.slow = f.w.upTo(60 * millisecond)
	f.w.later(f.outage(), func() { n.applier.slow = 0 })
}

// stall lets the table of a node stand still, while its log goes on.
func (f *faults) stall() {
	f.w.counts.SlowTables++
	f.somebody(0.1).applier.stalled = f.w.now + f.outage()
}
