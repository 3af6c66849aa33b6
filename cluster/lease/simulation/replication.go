package simulation

import "cloakroom/cluster/lease"

// replicate sends each member what it lacks, or a heartbeat.
func (r *raft) replicate() {
	c := r.config()
	for to := range maxNodes {
		if to != r.n.index && c.has(to) {
			r.replicateTo(to)
		}
	}
}

func (r *raft) replicateTo(to int) {
	previous := r.next[to] - 1
	if previous < r.log.base {
		r.sendSnapshot(to)
		return
	}
	previousTerm, _ := r.log.termAt(previous)
	a := appendRequest{
		from: r.n.index, term: r.term, previous: previous, previousTerm: previousTerm,
		entries: r.log.after(previous), commit: r.commit,
	}
	r.n.w.network.send(r.n.index, to, func(m *node) { m.raft.onAppend(&a) })
}

type appendRequest struct {
	from                         int
	term, previous, previousTerm uint64
	entries                      []entry
	commit                       uint64
}

func (r *raft) onAppend(a *appendRequest) {
	if r.n.restoring {
		return
	}
	if a.term < r.term {
		r.answer(a.from, a.term, false, 0)
		return
	}
	r.recognise(a.from, a.term)
	if a.previous > r.log.last() {
		r.answer(a.from, a.term, false, r.log.last()+1)
		return
	}
	if term, known := r.log.termAt(a.previous); known && term != a.previousTerm {
		r.answer(a.from, a.term, false, a.previous)
		return
	}
	r.store(a)
	end := a.previous + uint64(len(a.entries))
	if c := min(a.commit, end); c > r.commit {
		r.commit = c
		r.n.applier.kick()
	}
	r.answer(a.from, a.term, true, end)
}

// recognise takes the sender for the leader of its term, which is not below this node's.
func (r *raft) recognise(from int, term uint64) {
	if term > r.term || r.role != follower {
		r.stepDown(term)
	}
	r.follow(from)
	r.expectLeader()
}

// store writes what the log lacks, and drops what contradicts it.
func (r *raft) store(a *appendRequest) {
	var highest uint64
	reconfigured := false
	for i, e := range a.entries {
		index := a.previous + 1 + uint64(i)
		if index <= r.log.base {
			continue
		}
		if term, known := r.log.termAt(index); known {
			if term == e.term {
				continue
			}
			if index <= r.commit {
				panic("BUG: simulation: a committed entry would be overwritten")
			}
			r.log.truncate(index)
			reconfigured = true
		}
		r.log.append(e)
		highest = e.term
		reconfigured = reconfigured || e.kind == configEntry
	}
	if highest > 0 {
		r.n.runner.step(lease.Stored{Term: highest})
	}
	if reconfigured {
		r.n.runner.membersChanged()
	}
}

// answer tells a leader how far this log agrees with its own, or from where to try again (0: not at all).
func (r *raft) answer(to int, asked uint64, ok bool, index uint64) {
	me, term := r.n.index, r.term
	r.n.w.network.send(me, to, func(l *node) { l.raft.onAnswer(me, asked, term, ok, index) })
}

func (r *raft) onAnswer(from int, asked, term uint64, ok bool, index uint64) {
	if term > r.term {
		r.stepDown(term)
		return
	}
	if r.role != leader || r.term != asked {
		return
	}
	r.heard[from] = r.n.w.now
	switch {
	case !ok && index > 0:
		r.next[from] = max(r.match[from]+1, min(index, r.next[from]-1))
		r.replicateTo(from)
	case ok && index > r.match[from]:
		r.match[from] = index
		r.next[from] = max(r.next[from], index+1)
		r.advance()
		if r.role == leader && r.next[from] <= r.log.last() {
			r.replicateTo(from)
		}
	}
}

// snapshot is what a table was like at an index.
type snapshot struct {
	index, term uint64
	config      configAt
	applied     uint64
	table       table
}

func (r *raft) sendSnapshot(to int) {
	if r.snapshot == nil {
		return
	}
	from, term, s := r.n.index, r.term, r.snapshot
	r.n.w.network.send(from, to, func(m *node) { m.raft.onSnapshot(from, term, s) })
}

// onSnapshot replaces log and table by those of the leader, if need be.
func (r *raft) onSnapshot(from int, term uint64, s *snapshot) {
	n := r.n
	if term < r.term || n.restoring {
		return
	}
	if n.applier.busy { // the library's main thread waits for it
		n.later(200, func() { r.onSnapshot(from, term, s) })
		return
	}
	r.recognise(from, term)
	if s.index < r.log.base {
		return // the log could not go on from there
	}
	if s.index < n.applier.index {
		if !n.w.p.backward {
			n.w.counts.Refused++
			return
		}
		n.w.counts.Backward++
	}
	if own, known := r.log.termAt(s.index); known && own == s.term {
		r.log.compact(s.index)
		if r.snapshot == nil || r.snapshot.index < s.index {
			r.snapshot = s
		}
	} else {
		r.log.replace(s)
		r.snapshot = s
		n.runner.membersChanged()
	}
	r.commit = max(r.commit, s.index)
	n.restore(s, func() {
		r.expectLeader()
		r.answer(from, term, true, s.index)
	})
}

// take makes a snapshot of what is applied and drops most of the log before it.
func (r *raft) take() {
	n := r.n
	if n.applier.busy || n.restoring || n.applier.index <= r.log.base {
		return
	}
	c, ok := r.log.configUpTo(n.applier.index)
	if !ok {
		return
	}
	n.w.counts.Snapshots++
	term, _ := r.log.termAt(n.applier.index)
	s := &snapshot{index: n.applier.index, term: term, config: c, applied: n.applied, table: n.table}
	r.snapshot = s
	to := s.index
	if n.w.chance(0.5) {
		to -= min(to, uint64(n.w.random.IntN(6)))
	}
	r.log.compact(to)
}
