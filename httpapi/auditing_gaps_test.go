package httpapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/audit"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// since returns the events after the first n, without what differs from run to run.
func (l *lines) since(t *testing.T, n int) []audit.Event {
	t.Helper()
	events := l.all(t)[n:]
	for i := range events {
		e := &events[i]
		e.Time, e.Request, e.Agent, e.Client = time.Time{}, "", "", ""
	}
	return events
}

// Tokens and passwords that are sent in place of names stay out of the log, and who is known is named.
func TestAuditNamesNoSecrets(t *testing.T) {
	f, out := audited(t)
	f.fake.must(t, &session.CreateRealm{ID: "realm-dir", Name: "dir", Type: realm.TypeLDAP, Enabled: true})
	f.fake.must(t, &session.CreateRealm{ID: "realm-own", Name: "own", Type: realm.TypeNative, Enabled: true})
	live := f.create(session.Create{Username: "ann"})
	f.create(session.Create{Realm: "own", Username: "guest", UserID: "u-guest"})
	anonymous := strings.Repeat("0aF9", 16)
	for _, tt := range []struct{ realm, user, wantRealm, wantUser string }{
		{"native", "ann", "native", "ann"},
		{"own", "guest", "own", "guest"}, // has no record
		{"native", live.Text, "native", access.UnknownUser},
		{"native", "Tr0ub4dor-3", "native", access.UnknownUser},
		{"dir", "Kim", "dir", "Kim"},
		{"dir", live.Text, "dir", credential.Blot},
		{"dir", live.BearerText(), "dir", credential.Blot},
		{"dir", "ann." + live.Text + ".ann", "dir", "ann." + credential.Blot + ".ann"},
		{"dir", "id-" + strings.ToUpper(live.Text) + "0", "dir", "id-" + credential.Blot + "0"},
		{"dir", live.Text[1:], "dir", live.Text[1:]},
		{"dir", strings.ToUpper(live.Text), "dir", credential.Blot},
		{"dir", anonymous, "dir", credential.Blot},
		{"dir", "a b", "dir", access.UnknownUser},
		{live.Text, "ann", access.UnknownRealm, access.UnknownUser},
		{"", "ann", access.UnknownRealm, access.UnknownUser},
	} {
		rc := &exchange.Request{Ctx: bareRequest("GET", "/api/users"), Start: time.Now()}
		if gotRealm, gotUser := f.diary.Nameable(rc, tt.realm, tt.user); gotRealm != tt.wantRealm || gotUser != tt.wantUser {
			t.Errorf("%q %q: %q %q", tt.realm, tt.user, gotRealm, gotUser)
		}
	}
	if got := credential.WithoutTokens("a b" + live.BearerText() + live.Text + anonymous + "crs_"); got != "a b"+credential.Blot+credential.Blot+credential.Blot+"crs_" {
		t.Error(got)
	}
	f.expect(f.send("GET", "/api/users", basic(live.Text, "")), 401, "invalid-credentials")
	f.expect(f.send("GET", "/api/users?realmName="+live.Text, basic("ann", "x")), 401, "invalid-credentials")
	if n := len(out.all(t)); n != 2 {
		t.Errorf("%d lines", n)
	}
	if strings.Contains(out.text(), live.Text) {
		t.Errorf("a live token is in the log: %s", out.text())
	}
}

// Credentials that were right for one call leave a line, though not with each call.
func TestAuditOfCalls(t *testing.T) {
	f, out := audited(t)
	for range 3 {
		f.expect(f.send("GET", "/api/users", basic("root", testPassword)), 200, "")
	}
	f.expect(f.send("GET", "/api/users", basic("root", testPassword), from("192.0.2.9:1")), 200, "")
	f.expect(f.send("GET", "/api/users", basic("ann", testPassword)), 403, "forbidden")
	want := func(user string) audit.Event {
		return audit.Event{Name: audit.Login, Outcome: audit.OK, Realm: "native", User: user, Detail: "for one call"}
	}
	if got := out.since(t, 0); !slices.Equal(got, []audit.Event{want("root"), want("root"), want("ann")}) {
		t.Errorf("%+v", got)
	}
	log, out := newAuditLog(t)
	f, i := evidenceFixture(t, func(c *Config) { c.Audit = log })
	n := len(out.all(t))
	f.expect(f.send("GET", "/api/session?realmName=sso", bearer(i.token(nil))), 200, "")
	kim := want("kim")
	kim.Realm = "sso"
	if got := out.since(t, n); !slices.Equal(got, []audit.Event{kim}) {
		t.Errorf("by JWT: %+v", got)
	}
}

