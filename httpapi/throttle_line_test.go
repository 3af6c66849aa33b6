package httpapi

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/realm"
)

// heldAuth checks a password when it is let.
type heldAuth struct {
	access.Authenticator
	let chan struct{}
}

func (a heldAuth) Authenticate(ctx context.Context, realmName, username, password string) (realm.Identity, error) {
	<-a.let
	return a.Authenticator.Authenticate(ctx, realmName, username, password)
}

// inLine returns how many logins wait.
func (f *fixture) inLine() int {
	_, waiting := f.door.InLine()
	return waiting
}

// allAtOnce sends a login so many times at once. It lets passwords be checked when every login is at a password or in line
// or refused, and returns how many answers there were of each status. It must be called in a bubble.
func (f *fixture) allAtOnce(n int, body string) map[int]int {
	held := heldAuth{f.door.Authenticator, make(chan struct{})}
	f.door.Authenticator = held
	defer func() { f.door.Authenticator = held.Authenticator }()
	var mu sync.Mutex
	var group sync.WaitGroup
	got := map[int]int{}
	for range n {
		group.Go(func() {
			ctx := bareRequest("POST", "/api/session", jsonBody(body))
			f.handler(ctx)
			mu.Lock()
			defer mu.Unlock()
			got[ctx.Response.StatusCode()]++
		})
	}
	synctest.Wait()
	close(held.let)
	group.Wait()
	return got
}

const rightLogin = `{"username":"ann","password":"correct horse"}`

// A user who logs in many times at once, from an address that nobody knows yet, is not taken for a guesser.
func TestManyRightLoginsAtOnce(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFixture(t)
		n := freeFailures() + access.MaxLine
		if got := f.allAtOnce(n, rightLogin); got[201] != n {
			t.Errorf("answers to right logins: %v", got)
		}
		if lines, waiting := f.door.InLine(); lines != 0 || waiting != 0 {
			t.Errorf("%d logins are in line", f.inLine())
		}
	})
}

// Guessers at once wait in line for nothing: no more passwords are looked at, at once or afterwards, than without it. What
// is over the line is refused at once.
func TestGuessersGainNothingInLine(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFixture(t)
		before := f.hasher.Stats().Hashes
		got := f.allAtOnce(200, wrongLogin)
		if n := int(f.hasher.Stats().Hashes - before); n != freeFailures() || got[401] != n || got[429] != 200-n {
			t.Errorf("%d passwords were looked at, answers %v", n, got)
		}
		if n := f.door.Throttled.Load(); int(n) != got[429] {
			t.Errorf("%d logins are counted as refused", n)
		}
		f.fake.advance(time.Second)
		if got := f.allAtOnce(50, wrongLogin); got[401] != 1 || got[429] != 49 {
			t.Errorf("after the delay: %v", got)
		}
		if lines, waiting := f.door.InLine(); lines != 0 || waiting != 0 {
			t.Errorf("%d logins are in line", f.inLine())
		}
	})
}

// A right login among guesses makes room for one try, its own.
func TestOneRightLoginInLine(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		f := newFixture(t)
		for range freeFailures() - 1 {
			f.expect(f.send("POST", "/api/session", jsonBody(wrongLogin)), 401, "")
		}
		before := f.hasher.Stats().Hashes
		held := heldAuth{f.door.Authenticator, make(chan struct{})}
		f.door.Authenticator = held
		var group sync.WaitGroup
		group.Go(func() { f.handler(bareRequest("POST", "/api/session", jsonBody(rightLogin))) })
		synctest.Wait()
		for range 20 {
			group.Go(func() { f.handler(bareRequest("POST", "/api/session", jsonBody(wrongLogin))) })
		}
		synctest.Wait()
		if n := f.inLine(); n != 20 {
			t.Errorf("%d logins are in line", n)
		}
		close(held.let)
		group.Wait()
		if n := f.hasher.Stats().Hashes - before; n != 2 {
			t.Errorf("%d passwords were looked at", n)
		}
	})
}
