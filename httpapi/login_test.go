package httpapi

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/realm"
)

// A password that was changed while the old one was being checked lets nobody in, by either way.
func TestPasswordChangesUnderTheCheck(t *testing.T) {
	for _, way := range []string{"login", "basic"} {
		t.Run(way, func(t *testing.T) {
			f := newFixture(t)
			other, err := f.hasher.HashPassword(t.Context(), "another password")
			if err != nil {
				t.Fatal(err)
			}
			f.auth.checked = func(call int) {
				if call == 1 {
					f.fake.must(t, &session.UpdateUser{ID: "user-ann", PasswordHash: &other})
				}
			}
			var a answer
			if way == "login" {
				a = f.send("POST", "/api/session", jsonBody(`{"username":"ann","password":"correct horse"}`))
			} else {
				a = f.send("GET", "/api/session", basic("ann", testPassword))
			}
			f.expect(a, 401, "invalid-credentials")
			if f.auth.calls != 2 || f.fake.stats().Sessions != 0 {
				t.Errorf("%d checks, %d sessions", f.auth.calls, f.fake.stats().Sessions)
			}
		})
	}
}

// A name that can't go into headers is refused clearly, by every way in. What that says depends on the name alone: the
// realm, the password and who there is make no difference.
func TestNamesThatNobodyCanHave(t *testing.T) {
	f := newFixture(t)
	plain := f.send("POST", "/api/session", jsonBody(`{"username":"nobody","password":"correct horse"}`))
	f.expect(plain, 401, "invalid-credentials")
	for _, body := range []string{
		`{"username":"änn","password":"correct horse"}`,
		`{"username":"ann,admin","password":"correct horse"}`,
		`{"username":"ann\r\nRemote-Groups: admin","password":"x"}`,
		`{"username":"` + strings.Repeat("a", session.MaxName+1) + `","password":"x"}`,
	} {
		for _, realmName := range []string{"native", "nowhere"} {
			a := f.send("POST", "/api/session?realmName="+realmName, jsonBody(body))
			f.expect(a, 401, "invalid-credentials")
			if !strings.Contains(a.body, session.ErrBadUserName.Message) || a.get("Set-Cookie") != "" {
				t.Errorf("%s in realm %s: %s", body, realmName, a.body)
			}
		}
	}
	if strings.Contains(plain.body, session.ErrBadUserName.Message) {
		t.Errorf("a name that somebody could have: %s", plain.body)
	}
	if a := f.send("GET", "/api/session", basic("änn", testPassword)); a.status != 401 || !strings.Contains(a.body, session.ErrBadUserName.Message) {
		t.Errorf("Basic: %d %s", a.status, a.body)
	}
	a := f.send("POST", "/z_security_check", formBody("z_username=%C3%A4nn&z_password=correct+horse"))
	f.checkLoginPage(a, 401)
	if !strings.Contains(a.body, session.ErrBadUserName.Message) {
		t.Errorf("the login page does not say why: %s", a.body)
	}
}

// A change that the credentials survive costs a second check and nothing else; one that comes again and again, a 503.
func TestRecordsMoveUnderTheCheck(t *testing.T) {
	for _, c := range []struct{ moves, calls, login, basic int }{{1, 2, 201, 200}, {9, 2, 503, 503}} {
		f := newFixture(t)
		f.auth.checked = func(call int) {
			if call <= c.moves {
				f.fake.must(t, &session.UpdateRealm{ID: "realm-native", Enabled: true})
			}
		}
		a := f.send("POST", "/api/session", jsonBody(`{"username":"ann","password":"correct horse"}`))
		if a.status != c.login || f.auth.calls != c.calls {
			t.Errorf("%d moves: status %d after %d checks: %s", c.moves, a.status, f.auth.calls, a.body)
		}
		b := f.send("GET", "/api/session", basic("ann", testPassword))
		if b.status != c.basic {
			t.Errorf("%d moves, Basic: status %d", c.moves, b.status)
		}
	}
}

func TestLoginOfDisabledMidway(t *testing.T) {
	f := newFixture(t)
	f.fake.before = func(cmd session.Command) error {
		if _, ok := cmd.(*session.Create); ok {
			return session.ErrUserDisabled
		}
		return nil
	}
	f.expect(f.send("POST", "/api/session", jsonBody(`{"username":"ann","password":"correct horse"}`)), 401, "invalid-credentials")
}

