package idle

import (
	"time"

	"cloakroom/cluster/session"
)

// fact is what the machine says about the idleness of one session.
type fact struct {
	live    bool
	idled   bool         // not live: it was ended for idleness
	mod     uint64       // index of the last change of what a lookup shows
	rep     session.Time // last use, as far as it is replicated
	expires session.Time
	idle    time.Duration
	lag     time.Duration // granularity: a use that is later than rep by as much is due
	grace   time.Duration // how far rep may lag behind the true last use
}

func factOf(m *session.Machine, s *session.Head) fact {
	return fact{
		live: true, rep: s.LastUse, expires: s.Expires, idle: s.Idle,
		lag: m.Granularity(s.Idle), grace: m.Grace(s.Idle),
	}
}

// idleAt is when the session is over if nobody knows of a later use.
func (f fact) idleAt() session.Time { return f.rep.Add(f.idle) }

// refusal is the answer for a session that is not live.
func (f fact) refusal() error {
	if f.idled {
		return session.ErrSessionIdle
	}
	return session.ErrSessionInvalid
}

// reading reads one session under the machine's lock. Its function is made once: a new one for each lookup would be an
// allocation.
type reading struct {
	key  session.Key
	view session.View
	fact fact
	read func(*session.Machine)
}

func newReading() *reading {
	r := &reading{}
	r.read = func(m *session.Machine) { r.view, r.fact = look(m, r.key) }
	return r
}

// look returns what the machine says about one session.
func look(m *session.Machine, key session.Key) (session.View, fact) {
	view, live := m.Lookup(key)
	if live {
		f := factOf(m, &view.Session)
		f.mod = view.Mod
		return view, f
	}
	t, ended := m.Tombstone(key)
	return session.View{}, fact{idled: ended && t.Reason == session.EndedByIdle, mod: m.ModOf(key)}
}

func (k *Keeper) read(key session.Key) (session.View, fact) {
	r := k.reads.Get().(*reading)
	r.key = key
	k.cfg.Machine.Read(r.read)
	view, f := r.view, r.fact
	r.view = session.View{} // the pool keeps nothing alive
	k.reads.Put(r)
	return view, f
}

// facts returns what the machine says about sessions, not all at one moment.
func (k *Keeper) facts(keys []session.Key) []fact {
	facts := make([]fact, len(keys))
	for at := 0; at < len(keys); at += chunk {
		end := min(at+chunk, len(keys))
		k.cfg.Machine.Read(func(m *session.Machine) {
			for i := at; i < end; i++ {
				if view, live := m.Lookup(keys[i]); live {
					facts[i] = factOf(m, &view.Session)
				}
			}
		})
	}
	return facts
}

// applied is the index that this node's machine has come to.
func (k *Keeper) applied() (index uint64) {
	k.cfg.Machine.Read(func(m *session.Machine) { index = m.Applied() })
	return index
}
