package session

import (
	"fmt"
	"time"
)

// takeSweep queues a sweep, and gives it the realm and the account whose sessions it is of.
func (rs *restorer) takeSweep(x savedSweep) error {
	st := &rs.m.store
	whole := x.username == ""
	if !ValidName(x.realm) || !whole && !ValidName(x.username) || whole != (len(x.keys) == 0) ||
		!rs.knows(x.end.why) || len(x.end.by) > MaxBy || whole && !x.ofRealm() ||
		!rs.numbered(x.end.seq) || !rs.past(x.end.at) || !rs.indexed(x.end.mod) {
		return broken("field out of range")
	}
	if n := st.sweeps.len(); n > 0 && !x.follows(st.sweeps.at(st.sweeps.tail-1)) {
		return broken("out of order")
	}
	sw := &sweep{keys: x.keys, end: x.end, realm: rs.realmOf(x.realm)}
	if whole {
		sw.realm.end = sw.end.seq
		sw.realm.ended = append(sw.realm.ended, sw)
	} else {
		sw.a, sw.name = sw.realm.account(x.username), x.username
		sw.a.end = sw.end.seq
		sw.a.await(sw)
	}
	for _, k := range x.keys {
		if k.IsZero() || rs.pending[k] != nil {
			return broken("key twice")
		}
		rs.pending[k] = sw
	}
	st.sweeps.push(sw)
	return nil
}

// ofRealm reports whether a whole realm can have ended for the reason: with all others, or with its record.
func (x savedSweep) ofRealm() bool {
	return x.end.why == EndedByEmergency ||
		x.realm != NativeRealm && (x.end.why == EndedByRealm || x.end.why == EndedByUser)
}

// follows reports whether a sweep can stand behind another: of a later command, or of the same EndAll and the next realm.
func (x savedSweep) follows(last *sweep) bool {
	if x.end.seq == last.end.seq {
		return x.end == last.end && x.end.why == EndedByEmergency && x.username == "" && last.a == nil && x.realm > last.realm.name
	}
	return x.end.seq > last.end.seq
}

// realmOf returns the realm of that name. The one of today stands for those before it, and if there is none, one that has
// been deleted for all of them: their sessions have ended, by which index follows from their numbers, and nobody can tell
// any more what else they had.
func (rs *restorer) realmOf(name string) *realmState {
	if realm := rs.m.realms[name]; realm != nil {
		return realm
	}
	gone := rs.gone[name]
	if gone == nil {
		gone = newRealmState(name, rs.m.all)
		rs.gone[name] = gone
	}
	return gone
}

// checkCursor checks that the oldest sweep is one that goes through the table, if one has begun to.
func (rs *restorer) checkCursor() error {
	st := &rs.m.store
	if !st.cursor.IsZero() && (st.sweeps.len() == 0 || st.sweeps.at(st.sweeps.head).a != nil) {
		return broken("cursor without a sweep")
	}
	return nil
}

// takeSessions takes in what is read, summed up and decoded meanwhile by two other goroutines.
func (rs *restorer) takeSessions() error {
	rs.last = ""
	ahead := rs.readAhead(rs.meta.sessions)
	defer ahead.stop()
	i := 0
	for {
		b := ahead.next()
		for rest := b.sessions; len(rest) > 0; {
			group := rest[:min(len(rest), fetchGroup)]
			rest = rest[len(group):]
			rs.fetch(group)
			for j := range group {
				if err := rs.takeSession(&group[j]); err != nil {
					return fmt.Errorf("session %d: %w", i, err)
				}
				i++
			}
		}
		if b.err != nil {
			return fmt.Errorf("session %d: %w", i, b.err)
		}
		if b.last {
			rs.fillShard(rs.lastKey)
			return nil
		}
	}
}

// fetchGroup is how many sessions' accounts are brought into the processor's caches at a time.
const fetchGroup = 256

// fetch reads what taking in some sessions will need. Each of these reads is a cache miss; a short loop has the processor
// wait for many at once, where the long way from one session to the next would wait for each.
func (rs *restorer) fetch(sessions []savedSession) {
	all := rs.m.all
	if all.names.shards == nil {
		return
	}
	var sum uint64
	for i := range sessions {
		sum += all.near(sessions[i].hash)
	}
	var near [fetchGroup]*account
	for i := range sessions {
		near[i] = all.candidate(sessions[i].hash)
	}
	for _, a := range near[:len(sessions)] {
		if a != nil {
			sum += uint64(a.youngest) + uint64(len(a.name))
		}
	}
	for _, a := range near[:len(sessions)] {
		if a != nil && a.name != "" {
			sum += uint64(a.name[0])
		}
	}
	rs.sink += sum
}

