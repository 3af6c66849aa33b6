package guard

import "cloakroom/cluster/session"

// Admit says whether a command may enter the log, by what there is little of. The error is ErrDiskLow or
// ErrLimitMemory. It costs nothing when there is enough of both.
func Admit(cmd session.Command, diskLow, memoryFull bool) error {
	if !diskLow && !memoryFull {
		return nil
	}
	disk, memory := needs(cmd)
	switch {
	case diskLow && disk:
		return ErrDiskLow
	case memoryFull && memory:
		return ErrLimitMemory
	}
	return nil
}

// needs says whether a command stores something that was not there before. Every command takes a little of the log, but
// those that end or shorten something are what makes room, those of the cluster itself keep it alive, and without
// touches active users would be logged out.
//
// Users, roles and realms are few, and made by operators: of these only users count as memory, since realms with
// AutoCreate may bring any number of them.
func needs(cmd session.Command) (disk, memory bool) {
	switch c := cmd.(type) {
	case *session.Create, *session.CreateUser:
		return true, true
	case *session.Put:
		// Whether it grows the session, the machine alone could tell. Without attributes it is but a use.
		return len(c.Attrs) > 0, len(c.Attrs) > 0
	case *session.UpdateUser:
		// To lock a user out must be possible at any time, and so must a new password, which ends the sessions that
		// were made with the old one.
		ends := c.PasswordHash != nil || c.Disabled != nil && *c.Disabled
		return !ends, false
	case *session.UpdateRealm:
		return c.Enabled, false // as with users: disabling lets nobody in
	case *session.CreateRole, *session.UpdateRole, *session.CreateRealm:
		return true, false
	case *session.Genesis, *session.Tick, *session.Handover, *session.Pace, *session.PutMember, *session.RemoveMember:
		return false, false
	case *session.Touch, *session.Expire, *session.Sweep:
		return false, false
	case *session.SetLimits, *session.SetRoles:
		return false, false // a lower limit is a way out, and a role that was taken away must go
	case *session.Delete, *session.Invalidate, *session.EndUser, *session.EndAll, *session.DeleteUser, *session.DeleteRole, *session.DeleteRealm:
		return false, false
	}
	return true, true // of a kind that nobody has judged yet
}
