package session

import (
	"slices"
	"time"
)

// create admits a session. Nothing is changed before everything that can be refused has been.
func (s step) create(c *Create) Result {
	if c.NotAfter != 0 && s.clock > c.NotAfter {
		return refuse(ErrTooLate)
	}
	if c.Key.IsZero() || c.Idle < time.Millisecond || c.Lifetime < time.Millisecond || !c.Surface.valid() {
		return refuse(ErrBadCommand)
	}
	if s.store.knows(c.Key) {
		return refuse(ErrKeyUsed)
	}
	rs, user, err := s.admit(c)
	if err != nil {
		return refuse(err)
	}
	roles, err := s.fixedRoles(c)
	if err != nil {
		return refuse(err)
	}
	if c.NoAdmin && privileged(roles, user, rs.realm) {
		return refuse(ErrPrivilegedUser)
	}
	attrs, err := s.limited(mergeAttrs(s.store.merged, nil, c.Attrs))
	if err != nil {
		return refuse(err)
	}
	s.store.merged = attrs
	var replaced *ref
	if old, ok := s.store.live(c.Replaces); ok {
		replaced = &old
	}
	a := rs.find(c.Username)
	evict, err := s.makeRoom(a, replaced)
	if err != nil {
		return refuse(err)
	}

	ended := uint32(evict)
	if replaced != nil {
		s.store.end(*replaced, s.tombstone(c.Replaces, EndedByLogin, ""))
		ended++
	}
	s.evict(a, evict)
	a = rs.account(c.Username) // not before: an account goes with its last session
	userID := c.UserID
	if user == nil && c.AutoCreate {
		user = &User{ID: c.UserID, Realm: rs.name, Username: a.name, Created: s.clock, Updated: s.clock, Rev: s.seq, Mod: s.mod}
		s.setUser(a, user)
	}
	if user != nil {
		userID = user.ID
	}
	s.store.insert(&Session{
		Head: Head{
			Key: c.Key, UserID: userID, Roles: roles, Surface: c.Surface, CSRFOff: c.CSRFOff,
			Created: s.clock, LastUse: s.clock, Expires: s.clock.Add(c.Lifetime), Idle: c.Idle,
			Seq: s.seq, Rev: s.seq, Mod: s.mod,
		},
		Address: cut(c.Address, MaxAddress), Agent: cut(c.Agent, MaxAgent), Attrs: attrs,
	}, a, s.clock)
	s.store.created++
	return Result{Rev: s.seq, Ended: ended}
}

// admit checks that the realm and the user are those that the credentials were checked against, and may log in.
// The user is nil where there is no record.
func (s step) admit(c *Create) (*realmState, *User, *Error) {
	rs := s.realms[c.Realm]
	switch {
	case rs == nil:
		return nil, nil, ErrRealmNotFound
	case !rs.realm.Enabled:
		return nil, nil, ErrRealmDisabled
	case rs.realm.Rev != c.RealmRev:
		return nil, nil, ErrRevisionMoved
	case !ValidName(c.Username):
		return nil, nil, ErrBadUserName
	}
	user, ok := s.UserByName(c.Realm, c.Username)
	if ok {
		switch {
		case user.Disabled:
			return nil, nil, ErrUserDisabled
		case user.Rev != c.UserRev:
			return nil, nil, ErrRevisionMoved
		}
		return rs, user, nil
	}
	if c.UserRev != 0 {
		return nil, nil, ErrRevisionMoved
	}
	if c.AutoCreate {
		if _, taken := s.UserByID(c.UserID); taken || !validID(c.UserID) {
			return nil, nil, ErrBadCommand
		}
	} else if c.UserID != "" && !validID(c.UserID) {
		return nil, nil, ErrBadCommand
	}
	return rs, nil, nil
}

// fixedRoles returns the roles that the session keeps whatever becomes of the user's record: nil if they follow it.
func (s step) fixedRoles(c *Create) ([]string, *Error) {
	if !c.FixedRoles {
		return nil, nil
	}
	roles, err := s.roleSet(c.Roles)
	if err == nil && roles == nil {
		roles = []string{}
	}
	return roles, err
}

// privileged reports whether the role admin comes from anywhere: what a session does not show now, it may later.
func privileged(fixed []string, user *User, realm *Realm) bool {
	return slices.Contains(fixed, RoleAdmin) || slices.Contains(realm.RoleNames, RoleAdmin) ||
		user != nil && slices.Contains(user.RoleNames, RoleAdmin)
}

// evict ends the n oldest sessions of an account.
func (s step) evict(a *account, n int) {
	for range n {
		r := s.store.table.ref(a.oldest)
		s.store.end(r, s.tombstone(r.key, EndedByEviction, ""))
	}
}

