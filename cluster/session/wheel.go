package session

// wheel finds the sessions that are due to end. A ring of one-second buckets holds those whose deadline is ahead, by
// the second in which to look at them again; a use does not move a session, it is put on where it belongs when its
// bucket's second has passed. Sessions whose deadline has passed wait in queues until they end or are used; due hands
// them out from there.
//
// Every node's wheel moves with every entry, so that a new leader has nothing to catch up with. Being derived, it may
// differ between nodes; all it can do wrong is to be late.
type wheel struct {
	base  int64 // the second of the bucket to look at next
	ring  [wheelSeconds]list
	idle  queue        // the idle timeout is over
	old   queue        // the absolute lifetime is over
	asked fifo[handed] // handed out by due, in that order; sessions that ended or were used since leave theirs behind
}

// node is one session's place in the wheel.
type node struct {
	key        Key
	idleAt     Time // last use plus idle timeout
	expires    Time
	asked      Time // when due last handed it out; 0: not since it came into its queue
	in         *list
	prev, next *node
}

func (n *node) deadline() Time { return min(n.idleAt, n.expires) }

func second(t Time) int64 { return int64(t) / 1000 }

// add puts a session into the wheel.
func (w *wheel) add(n *node, now Time) { w.place(n, now) }

// used records a later idle deadline. A session that waits in a queue goes back to the ring at once: the queues are
// worked off by the leader only, and those of the other nodes would fill up. If it is due even so, it is as if it had
// just become so: whatever was found out about it was about its last use before.
func (w *wheel) used(n *node, idleAt, now Time) {
	if n.in != &w.idle.list && n.in != &w.old.list {
		n.idleAt = idleAt
		return
	}
	w.remove(n)
	n.idleAt = idleAt
	w.place(n, now)
}

func (w *wheel) remove(n *node) {
	switch n.in {
	case &w.idle.list:
		w.idle.remove(n)
	case &w.old.list:
		w.old.remove(n)
	default:
		n.in.remove(n)
	}
}

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
	w.forget(limit)
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