// A gateway that checks tokens with each of its requests leaves a line once in a while, and what all of it came to.
func TestAuditOfChecks(t *testing.T) {
	f, out := audited(t)
	svc, ann := f.create(session.Create{Username: "svc"}), f.create(session.Create{Username: "ann"})
	check := func(client string) {
		t.Helper()
		f.expect(f.send("POST", "/api/sessions/verify", idCookie(svc), jsonBody(`{"tokens":["`+ann.Text+`","x"]}`), from(client)), 200, "")
	}
	for range 4 {
		check("192.0.2.7:1")
	}
	check("192.0.2.8:1")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	line := func(count int, detail string) audit.Event {
		return audit.Event{Name: audit.Verified, Outcome: audit.OK, By: "svc@native", Count: count, Detail: detail}
	}
	want := []audit.Event{line(2, "1 active"), line(2, "1 active"), line(6, "3 active in 3 calls")}
	if got := out.since(t, 0); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

// Sessions that a service makes are named one by one, and a call that came to nothing is a line as well.
func TestAuditOfSessionsMade(t *testing.T) {
	f, out := audited(t)
	svc := f.create(session.Create{Username: "svc"})
	a := f.send("POST", "/api/sessions", idCookie(svc), jsonBody(`[{"username":"ann"},{"username":"nobody"}]`))
	f.expect(a, 201, "")
	events := out.since(t, 0)
	if len(events) != 2 || events[0].Handle == "" || !strings.Contains(a.body, events[0].Handle) {
		t.Fatalf("%+v, %s", events, a.body)
	}
	events[0].Handle = ""
	want := []audit.Event{
		{Name: audit.SessionsMade, Outcome: audit.OK, Realm: "native", User: "ann", By: "svc@native"},
		{Name: audit.SessionsMade, Outcome: audit.OK, By: "svc@native", Count: 1, Detail: "2 asked for"},
	}
	if !slices.Equal(events, want) {
		t.Errorf("%+v", events)
	}
	f.expect(f.send("POST", "/api/sessions", idCookie(svc), jsonBody(`[{"username":"nobody"}]`)), 404, "user-not-found")
	refused := []audit.Event{{Name: audit.SessionsMade, Outcome: "user-not-found", By: "svc@native", Detail: "1 asked for"}}
	if got := out.since(t, 2); !slices.Equal(got, refused) {
		t.Errorf("%+v", got)
	}
}

func TestAuditOfUsers(t *testing.T) {
	f, out := audited(t)
	root := f.create(session.Create{Username: "root"})
	f.expect(f.send("POST", "/api/users", idCookie(root), jsonBody(`{"username":"new","password":"long enough 1","disabled":true}`)), 201, "")
	events := out.since(t, 0)
	if len(events) != 2 || events[1].Detail != "disabled true" || events[1].User != "new" || events[1].Outcome != audit.OK || events[1].Target != events[0].Target {
		t.Errorf("%+v", events)
	}
	f.expect(f.send("DELETE", "/api/users/user-ann", idCookie(root)), 204, "")
	want := audit.Event{Name: audit.Changed, Outcome: audit.OK, Realm: "native", User: "ann", By: "root@native", Target: "user user-ann", Detail: "deleted"}
	if got := out.since(t, 2); !slices.Equal(got, []audit.Event{want}) {
		t.Errorf("%+v", got)
	}
}

// A token that is good for a call and no more for a session is refused with a line.
func TestAuditOfTokenWithinLeeway(t *testing.T) {
	log, out := newAuditLog(t)
	f, i := evidenceFixture(t, func(c *Config) { c.Audit = log })
	f.addRealm("bound", "jwt", fmt.Sprintf(`{"issuer":"https://issuer.example","audience":"cloakroom","jwksUrl":%q,"ephemeralUsers":true,"sessionBoundToToken":true}`, i.URL))
	n := len(out.all(t))
	over := bearer(i.token(map[string]any{"exp": time.Now().Add(-time.Second).Unix()}))
	f.expect(f.send("POST", "/api/session?realmName=bound", over), 401, "invalid-credentials")
	want := audit.Event{Name: audit.Login, Outcome: "invalid-credentials", Realm: "bound", User: "kim"}
	if got := out.since(t, n); !slices.Equal(got, []audit.Event{want}) {
		t.Errorf("%+v", got)
	}
}

// What is done twice because the records moved is audited once, with how it ended.
func TestAuditOfMovedLogin(t *testing.T) {
	for _, often := range []int{1, 2} {
		f, out := audited(t)
		moves := 0
		f.fake.before = func(cmd session.Command) error {
			if _, ok := cmd.(*session.Create); ok && moves < often {
				moves++
				return session.ErrRevisionMoved
			}
			return nil
		}
		f.send("POST", "/api/session", jsonBody(annsJSON))
		outcome := audit.OK
		if often == 2 {
			outcome = session.ErrRevisionMoved.Code
		}
		if got := out.since(t, 0); len(got) != 1 || got[0].Outcome != outcome || got[0].User != "ann" {
			t.Errorf("%d: %+v", often, got)
		}
	}
	// The same where the check itself finds that they moved.
	log, out := newAuditLog(t)
	f := newFixture(t, func(c *Config) { c.Audit, c.Authenticator = log, failingAuth{session.ErrRevisionMoved} })
	f.expect(f.send("POST", "/api/session", jsonBody(annsJSON)), 503, session.ErrRevisionMoved.Code)
	f.expect(f.send("GET", "/api/users", basic("ann", testPassword)), 503, session.ErrRevisionMoved.Code)
	if got := out.since(t, 0); len(got) != 2 || got[0].User != "ann" {
		t.Errorf("%+v", got)
	}
}
