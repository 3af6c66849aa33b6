package idle

import "cloakroom/cluster/session"

// maxCrowd is how many sessions are read under one hold of the machine's lock, for one caller that asks about many.
const maxCrowd = 32

// crowd reads some sessions under the machine's lock. Like a reading, it is used again.
type crowd struct {
	keys  []session.Key
	views [maxCrowd]session.View
	facts [maxCrowd]fact
	read  func(*session.Machine)
}

func newCrowd() *crowd {
	c := &crowd{}
	c.read = func(m *session.Machine) {
		m.Ahead(c.keys)
		for i, key := range c.keys {
			c.views[i], c.facts[i] = look(m, key)
		}
	}
	return c
}

// Glances is Lookup for many sessions, none of which is used by it. It calls fn for each of which this node knows enough,
// in order, with the session or the error that there is none, and the index that must be stable before either is told; the
// others are left out, to be asked for by Lookup. The view is valid until fn returns; its session's last use is the
// latest that this node knows of.
func (k *Keeper) Glances(keys []session.Key, exact bool, fn func(i int, view *session.View, mod uint64, err error)) {
	timed := k.cfg.Clock.Synced()
	if exact && !timed {
		return
	}
	c := k.crowds.Get().(*crowd)
	defer k.crowds.Put(c)
	for from := 0; from < len(keys); from += maxCrowd {
		c.keys = keys[from:min(from+maxCrowd, len(keys))]
		k.cfg.Machine.Read(c.read)
		now := k.cfg.Clock.Now()
		if !timed {
			now = k.cfg.Clock.machine() // as in judge
		}
		for i, key := range c.keys {
			view, f := &c.views[i], c.facts[i]
			switch {
			case !f.live:
				fn(from+i, nil, f.mod, f.refusal())
				continue
			case now >= f.expires:
				fn(from+i, nil, 0, session.ErrSessionInvalid)
				continue
			}
			if now >= f.idleAt() && now >= k.uses.last(key, exact).Add(f.idle) {
				continue // others may know of a use
			}
			view.Session.LastUse = k.LastUse(key, f.rep)
			fn(from+i, view, f.mod, nil)
		}
	}
	c.keys = nil
	clear(c.views[:]) // the pool keeps nothing alive
}
