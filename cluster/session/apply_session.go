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
	attrs, err := mergeAttrs(nil, c.Attrs)
	if err != nil {
		return refuse(err)
	}

	var ended uint32
	if old, ok := s.store.live(c.Replaces); ok {
		s.store.end(old, s.tombstone(c.Replaces, EndedByLogin))
		ended++
	}
	a := rs.account(c.Username)
	ended += s.evict(a)
	userID := c.UserID
	if user == nil && c.AutoCreate {
		user = &User{ID: c.UserID, Realm: rs.name, Username: a.name, Created: s.clock, Updated: s.clock, Rev: s.seq, Mod: s.mod}
		s.setUser(a, user)
	}
	if user != nil {
		userID = user.ID
	}
	s.store.insert(&Session{
		Key: c.Key, Realm: rs.name, Username: a.name, UserID: userID, Roles: roles,
		Surface: c.Surface, CSRFOff: c.CSRFOff, Address: cut(c.Address, MaxAddress), Agent: cut(c.Agent, MaxAgent),
		Created: s.clock, LastUse: s.clock, Expires: s.clock.Add(c.Lifetime), Idle: c.Idle,
		Seq: s.seq, Rev: s.seq, Mod: s.mod, Attrs: attrs,
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

// evict makes room for one session more.
func (s step) evict(a *account) (ended uint32) {
	for ; len(a.keys) >= MaxSessionsPerUser; ended++ {
		oldest := a.keys[0]
		r, _ := s.store.live(oldest)
		s.store.end(r, s.tombstone(oldest, EndedByEviction))
	}
	return ended
}

// usable returns a live session that is not over by the clock either. The replicated last use may lag behind the true
// one, hence the grace.
func (s step) usable(k Key) (ref, *Error) {
	r, ok := s.store.live(k)
	switch {
	case !ok || r.s.Expires <= s.clock:
		return ref{}, ErrSessionInvalid
	case s.clock > r.s.LastUse.Add(r.s.Idle).Add(max(IdleGrace, s.Grace(r.s.Idle))):
		return ref{}, ErrSessionIdle
	}
	return r, nil
}

func (s step) put(c *Put) Result {
	return s.change(c.Key, c.IfRev, func(attrs []Attr) ([]Attr, *Error) { return mergeAttrs(attrs, c.Attrs) })
}

func (s step) delete(c *Delete) Result {
	return s.change(c.Key, c.IfRev, func(attrs []Attr) ([]Attr, *Error) { return removeAttrs(attrs, c.Names) })
}

// change gives a session new attributes, and counts as a use of it.
func (s step) change(k Key, ifRev uint64, edit func([]Attr) ([]Attr, *Error)) Result {
	r, err := s.usable(k)
	if err != nil {
		return refuse(err)
	}
	if ifRev != 0 && ifRev != r.s.Rev {
		return refuse(ErrConflict)
	}
	attrs, err := edit(r.s.Attrs)
	if err != nil {
		return refuse(err)
	}
	next := *r.s
	next.Attrs, next.LastUse, next.Rev, next.Mod = attrs, s.clock, s.seq, s.mod
	s.store.replace(r, &next, s.clock)
	return Result{Rev: next.Rev}
}

func (s step) invalidate(c *Invalidate) Result {
	if !c.Reason.valid() {
		return refuse(ErrBadCommand)
	}
	r, err := s.usable(c.Key)
	if err != nil {
		return refuse(err)
	}
	s.store.end(r, s.tombstone(c.Key, c.Reason))
	return Result{Ended: 1}
}

func (s step) touch(c *Touch) Result {
	for _, u := range c.Uses {
		at := min(u.At, s.clock) // another node's estimate may be a little ahead
		r, ok := s.store.live(u.Key)
		if !ok || at <= r.s.LastUse {
			continue
		}
		next := *r.s
		next.LastUse = at
		s.store.replace(r, &next, s.clock)
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
		if why := overBy(r.s, cutoff, s.clock); why != 0 {
			s.store.end(r, s.tombstone(k, why))
			ended++
		}
	}
	return Result{Ended: ended}
}

// overBy says why a session is over: by whichever came first if both timeouts are, and 0 if neither is.
func overBy(s *Session, cutoff, clock Time) Reason {
	idleAt := s.LastUse.Add(s.Idle)
	idle, old := idleAt <= cutoff, s.Expires <= clock
	switch {
	case old && (!idle || s.Expires <= idleAt):
		return EndedByLifetime
	case idle:
		return EndedByIdle
	}
	return 0
}

func (s step) endUser(c *EndUser) Result {
	a := s.account(c.Realm, c.Username)
	if a == nil {
		return Result{}
	}
	n := s.store.endAll(a, s.here())
	a.realm.drop(a)
	return Result{Ended: n}
}
