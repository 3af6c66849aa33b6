package session

import (
	"runtime"
	"slices"
)

// View is a session with the records that its roles follow.
type View struct {
	Session Head
	User    *User  // nil: the session was made without a user's record
	Realm   *Realm // nil: there is none
	Mod     uint64 // the highest log index at which any of the three last changed
}

// Roles returns the names of the session's roles, sorted and without duplicates: those fixed at its creation, or the
// user's own and the realm's. The slice must not be changed.
func (v View) Roles() []string {
	if v.Session.Roles != nil {
		return v.Session.Roles
	}
	return union(v.userRoles(), v.realmRoles())
}

// HasRole reports whether Roles contains the name. It does not allocate.
func (v View) HasRole(name string) bool {
	if v.Session.Roles != nil {
		return slices.Contains(v.Session.Roles, name)
	}
	return slices.Contains(v.userRoles(), name) || slices.Contains(v.realmRoles(), name)
}

func (v View) userRoles() []string {
	if v.User == nil {
		return nil
	}
	return v.User.RoleNames
}

func (v View) realmRoles() []string {
	if v.Realm == nil {
		return nil
	}
	return v.Realm.RoleNames
}

// Lookup returns a session that has not ended. It looks at no clock: whether the session is too old or idle for too
// long is the caller's to say. It does not allocate, and what it returns may be kept.
func (m *Machine) Lookup(k Key) (v View, ok bool) {
	r, ok := m.store.live(k)
	if !ok {
		return v, false
	}
	m.store.table.head(r, &v.Session)
	v.Realm, v.Mod = r.a.realm.realm, r.mod
	// A session made without a record does not turn into that of a user who is given the same name later.
	if r.userID != 0 && r.userID == r.a.owner {
		v.User = r.a.user
		v.Mod = max(v.Mod, r.a.userMod)
	}
	if v.Realm != nil {
		v.Mod = max(v.Mod, v.Realm.Mod)
	}
	runtime.KeepAlive(m)
	return v, true
}

// Session returns the whole record of a session that has not ended.
func (m *Machine) Session(k Key) (*Session, bool) {
	defer runtime.KeepAlive(m)
	r, ok := m.store.live(k)
	if !ok {
		return nil, false
	}
	return m.store.table.session(r), true
}

// Tombstone returns what is remembered of a session that has ended. It is the same before and after its sweep.
func (m *Machine) Tombstone(k Key) (Tombstone, bool) {
	defer runtime.KeepAlive(m)
	r, ok := m.store.table.get(k)
	if !ok {
		return m.store.table.tombstone(k)
	}
	if !r.ended() {
		return Tombstone{}, false
	}
	return r.a.endedBy(r.seq).end.tombstone(k), true
}

// ModOf returns the index of the last change of what a lookup of the key shows, also when there is no session: that of
// its end, or if its end is forgotten or it never was, the last end that is forgotten.
func (m *Machine) ModOf(k Key) uint64 {
	if v, ok := m.Lookup(k); ok {
		return v.Mod
	}
	if t, ok := m.Tombstone(k); ok {
		return t.Mod
	}
	return m.store.table.tombs.forgotten
}

// SessionsOf returns the live sessions of a user, with or without a record, oldest first.
func (m *Machine) SessionsOf(realm, username string) []*Session {
	defer runtime.KeepAlive(m)
	a := m.account(realm, username)
	if a == nil {
		return nil
	}
	sessions := make([]*Session, 0, a.live())
	m.store.table.rows.each(a, func(n uint32) {
		sessions = append(sessions, m.store.table.session(m.store.table.ref(n)))
	})
	return sessions
}

// HasSessions reports whether a user, with or without a record, has live sessions. It does not allocate.
func (m *Machine) HasSessions(realm, username string) bool {
	defer runtime.KeepAlive(m)
	a := m.account(realm, username)
	return a != nil && a.live() > 0
}

// HasSessionFrom reports whether a user, with or without a record, has a live session that was made from an address for
// which fn holds. Fn must not keep the address. It does not allocate, and looks at nothing else of the sessions: anybody can
// ask for it, by trying to log in, as often as he likes.
func (m *Machine) HasSessionFrom(realm, username string, fn func(address string) bool) bool {
	defer runtime.KeepAlive(m)
	a := m.account(realm, username)
	if a == nil {
		return false
	}
	t := m.store.table
	return t.rows.some(a, func(n uint32) bool {
		in := reader{b: t.blobs.get(t.rows.at(n).blob)}
		return fn(borrowed(in.text()))
	})
}

// Sessions returns up to limit live sessions whose keys follow after, in the order of their keys.
func (m *Machine) Sessions(after Key, limit int) []*Session {
	defer runtime.KeepAlive(m)
	var page []*Session
	if limit <= 0 {
		return page
	}
	m.store.table.ascend(after, func(r ref) bool {
		if !r.ended() {
			page = append(page, m.store.table.session(r))
		}
		return len(page) < limit
	})
	return page
}

// Owner is a user, with or without a record, who has live sessions.
type Owner struct{ Realm, Username string }

// Owners returns users of realms other than native who have live sessions, each where its oldest session stands in the
// order of keys, from those on that follow after. It looks at no more than limit sessions, so a page may be empty; next is
// where to go on, zero at the end. A user whose oldest session ends between two pages may be missed, or come twice.
func (m *Machine) Owners(after Key, limit int) (page []Owner, next Key) {
	defer runtime.KeepAlive(m)
	if limit <= 0 {
		return nil, after
	}
	m.store.table.ascend(after, func(r ref) bool {
		if limit == 0 {
			return false
		}
		limit--
		next = r.key
		if a := r.a; a.realm.name != NativeRealm && a.live() > 0 && a.oldest == r.n {
			page = append(page, Owner{Realm: a.realm.name, Username: a.name})
		}
		return true
	})
	if limit > 0 {
		next = Key{}
	}
	return page, next
}
