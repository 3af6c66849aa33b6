package session

import "slices"

// View is a session with the records that its roles follow.
type View struct {
	Session *Session
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
// long is the caller's to say. It does not allocate.
func (m *Machine) Lookup(k Key) (View, bool) {
	r, ok := m.store.table.get(k)
	if !ok || r.ended() {
		return View{}, false
	}
	v := View{Session: r.s, Realm: r.a.realm.realm, Mod: r.s.Mod}
	// A session made without a record does not turn into that of a user who is given the same name later.
	if u := r.a.user; u != nil && u.ID == r.s.UserID {
		v.User = u
		v.Mod = max(v.Mod, u.Mod)
	}
	if v.Realm != nil {
		v.Mod = max(v.Mod, v.Realm.Mod)
	}
	return v, true
}

// Tombstone returns what is remembered of a session that has ended. It is the same before and after its sweep.
func (m *Machine) Tombstone(k Key) (Tombstone, bool) {
	r, ok := m.store.table.get(k)
	if !ok {
		return m.store.tombs.get(k)
	}
	if !r.ended() {
		return Tombstone{}, false
	}
	end := r.a.endOf(r.s)
	return Tombstone{Key: k, Ended: end.at, Reason: EndedByUser, Mod: end.mod}, true
}

// SessionsOf returns the live sessions of a user, with or without a record, oldest first.
func (m *Machine) SessionsOf(realm, username string) []*Session {
	a := m.account(realm, username)
	if a == nil {
		return nil
	}
	sessions := make([]*Session, 0, len(a.keys))
	for _, k := range a.keys {
		r, _ := m.store.live(k)
		sessions = append(sessions, r.s)
	}
	return sessions
}

// Sessions returns up to limit live sessions whose keys follow after, in the order of their keys.
func (m *Machine) Sessions(after Key, limit int) []*Session {
	var page []*Session
	if limit <= 0 {
		return page
	}
	m.store.table.ascend(after, func(r ref) bool {
		if !r.ended() {
			page = append(page, r.s)
		}
		return len(page) < limit
	})
	return page
}
