package session

// store holds the sessions: the table, and all that must change along with it.
type store struct {
	table      *table
	wheel      *wheel
	sweeps     fifo[*sweep]
	swept      int // keys of the oldest sweep that are done
	cursor     Key // of the oldest sweep, when it is of a whole realm: keys up to it are done
	unswept    int // sessions in the table that an index has ended
	attrBytes  int64
	created    uint64
	endedCount [reasonCount]uint64
	onEnd      func(*Session, Tombstone) // nil: nobody listens
	scratch    []byte                    // the blob that is being made
	attrs      []Attr                    // of the session that is being changed, as they were; their text is in its blob
	merged     []Attr                    // as they will be
}

func newStore(all *accounts) store {
	t := newTable(all)
	return store{table: t, wheel: &wheel{rows: &t.rows}}
}

// live returns a session that has not ended.
func (st *store) live(k Key) (ref, bool) {
	r, ok := st.table.get(k)
	if !ok || r.ended() {
		return ref{}, false
	}
	return r, true
}

// count returns how many sessions are live.
func (st *store) count() int { return st.table.len() - st.unswept }

// knows reports whether a key is in use, or was and is remembered.
func (st *store) knows(k Key) bool { return st.table.index.find(&k) != 0 }

// insert adds a new live session, the youngest of its account.
func (st *store) insert(s *Session, a *account, now Time) {
	st.scratch = appendAttrs(appendLogin(st.scratch[:0], s.Address, s.Agent), s.Attrs)
	r := st.attach(&row{
		key: s.Key, seq: s.Seq, rev: s.Rev, mod: s.Mod, created: s.Created, lastUse: s.LastUse, expires: s.Expires, idle: s.Idle,
		userID: a.idNumber(s.UserID), roles: st.table.roles.use(s.Roles), surface: s.Surface, csrfOff: s.CSRFOff,
		attrBytes: uint32(attrBytes(s.Attrs)), blob: st.table.blobs.put(st.scratch),
	}, a, now)
	st.join(r)
}

// attach puts a session into the table and the wheel.
func (st *store) attach(r *row, a *account, now Time) ref {
	at := st.table.insert(r, a)
	st.wheel.place(at.n, now)
	st.attrBytes += int64(r.attrBytes)
	return at
}

// join makes a session the youngest live one of its account.
func (st *store) join(r ref) {
	r.a.settle()
	st.table.rows.append(r.a, r.n)
	r.a.realm.live++
}

// use moves a session's last use on.
func (st *store) use(r ref, at, now Time) {
	st.table.preserve(r.row)
	st.wheel.used(r.n, at, now)
}

// setAttrs gives a session other attributes.
func (st *store) setAttrs(r ref, attrs []Attr) {
	st.table.preserve(r.row)
	login, _ := split(st.table.blobs.get(r.blob))
	st.scratch = appendAttrs(append(st.scratch[:0], login...), attrs)
	r.blob = st.table.blobs.set(r.blob, st.scratch)
	st.attrBytes -= int64(r.attrBytes)
	r.attrBytes = uint32(attrBytes(attrs))
	st.attrBytes += int64(r.attrBytes)
}

// setRoles gives a session other fixed roles.
func (st *store) setRoles(r ref, roles []string) {
	st.table.preserve(r.row)
	next := st.table.roles.use(roles)
	st.table.roles.leave(r.roles)
	r.roles = next
}

// end ends a live session.
func (st *store) end(r ref, t Tombstone) {
	st.table.rows.forget(r.a, r.n)
	r.a.realm.live--
	r.a.realm.drop(r.a)
	st.endedCount[t.Reason]++
	if st.onEnd != nil {
		st.onEnd(st.table.session(r), t)
	}
	st.bury(r, t)
}

// bury leaves a tombstone in place of a record.
func (st *store) bury(r ref, t Tombstone) {
	st.wheel.remove(r.n)
	st.attrBytes -= int64(r.attrBytes)
	st.table.bury(r, t)
}

// endAll ends all live sessions of an account and returns how many. It makes a list of their keys, of which there are
// MaxSessionsPerUser at most; to end them is to move the end index. The account stays, even if it is empty now: dropping
// it is the caller's.
func (st *store) endAll(a *account, end mark) uint32 {
	a.settle()
	n := a.live()
	if n == 0 {
		return 0
	}
	sw := &sweep{realm: a.realm, name: a.name, a: a, keys: make([]Key, 0, n), end: end}
	st.table.rows.each(a, func(n uint32) { sw.keys = append(sw.keys, st.table.rows.at(n).key) })
	a.end = end.seq
	a.await(sw)
	a.clear()
	a.realm.live -= n
	st.queue(sw, n)
	return uint32(n)
}

// endRealm ends all live sessions of a realm.
func (st *store) endRealm(rs *realmState, end mark) uint32 {
	n := rs.live
	if n > 0 {
		sw := &sweep{realm: rs, end: end, left: n}
		rs.end, rs.live = end.seq, 0
		rs.ended = append(rs.ended, sw)
		st.queue(sw, n)
	}
	return uint32(n)
}

func (st *store) queue(sw *sweep, n int) {
	st.sweeps.push(sw)
	st.unswept += n
	st.endedCount[sw.end.why] += uint64(n)
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
	if st.swept += len(todo); st.swept == len(sw.keys) { // first: the account may go with its last session
		st.swept = 0
		sw.a.ended = sw.a.ended.next
		st.sweeps.pop()
	}
	for _, k := range todo {
		r, ok := st.table.get(k)
		if !ok || !r.ended() {
			panic("BUG: session " + k.String() + " in a sweep is not an ended one")
		}
		st.bury(r, sw.end.tombstone(k))
	}
	return len(todo)
}

// sweepRealm goes on through the table in the order of the keys: a realm keeps no list of its sessions, because only
// its deletion and EndAll would need it. Sessions of its accounts that were ended before are swept by now, and what was
// made since has a higher number.
func (st *store) sweepRealm(sw *sweep, limit, scan int) (done, looked int) {
	var found []ref
	st.table.ascend(st.cursor, func(r ref) bool {
		looked++
		st.cursor = r.key
		if r.a.realm == sw.realm && r.seq <= sw.end.seq {
			found = append(found, r)
		}
		return len(found) < min(limit, sw.left) && looked < scan
	})
	for _, r := range found {
		sw.realm.drop(r.a)
		st.bury(r, sw.end.tombstone(r.key))
	}
	if sw.left -= len(found); sw.left == 0 {
		st.cursor = Key{}
		sw.realm.ended = sw.realm.ended[1:]
		st.sweeps.pop()
	} else if looked == 0 {
		panic("BUG: ended sessions of the realm " + sw.realm.name + " are missing from the table")
	}
	return len(found), looked
}

func (end mark) tombstone(k Key) Tombstone {
	return Tombstone{Key: k, Ended: end.at, Reason: end.why, Mod: end.mod, By: end.by}
}

func attrBytes(attrs []Attr) int {
	n := 0
	for _, a := range attrs {
		n += len(a.Key) + len(a.Value)
	}
	return n
}
