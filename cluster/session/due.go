package session

import (
	"cmp"
	"slices"
)

// handed is a session that due has handed out, and when.
type handed struct {
	n    uint32
	turn uint32
	at   Time
}

// stale holds when the session has ended, was used, or was handed out once more since; its row may be another's by now.
func (w *wheel) stale(h handed) bool { return w.rows.at(h.n).turn != h.turn }

// due returns sessions whose idle timeout was over at cutoff or whose lifetime is over at clock, at most limit of
// them, and hands out none of these again for dueRetry. It looks at a number of sessions in proportion to limit.
//
// Those that wait for their second turn, undecided for as long as their grace lasts, and those that wait for their
// first get half of limit each, and what the others leave: neither keeps the other waiting for ever.
func (w *wheel) due(cutoff, clock Time, limit int) []Key {
	now := max(cutoff, clock)
	steps := w.advance(now, wheelSteps+4*limit)
	w.openSecond(now, steps)
	h := handOut{wheel: w, cutoff: cutoff, clock: clock, now: now, steps: 4 * limit}
	h.again(limit / 2)
	h.first(oldQueue, limit)
	h.first(idleQueue, limit)
	h.again(limit)
	return h.keys
}

// oldest returns the deadline of the session that is due for longest, as far as the queues are in order.
func (w *wheel) oldest() (Time, bool) {
	at, ok := MaxTime, false
	for _, q := range []int{oldQueue, idleQueue} {
		if n := w.lists[q].head; n != 0 {
			at, ok = min(at, w.rows.at(n).deadline()), true
		}
	}
	return at, ok
}

// forget drops what needs no second turn: a node that was leader must not keep it.
func (w *wheel) forget(limit int) {
	for ; limit > 0 && w.asked.len() > 0 && w.stale(w.asked.at(w.asked.head)); limit-- {
		w.asked.pop()
	}
}

// sortQueues puts what has come due into order, after sessions were added in another.
func (w *wheel) sortQueues() {
	for _, q := range []uint16{oldQueue, idleQueue} {
		var due []uint32
		for n := w.lists[q].head; n != 0; n = w.lists[q].head {
			w.remove(n)
			due = append(due, n)
		}
		slices.SortStableFunc(due, func(a, b uint32) int { return cmp.Compare(w.rows.at(a).deadline(), w.rows.at(b).deadline()) })
		for _, n := range due {
			w.add(q, n)
		}
	}
}

// handOut is one call of due.
type handOut struct {
	*wheel
	cutoff, clock, now Time
	steps              int // sessions that may still be looked at in vain
	keys               []Key
}

func (h *handOut) over(r *row) bool { return r.idleAt() <= h.cutoff || r.expires <= h.clock }

// first goes on with a queue where the last call stopped, up to limit keys in all.
func (h *handOut) first(q int, limit int) {
	for n := h.fresh[q]; n != 0 && len(h.keys) < limit; n = h.fresh[q] {
		r := h.rows.at(n)
		switch {
		case h.over(r):
			h.fresh[q] = r.next
			h.take(n)
		case r.deadline() > h.now && h.steps > 0:
			h.putBack(n)
		default: // due by now, but not at the cutoff: neither are those behind it
			return
		}
	}
}

// again hands out what was handed out dueRetry ago and is still here, up to limit keys in all.
func (h *handOut) again(limit int) {
	for len(h.keys) < limit && h.steps > 0 && h.asked.len() > 0 {
		x := h.asked.at(h.asked.head)
		switch {
		case h.stale(x):
			h.steps--
			h.asked.pop()
		case x.at <= h.now && h.now < x.at.Add(dueRetry):
			return
		case h.over(h.rows.at(x.n)):
			h.asked.pop()
			h.take(x.n)
		default:
			h.asked.pop()
			h.putBack(x.n)
		}
	}
}

func (h *handOut) take(n uint32) {
	h.turn++
	if h.turn == 0 { // it has gone round
		h.turn++
	}
	r := h.rows.at(n)
	r.turn = h.turn
	h.asked.push(handed{n: n, turn: h.turn, at: h.now})
	h.keys = append(h.keys, r.key)
}

// putBack has a session wait for its turn anew: an earlier call had a later cutoff, and took it for due.
func (h *handOut) putBack(n uint32) {
	h.steps--
	h.remove(n)
	h.place(n, h.now)
}
