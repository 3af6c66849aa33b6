package session

import "slices"

// Locker keeps the machine from changing while it is locked: an RWMutex's RLocker, for example.
type Locker interface {
	Lock()
	Unlock()
}

// walk writes the sessions of one moment, shard by shard, while the table goes on to change. Whoever changes or ends a
// session that was there at that moment, in a shard that the walk has not come to, saves its encoding for the walk before.
// That it was there, and is saved already, is told by the row's epoch: see preserve.
type walk struct {
	table *table
	lock  Locker // nil: nobody changes the table meanwhile
	epoch uint32 // rows of this epoch or a later one are not what they were, or were not there
	n     int    // sessions
	next  int    // the first shard that is not written
	saved map[int][]keyed
	done  bool
}

// walk begins a walk through the sessions as they are now.
func (t *table) walk(lock Locker) *walk {
	t.epoch++
	w := &walk{table: t, lock: lock, epoch: t.epoch, n: t.n, saved: make(map[int][]keyed)}
	t.walks = append(t.walks, w)
	return w
}

// view walks through the table as it is, and is good only as long as nobody changes it.
func (t *table) view() *walk { return &walk{table: t, epoch: t.epoch + 1, n: t.n} }

// preserve comes before a change or the end of a session.
func (t *table) preserve(r *row) {
	if r.epoch == t.epoch {
		return // all walks that are to have it have it
	}
	t.walks = slices.DeleteFunc(t.walks, func(w *walk) bool { return w.done })
	shard := shardOf(&r.key)
	var saved []byte
	for _, w := range t.walks {
		if r.epoch < w.epoch && shard >= w.next {
			if saved == nil {
				saved = t.appendRecord(nil, r)
			}
			w.saved[shard] = append(w.saved[shard], keyed{key: r.key, saved: saved})
		}
	}
	r.epoch = t.epoch
}

// write hands the encoded sessions to out in the order of their keys. The lock is held for a bounded number of them at a
// time, and not while out writes.
func (w *walk) write(out *snapshotWriter) error {
	var page []keyed
	for more := true; more; {
		w.locked(func() {
			page = w.some(out, page)
			more = w.next < len(w.table.index.shards)
		})
		if err := out.drain(); err != nil {
			return err
		}
	}
	return nil
}

// some goes on with shards until walkSessions or more are written.
func (w *walk) some(out *snapshotWriter, page []keyed) []keyed {
	index := &w.table.index
	for left := walkSessions; w.next < len(index.shards) && left > 0; w.next++ {
		saved := w.saved[w.next]
		if index.shards[w.next].n == 0 && saved == nil {
			continue
		}
		delete(w.saved, w.next)
		page = w.page(append(page[:0], saved...))
		for _, x := range page {
			if x.saved == nil {
				out.scratch = w.table.appendRecord(out.scratch[:0], w.table.rows.at(x.n))
				x.saved = out.scratch
			}
			out.add(x.saved)
		}
		left -= len(page)
	}
	return page
}

// page adds those sessions of the next shard that are as they were, and puts all into order.
func (w *walk) page(page []keyed) []keyed {
	w.table.index.each(w.next, func(n uint32) {
		if r := w.table.rows.at(n); r.epoch < w.epoch {
			page = append(page, keyed{key: r.key, n: n})
		}
	})
	slices.SortFunc(page, compareKeyed)
	return page
}

// end says that the walk is over, written or not: nothing need be saved for it any more.
func (w *walk) end() {
	w.locked(func() { w.done, w.saved = true, nil })
}

func (w *walk) locked(fn func()) {
	if w.lock != nil {
		w.lock.Lock()
		defer w.lock.Unlock()
	}
	fn()
}
