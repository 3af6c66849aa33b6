package session

import (
	"cmp"
	"slices"
)

// handed is a session that due has handed out, and when.
type handed struct {
	n  *node
	at Time
}

// stale holds when the session has ended, was used, or was handed out once more since.
func (h handed) stale() bool { return h.n.asked != h.at }

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
	h.first(&w.old, limit)
	h.first(&w.idle, limit)
	h.again(limit)
	return h.keys
}

// oldest returns the deadline of the session that is due for longest, as far as the queues are in order.
func (w *wheel) oldest() (Time, bool) {
	at, ok := MaxTime, false
	for _, q := range []*queue{&w.old, &w.idle} {
		if q.head != nil {
			at, ok = min(at, q.head.deadline()), true
		}
	}
	return at, ok
}

// forget drops what needs no second turn: a node that was leader must not keep it.
func (w *wheel) forget(limit int) {
	for ; limit > 0 && w.asked.len() > 0 && w.asked.at(w.asked.head).stale(); limit-- {
		w.asked.pop()
	}
}

// sortQueues puts what has come due into order, after sessions were added in another.
func (w *wheel) sortQueues() {
	for _, q := range []*queue{&w.old, &w.idle} {
		var nodes []*node
		for n := q.head; n != nil; n = q.head {
			q.remove(n)
			nodes = append(nodes, n)
		}
		slices.SortStableFunc(nodes, func(a, b *node) int { return cmp.Compare(a.deadline(), b.deadline()) })
		for _, n := range nodes {
			q.add(n)
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

func (h *handOut) over(n *node) bool { return n.idleAt <= h.cutoff || n.expires <= h.clock }

// first goes on with a queue where the last call stopped, up to limit keys in all.
func (h *handOut) first(q *queue, limit int) {
	for n := q.fresh; n != nil && len(h.keys) < limit; n = q.fresh {
		switch {
		case h.over(n):
			q.fresh = n.next
			h.take(n)
		case n.deadline() > h.now && h.steps > 0:
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
		case x.stale():
			h.steps--
			h.asked.pop()
		case x.at <= h.now && h.now < x.at.Add(dueRetry):
			return
		case h.over(x.n):
			h.asked.pop()
			h.take(x.n)
		default:
			h.asked.pop()
			h.putBack(x.n)
		}
	}
}

func (h *handOut) take(n *node) {
	n.asked = h.now
	h.asked.push(handed{n: n, at: h.now})
	h.keys = append(h.keys, n.key)
}

// putBack has a session wait for its turn anew: an earlier call had a later cutoff, and took it for due.
func (h *handOut) putBack(n *node) {
	h.steps--
	h.remove(n)
	h.place(n, h.now)
}

// queue is a list of sessions whose deadline has passed, in the order in which the wheel found that, which is about
// that of their deadlines.
type queue struct {
	list
	fresh *node // the first that was not handed out yet; nor were those behind it
}

func (q *queue) add(n *node) {
	q.list.add(n)
	if q.fresh == nil {
		q.fresh = n
	}
}

func (q *queue) remove(n *node) {
	if q.fresh == n {
		q.fresh = n.next
	}
	n.asked = 0
	q.list.remove(n)
}

// list is a doubly linked list of nodes. A node is in one list at a time.
type list struct{ head, tail *node }

func (l *list) add(n *node) {
	n.in, n.prev, n.next = l, l.tail, nil
	if l.tail == nil {
		l.head = n
	} else {
		l.tail.next = n
	}
	l.tail = n
}

func (l *list) remove(n *node) {
	if n.in != l {
		panic("BUG: wheel node is not in the list it is removed from")
	}
	if n.prev == nil {
		l.head = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		l.tail = n.prev
	} else {
		n.next.prev = n.prev
	}
	n.in, n.prev, n.next = nil, nil, nil
}
