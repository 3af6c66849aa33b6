package httpapi

import (
	"context"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// fakeCluster is a cluster of one: a real machine, applied to at once, with a clock that tests move and places where
// they can put faults.
type fakeCluster struct {
	mu       sync.Mutex
	machine  *session.Machine
	clock    session.Time
	index    uint64
	lastUse  map[session.Key]session.Time
	levels   []cluster.Level // asked for, in order
	commands []session.Command

	before    func(session.Command) error // an error keeps the command from being applied
	after     func(session.Command) error // an error is returned although it was
	lookupErr error
	readErr   error
	ready     error
	onLookup  func()
	onTick    func() session.Time // the clock, instead of one that tests move
}

var _ Cluster = (*fakeCluster)(nil)

const testStart = session.Time(1_700_000_000_000) // 2023-11-14T22:13:20Z

func newFakeCluster(t testing.TB) *fakeCluster {
	t.Helper()
	c := &fakeCluster{machine: session.New(), clock: testStart, lastUse: map[session.Key]session.Time{}}
	c.must(t, &session.Genesis{ClusterID: "c1", RealmID: "realm-native", AdminID: "role-admin", ServiceID: "role-service"})
	return c
}

func (c *fakeCluster) must(t testing.TB, cmd session.Command) session.Result {
	t.Helper()
	result, err := c.Do(t.Context(), cmd)
	if err != nil {
		t.Fatalf("%T: %v", cmd, err)
	}
	return result
}

func (c *fakeCluster) Do(ctx context.Context, cmd session.Command) (session.Result, error) {
	c.mu.Lock()
	before, after := c.before, c.after
	c.mu.Unlock()
	if before != nil {
		if err := before(cmd); err != nil {
			return session.Result{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return session.Result{}, err
	}
	c.mu.Lock()
	c.tick()
	c.index++
	c.commands = append(c.commands, cmd)
	result := c.machine.Apply(c.index, &session.Entry{Stamp: c.clock, Commands: []session.Command{cmd}})[0]
	c.mu.Unlock()
	if after != nil {
		if err := after(cmd); err != nil {
			return session.Result{}, err
		}
	}
	if result.Err != nil {
		return result, result.Err
	}
	return result, nil
}

func (c *fakeCluster) Lookup(_ context.Context, key session.Key, level cluster.Level) (session.View, error) {
	if c.onLookup != nil {
		c.onLookup()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.levels = append(c.levels[:len(c.levels):cap(c.levels)], level)
	if c.lookupErr != nil {
		return session.View{}, c.lookupErr
	}
	v, ok := c.machine.Lookup(key)
	switch {
	case !ok || v.Session.Expires <= c.clock:
		return session.View{}, session.ErrSessionInvalid
	case c.lastUseLocked(v.Session).Add(v.Session.Idle) <= c.clock:
		return session.View{}, session.ErrSessionIdle
	}
	return v, nil
}

func (c *fakeCluster) Read(_ context.Context, level cluster.Level, fn func(*session.Machine)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.levels = append(c.levels, level)
	if c.readErr != nil {
		return c.readErr
	}
	fn(c.machine)
	return nil
}

func (c *fakeCluster) Use(ctx context.Context, key session.Key, level cluster.Level) (session.View, error) {
	v, err := c.Lookup(ctx, key, level)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lastUse[key] = max(c.lastUse[key], c.clock)
	}
	return v, err
}

func (c *fakeCluster) LastUse(s *session.Session) session.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastUseLocked(s)
}

func (c *fakeCluster) lastUseLocked(s *session.Session) session.Time {
	return max(s.LastUse, c.lastUse[s.Key])
}

func (c *fakeCluster) Now() session.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tick()
	return c.clock
}

func (c *fakeCluster) tick() {
	if c.onTick != nil {
		c.clock = c.onTick()
	}
}

func (c *fakeCluster) Members() []cluster.Member {
	return []cluster.Member{{
		ID: "id-1", Name: "n1", Peer: "n1:7000", HTTP: "n1:8080", Role: "voter", State: "alive", Leader: true, Self: true, AppliedIndex: 7,
	}}
}

func (c *fakeCluster) Stats() cluster.Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cluster.Stats{
		ClusterID: "c1", NodeID: "id-1", Name: "n1", Leader: "n1", LeaderID: "id-1", IsLeader: true, Term: 3, AppliedIndex: 7,
		Machine: c.machine.Stats(),
	}
}

func (c *fakeCluster) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ready
}

// User makes the fake a realm.Directory.
func (c *fakeCluster) User(_ context.Context, realmName, username string) (*session.User, *session.Realm, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u, _ := c.machine.UserByName(realmName, username)
	r, _ := c.machine.RealmByName(realmName)
	return u, r, nil
}

func (c *fakeCluster) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock = c.clock.Add(d)
}

func (c *fakeCluster) stats() session.Stats { return c.Stats().Machine }

// set changes the fake's faults while it is in use.
func (c *fakeCluster) set(fn func(*fakeCluster)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(c)
}

// countingAuth is the real authenticator, with a place for what happens between the check and the entry.
type countingAuth struct {
	Authenticator
	mu      sync.Mutex
	calls   int
	checked func(call int) // after the password was looked at
}

func (a *countingAuth) Authenticate(ctx context.Context, realmName, username, password string) (realm.Identity, error) {
	identity, err := a.Authenticator.Authenticate(ctx, realmName, username, password)
	a.mu.Lock()
	a.calls++
	call, checked := a.calls, a.checked
	a.mu.Unlock()
	if checked != nil {
		checked(call)
	}
	return identity, err
}
