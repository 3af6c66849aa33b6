package httpapi

import (
	"strings"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
)

func bearer(text string) option { return header("Authorization", "Bearer "+text) }

// The token of a session is good in the one place that it was made for.
func TestBearerSessions(t *testing.T) {
	f := newFixture(t)
	script := f.create(session.Create{Username: "ann", Surface: session.SurfaceBearer})
	browser := f.create(session.Create{Username: "svc"})
	other := f.create(session.Create{Username: "svc", Surface: session.SurfaceMMonit})
	service := f.create(session.Create{Username: "svc", Surface: session.SurfaceService})
	for _, path := range []string{"/api/session", "/api/sessions", "/auth/verify", "/api/2/session/get", "/api/1/session/get", "/session/get"} {
		a := f.send("GET", path, bearer(script.BearerText()))
		f.expect(a, 200, "")
		if a.get("Set-Cookie") != "" {
			t.Errorf("%s: sets %s", path, a.get("Set-Cookie"))
		}
		for _, scheme := range []string{"bearer", "BEARER"} {
			f.expect(f.send("GET", path, header("Authorization", scheme+"   "+script.BearerText())), 200, "")
		}
		for _, name := range []string{"id", "zsessionid"} {
			f.expect(f.send("GET", path, cookie(name+"="+script.Text)), 401, "session-invalid")
			f.expect(f.send("GET", path, cookie(name+"="+script.BearerText())), 401, "session-invalid")
		}
		for _, tok := range []credential.Token{browser, other, service} {
			f.expect(f.send("GET", path, cookie("id="+tok.Text)), 200, "")
			f.expect(f.send("GET", path, bearer(tok.BearerText())), 401, "session-invalid")
		}
		f.expect(f.send("GET", path, bearer(credential.Mint().BearerText())), 401, "session-invalid")
		f.expect(f.send("GET", path, bearer(strings.Repeat("0", credential.AnonymousText))), 401, "session-invalid")
		f.expect(f.send("GET", path, bearer(credential.BearerPrefix+strings.Repeat("0", credential.AnonymousText))), 401, "session-invalid")
		// It was put there for this call, so it goes before the cookie, and the cookie does not help where it is not good.
		f.expect(f.send("GET", path, bearer(credential.Mint().BearerText()), idCookie(browser)), 401, "session-invalid")
		// What is no session's token is an application's own, though it may be in the form of a cookie's.
		f.expect(f.send("GET", path, bearer(credential.Mint().Text), idCookie(browser)), 200, "")
		f.expect(f.send("GET", path, bearer(credential.Mint().Text)), 401, "session-invalid")
		f.expect(f.send("GET", path, bearer(script.Text), idCookie(browser)), 200, "")
		f.expect(f.send("GET", path, bearer(script.Text)), 401, "session-invalid")
		f.expect(f.send("GET", path, bearer("eyJ.eyJ.sig"), idCookie(browser)), 200, "")
		f.expect(f.send("GET", path, bearer("whatever"), idCookie(browser)), 200, "")
	}
	if a := f.send("GET", "/auth/verify", bearer(script.BearerText()), idCookie(browser)); a.get("Remote-User") != "ann" {
		t.Errorf("the bearer token's user is ann, not %s", a.get("Remote-User"))
	}
	if a := f.send("GET", "/api/session", bearer(browser.BearerText())); a.get("Www-Authenticate") != `Bearer error="invalid_token"` {
		t.Errorf("challenge is %q", a.get("Www-Authenticate"))
	}
	if a := f.send("GET", "/api/session", idCookie(script)); a.get("Www-Authenticate") != "" {
		t.Errorf("challenge for a cookie is %q", a.get("Www-Authenticate"))
	}
}

// Whatever ends sessions ends those of scripts.
func TestBearerSessionsEnd(t *testing.T) {
	f := newFixture(t)
	root := f.create(session.Create{Username: "root"})
	for name, end := range map[string]func(credential.Token) answer{
		"logout": func(tok credential.Token) answer { return f.send("DELETE", "/api/session", bearer(tok.BearerText())) },
		"logout, cookie": func(tok credential.Token) answer {
			return f.send("DELETE", "/api/session", bearer(tok.BearerText()), idCookie(root))
		},
		"invalidate": func(tok credential.Token) answer {
			return f.send("GET", "/session/invalidate", bearer(tok.BearerText()))
		},
		"revoke": func(tok credential.Token) answer {
			return f.send("POST", "/oauth2/revoke", form("token="+tok.BearerText()))
		},
		"own handle": func(tok credential.Token) answer {
			return f.send("DELETE", "/api/sessions/"+tok.Key.String(), bearer(tok.BearerText()))
		},
		"admin": func(tok credential.Token) answer {
			return f.send("DELETE", "/api/sessions/"+tok.Key.String(), idCookie(root))
		},
		"everywhere": func(tok credential.Token) answer {
			return f.send("DELETE", "/api/sessions?user=ann", bearer(tok.BearerText()))
		},
		"admin, everyone": func(credential.Token) answer {
			return f.send("DELETE", "/api/sessions?user=ann&realm=native", idCookie(root))
		},
	} {
		tok := f.create(session.Create{Username: "ann", Surface: session.SurfaceBearer})
		f.expect(f.send("GET", "/api/session", bearer(tok.BearerText())), 200, "")
		a := end(tok)
		if a.status >= 300 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if name != "admin" && name != "admin, everyone" && a.get("Set-Cookie") != "" {
			t.Errorf("%s: sets %q, and came without a cookie", name, a.get("Set-Cookie"))
		}
		f.expect(f.send("GET", "/api/session", bearer(tok.BearerText())), 401, "session-invalid")
		f.expect(f.send("GET", "/auth/verify", bearer(tok.BearerText())), 401, "session-invalid")
	}
	f.expect(f.send("GET", "/api/session", idCookie(root)), 200, "")

	idle := f.create(session.Create{Username: "ann", Surface: session.SurfaceBearer})
	f.fake.advance(29 * time.Minute)
	f.expect(f.send("GET", "/api/session", bearer(idle.BearerText())), 200, "") // a use
	f.fake.advance(29 * time.Minute)
	f.expect(f.send("GET", "/api/session", bearer(idle.BearerText()), header("X-No-Touch", "1")), 200, "")
	f.fake.advance(time.Minute)
	f.expect(f.send("GET", "/api/session", bearer(idle.BearerText())), 401, "session-idle-timeout")
}

