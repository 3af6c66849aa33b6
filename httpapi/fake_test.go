package httpapi

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/tries"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/exchange"
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
	cutOff    cluster.Level // of what lookups are answered at, whatever they ask for; 0: they get that
	readErr   error
	overtakes session.Command // is applied while the next read runs, which runs again
	ready     error
	onLookup  func()
	onTick    func() session.Time // the clock, instead of one that tests move
	timeless  atomic.Bool         // cluster time is not known yet
	tries     *tries.Tries

	leaderless bool // nothing is granted
	blind      bool // nothing can be glanced at
	every      int  // of so many keys, the first can't
}

var _ access.Cluster = (*fakeCluster)(nil)

const testStart = session.Time(1_700_000_000_000) // 2023-11-14T22:13:20Z

func newFakeCluster(t testing.TB) *fakeCluster {
	t.Helper()
	c := &fakeCluster{machine: session.New(), clock: testStart, lastUse: map[session.Key]session.Time{}}
	c.tries = newTries(c)
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
	result := c.applyLocked(cmd)
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

func (c *fakeCluster) applyLocked(cmd session.Command) session.Result {
	c.tick()
	c.index++
	c.commands = append(c.commands, cmd)
	return c.machine.Apply(c.index, &session.Entry{Stamp: c.clock, Commands: []session.Command{cmd}})[0]
}

func (c *fakeCluster) Lookup(ctx context.Context, key session.Key, level cluster.Level) (session.View, cluster.Level, error) {
	view, err := c.lookup(ctx, key, level)
	if c.cutOff != 0 && (err == nil || exchange.IsSignedOut(err)) {
		level = min(level, c.cutOff)
	}
	return view, level, err
}

func (c *fakeCluster) lookup(_ context.Context, key session.Key, level cluster.Level) (session.View, error) {
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
	case c.lastUseLocked(v.Session.Key, v.Session.LastUse).Add(v.Session.Idle) <= c.clock:
		return session.View{}, session.ErrSessionIdle
	}
	return v, nil
}

func (c *fakeCluster) Whole(_ context.Context, key session.Key, _ cluster.Level) (*session.Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.machine.Session(key); ok {
		return s, nil
	}
	return nil, session.ErrSessionInvalid
}

func (c *fakeCluster) Read(_ context.Context, level cluster.Level, fn func(*session.Machine)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.levels = append(c.levels, level)
	if c.readErr != nil {
		return c.readErr
	}
	fn(c.machine)
	if cmd := c.overtakes; cmd != nil {
		c.overtakes = nil
		c.applyLocked(cmd)
		fn(c.machine)
	}
	return nil
}

func (c *fakeCluster) Use(ctx context.Context, key session.Key, level cluster.Level) (session.View, cluster.Level, error) {
	v, at, err := c.Lookup(ctx, key, level)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lastUse[key] = max(c.lastUse[key], c.clock)
	}
	return v, at, err
}

func (c *fakeCluster) Glance(key session.Key, level cluster.Level) (session.View, bool) {
	c.mu.Lock()
	blind := c.blind || c.lookupErr != nil || c.cutOff != 0 || c.onLookup != nil
	c.mu.Unlock()
	if blind {
		return session.View{}, false
	}
	v, _, err := c.Use(context.Background(), key, level)
	if err != nil {
		return session.View{}, false
	}
	return v, true
}

func (c *fakeCluster) Glances(keys []session.Key, level cluster.Level, fn func(int, *session.View, error)) {
	var v session.View // one for all: that of a node does not allocate either
	var err error
	for i, key := range keys {
		c.mu.Lock()
		blind := c.blind || c.lookupErr != nil || c.cutOff != 0 || c.onLookup != nil || c.every > 0 && i%c.every == 0
		c.mu.Unlock()
		if blind {
			continue
		}
		v, _, err = c.Lookup(context.Background(), key, level)
		v.Session.LastUse = c.LastUse(key, v.Session.LastUse)
		fn(i, &v, err)
	}
}

func (c *fakeCluster) LastUse(key session.Key, replicated session.Time) session.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastUseLocked(key, replicated)
}

func (c *fakeCluster) lastUseLocked(key session.Key, replicated session.Time) session.Time {
	return max(replicated, c.lastUse[key])
}

func (c *fakeCluster) Now() session.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tick()
	return c.clock
}

func (c *fakeCluster) Time(context.Context) (session.Time, error) {
	if c.timeless.Load() {
		return 0, cluster.ErrNoLeader
	}
	return c.Now(), nil
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
		ClusterID: "c1", Version: 4, NodeID: "id-1", Name: "n1", Leader: "n1", LeaderID: "id-1", IsLeader: true, Term: 3, AppliedIndex: 7,
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
	access.Authenticator
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
