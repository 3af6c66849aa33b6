package session

import "fmt"

// step is one command being carried out: the machine, whose seq is the command's number, and the log index.
type step struct {
	*Machine
	mod uint64
}

func (s step) run(c Command) Result {
	switch c := c.(type) {
	case *Genesis:
		return records{s}.genesis(c)
	case *Tick:
		return Result{Handed: s.handed}
	case *Handover:
		return Result{}
	case *Create:
		return s.create(c)
	case *Put:
		return s.put(c)
	case *Delete:
		return s.delete(c)
	case *Invalidate:
		return s.invalidate(c)
	case *Touch:
		return s.touch(c)
	case *Expire:
		return s.expire(c)
	case *EndUser:
		return s.endUser(c)
	case *EndAll:
		return s.endAll(c)
	case *SetRoles:
		return s.setRoles(c)
	case *SetLimits:
		return s.setLimits(c)
	case *Sweep:
		return Result{Ended: s.store.sweep(), More: s.SweepPending()}
	case *PutMember:
		return s.putMember(c)
	case *RemoveMember:
		return s.removeMember(c)
	case *Pace:
		return s.setPace(c)
	default:
		return records{s}.run(c)
	}
}

// here is the end index of everything up to the current command. Before all nodes know version 4 every reason is
// EndedByUser.
func (s step) here(why Reason, by string) mark {
	if !s.modern {
		why, by = EndedByUser, ""
	}
	return mark{seq: s.seq, at: s.clock, mod: s.mod, why: why, by: cut(by, MaxBy)}
}

func (s step) tombstone(k Key, why Reason, by string) Tombstone {
	return Tombstone{Key: k, Ended: s.clock, Reason: why, Mod: s.mod, By: cut(by, MaxBy)}
}

func (s step) putMember(c *PutMember) Result {
	mem := c.Member
	if !validMember(mem) {
		return refuse(ErrBadCommand)
	}
	mem.Joined = s.clock
	if old, ok := s.members[mem.ID]; ok {
		mem.Joined = old.Joined
	}
	s.members[mem.ID] = mem
	return Result{}
}

func (s step) removeMember(c *RemoveMember) Result {
	delete(s.members, c.ID)
	s.lostAt = s.clock // even if it had no entry: it may have served before it got one
	return Result{}
}

func validMember(mem Member) bool {
	return validID(mem.ID) && ValidName(mem.Name) &&
		len(mem.Peer) <= MaxMemberAddress && len(mem.HTTP) <= MaxMemberAddress &&
		mem.MinVersion <= mem.MaxVersion && mem.Pin.valid()
}

func refuse(err *Error) Result { return Result{Err: err} }

// unknown is for a command that no decoder of this package returns.
func unknown(c Command) string { return fmt.Sprintf("BUG: command of type %T", c) }