// A bearer token travels nowhere by itself, so a change needs nothing more; that of a foreign page is refused as ever.
func TestBearerChangesNeedNoCSRFToken(t *testing.T) {
	f := newFixture(t)
	tok := f.create(session.Create{Username: "ann", Surface: session.SurfaceBearer})
	for _, method := range []string{"GET", "POST"} {
		f.expect(f.send(method, "/api/2/session/put?a=1", bearer(tok.BearerText())), 200, "")
		f.expect(f.send(method, "/session/delete?key=a", bearer(tok.BearerText())), 200, "")
	}
	f.expect(f.send("POST", "/session/put?a=1", bearer(tok.BearerText()), header("Sec-Fetch-Site", "cross-site")), 403, "foreign-origin")
	f.expect(f.send("DELETE", "/api/session", bearer(tok.BearerText()), header("Origin", "https://evil.example")), 403, "foreign-origin")
	f.expect(f.send("POST", "/oauth2/token", basic("ann", testPassword), header("Origin", "https://evil.example")), 403, "foreign-origin")
	f.expect(f.send("POST", "/oauth2/revoke", form("token="+tok.BearerText()), header("Sec-Fetch-Site", "same-site")), 403, "foreign-origin")
	a := f.send("GET", "/session/put?a=2", bearer(tok.BearerText()), cookie("id="+credential.Mint().Text))
	f.expect(a, 200, "")
}

// Logging in with a password beside a bearer token is two things at once.
func TestLoginBesideBearer(t *testing.T) {
	f := newFixture(t)
	tok := f.create(session.Create{Username: "ann", Surface: session.SurfaceBearer})
	login := jsonBody(`{"username":"ann","password":"` + testPassword + `"}`)
	f.expect(f.send("POST", "/api/session", login, bearer(tok.BearerText())), 400, "two-credentials")
	f.expect(f.send("POST", "/api/session?realmName=native", login, bearer("a.b.c")), 400, "two-credentials")
	f.expect(f.send("POST", "/api/session", login, bearer("an application's own")), 201, "")
	f.expect(f.send("POST", "/api/session", bearer(tok.BearerText())), 400, "malformed-json")
	f.expect(f.send("POST", "/api/session"), 400, "malformed-json")
	f.expect(f.send("POST", "/api/session?realmName=native", jsonBody(`{}`), bearer("a.b.c")), 401, "invalid-credentials")
	f.expect(f.send("GET", "/api/session", header("Authorization", "Bearer "+tok.Text), header("Authorization", "Basic x")), 400, "bad-request")
}

func TestBearerTakesPower(t *testing.T) {
	f := newFixture(t)
	root := f.create(session.Create{Username: "root", Surface: session.SurfaceBearer})
	ann := f.create(session.Create{Username: "ann", Surface: session.SurfaceBearer})
	f.expect(f.send("GET", "/api/users", bearer(root.BearerText())), 200, "")
	f.expect(f.send("GET", "/api/users", bearer(ann.BearerText())), 403, "forbidden")
	f.fake.cutOff = cluster.Local
	f.expect(f.send("GET", "/api/users", bearer(root.BearerText())), 503, "cut-off")
}

func TestBearerLookupsDontAllocate(t *testing.T) {
	f := newFixture(t)
	tok := f.create(session.Create{Username: "root", Surface: session.SurfaceBearer})
	for _, uri := range []string{"/auth/verify", "/api/session"} {
		ctx := bareRequest("GET", uri, bearer(tok.BearerText()))
		run := func() {
			ctx.Response.Reset()
			f.fake.levels = f.fake.levels[:0]
			f.handler(ctx)
		}
		run()
		if ctx.Response.StatusCode() != 200 {
			t.Fatalf("%s: %d", uri, ctx.Response.StatusCode())
		}
		if n := testing.AllocsPerRun(200, run); n > 0 && !raceEnabled {
			t.Errorf("%s allocates %v times", uri, n)
		}
	}
}
