package cluster

import (
	"context"
	"errors"
	"time"

	"cloakroom/cluster/idle"
	"cloakroom/cluster/lookup"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// How a node that was found cut off looks for a leader.
const (
	cutOffPause = 50 * time.Millisecond
	cutOffProbe = time.Second
)

// Lookup returns the session of a key, as fresh as the level asks for. It is not a use of it: see Use. The level that comes
// back is the one asked for, or Local where Config.CutOff says so and no leader could be reached.
func (c *Cluster) Lookup(ctx context.Context, key session.Key, level Level) (session.View, Level, error) {
	return c.lookup(ctx, key, level, false)
}

// Use is Lookup, and counts as a use of the session.
func (c *Cluster) Use(ctx context.Context, key session.Key, level Level) (session.View, Level, error) {
	return c.lookup(ctx, key, level, true)
}

// Glance is Use for a lookup that need not wait: this node has what it takes to answer at the level at once, and the
// session is good. False: the lookup is to be made, whatever comes of it.
func (c *Cluster) Glance(key session.Key, level Level) (view session.View, ok bool) {
	if c.cutOff.Load() {
		return session.View{}, false
	}
	used := c.keeper.Arrive()
	point, ok := c.reader.Hold(level)
	if !ok {
		return session.View{}, false
	}
	view, mod, ok := c.keeper.Glance(key, used, level != Local)
	if !ok || !c.reader.Stands(point, mod) {
		return session.View{}, false
	}
	return view, true
}

// Glances is Lookup for many sessions, as far as it need not wait: it calls fn, in order, for those that this node can
// answer for at the level at once, with the session or the error that there is none. The view is valid until fn returns; the
// last use in it is what LastUse says. The others are left out: each is to be looked up.
func (c *Cluster) Glances(keys []session.Key, level Level, fn func(i int, view *session.View, err error)) {
	if c.cutOff.Load() {
		return
	}
	point, ok := c.reader.Hold(level)
	if !ok {
		return
	}
	c.keeper.Glances(keys, level != Local, func(i int, view *session.View, mod uint64, err error) {
		if c.reader.Stands(point, mod) {
			fn(i, view, err)
		}
	})
}

// Whole returns all of a session whose Lookup was answered at that level, its attributes too. It is no use of it, and looks
// at no clock: the session may have changed or ended since. The error for one that has ended is ErrSessionInvalid.
func (c *Cluster) Whole(ctx context.Context, key session.Key, level Level) (*session.Session, error) {
	for {
		point, err := c.reader.Begin(ctx, level)
		if err != nil {
			return nil, err
		}
		var whole *session.Session
		var mod uint64
		c.raft.Read(func(m *session.Machine) {
			whole, _ = m.Session(key)
			mod = m.ModOf(key)
		})
		ok, err := c.reader.Confirm(ctx, point, mod)
		switch {
		case err != nil:
			return nil, err
		case ok && whole == nil:
			return nil, session.ErrSessionInvalid
		case ok:
			return whole, nil
		}
	}
}

func (c *Cluster) lookup(ctx context.Context, key session.Key, level Level, use bool) (session.View, Level, error) {
	if c.cutOff.Load() {
		level = Local
	}
	view, err := c.lookupAt(ctx, key, level, use)
	if c.fallsBack(level, err) {
		c.findCutOff()
		level = Local
		view, err = c.lookupAt(ctx, key, level, use)
	}
	return view, level, err
}

// findCutOff notes that no leader could be reached. The lookups that follow need not find that out anew.
func (c *Cluster) findCutOff() {
	if c.cutOff.CompareAndSwap(false, true) {
		c.lost <- struct{}{} // there is room: nobody else does this before findLeader is done
	}
}

// reach returns when a leader has answered and this node's table is as far as the log was then; false: the node closes.
func (c *Cluster) reach() bool {
	for {
		ctx, cancel := context.WithTimeout(c.ctx, cutOffProbe)
		_, err := c.reader.Begin(ctx, Quorum)
		cancel()
		if err == nil {
			return true
		}
		if !sleep(c.ctx, cutOffPause) {
			return false
		}
	}
}

// findLeader reaches the leader once after the start, as lookups would have to wait for that, and then whenever this node
// was found cut off.
func (c *Cluster) findLeader() {
	c.current.Store(c.reach())
	for {
		select {
		case <-c.lost:
		case <-c.ctx.Done():
			return
		}
		c.reach()
		c.cutOff.Store(false)
	}
}

// Time returns cluster time, when this node knows it: from then on all nodes agree with it. The error is ErrNoLeader.
func (c *Cluster) Time(ctx context.Context) (session.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, lookup.LeaderWait)
	defer cancel()
	at, err := c.clock.Await(ctx)
	if err != nil {
		return 0, wire.ErrNoLeader
	}
	return at, nil
}

// lookupAt reads the session, and again if the lease that it was read by is over by then.
func (c *Cluster) lookupAt(ctx context.Context, key session.Key, level Level, use bool) (session.View, error) {
	for {
		if level != Local && !c.clock.Synced() { // what is over can't be told yet
			if _, err := c.Time(ctx); err != nil {
				return session.View{}, err
			}
		}
		var used idle.Arrival
		if use {
			used = c.keeper.Arrive()
		}
		point, err := c.reader.Begin(ctx, level)
		if err != nil {
			return session.View{}, err
		}
		view, mod, refused := c.keeper.Lookup(ctx, key, used, level != Local)
		ok, err := c.reader.Confirm(ctx, point, mod)
		switch {
		case err != nil:
			return session.View{}, err
		case ok:
			return view, refused
		}
	}
}

// fallsBack reports whether an error is that of a node which is cut off and may answer all the same.
func (c *Cluster) fallsBack(level Level, err error) bool {
	return err != nil && c.cfg.CutOff == Local && level != Local && errors.Is(err, wire.ErrNoLeader)
}

// Read runs fn on the machine when it is as fresh as the level asks for, and again if it is not at the end. fn must not
// block or change anything. It returns when all that fn can have seen may be told.
func (c *Cluster) Read(ctx context.Context, level Level, fn func(*session.Machine)) error {
	for {
		point, err := c.reader.Begin(ctx, level)
		if err != nil {
			return err
		}
		var changed uint64
		c.raft.Read(func(m *session.Machine) {
			fn(m)
			changed = c.changes.index(m)
		})
		if ok, err := c.reader.Confirm(ctx, point, changed); ok || err != nil {
			return err
		}
	}
}