func (rs *restorer) takeSession(s *savedSession) error {
	last := rs.lastKey
	if err := rs.checkSession(s); err != nil {
		return err
	}
	a, err := rs.accountOf(s)
	if err != nil {
		return err
	}
	var named *sweep
	if len(rs.pending) > 0 {
		named = rs.pending[s.key]
	}
	by, err := rs.endOf(s, a, named)
	if err != nil {
		return err
	}
	st := &rs.m.store
	s.row.userID, err = rs.userIDOf(s, a)
	if err != nil {
		return err
	}
	if s.roles != nil {
		s.row.roles = st.table.roles.useText(s.roles, func() []string { return (&reader{b: s.roles}).strings() })
	}
	s.blob = st.table.blobs.join(s.login, s.attrs)
	if shardOf(&s.key) != shardOf(&last) {
		rs.fillShard(last)
	}
	n := st.table.add(&s.row, a)
	rs.slots = append(rs.slots, slotOf(tagOf(&s.key), n))
	st.wheel.place(n, rs.meta.clock)
	st.attrBytes += int64(s.attrBytes)
	switch {
	case by == nil:
		rs.join(a, n)
	case named == nil:
		by.left++
		st.unswept++
	default:
		delete(rs.pending, s.key)
		st.unswept++
	}
	return nil
}

// fillShard puts the sessions that were read of a key's shard into the index.
func (rs *restorer) fillShard(k Key) {
	if len(rs.slots) > 0 {
		rs.m.store.table.index.fill(shardOf(&k), rs.slots)
		rs.slots = rs.slots[:0]
	}
}

// join makes a session one of its account's live ones, in the order of the keys so far, and findable from the last one on
// only: to go to the one before would be a cache miss for each. See sortAccounts.
func (rs *restorer) join(a *account, n uint32) {
	a.settle()
	rs.m.store.table.rows.at(n).older = a.youngest
	a.youngest = n
	a.n++
	a.realm.live++
}

// accountOf returns the account of a session, a new one if need be.
func (rs *restorer) accountOf(s *savedSession) (*account, error) {
	realm := rs.realm
	if realm == nil || realm.name != borrowed(s.realm) {
		name := string(s.realm)
		if !ValidName(name) {
			return nil, broken("field out of range")
		}
		realm = rs.realmOf(name)
		rs.realm = realm
	}
	if a, _ := rs.m.all.search(realm, borrowed(s.username), s.hash); a != nil {
		return a, nil
	}
	name := string(s.username)
	if !ValidName(name) {
		return nil, broken("field out of range")
	}
	return rs.m.all.take(realm, name), nil
}

// userIDOf returns the number of the session's user id in its account.
func (rs *restorer) userIDOf(s *savedSession, a *account) (uint32, error) {
	if len(s.userID) == 0 {
		return 0, nil
	}
	if n := a.findID(borrowed(s.userID)); n != 0 {
		return n, nil
	}
	if a.user != nil && a.user.ID == borrowed(s.userID) {
		return a.idNumber(a.user.ID), nil
	}
	id := string(s.userID)
	if !validID(id) {
		return 0, broken("field out of range")
	}
	return a.idNumber(id), nil
}

// endOf returns the sweep that has ended a session, nil if it is live: the one that names it, or one of a whole realm.
func (rs *restorer) endOf(s *savedSession, a *account, named *sweep) (*sweep, error) {
	st := &rs.m.store
	by := a.endedBy(s.seq)
	switch {
	case by != nil && by.a == nil && named == nil:
		if st.sweeps.at(st.sweeps.head) == by && compareKeys(s.key, st.cursor) <= 0 {
			return nil, broken("session behind the cursor")
		}
	case by != named:
		return nil, broken("session in the wrong sweep, or in none")
	case by == nil && a.realm.realm == nil:
		return nil, broken("no such realm")
	}
	return by, nil
}

// checkSession checks what can be seen of a session alone; what is text is checked when it is first seen.
func (rs *restorer) checkSession(s *savedSession) error {
	if compareKeys(s.key, rs.lastKey) <= 0 {
		return broken("key out of order")
	}
	rs.lastKey = s.key
	if !s.surface.valid() || s.surface == SurfaceBearer && !rs.m.modern {
		return broken("field out of range")
	}
	if !rs.past(s.created) || !rs.past(s.lastUse) || s.lastUse < s.created || s.expires <= s.created ||
		s.idle < time.Millisecond {
		return broken("time out of range")
	}
	if !rs.numbered(s.seq) || !rs.numbered(s.rev) || s.rev < s.seq || !rs.indexed(s.mod) {
		return broken("number out of range")
	}
	return nil
}

// checkSweeps checks that each sweep has found its sessions, and forgets the accounts that exist for sweeps only.
func (rs *restorer) checkSweeps() error {
	if len(rs.pending) > 0 {
		return broken("sweep of a missing session")
	}
	var err error
	rs.m.store.sweeps.each(func(sw *sweep) bool {
		if sw.a == nil {
			if sw.left == 0 {
				err = broken("sweep of a realm without sessions")
			}
			return err == nil
		}
		var last uint64
		for _, k := range sw.keys {
			r, _ := rs.m.store.table.get(k)
			if r.seq <= last {
				err = broken("sweep out of order")
			}
			last = r.seq
		}
		sw.realm.drop(sw.a)
		return err == nil
	})
	return err
}
