package session

// store holds the sessions: the table, and all that must change along with it.
type store struct {
	table      table
	wheel      *wheel
	tombs      tombstones
	sweeps     fifo[*sweep]
	swept      int // keys of the oldest sweep that are done
	cursor     Key // of the oldest sweep, when it is of a whole realm: keys up to it are done
	unswept    int // sessions in the table that an index has ended
	attrBytes  int64
	created    uint64
	endedCount [reasonCount]uint64
}

func newStore() store {
	return store{table: newTable(), wheel: new(wheel), tombs: newTombstones()}
}

// live returns a session that has not ended.
func (st *store) live(k Key) (ref, bool) {
	r, ok := st.table.get(k)
	if !ok || r.ended() {
		return ref{}, false
	}
	return r, true
}

// knows reports whether a key is in use, or was and is remembered.
func (st *store) knows(k Key) bool {
	if _, ok := st.table.get(k); ok {
		return true
	}
	_, ok := st.tombs.get(k)
	return ok
}

// insert adds a new live session, the youngest of its account.
func (st *store) insert(s *Session, a *account, now Time) {
	st.attach(s, a, now)
	a.keys = append(a.keys, s.Key)
	a.realm.live++
}

// attach puts a session into the table and the wheel.
func (st *store) attach(s *Session, a *account, now Time) {
	n := &node{key: s.Key, idleAt: s.LastUse.Add(s.Idle), expires: s.Expires}
	st.wheel.add(n, now)
	st.table.put(ref{s: s, a: a, n: n})
	st.attrBytes += int64(attrBytes(s.Attrs))
}

// replace puts a session's next record in place of r.
func (st *store) replace(r ref, next *Session, now Time) {
	st.attrBytes += int64(attrBytes(next.Attrs)) - int64(attrBytes(r.s.Attrs))
	if next.LastUse != r.s.LastUse {
		st.wheel.used(r.n, next.LastUse.Add(next.Idle), now)
	}
	r.s = next
	st.table.put(r)
}

// end ends a live session.
func (st *store) end(r ref, t Tombstone) {
	r.a.forget(r.s.Key)
	r.a.realm.live--
	r.a.realm.drop(r.a)
	st.endedCount[t.Reason]++
	st.bury(r, t)
}

// bury leaves a tombstone in place of a record.
func (st *store) bury(r ref, t Tombstone) {
	st.table.delete(r.s.Key)
	st.wheel.remove(r.n)
	st.attrBytes -= int64(attrBytes(r.s.Attrs))
	st.tombs.add(t)
}

// endAll ends all live sessions of an account, whatever their number, and returns that number. The account stays, even
// if it is empty now: dropping it is the caller's.
func (st *store) endAll(a *account, end mark) uint32 {
	n := len(a.keys)
	if n == 0 {
		return 0
	}
	sw := &sweep{realm: a.realm, a: a, keys: a.keys, end: end}
	a.end = end
	a.ended = append(a.ended, sw)
	a.keys = nil
	a.realm.live -= n
	st.queue(sw, n)
	return uint32(n)
}

// endRealm ends all live sessions of a realm that has been taken out of the directory.
func (st *store) endRealm(rs *realmState, end mark) uint32 {
	n := rs.live
	rs.end = end
	rs.live, rs.unswept = 0, n
	if n > 0 {
		st.queue(&sweep{realm: rs, end: end}, n)
	}
	return uint32(n)
}

func (st *store) queue(sw *sweep, n int) {
	st.sweeps.push(sw)
	st.unswept += n
	st.endedCount[EndedByUser] += uint64(n)
}

// sweep turns up to MaxSweep ended sessions into tombstones, the earliest ended first, and returns how many.
func (st *store) sweep() uint32 {
	var done int
	scan := maxSweepScan
	for done < MaxSweep && scan > 0 && st.sweeps.len() > 0 {
		sw := st.sweeps.at(st.sweeps.head)
		if sw.a != nil {
			done += st.sweepAccount(sw, MaxSweep-done)
			continue
		}
		n, looked := st.sweepRealm(sw, MaxSweep-done, scan)
		done += n
		scan -= looked
	}
	st.unswept -= done
	return uint32(done)
}

func (st *store) sweepAccount(sw *sweep, limit int) int {
	todo := sw.keys[st.swept:]
	if len(todo) > limit {
		todo = todo[:limit]
	}
	for _, k := range todo {
		r, ok := st.table.get(k)
		if !ok || !r.ended() {
			panic("BUG: session " + k.String() + " in a sweep is not an ended one")
		}
		st.bury(r, sw.tombstone(k))
	}
	if st.swept += len(todo); st.swept == len(sw.keys) {
		st.swept = 0
		sw.a.ended = sw.a.ended[1:]
		st.sweeps.pop()
	}
	return len(todo)
}

// sweepRealm goes on through the table in the order of the keys: a realm keeps no list of its sessions, because only
// its deletion would need it.
func (st *store) sweepRealm(sw *sweep, limit, scan int) (done, looked int) {
	var found []ref
	st.table.ascend(st.cursor, func(r ref) bool {
		looked++
		st.cursor = r.s.Key
		if r.a.realm == sw.realm {
			found = append(found, r)
		}
		return len(found) < min(limit, sw.realm.unswept) && looked < scan
	})
	for _, r := range found {
		st.bury(r, sw.tombstone(r.s.Key))
	}
	if sw.realm.unswept -= len(found); sw.realm.unswept == 0 {
		st.cursor = Key{}
		st.sweeps.pop()
	} else if looked == 0 {
		panic("BUG: sessions of the deleted realm " + sw.realm.name + " are missing from the table")
	}
	return len(found), looked
}

func (sw *sweep) tombstone(k Key) Tombstone {
	return Tombstone{Key: k, Ended: sw.end.at, Reason: EndedByUser, Mod: sw.end.mod}
}

func attrBytes(attrs []Attr) int {
	n := 0
	for _, a := range attrs {
		n += len(a.Key) + len(a.Value)
	}
	return n
}
