package session

import (
	"cmp"
	"slices"
)

// wheel finds the sessions that are due to end. A ring of one-second buckets holds those whose deadline is ahead, by
// the second in which to look at them again; a use does not move a session, it is put on where it belongs when its
// bucket's second has passed. Sessions whose deadline has passed wait in lists, from which due takes them.
//
// Every node's wheel moves with every entry, so that a new leader has nothing to catch up with. Being derived, it may
// differ between nodes; all it can do wrong is to be late.
type wheel struct {
	base  int64 // the second of the bucket to look at next
	ring  [wheelSeconds]list
	idle  list // the idle timeout is over: about in the order of that
	old   list // the absolute lifetime is over
	asked list // handed out by due, in that order
}

// node is one session's place in the wheel.
type node struct {
	key        Key
	idleAt     Time // last use plus idle timeout
	expires    Time
	asked      Time // when due handed it out; only in the list asked
	in         *list
	prev, next *node
}

func (n *node) deadline() Time { return min(n.idleAt, n.expires) }

func second(t Time) int64 { return int64(t) / 1000 }

// add puts a session into the wheel.
func (w *wheel) add(n *node, now Time) { w.place(n, now) }

// used records a later idle deadline. A session that waits in a list goes back to the ring at once: the lists are
// looked through by the leader only, and those of the other nodes would fill up.
func (w *wheel) used(n *node, idleAt, now Time) {
	n.idleAt = idleAt
	if n.in == &w.idle || n.in == &w.old || n.in == &w.asked && n.deadline() > now {
		n.in.remove(n)
		w.place(n, now)
	}
}

func (w *wheel) remove(n *node) { n.in.remove(n) }

func (w *wheel) place(n *node, now Time) {
	switch d := n.deadline(); {
	case d > now:
		// No farther ahead than the ring reaches; sessions of a long timeout are looked at on the way.
		at := min(max(second(d), w.base), w.base+wheelSeconds-1)
		w.ring[at%wheelSeconds].add(n)
	case n.expires <= n.idleAt: // whichever it is for; the other can hardly come first any more
		w.old.add(n)
	default:
		w.idle.add(n)
	}
}

// advance goes through the buckets of the seconds before now, looking at no more than limit sessions. It returns what
// is left of limit.
func (w *wheel) advance(now Time, limit int) int {
	target := second(now)
	if w.base > target+wheelSeconds {
		// A cutoff led the wheel far ahead of cluster time. Going back by whole turns leaves every session in its
		// bucket.
		w.base = target - wheelSeconds + (w.base-target)%wheelSeconds
	}
	if gap := target - w.base; gap >= 2*wheelSeconds {
		w.base += (gap/wheelSeconds - 1) * wheelSeconds // one whole turn is enough to see everything
	}
	for ; w.base < target; w.base++ {
		bucket := &w.ring[w.base%wheelSeconds]
		for n := bucket.head; n != nil; n = bucket.head {
			if limit == 0 {
				return 0
			}
			limit--
			bucket.remove(n)
			w.place(n, now) // not into this bucket: what is after now is after base
		}
	}
	return limit
}

// due returns sessions whose idle timeout was over at cutoff or whose lifetime is over at clock, at most limit of
// them, and hands out none of these again for dueRetry. It looks at a number of sessions in proportion to limit.
func (w *wheel) due(cutoff, clock Time, limit int) []Key {
	now := max(cutoff, clock)
	steps := w.advance(now, wheelSteps+4*limit)
	w.openSecond(now, steps)
	w.askAgain(cutoff, now, limit)
	keys := w.take(nil, &w.old, now, limit, func(n *node) bool { return n.expires <= clock })
	return w.take(keys, &w.idle, now, limit, func(n *node) bool { return n.idleAt <= cutoff })
}

// askAgain puts back what was handed out dueRetry ago and is still here: to the front where it is due as before, for
// at the end it would wait until what came in meanwhile is due as well.
func (w *wheel) askAgain(cutoff, now Time, limit int) {
	for n := w.asked.head; n != nil && limit > 0; n = w.asked.head {
		if n.asked <= now && now < n.asked.Add(dueRetry) {
			return
		}
		limit--
		w.asked.remove(n)
		if n.idleAt <= cutoff {
			w.idle.addFront(n)
		} else {
			w.place(n, now)
		}
	}
}

// sortLists puts the lists of what has come due into order, after sessions were added in another.
func (w *wheel) sortLists() {
	for _, l := range []*list{&w.old, &w.idle} {
		var nodes []*node
		for n := l.head; n != nil; n = l.head {
			l.remove(n)
			nodes = append(nodes, n)
		}
		slices.SortStableFunc(nodes, func(a, b *node) int { return cmp.Compare(a.deadline(), b.deadline()) })
		for _, n := range nodes {
			l.add(n)
		}
	}
}

// openSecond takes from the bucket of the current second what has already come due in it.
func (w *wheel) openSecond(now Time, steps int) {
	bucket := &w.ring[second(now)%wheelSeconds]
	for n := bucket.head; n != nil && steps > 0; steps-- {
		next := n.next
		if n.deadline() <= now {
			bucket.remove(n)
			w.place(n, now)
		}
		n = next
	}
}

// take moves sessions from the head of a list to asked and adds their keys, until one is not due.
func (w *wheel) take(keys []Key, from *list, now Time, limit int, due func(*node) bool) []Key {
	for n := from.head; n != nil && len(keys) < limit && due(n); n = from.head {
		from.remove(n)
		n.asked = now
		w.asked.add(n)
		keys = append(keys, n.key)
	}
	return keys
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

func (l *list) addFront(n *node) {
	n.in, n.prev, n.next = l, nil, l.head
	if l.head == nil {
		l.tail = n
	} else {
		l.head.prev = n
	}
	l.head = n
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
