package httpapi

import (
	"strings"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
)

func TestVerify(t *testing.T) {
	f := newFixture(t)
	f.fake.must(t, &session.CreateRole{ID: "role-dev", Name: "developer"})
	f.fake.must(t, &session.UpdateRealm{ID: "realm-native", Enabled: true, RoleNames: []string{"developer"}})
	tok := f.create(session.Create{Username: "svc"})
	for _, name := range []string{"id", "zsessionid"} {
		a := f.send("GET", "/auth/verify", cookie(name+"="+tok.Text))
		f.expect(a, 200, "")
		for h, want := range map[string]string{
			"Remote-User": "svc", "Remote-Groups": "developer,service", "Remote-Realm": "native", "X-Session-Handle": tok.Key.String(),
		} {
			if a.get(h) != want {
				t.Errorf("%s is %q, not %q", h, a.get(h), want)
			}
		}
		if a.body != "" || a.get("Set-Cookie") != "" {
			t.Errorf("body %q, cookie %q", a.body, a.get("Set-Cookie"))
		}
	}
	f.expect(f.send("HEAD", "/auth/verify", idCookie(tok)), 200, "")
	for _, o := range []option{cookie("x=y"), idCookie(credential.Mint()), basic("root", testPassword), header("Accept", "text/html")} {
		a := f.send("GET", "/auth/verify", o)
		f.expect(a, 401, "session-invalid")
		if a.get("Location") != "" || a.get("Remote-User") != "" {
			t.Errorf("headers: %v", a.header)
		}
	}
	// A proxy passes the browser's headers on: the question is not a change, whoever asks.
	f.expect(f.send("GET", "/auth/verify", idCookie(tok), header("Sec-Fetch-Site", "cross-site"), header("Origin", "https://evil.example")), 200, "")
	f.fake.set(func(c *fakeCluster) { c.lookupErr = cluster.ErrNoLeader })
	f.expect(f.send("GET", "/auth/verify", idCookie(tok)), 503, "no-leader")
	f.fake.set(func(c *fakeCluster) { c.lookupErr = nil; c.clock = c.clock.Add(8 * time.Hour) })
	f.expect(f.send("GET", "/auth/verify", idCookie(tok)), 401, "session-invalid")
}

func TestWhatCountsAsUse(t *testing.T) {
	f := newFixture(t)
	tok := f.create(session.Create{Username: "ann"})
	used := func() session.Time { return f.fake.lastUse[tok.Key] }
	for i, c := range []struct {
		uri string
		o   option
		use bool
	}{
		{"/auth/verify", header("A", "b"), true},
		{"/api/session", header("A", "b"), true},
		{"/api/sessions", header("A", "b"), true}, // made with the token, though what it lists is not used
		{"/auth/verify", header("X-No-Touch", "1"), false},
		{"/api/session", header("X-No-Touch", "1"), false},
		{"/auth/verify", header("X-No-Touch", "0"), true},
	} {
		f.fake.advance(time.Minute)
		f.expect(f.send("GET", c.uri, idCookie(tok), c.o), 200, "")
		if (used() == f.fake.clock) != c.use {
			t.Errorf("case %d: last use is %v, it is %v", i, used(), f.fake.clock)
		}
	}
	f.fake.advance(time.Minute)
	f.send("GET", "/api/sessions?user=ann", basic("ann", testPassword))
	if used() == f.fake.clock {
		t.Error("a session is used by being listed")
	}
}

