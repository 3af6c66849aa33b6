package session

import "fmt"

// Limits are what the cluster allows at most. They hold for what is made or changed from then on: lowering one takes
// nothing away, except that a user's next login evicts down to the new number. The zero value is the default.
type Limits struct {
	SessionsPerUser int  // 0: DefaultSessionsPerUser; at most MaxSessionsPerUser
	RefuseLogins    bool // over it a login is refused (ErrLimitUserSessions) instead of evicting the user's oldest session
	Sessions        int  // of the whole cluster (ErrLimitSessions); 0: as many as there is memory for
	Attributes      int  // a session; 0: MaxAttributes, which is the most
	SessionBytes    int  // bytes of attribute keys and values, a session; 0: MaxSessionBytes, which is the most
}

// Valid reports whether no limit is negative or above what a limit may be.
func (l Limits) Valid() bool {
	in := func(n, most int) bool { return n >= 0 && n <= most }
	return in(l.SessionsPerUser, MaxSessionsPerUser) && in(l.Sessions, MaxSessions) &&
		in(l.Attributes, MaxAttributes) && in(l.SessionBytes, MaxSessionBytes)
}

// Limits returns the limits in force, the defaults filled in.
func (m *Machine) Limits() Limits { return m.limits.Effective() }

// SetLimits returns the limits as they were set, without the defaults.
func (m *Machine) SetLimits() Limits { return m.limits }

// Effective returns the limits with the defaults filled in.
func (l Limits) Effective() Limits {
	if l.SessionsPerUser == 0 {
		l.SessionsPerUser = DefaultSessionsPerUser
	}
	if l.Attributes == 0 {
		l.Attributes = MaxAttributes
	}
	if l.SessionBytes == 0 {
		l.SessionBytes = MaxSessionBytes
	}
	return l
}

func (s step) setLimits(c *SetLimits) Result {
	if !c.Limits.Valid() {
		return refuse(ErrBadLimits)
	}
	if c.If != nil && *c.If != s.limits {
		return refuse(ErrRevisionMoved)
	}
	s.limits = c.Limits
	return Result{}
}

// makeRoom says how many of an account's oldest sessions have to go for one more, or why there may be none. The account may
// be nil: there is none yet. What is replaced ends with the login and leaves its place.
func (s step) makeRoom(a *account, replaced *ref) (evict int, err *Error) {
	l := s.Limits()
	have, total := 0, s.store.count()
	if a != nil {
		have = a.live()
	}
	if replaced != nil {
		total--
		if replaced.a == a {
			have--
		}
	}
	if evict = max(have+1-l.SessionsPerUser, 0); evict > 0 && l.RefuseLogins {
		return 0, limitError(ErrLimitUserSessions, "the user has %d sessions, which is the most: end one of them first", l.SessionsPerUser)
	}
	if l.Sessions > 0 && total-evict >= l.Sessions {
		return 0, limitError(ErrLimitSessions, "the cluster holds %d sessions, which is the most that it is set to hold", l.Sessions)
	}
	return evict, nil
}

// limited checks attributes against the limits of the cluster, which are no higher than those of the machine.
func (s step) limited(attrs []Attr, err *Error) ([]Attr, *Error) {
	if err != nil {
		return nil, err
	}
	l := s.Limits()
	if len(attrs) > l.Attributes {
		return nil, limitError(ErrLimitAttributes, "a session holds at most %d attributes", l.Attributes)
	}
	if attrBytes(attrs) > l.SessionBytes {
		return nil, limitError(ErrLimitSessionBytes, "a session's attributes hold at most %d bytes in all", l.SessionBytes)
	}
	return attrs, nil
}

func limitError(code *Error, format string, limit int) *Error {
	return &Error{Code: code.Code, Message: fmt.Sprintf(format, limit)}
}

func (l Limits) append(dst []byte) []byte {
	dst = appendInt(appendArray(dst, 5), int64(l.SessionsPerUser))
	dst = appendInt(appendBool(dst, l.RefuseLogins), int64(l.Sessions))
	return appendInt(appendInt(dst, int64(l.Attributes)), int64(l.SessionBytes))
}

func (r *reader) limits() Limits {
	r.fields(5)
	return Limits{
		SessionsPerUser: int(r.int()), RefuseLogins: r.bool(), Sessions: int(r.int()),
		Attributes: int(r.int()), SessionBytes: int(r.int()),
	}
}
