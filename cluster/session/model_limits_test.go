package session

import (
	"maps"
	"slices"
)

// What version 4 has brought, in the model.

// reason says whether a command may give it.
func (md *model) reason(why Reason) bool { return why >= 1 && (why <= 8 || why <= 14 && md.modern) }

func (md *model) endAll(c *EndAll) Result {
	var ended uint32
	names := map[string]bool{}
	for _, r := range md.realms {
		names[r.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		ended += md.endWhere(func(s Session) bool { return s.Realm == name }, nil, EndedByEmergency, c.By)
	}
	return Result{Ended: ended}
}

func (md *model) setRoles(c *SetRoles) Result {
	roles, err := md.roleSet(c.Roles)
	if err != nil {
		return Result{Err: err}
	}
	for _, own := range md.of(c.Realm, c.Username) {
		s := md.sessions[own.Key]
		if s.Roles != nil && !slices.Equal(s.Roles, roles) {
			s.Roles, s.Mod = append([]string{}, roles...), md.mod
		}
	}
	return Result{}
}

func (md *model) setLimits(c *SetLimits) Result {
	l := c.Limits
	if min(l.SessionsPerUser, l.Sessions, l.Attributes, l.SessionBytes) < 0 ||
		l.SessionsPerUser > 1000 || l.Sessions > 1<<30 || l.Attributes > 64 || l.SessionBytes > 16384 {
		return Result{Err: ErrBadLimits}
	}
	if c.If != nil && *c.If != md.limits {
		return Result{Err: ErrRevisionMoved}
	}
	md.limits = l
	return Result{}
}

func (md *model) mostOfAUser() int { return or(md.limits.SessionsPerUser, 100) }

// noRoom says why a login that is all right otherwise is refused.
func (md *model) noRoom(c *Create) *Error {
	own, all := 0, 0
	for k, s := range md.sessions {
		if s.tomb != nil || k == c.Replaces {
			continue
		}
		all++
		if s.Realm == c.Realm && s.Username == c.Username {
			own++
		}
	}
	if own >= md.mostOfAUser() {
		if md.limits.RefuseLogins {
			return ErrLimitUserSessions
		}
		all -= own + 1 - md.mostOfAUser()
	}
	if md.limits.Sessions > 0 && all+1 > md.limits.Sessions {
		return ErrLimitSessions
	}
	return nil
}

// or returns n, or what it stands for if it is zero.
func or(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

func ofVersion4(c Command) bool {
	switch c := c.(type) {
	case *SetLimits, *EndAll, *SetRoles:
		return true
	case *Create:
		return c.Surface == 4
	case *Invalidate:
		return c.By != ""
	case *EndUser:
		return c.By != "" || c.Reason != 0
	case *UpdateUser:
		return c.By != ""
	case *DeleteUser:
		return c.By != ""
	case *DeleteRealm:
		return c.By != ""
	}
	return false
}

func (md *model) set(attrs map[string]string, pairs []Attr) *Error {
	for _, a := range pairs {
		switch {
		case a.Key == "CSRFToken":
			return ErrReservedAttribute
		case a.Key == "" || len(a.Key) > 128:
			return ErrLimitAttributeKey
		case len(a.Value) > 4096:
			return ErrLimitAttributeValue
		}
		attrs[a.Key] = a.Value
	}
	bytes := 0
	for k, v := range attrs {
		bytes += len(k) + len(v)
	}
	// What no session may hold comes before what none may by the cluster's limits.
	most, mostBytes := or(md.limits.Attributes, 64), or(md.limits.SessionBytes, 16384)
	switch {
	case len(attrs) > 64:
		return ErrLimitAttributes
	case bytes > 16384:
		return ErrLimitSessionBytes
	case len(attrs) > most:
		return ErrLimitAttributes
	case bytes > mostBytes:
		return ErrLimitSessionBytes
	}
	return nil
}

func modelAttrs(attrs map[string]string) []Attr {
	var out []Attr
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		out = append(out, Attr{k, attrs[k]})
	}
	return out
}