func TestRoleList(t *testing.T) {
	for _, c := range []struct{ user, realm, fixed []string }{
		{nil, nil, nil},
		{[]string{"a", "c"}, []string{"b", "c", "d"}, nil},
		{[]string{"a"}, nil, nil},
		{nil, []string{"a"}, nil},
		{[]string{"b"}, []string{"a"}, nil},
		{[]string{"a"}, []string{"b"}, []string{"x", "y"}},
		{[]string{"a"}, []string{"b"}, []string{}},
	} {
		v := session.View{Session: session.Head{Roles: c.fixed}, User: &session.User{RoleNames: c.user}, Realm: &session.Realm{RoleNames: c.realm}}
		if got, want := string(exchange.AppendRoles(nil, v)), strings.Join(v.Roles(), ","); got != want {
			t.Errorf("%v: %q, not %q", c, got, want)
		}
	}
	if got := exchange.AppendRoles(nil, session.View{}); len(got) != 0 {
		t.Errorf("roles without records: %q", got)
	}
}

func TestETags(t *testing.T) {
	for _, c := range []struct {
		header  string
		current uint64
		want    uint64
		ok      bool
	}{
		{"", 5, 0, false}, // it is there, and names nothing
		{"*", 5, 0, true},
		{`"5"`, 5, 5, true},
		{`"6"`, 5, 6, true}, // read at another node: the machine decides
		{`"4", "5"`, 5, 5, true},
		{`"4", "6"`, 5, 0, false},
		{`W/"5"`, 5, 0, false},
		{`"0"`, 5, 0, false},
		{`5`, 5, 0, false},
		{`""`, 5, 0, false},
		{`"x"`, 5, 0, false},
		{`,`, 5, 0, false},
	} {
		rc := &exchange.Request{Ctx: bareRequest("POST", "/", header("If-Match", c.header))}
		rev, err := exchange.IfMatch(rc, c.current)
		if rev != c.want || (err == nil) != c.ok {
			t.Errorf("%q: %d, %v", c.header, rev, err)
		}
		if status, e, _ := exchange.AnswerOf(err); err != nil && (status != 412 || e != session.ErrConflict) {
			t.Errorf("%q: answer is %d", c.header, status)
		}
	}
	rc := &exchange.Request{Ctx: bareRequest("GET", "/")}
	if rev, err := exchange.IfMatch(rc, 5); rev != 0 || err != nil {
		t.Errorf("without If-Match: %d, %v", rev, err)
	}
	exchange.ETag(rc, 17)
	if got := string(rc.Ctx.Response.Header.Peek("ETag")); got != `"17"` {
		t.Errorf("ETag is %s", got)
	}
}

// What the two lookups cost is memory that is there already, also at the levels that may have to wait. The machine, the
// clock and the fake's lock are not ours; they allocate nothing.
func TestLookupsDontAllocate(t *testing.T) {
	for _, level := range []cluster.Level{cluster.Lease, cluster.Local, cluster.Quorum} {
		f := newFixture(t, func(cfg *Config) { cfg.Level = level })
		tok := f.create(session.Create{Username: "root"})
		for _, uri := range []string{"/auth/verify", "/api/session"} {
			ctx := bareRequest("GET", uri, cookie("a=b; id="+tok.Text+";"), header("X-No-Touch", "0"))
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
				t.Errorf("%s at level %v allocates %v times", uri, level, n)
			}
		}
	}
}

// The handler alone, on a request that is read already: what HTTP costs comes on top, and the fake's lookup is in it.
func BenchmarkLookups(b *testing.B) {
	f := newFixture(b)
	tok := credential.Mint()
	user, native, err := f.fake.User(b.Context(), "native", "root")
	if err != nil {
		b.Fatal(err)
	}
	f.fake.must(b, &session.Create{
		Key: tok.Key, Realm: "native", Username: "root", UserID: "user-root", Surface: session.SurfaceFusion,
		UserRev: user.Rev, RealmRev: native.Rev, Idle: time.Hour, Lifetime: time.Hour,
	})
	for _, uri := range []string{"/auth/verify", "/api/session"} {
		b.Run(uri, func(b *testing.B) {
			ctx := bareRequest("GET", uri, idCookie(tok))
			b.ReportAllocs()
			for b.Loop() {
				ctx.Response.Reset()
				f.fake.levels = f.fake.levels[:0]
				f.handler(ctx)
			}
		})
	}
}
