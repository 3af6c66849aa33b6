package simulation

import "cloakroom/cluster/lease"

// applier brings committed entries to a node's table, some at a time.
type applier struct {
	n       *node
	index   uint64 // of the last entry that it is done with, noops too
	busy    bool
	slow    micros // mean extra time
	stalled micros // until when it stands still
}

// applied is what came of an entry.
type applied struct {
	index, term uint64
	handed      bool
	results     []result
}

// kick goes on applying if there is something to apply.
func (a *applier) kick() {
	n := a.n
	if a.busy || n.restoring || a.index >= n.raft.commit {
		return
	}
	a.busy = true
	w := n.w
	d := 20 + w.upTo(400)
	if a.slow > 0 {
		d += w.about(a.slow)
	}
	d += max(0, a.stalled-w.now)
	last := min(n.raft.commit, a.index+1+uint64(w.random.IntN(maxApply)))
	if w.breaks.AppliedEarly {
		a.tell(last)
	}
	n.later(d, func() { a.apply(last) })
}

// apply makes the effects of entries visible, and known after that: not always at the same moment.
func (a *applier) apply(last uint64) {
	n, w := a.n, a.n.w
	done := make([]applied, 0, maxApply)
	reached := n.applied
	for i := a.index + 1; i <= last; i++ {
		e := n.raft.log.at(i)
		if e.kind == noopEntry {
			continue
		}
		results, handed := n.table.apply(e, i, w.breaks)
		done = append(done, applied{i, e.term, handed, results})
		reached = i
	}
	counted := !w.p.split || w.chance(0.5)
	if counted {
		n.applied = reached
	}
	finish := func() {
		n.applied = reached
		a.finish(last, done)
	}
	if w.p.split && w.chance(0.3) {
		n.later(w.upTo(millisecond), finish)
		return
	}
	finish()
}

func (a *applier) finish(last uint64, done []applied) {
	a.busy = false
	if len(done) > 0 && !a.n.w.breaks.AppliedEarly {
		a.tell(last)
	}
	a.index = last
	for _, d := range done {
		a.n.runner.onApplied(d)
	}
	a.kick()
}

// tell tells the lease machine of what is applied: commands and configurations.
func (a *applier) tell(last uint64) {
	for i := last; i > a.index; i-- {
		if e := a.n.raft.log.at(i); e.kind != noopEntry {
			term := e.term
			if a.n.w.breaks.NoTermCheck {
				term = min(term, max(1, a.n.runner.machine.Office(a.n.clock.read(a.n.w.now)).Term))
			}
			a.n.runner.step(lease.Applied{Index: i, Term: term})
			return
		}
	}
}
