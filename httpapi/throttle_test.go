package httpapi

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/tries"
	"cloakroom/cluster/wire"
)

// alone is a leader without followers.
type alone struct{ fake *fakeCluster }

func (a alone) IsLeader() bool {
	a.fake.mu.Lock()
	defer a.fake.mu.Unlock()
	return !a.fake.leaderless
}
func (alone) LeaderID() string               { return "" }
func (alone) Term() uint64                   { return 1 }
func (alone) Changed() <-chan struct{}       { return nil }
func (alone) Handle(wire.Kind, wire.Handler) {}
func (alone) Call(context.Context, string, wire.Kind, []byte) ([]byte, error) {
	return nil, wire.ErrUnreachable
}

// newTries makes the real counters of failed logins for a cluster of one.
func newTries(c *fakeCluster) *tries.Tries {
	return tries.New(tries.Config{
		Log: alone{c}, Peers: alone{c}, Table: tries.NewTable(), Now: func() (session.Time, bool) { return c.Now(), true },
	})
}

func (c *fakeCluster) Reserve(ctx context.Context, realmName, username string, addr netip.Addr) (*tries.Ticket, error) {
	if !(alone{c}).IsLeader() {
		return nil, cluster.ErrNoLeader
	}
	names := tries.NewNames([32]byte{1})
	return c.tries.Reserve(ctx, tries.Try{User: names.User(cmp.Or(realmName, session.NativeRealm), username), Address: names.Address(addr)})
}

// freeFailures returns how many failures of a user from one address cost no delay.
func freeFailures() int {
	_, pair, _ := tries.Free()
	return pair
}

const wrongLogin = `{"username":"ann","password":"wrong password"}`

func TestThrottledLogin(t *testing.T) {
	f := newFixture(t)
	for range freeFailures() {
		f.expect(f.send("POST", "/api/session", jsonBody(wrongLogin)), 401, "invalid-credentials")
	}
	right := jsonBody(`{"username":"ann","password":"correct horse"}`)
	for _, a := range []answer{
		f.send("POST", "/api/session", jsonBody(wrongLogin)),
		f.send("POST", "/api/session", right),
		f.send("POST", "/api/session?realmName=native", right),
		f.send("GET", "/api/session", basic("ANN", testPassword)),
		f.send("POST", "/z_security_check", formBody("z_username=ann&z_password=correct+horse")),
	} {
		f.expect(a, 429, "limit-login-failures")
		if a.get("Retry-After") != "1" {
			t.Errorf("Retry-After is %s", a.get("Retry-After"))
		}
	}
	if n := f.door.Throttled.Load(); n != 5 {
		t.Errorf("%d logins are counted as refused", n)
	}
	f.expect(f.send("POST", "/api/session", right, from("203.0.113.1:1")), 201, "")
	f.expect(f.send("GET", "/api/session", basic("root", testPassword)), 200, "")
	f.fake.advance(time.Second)
	f.expect(f.send("POST", "/api/session", jsonBody(wrongLogin)), 401, "invalid-credentials")
	if a := f.send("POST", "/api/session", right); a.status != 429 || a.get("Retry-After") != "2" {
		t.Errorf("after one more failure: %d, Retry-After %s", a.status, a.get("Retry-After"))
	}
	f.fake.advance(2 * time.Second)
	f.expect(f.send("POST", "/api/session", right), 201, "")
}

// A guesser that sends everything at once gets no further than one that waits for each answer: the password of a try
// that was refused is never looked at.
func TestReservedBeforeHashing(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) { // where nobody waits for too long for a hash
		f := newFixture(t)
		before := f.hasher.Stats().Hashes
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				ctx := bareRequest("POST", "/api/session", jsonBody(wrongLogin))
				f.handler(ctx)
			})
		}
		all.Wait()
		if n := int(f.hasher.Stats().Hashes - before); n != freeFailures() {
			t.Errorf("%d passwords were looked at", n)
		}
	})
}

// Neither a right password nor a cluster or directory in trouble counts as a failure of the user's.
func TestOnlyWrongPasswordsAreThrottled(t *testing.T) {
	f := newFixture(t)
	right := jsonBody(`{"username":"ann","password":"correct horse"}`)
	for range freeFailures() + 1 {
		f.expect(f.send("POST", "/api/session", right), 201, "")
		f.expect(f.send("GET", "/api/session", basic("ann", testPassword)), 200, "")
	}
	known := f.fake.tries.Stats().Known
	f.auth.Authenticator = failingAuth{cluster.ErrOverloaded}
	for i := range freeFailures() + 1 {
		f.expect(f.send("POST", "/api/session", right, from(fmt.Sprintf("203.0.113.%d:1", 1+i%2))), 503, "overloaded")
	}
	s := f.fake.tries.Stats()
	if s.Granted == 0 || s.Granted != s.Forgiven {
		t.Errorf("%d tries were granted, %d forgiven", s.Granted, s.Forgiven)
	}
	if known != 1 || s.Known != 1 {
		t.Errorf("%d addresses are known, then %d: only a right password makes one known", known, s.Known)
	}
}

// The address is the client's, as trusted proxies tell it, and nobody else's word.
func TestThrottleGoesByTheClientsAddress(t *testing.T) {
	for trusted, want := range map[string]int{"192.0.2.1/32": 401, "192.0.2.2/32": 429} {
		f := newFixture(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(trusted)} })
		for range freeFailures() {
			f.expect(f.send("POST", "/api/session", jsonBody(wrongLogin), header("X-Forwarded-For", "2001:db8::1")), 401, "")
		}
		f.expect(f.send("POST", "/api/session", jsonBody(wrongLogin), header("X-Forwarded-For", "2001:db8::2")), 429, "limit-login-failures")
		if a := f.send("POST", "/api/session", jsonBody(wrongLogin), header("X-Forwarded-For", "2001:db8:0:1::1")); a.status != want {
			t.Errorf("with %s trusted, another network: %d", trusted, a.status)
		}
	}
}

// Without a leader a login could not be stored: then no password is looked at.
func TestNoLeaderNoCheck(t *testing.T) {
	f := newFixture(t)
	f.fake.set(func(c *fakeCluster) { c.leaderless = true })
	f.expect(f.send("POST", "/api/session", jsonBody(`{"username":"ann","password":"correct horse"}`)), 503, "no-leader")
	f.expect(f.send("GET", "/api/session", basic("ann", testPassword)), 503, "no-leader")
	if f.auth.calls != 0 {
		t.Errorf("%d passwords were looked at", f.auth.calls)
	}
}
