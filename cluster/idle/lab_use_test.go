package idle_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom/cluster/idle"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// must brings a command into the log, by way of any node.
func (l *lab) must(name string, cmd session.Command) {
	l.t.Helper()
	l.mu.Lock()
	if name == "" {
		name = l.leader
	}
	l.mu.Unlock()
	if _, err := l.nodes[name].do(context.Background(), cmd); err != nil {
		l.t.Fatalf("%T at %s: %v", cmd, name, err)
	}
}

func key(n int) session.Key { return session.KeyOf(fmt.Append(nil, n)) }

// create makes a session and returns its key and when that was.
func (l *lab) create() (session.Key, session.Time) {
	l.t.Helper()
	l.mu.Lock()
	l.sessions++
	k := key(l.sessions)
	user := fmt.Sprintf("u%d", l.sessions/50)
	l.mu.Unlock()
	l.must("", l.creation(k, user))
	return k, l.rep("", k)
}

// populate makes sessions all at once and returns their keys.
func (l *lab) populate(count int) (keys []session.Key) {
	l.t.Helper()
	l.mu.Lock()
	leader := l.nodes[l.leader]
	l.mu.Unlock()
	for count > 0 {
		entry := &session.Entry{Stamp: leader.clock.Now()}
		for ; count > 0 && len(entry.Commands) < 500; count-- {
			l.sessions++
			keys = append(keys, key(l.sessions))
			entry.Commands = append(entry.Commands, l.creation(key(l.sessions), fmt.Sprintf("u%d", l.sessions/50)))
		}
		l.mu.Lock()
		l.log = append(l.log, entry)
		index := uint64(len(l.log))
		nodes := l.nodes
		l.mu.Unlock()
		if result := leader.applyNow(index); result.Err != nil {
			l.t.Fatal(result.Err)
		}
		for _, n := range nodes {
			n.catchUp()
		}
		entry.Commands = nil // nobody comes later
	}
	return keys
}

func (l *lab) creation(k session.Key, user string) *session.Create {
	l.mu.Lock()
	leader := l.nodes[l.leader]
	l.mu.Unlock()
	var rev uint64
	leader.Read(func(m *session.Machine) {
		realm, _ := m.RealmByName(session.NativeRealm)
		rev = realm.Rev
	})
	return &session.Create{
		Key: k, Realm: session.NativeRealm, Username: user, RealmRev: rev, Surface: session.SurfaceFusion,
		Idle: l.idle, Lifetime: 1000 * time.Hour,
	}
}

// rep is a session's replicated last use, 0 if it has ended.
func (l *lab) rep(name string, k session.Key) (rep session.Time) {
	l.mu.Lock()
	if name == "" {
		name = l.leader
	}
	n := l.nodes[name]
	l.mu.Unlock()
	n.Read(func(m *session.Machine) {
		if view, ok := m.Lookup(k); ok {
			rep = view.Session.LastUse
		}
	})
	return rep
}

// lookup is a linearizable lookup on a node.
func (l *lab) lookup(name string, k session.Key, use bool) (session.View, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	n := l.nodes[name]
	used := n.arrive(use)
	if err := n.establish(ctx); err != nil {
		return session.View{}, err
	}
	view, _, err := n.keeper.Lookup(ctx, k, used, true)
	return view, err
}

// establish brings the node's machine to where a linearizable lookup may read it.
func (n *node) establish(ctx context.Context) error {
	l := n.lab
	if l.lease > 0 {
		return n.begin(ctx)
	}
	l.mu.Lock()
	index := uint64(len(l.log))
	ok := l.leadsLocked(l.leader) && (l.leader == n.name || l.linkedLocked(n.name, l.leader))
	l.mu.Unlock()
	if !ok {
		return wire.ErrNoLeader
	}
	if err := n.WaitApplied(ctx, index); err != nil {
		return wire.ErrTimeout
	}
	return nil
}

func (n *node) arrive(use bool) (used idle.Arrival) {
	if use {
		used = n.keeper.Arrive()
	}
	return used
}

// look is a lookup by what the node has applied.
func (n *node) look(k session.Key, use, exact bool) error {
	_, _, err := n.keeper.Lookup(n.lab.t.Context(), k, n.arrive(use), exact)
	return err
}

// used is a use at level local.
func (n *node) used(k session.Key) {
	n.lab.t.Helper()
	if err := n.look(k, true, false); err != nil {
		n.lab.t.Fatalf("use of %s: %v", k, err)
	}
}

// use uses a session, and returns when.
func (l *lab) use(name string, k session.Key) session.Time {
	l.t.Helper()
	view, err := l.lookup(name, k, true)
	if err != nil {
		l.t.Fatalf("at %v, use on %s: %v", l.now().Std(), name, err)
	}
	return l.nodes[name].keeper.LastUse(view.Session.Key, view.Session.LastUse)
}

// accepted and refused look a session up, without using it.
func (l *lab) accepted(name string, k session.Key) {
	l.t.Helper()
	if _, err := l.lookup(name, k, false); err != nil {
		l.t.Errorf("at %v, lookup on %s: %v", l.now().Std(), name, err)
	}
}

func (l *lab) refused(name string, k session.Key, want error) {
	l.t.Helper()
	if _, err := l.lookup(name, k, false); !errors.Is(err, want) {
		l.t.Errorf("at %v, lookup on %s: error %v, want %v", l.now().Std(), name, err, want)
	}
}

// now is cluster time.
func (l *lab) now() session.Time { return session.TimeOf(time.Now()) }

// until sleeps until cluster time.
func (l *lab) until(at session.Time) { time.Sleep(at.Sub(l.now())) }

// commands returns the commands of a type that came into the log.
func commands[C session.Command](l *lab) (list []C) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.proposed {
		if c, ok := p.cmd.(C); ok {
			list = append(list, c)
		}
	}
	return list
}

// usesInLog counts the uses of a session that were replicated by touches.
func (l *lab) usesInLog(k session.Key) (n int) {
	for _, c := range commands[*session.Touch](l) {
		for _, u := range c.Uses {
			if u.Key == k {
				n++
			}
		}
	}
	return n
}

func (l *lab) granularity() time.Duration { return session.Granularity(l.idle, 0) }

func (l *lab) grace() time.Duration { return l.granularity() + session.TouchSlack }
