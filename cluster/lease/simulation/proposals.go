package simulation

import "cloakroom/cluster/lease"

// proposal is an entry that this node has brought into its log as leader.
type proposal struct {
	index, term uint64
	kind        lease.CommandKind
	at          lease.Time // read before
	batch       []*operation
	results     []result
}

// propose does what the machine has asked for.
func (r *runner) propose(a lease.Propose) {
	if r.n.raft.role != leader || r.n.raft.term != a.Term {
		r.step(lease.Failed{Kind: a.Kind})
		return
	}
	r.bring(a.Kind, nil)
}

// bring proposes an entry. The office may have changed since that was decided, and between the reading of the clock and
// the writing.
func (r *runner) bring(kind lease.CommandKind, batch []*operation) {
	n := r.n
	at := n.now()
	write := func() {
		if n.raft.role != leader || n.raft.transferring && n.w.p.transfers {
			r.step(lease.Failed{Kind: kind})
			return
		}
		p := &proposal{index: n.raft.log.last() + 1, term: n.raft.term, kind: kind, at: at, batch: batch}
		if n.w.trace != nil {
			n.tell("proposes %v at %d: %v", kind, p.index, batch)
		}
		r.proposals = append(r.proposals, p)
		n.raft.append(entry{kind: commandEntry, as: kind, batch: batch})
	}
	if n.w.chance(0.1) {
		n.later(n.w.upTo(3*millisecond), write)
		return
	}
	write()
}

// onApplied finds out whose entry was applied.
func (r *runner) onApplied(a applied) {
	kept := r.proposals[:0]
	for _, p := range r.proposals {
		switch {
		case p.index != a.index:
			kept = append(kept, p)
		case p.term == a.term:
			p.results = a.results
			r.complete(p, a.handed)
		case r.n.w.breaks.AnswerByIndex && len(p.batch) > 0:
			p.results = make([]result, len(p.batch))
			for i := range p.results {
				p.results[i] = result{ok: true, changed: true}
			}
			r.complete(p, false)
		default:
			r.fail(p)
		}
	}
	r.proposals = kept
}

// complete tells the machine of an own entry, and clients when it is stable.
func (r *runner) complete(p *proposal, handed bool) {
	n, w := r.n, r.n.w
	do := func() {
		proposed := p.at
		if w.breaks.AnchorAtCommit {
			proposed = n.now()
		}
		if p.kind == lease.TickCommand && handed {
			w.counts.Handed++
		}
		r.step(lease.Committed{Kind: p.kind, Term: p.term, Index: p.index, Proposed: proposed, Handed: handed})
		if len(p.batch) > 0 {
			r.waiting = append(r.waiting, p)
			r.release()
		}
	}
	if w.chance(0.2) {
		n.later(w.upTo(2*millisecond), do)
		return
	}
	do()
}

// fail tells the machine that nothing is known of an entry. Clients hear nothing: for them the outcome is open.
func (r *runner) fail(p *proposal) {
	r.n.later(r.n.w.upTo(millisecond), func() { r.step(lease.Failed{Kind: p.kind}) })
}

// abandon gives up some proposals.
func (r *runner) abandon(which func(*proposal) bool) {
	kept := r.proposals[:0]
	for _, p := range r.proposals {
		if which(p) {
			r.fail(p)
		} else {
			kept = append(kept, p)
		}
	}
	r.proposals = kept
}

// forget gives up the proposals that a restore has skipped.
func (r *runner) forget(index uint64) {
	r.abandon(func(p *proposal) bool { return p.index <= index })
}

// release answers what has become stable.
func (r *runner) release() {
	if len(r.waiting) == 0 {
		return
	}
	b := r.n.w.breaks
	kept := r.waiting[:0]
	for _, p := range r.waiting {
		stable := p.index <= r.stable
		rest := p.batch[:0:0]
		restResults := p.results[:0:0]
		for i, op := range p.batch {
			if res := p.results[i]; stable || b.AnswerAtCommit || b.RefuseEarly && !res.changed {
				r.answer(op, res, p.index, stable)
			} else {
				rest, restResults = append(rest, op), append(restResults, res)
			}
		}
		if p.batch, p.results = rest, restResults; len(rest) > 0 {
			kept = append(kept, p)
		}
	}
	r.waiting = kept
}

// answer sends a result to where the client is; that it comes tells that its index is stable.
func (r *runner) answer(op *operation, res result, index uint64, stable bool) {
	if r.n.raft.role != leader {
		r.n.w.counts.LateAnswers++
	}
	from := r.n.id
	r.n.w.network.answer(r.n.index, op.at, func(n *node) {
		if n.life != op.life {
			return
		}
		if stable {
			n.runner.step(lease.Stable{From: from, Index: index})
		}
		op.finish(res.ok, res.view, byLog)
	})
}

// request takes a client's command at the leader and gathers more of them.
func (r *runner) request(op *operation) {
	if r.n.raft.role != leader {
		return
	}
	r.inbox = append(r.inbox, op)
	if !r.gathering {
		r.gathering = true
		r.n.later(r.n.w.upTo(r.n.w.p.gather), func() { r.merge(patience) })
	}
}

// merge proposes what has come in, as soon as the office allows.
func (r *runner) merge(looks int) {
	n, w := r.n, r.n.w
	o := r.machine.Office(n.now())
	switch {
	case n.raft.role != leader || looks == 0:
		r.inbox, r.gathering = nil, false
	case !o.Taken || o.Handing || o.Frozen && w.p.hold:
		n.later(w.p.duration/patience+w.upTo(millisecond), func() { r.merge(looks - 1) })
	default:
		batch := r.inbox[:min(len(r.inbox), maxBatch)]
		r.inbox = r.inbox[len(batch):]
		r.gathering = len(r.inbox) > 0
		r.bring(lease.OtherCommand, batch)
		if r.gathering {
			n.later(w.upTo(w.p.gather), func() { r.merge(patience) })
		}
	}
}
