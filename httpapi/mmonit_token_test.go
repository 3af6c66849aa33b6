package httpapi

import (
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
)

// Whoever shows a sign of a browser gets a fresh token, and so does everybody where the server is told so.
func TestBrowserGetsAFreshToken(t *testing.T) {
	for name, options := range map[string][]option{
		"browser":             {browser()},
		"Origin only":         {header("Origin", "http://cloak.example")},
		"Sec-Fetch-Site only": {header("Sec-Fetch-Site", "none")},
		"Sec-Fetch-Mode only": {header("Sec-Fetch-Mode", "navigate")},
		"Sec-Fetch-Dest only": {header("sec-fetch-dest", "document")},
		"rotate":              {},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(c *Config) { c.MMonitRotate = name == "rotate" })
			planted := f.anonymous()
			a := f.send("POST", "/z_security_check", append(options, zCookie(planted), formBody(annsLogin))...)
			f.expect(a, 302, "")
			fresh := zToken(t, a)
			if fresh == planted || len(fresh) != credential.TokenText {
				t.Errorf("the login gave %q for %q", fresh, planted)
			}
			if f.username(fresh) != "ann" || f.username(planted) != "" {
				t.Errorf("the fresh token is %q's, the planted one %q's", f.username(fresh), f.username(planted))
			}
		})
	}
}

// An attacker knows a token before the victim logs in with it, in every way that there is to come by one.
func TestSessionFixation(t *testing.T) {
	forged := credential.AnonymousOf(&[32]byte{1, 2, 3}, uint32(testStart.Std().Unix()), [16]byte{4}).Text
	for _, tt := range []struct {
		name    string
		planted func(*fixture) string
		victim  []option
		status  int
	}{
		{"issued to the attacker, victim with a browser", (*fixture).anonymous, []option{browser()}, 302},
		{"made up, victim with a browser", func(*fixture) string { return forged }, []option{browser()}, 302},
		{"made up, victim with another client", func(*fixture) string { return forged }, nil, 401},
		{"made up in the form of a session's", func(*fixture) string { return credential.Mint().Text }, nil, 302},
		{"attacker's own session", func(f *fixture) string { return f.create(session.Create{Username: "svc"}).Text }, nil, 302},
		{"attacker's own session, browser", func(f *fixture) string { return f.create(session.Create{Username: "svc"}).Text }, []option{browser()}, 302},
		{"attacker's own M/Monit session", func(f *fixture) string {
			z := f.anonymous()
			f.expect(f.send("POST", "/z_security_check", zCookie(z), formBody("z_username=svc&z_password=correct+horse")), 302, "")
			return z
		}, nil, 302},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			planted := tt.planted(f)
			a := f.send("POST", "/z_security_check", append(tt.victim, zCookie(planted), formBody(annsLogin))...)
			if a.status != tt.status {
				t.Fatalf("login: status %d, want %d", a.status, tt.status)
			}
			if name := f.username(planted); name != "" {
				t.Errorf("the attacker's token is now %q's", name)
			}
			if fresh := zToken(t, a); fresh == planted {
				t.Error("the victim was given the attacker's token")
			} else if want := map[int]string{302: "ann", 401: ""}[tt.status]; f.username(fresh) != want {
				t.Errorf("the victim's token is %q's, want %q", f.username(fresh), want)
			}
		})
	}
}

func TestAnonymousTokenServesForOneLogin(t *testing.T) {
	f := newFixture(t)
	z := f.anonymous()
	f.expect(f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin)), 302, "")
	f.expect(f.send("GET", "/login/logout.csp", zCookie(z)), 302, "")
	f.fake.advance(time.Minute)

	a := f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin))
	f.checkLoginPage(a, 401)
	if f.username(z) != "" {
		t.Fatal("a used token became a session's again")
	}
	next := zToken(t, a)
	if next == z {
		t.Fatal("the same token again")
	}
	f.expect(f.send("POST", "/z_security_check", zCookie(next), formBody(annsLogin)), 302, "")
}

// Two logins with one token at the same time: the second one finds the key used in its entry.
func TestAnonymousTokenServesForOneOfTwoLoginsAtOnce(t *testing.T) {
	f := newFixture(t)
	z := f.anonymous()
	f.auth.checked = func(call int) {
		if call == 1 {
			f.expect(f.send("POST", "/z_security_check", zCookie(z), formBody("z_username=svc&z_password=correct+horse")), 302, "")
		}
	}
	f.checkLoginPage(f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin)), 401)
	if f.username(z) != "svc" {
		t.Errorf("the token is %q's", f.username(z))
	}
}

func TestAnonymousTokenAges(t *testing.T) {
	f := newFixture(t)
	z, old := f.anonymous(), f.anonymous()
	f.fake.advance(5 * time.Minute)
	f.expect(f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin)), 302, "")
	f.fake.advance(time.Second)
	a := f.send("POST", "/z_security_check", zCookie(old), formBody(annsLogin))
	f.checkLoginPage(a, 401)
	if f.username(old) != "" || zToken(t, a) == old {
		t.Error("an old token was accepted or given again")
	}
	// Young enough when it was looked at, too old when the entry is applied.
	z = f.anonymous()
	f.fake.advance(5*time.Minute - time.Second)
	f.auth.checked = func(int) { f.fake.advance(2 * time.Second) }
	f.checkLoginPage(f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin)), 401)
	if f.username(z) != "" {
		t.Error("a token that grew old in the queue was accepted")
	}
}

// A stranger can ask for login pages as often as he likes: nothing is written for him.
func TestAnonymousSessionsCostNoEntry(t *testing.T) {
	f := newFixture(t)
	before := f.proposed()
	for range 50 {
		z := f.anonymous()
		f.expect(f.send("GET", "/session/get", zCookie(z)), 401, "")
		f.checkLoginPage(f.send("GET", "/index.csp", zCookie(z)), 200)
	}
	if n := f.proposed() - before; n != 0 {
		t.Errorf("%d commands for clients that never logged in", n)
	}
}

// A node that has just started may be hours off until it has heard from a leader. Neither does it date a token by such a
// clock, nor refuse one.
func TestNoTokenBeforeTheTimeIsKnown(t *testing.T) {
	f := newFixture(t)
	z := f.anonymous()
	f.fake.timeless.Store(true)
	for _, o := range []option{header("Cookie", ""), zCookie(credential.Mint().Text)} {
		a := f.send("GET", "/index.csp", o)
		f.expect(a, 503, cluster.ErrNoLeader.Code)
		if a.get("Set-Cookie") != "" {
			t.Error("a token of nobody knows when was issued")
		}
	}
	f.expect(f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin)), 503, cluster.ErrNoLeader.Code)
	f.expect(f.send("POST", "/api/session", jsonBody(`{"username":"ann","password":"correct horse"}`)), 503, cluster.ErrNoLeader.Code)
	f.fake.timeless.Store(false)
	f.expect(f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin)), 302, "")
}
