package lease

// history is when this node last took something of which leaders into its log. Whatever carried a lease of a former
// leader is in the log of a new one, and was put there after it was proposed.
type history struct {
	term  uint64 // the highest that was stored
	last  Time   // when an entry of it was
	older Time   // when an entry of an older one was, or a snapshot was taken over
}

// started: what was stored before the process began, was stored before now.
func started(now Time) history { return history{last: now, older: now} }

// stored notes entries whose highest term this is. Those of older terms among them were not written by a leader that
// this node could become in that term: they come from another one, so a term of its own is later.
func (h *history) stored(now Time, term uint64) {
	switch {
	case term > h.term:
		h.older = max(h.older, h.last)
		h.term, h.last = term, now
	case term == h.term:
		h.last = now
	default:
		h.older = now
	}
}

// restored notes a snapshot, which stands for entries of unknown terms.
func (h *history) restored(now Time) { h.older = now }

// lastOld returns when this node last stored an entry of a term before this one, or was restored, or started.
func (h *history) lastOld(term uint64) Time {
	if term > h.term {
		return max(h.last, h.older)
	}
	return h.older
}
