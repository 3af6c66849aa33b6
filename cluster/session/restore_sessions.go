package session

import "time"

// takeSweep queues a sweep; which account of which realm it means is seen when all sweeps are known.
func (rs *restorer) takeSweep(x savedSweep) error {
	st := &rs.m.store
	whole := x.username == ""
	if !ValidName(x.realm) || !whole && !ValidName(x.username) || whole != (len(x.keys) == 0) ||
		!rs.numbered(x.end.seq) || !rs.past(x.end.at) || !rs.indexed(x.end.mod) {
		return broken("field out of range")
	}
	if n := st.sweeps.len(); n > 0 && st.sweeps.at(st.sweeps.tail-1).end.seq >= x.end.seq {
		return broken("out of order")
	}
	sw := &sweep{keys: x.keys, end: x.end, realm: newRealmState(x.realm)}
	if whole {
		sw.realm.end = x.end
		rs.detached[x.realm] = append(rs.detached[x.realm], sw.realm)
	} else {
		sw.a = &account{name: x.username} // stands for the name until placeSweeps
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

// placeSweeps gives each sweep of an account the account that it ended sessions of.
func (rs *restorer) placeSweeps() error {
	rs.m.store.sweeps.each(func(sw *sweep) bool {
		if sw.a == nil {
			return true
		}
		// The realm may have been deleted since, with no live session left and so without a sweep of its own: then
		// the state made by takeSweep, which nothing else refers to, serves.
		if owner := rs.realmOf(sw.realm.name, sw.end.seq); owner != nil {
			sw.realm = owner
		}
		sw.a = sw.realm.account(sw.a.name)
		sw.a.end = sw.end
		sw.a.ended = append(sw.a.ended, sw)
		return true
	})
	oldest := rs.m.store.sweeps
	if !rs.m.store.cursor.IsZero() && (oldest.len() == 0 || oldest.at(oldest.head).a != nil) {
		return broken("cursor without a sweep")
	}
	return nil
}

// realmOf returns the realm of that name to which command number seq belonged: one that was deleted later and is yet
// to be swept, or else the one of today; nil if there is neither.
func (rs *restorer) realmOf(name string, seq uint64) *realmState {
	for _, gone := range rs.detached[name] {
		if seq <= gone.end.seq {
			return gone
		}
	}
	return rs.m.realms[name]
}

func (rs *restorer) takeSession(s *Session) error {
	if err := rs.checkSession(s); err != nil {
		return err
	}
	realm := rs.realmOf(s.Realm, s.Seq)
	sw := rs.pending[s.Key]
	if sw != nil {
		realm = sw.realm
	}
	if realm == nil || realm.name != s.Realm {
		return broken("no such realm")
	}
	a := realm.account(s.Username)
	s.Realm, s.Username = realm.name, a.name
	if a.user != nil && a.user.ID == s.UserID {
		s.UserID = a.user.ID
	}
	if err := rs.placeSession(s, a, sw); err != nil {
		return err
	}
	rs.m.store.attach(s, a, rs.meta.clock)
	return nil
}

// placeSession counts a session in as live, as one that a sweep names, or as one of a deleted realm.
func (rs *restorer) placeSession(s *Session, a *account, sw *sweep) error {
	st := &rs.m.store
	switch {
	case sw != nil:
		if sw.a != a || a.endOf(s) != sw.end {
			return broken("session in the wrong sweep")
		}
		delete(rs.pending, s.Key)
		st.unswept++
	case s.Seq <= a.end.seq:
		return broken("ended session without a sweep")
	case a.realm.realm == nil:
		oldest := st.sweeps.at(st.sweeps.head)
		if oldest.realm == a.realm && oldest.a == nil && compareKeys(s.Key, st.cursor) <= 0 {
			return broken("session behind the cursor")
		}
		a.realm.unswept++
		st.unswept++
	default:
		a.keys = append(a.keys, s.Key)
		a.realm.live++
	}
	return nil
}

func (rs *restorer) checkSession(s *Session) error {
	key := string(s.Key[:])
	if key <= rs.last || s.Key.IsZero() {
		return broken("key out of order")
	}
	rs.last = key
	if !ValidName(s.Realm) || !ValidName(s.Username) || s.UserID != "" && !validID(s.UserID) || !s.Surface.valid() ||
		len(s.Address) > MaxAddress || len(s.Agent) > MaxAgent || !validRoleSet(s.Roles) {
		return broken("field out of range")
	}
	if !rs.past(s.Created) || !rs.past(s.LastUse) || s.LastUse < s.Created || s.Expires <= s.Created ||
		s.Idle < time.Millisecond {
		return broken("time out of range")
	}
	if !rs.numbered(s.Seq) || !rs.numbered(s.Rev) || s.Rev < s.Seq || !rs.indexed(s.Mod) {
		return broken("number out of range")
	}
	if !validAttrs(s.Attrs) {
		return broken("attributes out of order or over a limit")
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
			if sw.realm.unswept == 0 {
				err = broken("sweep of a realm without sessions")
			}
			return err == nil
		}
		var last uint64
		for _, k := range sw.keys {
			r, _ := rs.m.store.table.get(k)
			if r.s.Seq <= last {
				err = broken("sweep out of order")
			}
			last = r.s.Seq
		}
		sw.realm.drop(sw.a)
		return err == nil
	})
	return err
}
