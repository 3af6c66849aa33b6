package session

import "time"

const (
	// MaxGranularity bounds how far the replicated last use lags behind the true one at the normal pace.
	MaxGranularity = 2 * time.Minute
	// TouchSlack is the longest that a touch takes from the use that makes it due until it is applied, as long as the
	// node that saw the use lives.
	TouchSlack = 2 * time.Second
	// MaxPace bounds Pace.Grace: a quarter of the longest idle timeout that is of any use.
	MaxPace = 24 * time.Hour
)

// Granularity is how far the replicated last use of a session may lag behind the true one before a touch is due: a
// fifteenth of its idle timeout, at most MaxGranularity, or the pace if that is more, but never more than a quarter of
// the idle timeout.
func Granularity(idle, pace time.Duration) time.Duration {
	return min(idle/4, max(idle/15, pace), max(MaxGranularity, pace))
}

// Pace returns the pace in force.
func (m *Machine) Pace() Pace { return m.pace }

// Granularity is the lag after which a touch is due for sessions of this idle timeout.
func (m *Machine) Granularity(idle time.Duration) time.Duration {
	return Granularity(idle, m.pace.Touch)
}

// Grace is how far the replicated last use may lag behind the true one, the way of a touch included.
func (m *Machine) Grace(idle time.Duration) time.Duration {
	return Granularity(idle, m.pace.Grace) + TouchSlack
}

// LostAt is when a node last went from the roster, as far as this machine knows: it may have taken uses with it that
// nobody else knows of. It is no part of the state, and never earlier than the truth: a restored machine, which can't
// know, starts with its clock.
func (m *Machine) LostAt() Time { return m.lostAt }

func (s step) setPace(c *Pace) Result {
	if !c.valid() {
		return refuse(ErrBadCommand)
	}
	s.pace = *c
	return Result{}
}

func (p Pace) valid() bool { return p.Touch >= 0 && p.Touch <= p.Grace && p.Grace <= MaxPace }

// VersionOf returns the lowest version of this package that knows the command. It may be proposed when all members do.
func VersionOf(c Command) uint8 {
	switch c := c.(type) {
	case *SetLimits, *EndAll, *SetRoles:
		return 4
	case *UpdateRealm:
		if c.IfRev != 0 {
			return 4
		}
	case *Create:
		if c.Surface == SurfaceBearer {
			return 4
		}
	case *Handover:
		return 3
	case *Pace:
		return 2
	case *PutMember:
		if c.Member.Pin != PinNone {
			return 2
		}
	default:
		if formOf(c) == namedBy {
			return 4
		}
	}
	return 1
}

// ForVersion returns the command as a build of an older version knows it, if all that has to be left out is who ends the
// sessions and why: that is no reason to refuse to end them. Any other command is returned as it is.
func ForVersion(c Command, version uint8) Command {
	if version >= 4 {
		return c
	}
	switch c := c.(type) {
	case *Invalidate:
		older := &Invalidate{Key: c.Key, Reason: c.Reason}
		if c.Reason >= reasonCountV3 && c.Reason.Valid() {
			older.Reason = EndedByAdmin
		}
		return older
	case *EndUser:
		return &EndUser{Realm: c.Realm, Username: c.Username}
	case *UpdateUser:
		older := *c
		older.By = ""
		return &older
	case *DeleteUser:
		return &DeleteUser{ID: c.ID}
	case *DeleteRealm:
		return &DeleteRealm{ID: c.ID}
	}
	return c
}
