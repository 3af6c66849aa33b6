package session

// wheel finds the sessions that are due to end. A ring of one-second buckets holds those whose deadline is ahead, by
// the second in which to look at them again; a use does not move a session, it is put on where it belongs when its
// bucket's second has passed. Sessions whose deadline has passed wait in queues until they end or are used; due hands
// them out from there.
//
// Every node's wheel moves with every entry, so that a new leader has nothing to catch up with. Being derived, it may
// differ between nodes; all it can do wrong is to be late.
type wheel struct {
	rows  *rows
	base  int64            // the second of the bucket to look at next
	lists [wheelLists]list // the ring's buckets, then the queues
	fresh [ring]uint32     // of each queue: the first that was not handed out yet; nor were those behind it
	turn  uint32           // number of the last session handed out
	asked fifo[handed]     // handed out by due, in that order; sessions that ended or were used since leave theirs behind
}

// The lists have numbers: row.in. 0 is none.
const (
	idleQueue  = iota + 1 // the idle timeout is over
	oldQueue              // the absolute lifetime is over
	ring                  // the first bucket
	wheelLists = ring + wheelSeconds
)

func bucketOf(second int64) uint16 { return uint16(ring + second%wheelSeconds) }

func second(t Time) int64 { return int64(t) / 1000 }

// used moves a session's last use on. One that waits in a queue goes back to the ring at once: the queues are worked off by
// the leader only, and those of the other nodes would fill up. If it is due even so, it is as if it had just become so:
// whatever was found out about it was about its last use before.
func (w *wheel) used(n uint32, at, now Time) {
	r := w.rows.at(n)
	if r.in >= ring {
		r.lastUse = at
		return
	}
	w.remove(n)
	r.lastUse = at
	w.place(n, now)
}

// place puts a session where it belongs by its deadline.
func (w *wheel) place(n uint32, now Time) {
	r := w.rows.at(n)
	switch d := r.deadline(); {
	case d > now:
		// No farther ahead than the ring reaches; sessions of a long timeout are looked at on the way.
		w.add(bucketOf(min(max(second(d), w.base), w.base+wheelSeconds-1)), n)
	case r.expires <= r.idleAt(): // whichever it is for; the other can hardly come first any more
		w.add(oldQueue, n)
	default:
		w.add(idleQueue, n)
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
		bucket := &w.lists[bucketOf(w.base)]
		for n := bucket.head; n != 0; n = bucket.head {
			if limit == 0 {
				return 0
			}
			limit--
			w.remove(n)
			w.place(n, now) // not into this bucket: what is after now is after base
		}
	}
	return limit
}

// openSecond takes from the bucket of the current second what has already come due in it.
func (w *wheel) openSecond(now Time, steps int) {
	for n := w.lists[bucketOf(second(now))].head; n != 0 && steps > 0; steps-- {
		r := w.rows.at(n)
		next := r.next
		if r.deadline() <= now {
			w.remove(n)
			w.place(n, now)
		}
		n = next
	}
}

// list is a doubly linked list of rows, by their numbers; 0 is none. A row is in one list at a time.
type list struct{ head, tail uint32 }

func (w *wheel) add(in uint16, n uint32) {
	l, r := &w.lists[in], w.rows.at(n)
	r.in, r.prev, r.next = in, l.tail, 0
	if l.tail == 0 {
		l.head = n
	} else {
		w.rows.at(l.tail).next = n
	}
	l.tail = n
	if in < ring && w.fresh[in] == 0 {
		w.fresh[in] = n
	}
}

func (w *wheel) remove(n uint32) {
	r := w.rows.at(n)
	if r.in == 0 {
		panic("BUG: session " + r.key.String() + " is not in the wheel")
	}
	l := &w.lists[r.in]
	if r.in < ring && w.fresh[r.in] == n {
		w.fresh[r.in] = r.next
	}
	if r.prev == 0 {
		l.head = r.next
	} else {
		w.rows.at(r.prev).next = r.next
	}
	if r.next == 0 {
		l.tail = r.prev
	} else {
		w.rows.at(r.next).prev = r.prev
	}
	r.in, r.prev, r.next, r.turn = 0, 0, 0, 0
}