func TestLoginKeepsAddressAndAgent(t *testing.T) {
	f := newFixture(t)
	token := f.loginAs("ann", header("User-Agent", "curl/8 \té"+strings.Repeat("x", 300)), from("203.0.113.9:4444"))
	key, _ := credential.Parse([]byte(token))
	s, ok := f.fake.machine.Session(key)
	if !ok || s.Address != "203.0.113.9" || !strings.HasPrefix(s.Agent, "curl/8 ???xxx") || len(s.Agent) != session.MaxAgent {
		t.Fatalf("session is %+v", s)
	}
	if s.Surface != session.SurfaceFusion || s.Idle != 30*time.Minute || s.Expires != testStart.Add(8*time.Hour) {
		t.Errorf("session is %+v", s)
	}
}

func TestLoginErrorsOfTheCluster(t *testing.T) {
	for _, c := range []struct {
		err  error
		code string
	}{
		{cluster.ErrNoLeader, "no-leader"},
		{cluster.ErrOverloaded, "overloaded"},
		{cluster.ErrTimeout, "timeout"},
		{session.ErrTooLate, "timeout"},
	} {
		f := newFixture(t)
		f.fake.before = func(session.Command) error { return c.err }
		f.expect(f.send("POST", "/api/session", jsonBody(`{"username":"ann","password":"correct horse"}`)), 503, c.code)
		if f.logins.Orphans.Count() != 0 {
			t.Errorf("%v: an end is proposed for a session that was not made", c.err)
		}
	}
	f := newFixture(t)
	f.auth.Authenticator = failingAuth{fmt.Errorf("realm corp: %w", realm.ErrUnavailable)}
	f.expect(f.send("POST", "/api/session", jsonBody(`{"username":"ann","password":"x"}`)), 503, "realm-unavailable")
	f.auth.Authenticator = failingAuth{realm.ErrBusy}
	f.expect(f.send("POST", "/api/session", jsonBody(`{"username":"ann","password":"x"}`)), 503, "login-busy")
	f.auth.Authenticator = failingAuth{fmt.Errorf("disk on fire")}
	a := f.send("POST", "/api/session", jsonBody(`{"username":"ann","password":"x"}`))
	f.expect(a, 500, "internal")
	if strings.Contains(a.body, "fire") || !strings.Contains(f.logs.String(), "disk on fire") {
		t.Errorf("the cause belongs into the log alone: %s", a.body)
	}
	if !strings.Contains(f.logs.String(), a.get("X-Request-Id")) {
		t.Error("the log line can't be found by the request id")
	}
}

// The answer to a create was lost. Whether it took effect at once, late, or never, no session stays.
func TestUnknownOutcomeLeavesNoOrphan(t *testing.T) {
	for _, when := range []string{"at once", "late", "never"} {
		t.Run(when, func(t *testing.T) {
			clustertest.Bubble(t, func(t *testing.T) {
				f := newFixture(t)
				var late *session.Create
				down := 3 // ends that find no leader
				fault := func(cmd session.Command) error {
					switch cmd := cmd.(type) {
					case *session.Create:
						late = cmd
						return cluster.ErrOutcomeUnknown
					case *session.Invalidate:
						if down--; down >= 0 {
							return cluster.ErrNoLeader
						}
					}
					return nil
				}
				if f.fake.before = fault; when == "at once" {
					f.fake.before, f.fake.after = nil, fault
				}
				start := time.Now()
				f.fake.onTick = func() session.Time { return testStart.Add(time.Since(start)) }
				f.expect(f.send("POST", "/api/session", jsonBody(`{"username":"ann","password":"correct horse"}`)), 503, "outcome-unknown")
				if when == "late" {
					time.Sleep(20 * time.Second) // many ends have found no session by now
					f.fake.set(func(c *fakeCluster) { c.before = nil })
					f.fake.must(t, late)
				}
				time.Sleep(2 * time.Minute)
				if n := f.fake.stats().Sessions; n != 0 {
					t.Errorf("%d sessions stay", n)
				}
				if n := f.logins.Orphans.Count(); n != 0 {
					t.Errorf("%d are still being ended", n)
				}
				if when == "never" {
					f.fake.set(func(c *fakeCluster) { c.before = nil })
					if _, err := f.fake.Do(t.Context(), late); err == nil {
						t.Error("the create took effect when nobody looked any more")
					}
				}
			})
		})
	}
}
