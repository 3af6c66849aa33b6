package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
)

// What the load does, and how often. Time is fake.
const (
	lookupPause = 20 * time.Millisecond
	loginPause  = 100 * time.Millisecond
	adminPause  = 300 * time.Millisecond
	mixedGuests = 8 // users who log in: none must come to the limit of sessions
)

// load looks sessions up, logs in and out, and changes users, until stop.
func (m *mixed) load() (stop func()) {
	for i := range mixedGuests {
		m.do(m.nodes["n1"], &session.CreateUser{ID: mixedGuest(i), Realm: session.NativeRealm, Username: mixedGuest(i), PasswordHash: "x"})
	}
	ctx, cancel := context.WithCancel(m.t.Context())
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() { m.repeat(ctx, lookupPause, func(n int) { m.look(i + n) }) })
		group.Go(func() { m.repeat(ctx, loginPause, func(n int) { m.logInAndOut(3*n + i) }) })
	}
	group.Go(func() { m.repeat(ctx, adminPause, m.administer) })
	return func() { cancel(); group.Wait() }
}

func (m *mixed) repeat(ctx context.Context, pause time.Duration, fn func(n int)) {
	for n := 0; ctx.Err() == nil; n++ {
		fn(n)
		time.Sleep(pause) // fake
	}
}

// pick returns a node that serves, and one to try when that one fails.
func (m *mixed) pick(n int) (first, second *cluster.Cluster) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := slices.Sorted(maps.Keys(m.serving))
	return m.serving[names[n%len(names)]], m.serving[names[(n+1)%len(names)]]
}

// look looks up one session that lives and one that was ended, with one more try on another node.
func (m *mixed) look(n int) {
	m.mu.Lock()
	present, gone := append(slices.Clone(m.live), m.present...), append(slices.Clone(m.ended), m.gone...)
	m.mu.Unlock()
	first, second := m.pick(n)
	for _, c := range []struct {
		key  session.Key
		want error
	}{{present[n%len(present)], nil}, {gone[n%len(gone)], session.ErrSessionInvalid}, {gone[len(gone)-1], session.ErrSessionInvalid}} {
		_, err := use(m.t, first, c.key, cluster.Lease)
		if !errors.Is(err, c.want) && (err != nil && !errors.Is(err, session.ErrSessionInvalid)) {
			_, err = use(m.t, second, c.key, cluster.Lease)
		}
		m.count(&m.lookups)
		if !errors.Is(err, c.want) {
			m.note(fmt.Sprintf("lookup: %v, want %v", err, c.want))
		}
	}
}

// logInAndOut makes a session on one node and ends every second one on another. What is in doubt counts as neither.
func (m *mixed) logInAndOut(n int) {
	first, second := m.pick(n)
	k := session.KeyOf(fmt.Appendf(nil, "under load %d", n))
	cmd := &session.Create{
		Key: k, Realm: session.NativeRealm, Username: mixedGuest(n % mixedGuests), Surface: session.SurfaceFusion, Idle: 30 * time.Minute, Lifetime: 8 * time.Hour,
	}
	read(m.t, first, func(machine *session.Machine) {
		u, _ := machine.UserByName(session.NativeRealm, mixedGuest(n%mixedGuests))
		r, _ := machine.RealmByName(session.NativeRealm)
		cmd.UserRev, cmd.RealmRev = u.Rev, r.Rev
	})
	if err := m.try(first, 5*time.Second); err != nil {
		m.note(fmt.Sprint("leave to try a login: ", err))
		return
	}
	if _, err := do(m.t, first, cmd); err != nil {
		m.note(fmt.Sprint("login: ", err))
		return
	}
	if n%2 == 0 {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.present = append(m.present, k)
		return
	}
	if _, err := do(m.t, second, &session.Invalidate{Key: k, Reason: session.EndedByAdmin, By: "admin"}); err != nil {
		m.note(fmt.Sprint("logout: ", err))
		return
	}
	m.count(&m.logouts)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone = append(m.gone, k)
}

func mixedGuest(i int) string { return fmt.Sprint("guest", i) }

// administer makes, changes and deletes a user.
func (m *mixed) administer(n int) {
	first, second := m.pick(n)
	id := fmt.Sprint("u", n)
	hash := session.Secret("x")
	for i, cmd := range []session.Command{
		&session.CreateUser{ID: id, Realm: session.NativeRealm, Username: id, PasswordHash: hash},
		&session.UpdateUser{ID: id, PasswordHash: &hash, By: "admin"},
		&session.EndUser{Realm: session.NativeRealm, Username: id, Reason: session.EndedByRecheck, By: "node"},
		&session.DeleteUser{ID: id, By: "admin"},
	} {
		if _, err := do(m.t, []*cluster.Cluster{first, second}[i%2], cmd); err != nil {
			m.note(fmt.Sprintf("%T: %v", cmd, err))
			return
		}
		m.count(&m.changes)
	}
}

func (m *mixed) count(n *int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*n++
}

func (m *mixed) note(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures[what]++
}

// checkLoad looks at what the load did, and at each of its sessions on every node.
func (m *mixed) checkLoad() {
	m.t.Helper()
	m.t.Logf("%d lookups, %d sessions made and left, %d ended, %d changes of users", m.lookups, len(m.present), m.logouts, m.changes)
	if len(m.failures) > 0 {
		m.t.Errorf("failed: %v", m.failures)
	}
	if len(m.present) < 50 || len(m.gone) < 50 || m.changes < 20 {
		m.t.Error("that is no load")
	}
	for name, c := range m.nodes {
		for _, k := range m.present {
			if _, err := use(m.t, c, k, cluster.Lease); err != nil {
				m.t.Fatalf("%s has lost a session: %v", name, err)
			}
		}
		for _, k := range m.gone {
			if _, err := use(m.t, c, k, cluster.Lease); !errors.Is(err, session.ErrSessionInvalid) {
				m.t.Fatalf("%s shows a session that was ended: %v", name, err)
			}
		}
	}
}

// try asks for leave to try a login.
func (m *mixed) try(c *cluster.Cluster, within time.Duration) error {
	ctx, cancel := context.WithTimeout(m.t.Context(), within)
	defer cancel()
	ticket, err := c.Reserve(ctx, session.NativeRealm, "bob", netip.AddrFrom4([4]byte{10, 0, 0, 9}))
	if err == nil {
		ticket.Forgive(true)
	}
	return err
}

// reserve checks that no login waits for a leader of the older version to answer what it has not heard of.
func (m *mixed) reserve() {
	m.t.Helper()
	for name, c := range m.nodes {
		if err := m.try(c, 200*time.Millisecond); err != nil {
			m.t.Errorf("%s, under a leader of the older version: no leave to try a login: %v", name, err)
		}
	}
}