// usable returns a live session that is not over by the clock either. The replicated last use may lag behind the true
// one, hence the grace.
func (s step) usable(k Key) (ref, *Error) {
	r, ok := s.store.live(k)
	switch {
	case !ok || r.expires <= s.clock:
		return ref{}, ErrSessionInvalid
	case s.clock > r.idleAt().Add(max(IdleGrace, s.Grace(r.idle))):
		return ref{}, ErrSessionIdle
	}
	return r, nil
}

func (s step) put(c *Put) Result {
	return s.change(c.Key, c.IfRev, func(dst, attrs []Attr) ([]Attr, *Error) {
		return s.limited(mergeAttrs(dst, attrs, c.Attrs))
	})
}

func (s step) delete(c *Delete) Result {
	return s.change(c.Key, c.IfRev, func(dst, attrs []Attr) ([]Attr, *Error) { return removeAttrs(dst, attrs, c.Names) })
}

// change gives a session new attributes, and counts as a use of it.
func (s step) change(k Key, ifRev uint64, edit func(dst, attrs []Attr) ([]Attr, *Error)) Result {
	r, err := s.usable(k)
	if err != nil {
		return refuse(err)
	}
	if ifRev != 0 && ifRev != r.rev {
		return refuse(ErrConflict)
	}
	st := &s.store
	st.attrs = st.table.attrs(st.attrs[:0], r)
	attrs, err := edit(st.merged, st.attrs)
	if err != nil {
		return refuse(err)
	}
	st.merged = attrs
	s.store.setAttrs(r, attrs)
	if r.lastUse != s.clock {
		s.store.use(r, s.clock, s.clock)
	}
	r.rev, r.mod = s.seq, s.mod
	return Result{Rev: r.rev}
}

func (s step) invalidate(c *Invalidate) Result {
	if !s.knows(c.Reason) {
		return refuse(ErrBadCommand)
	}
	r, err := s.usable(c.Key)
	if err != nil {
		return refuse(err)
	}
	s.store.end(r, s.tombstone(c.Key, c.Reason, c.By))
	return Result{Ended: 1}
}

func (s step) touch(c *Touch) Result {
	for _, u := range c.Uses {
		at := min(u.At, s.clock) // another node's estimate may be a little ahead
		r, ok := s.store.live(u.Key)
		if ok && at > r.lastUse {
			s.store.use(r, at, s.clock)
		}
	}
	return Result{}
}

func (s step) expire(c *Expire) Result {
	var ended uint32
	cutoff := min(c.Cutoff, s.clock)
	for _, k := range c.Keys {
		r, ok := s.store.live(k)
		if !ok {
			continue
		}
		if why := overBy(r.row, cutoff, s.clock); why != 0 {
			s.store.end(r, s.tombstone(k, why, ""))
			ended++
		}
	}
	return Result{Ended: ended}
}

// overBy says why a session is over: by whichever came first if both timeouts are, and 0 if neither is.
func overBy(r *row, cutoff, clock Time) Reason {
	idle, old := r.idleAt() <= cutoff, r.expires <= clock
	switch {
	case old && (!idle || r.expires <= r.idleAt()):
		return EndedByLifetime
	case idle:
		return EndedByIdle
	}
	return 0
}

func (s step) endUser(c *EndUser) Result {
	why := c.Reason
	if why == 0 {
		why = EndedByUser
	}
	if !s.knows(why) {
		return refuse(ErrBadCommand)
	}
	a := s.account(c.Realm, c.Username)
	if a == nil {
		return Result{}
	}
	n := s.store.endAll(a, s.here(why, c.By))
	a.realm.drop(a)
	return Result{Ended: n}
}

// knows reports whether a reason is one that the state may hold by now.
func (s step) knows(why Reason) bool { return why.Valid() && (s.modern || why < reasonCountV3) }

// endAll takes time in proportion to the realms.
func (s step) endAll(c *EndAll) Result {
	var n uint32
	for _, realm := range s.Realms() {
		n += s.store.endRealm(s.realms[realm.Name], s.here(EndedByEmergency, c.By))
	}
	return Result{Ended: n}
}

func (s step) setRoles(c *SetRoles) Result {
	roles, err := s.roleSet(c.Roles)
	if err != nil {
		return refuse(err)
	}
	if roles == nil {
		roles = []string{}
	}
	a := s.account(c.Realm, c.Username)
	if a == nil {
		return Result{}
	}
	s.store.table.rows.each(a, func(n uint32) {
		r := s.store.table.ref(n)
		if r.roles == 0 || slices.Equal(s.store.table.roles.names(r.roles), roles) {
			return
		}
		s.store.setRoles(r, roles)
		r.mod = s.mod
	})
	return Result{}
}
