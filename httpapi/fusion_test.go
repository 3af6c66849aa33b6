package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/realm"
)

func TestLoginAnswer(t *testing.T) {
	f := newFixture(t)
	for name, o := range map[string][]option{
		"plain":          {jsonBody(`{"username":"ann","password":"correct horse"}`)},
		"charset":        {jsonBody(`{"username":"ann","password":"correct horse"}`), header("Content-Type", "application/json; charset=UTF-8")},
		"unknown fields": {jsonBody(`{"username":"ann","password":"correct horse","rememberMe":true,"x":[1]}`)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, uri := range []string{"/api/session", "/api/session?realmName=native"} {
				a := f.send("POST", uri, o...)
				if a.status != 201 || a.body != "" {
					t.Fatalf("%s: %d %q", uri, a.status, a.body)
				}
				cookies := a.header["Set-Cookie"]
				if len(cookies) != 1 {
					t.Fatalf("cookies: %v", cookies)
				}
				text, rest, _ := strings.Cut(strings.TrimPrefix(cookies[0], "id="), ";")
				if _, ok := credential.Parse([]byte(text)); !ok || len(text) != 36 || rest != "HttpOnly;Path=/api;SameSite=Lax" {
					t.Fatalf("cookie is %q", cookies[0])
				}
			}
		})
	}
}

func TestLoginRefusesBodies(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct{ kind, body, code string }{
		{"application/x-www-form-urlencoded", "username=ann&password=correct+horse", "malformed-json"},
		{"application/x-www-form-urlencoded", `{"username":"ann","password":"correct horse"}`, "malformed-json"},
		{"", `{"username":"ann","password":"correct horse"}`, "malformed-json"},
		{"text/plain", `{"username":"ann","password":"correct horse"}`, "malformed-json"},
		{"application/jsonp", `{"username":"ann","password":"correct horse"}`, "malformed-json"},
		{"application/json", `{"username":"ann","password":"correct horse"`, "malformed-json"},
		{"application/json", `{"username":"ann","password":"correct horse"} x`, "malformed-json"},
		{"application/json", `["ann","correct horse"]`, "malformed-json"},
		{"application/json", `{"username":1,"password":"correct horse"}`, "malformed-json"},
		{"application/json", "{\"username\":\"ann\",\"password\":\"\xff\"}", "malformed-json"},
		{"application/json", ``, "malformed-json"},
		{"application/json", `{}`, "missing-field"},
		{"application/json", `null`, "missing-field"},
		{"application/json", `{"username":"ann"}`, "missing-field"},
		{"application/json", `{"password":"x"}`, "missing-field"},
		{"application/json", `{"username":"ann","password":""}`, "missing-field"},
		{"application/json", `{"username":null,"password":"x"}`, "missing-field"},
	} {
		a := f.send("POST", "/api/session", jsonBody(c.body), func(ctx *ctxOf) { ctx.Request.Header.SetContentType(c.kind) })
		f.expect(a, 400, c.code)
	}
	if f.auth.calls != 0 {
		t.Errorf("%d passwords were looked at", f.auth.calls)
	}
}

func TestLoginRefusalsAreAlike(t *testing.T) {
	f := newFixture(t)
	yes := true
	hash, err := f.hasher.HashPassword(t.Context(), testPassword)
	if err != nil {
		t.Fatal(err)
	}
	f.fake.must(t, &session.CreateUser{ID: "user-bob", Realm: "native", Username: "bob", PasswordHash: hash})
	f.fake.must(t, &session.UpdateUser{ID: "user-bob", Disabled: &yes})
	f.fake.must(t, &session.CreateRealm{ID: "r2", Name: "off", Type: "native"})
	var bodies []string
	for i, c := range []struct{ realm, username, password string }{
		{"native", "ann", "wrong password"},
		{"native", "nobody", testPassword},
		{"native", "bob", testPassword},
		{"nowhere", "ann", testPassword},
		{"off", "ann", testPassword},
		{"native", "ann", strings.Repeat("p", 4000)},
		{"../x", "ann", testPassword},
	} {
		body, err := json.Marshal(map[string]string{"username": c.username, "password": c.password})
		if err != nil {
			t.Fatal(err)
		}
		a := f.send("POST", "/api/session?realmName="+c.realm, jsonBody(string(body)), from(fmt.Sprintf("192.0.2.%d:1", i+10)))
		f.expect(a, 401, "invalid-credentials")
		bodies = append(bodies, a.body)
		b := f.send("GET", "/api/session?realmName="+c.realm, basic(c.username, c.password), from(fmt.Sprintf("198.51.100.%d:1", i+10)))
		f.expect(b, 401, "invalid-credentials")
		bodies = append(bodies, b.body)
		if a.get("Set-Cookie") != "" {
			t.Error("a refused login sets a cookie")
		}
	}
	for _, body := range bodies {
		if body != bodies[0] {
			t.Errorf("two bodies:\n%s\n%s", bodies[0], body)
		}
	}
}

// A name that a directory server knows but that can't go into headers is refused with a clear error: the password was
// right, so nothing is given away.
func TestLoginBadNameAfterRightPassword(t *testing.T) {
	f := newFixture(t)
	f.auth.Authenticator = identityOf{realm.Identity{
		Realm: "native", Username: "Jörg", UserID: "x", RealmRev: 1, AutoCreate: true, FixedRoles: true, Roles: []string{},
	}}
	a := f.send("POST", "/api/session", jsonBody(`{"username":"Jörg","password":"x"}`))
	f.expect(a, 400, "bad-username")
}

func TestLoginReplacesTheCookiesSession(t *testing.T) {
	f := newFixture(t)
	first := f.loginAs("ann")
	second := f.loginAs("ann", cookie("id="+first))
	if first == second {
		t.Fatal("the token was used again")
	}
	f.expect(f.send("GET", "/api/session", cookie("id="+first)), 401, "session-invalid")
	f.expect(f.send("GET", "/api/session", cookie("id="+second)), 200, "")
	f.loginAs("ann", cookie("id="+first))                  // ended
	f.loginAs("ann", cookie("id="+credential.Mint().Text)) // never was
	f.loginAs("ann", cookie("id=garbage"))                 // no token
	f.loginAs("ann", cookie("id="+first+"; id="+second))   // two
	f.loginAs("ann", header("Authorization", "Basic !!!")) // not looked at
	f.expect(f.send("POST", "/api/session", cookie("id="+f.loginAs("ann")), jsonBody(`{"username":"ann","password":"no"}`)), 401, "invalid-credentials")
}

func TestFailedLoginEndsNothing(t *testing.T) {
	f := newFixture(t)
	token := f.loginAs("ann")
	f.expect(f.send("POST", "/api/session", cookie("id="+token), jsonBody(`{"username":"ann","password":"no"}`)), 401, "invalid-credentials")
	f.expect(f.send("GET", "/api/session", cookie("id="+token)), 200, "")
}

func TestGetSession(t *testing.T) {
	f := newFixture(t)
	f.fake.must(t, &session.CreateRole{ID: "role-dev", Name: "developer"})
	f.fake.must(t, &session.CreateRole{ID: "role-ops", Name: "ops"})
	f.fake.must(t, &session.UpdateRealm{ID: "realm-native", Enabled: true, RoleNames: []string{"developer", "service"}})
	token := f.loginAs("svc")
	f.fake.advance(90*time.Second + 5*time.Millisecond)
	a := f.send("GET", "/api/session?realmName=ignored", cookie("id="+token))
	f.expect(a, 200, "")
	key, _ := credential.Parse([]byte(token))
	want := `{"user":{"id":"user-svc","username":"svc","realmName":"native"},"roles":[{"name":"developer"},{"name":"service"}],` +
		`"session":{"handle":"` + key.String() + `","createdAt":"2023-11-14T22:13:20.000Z","lastActiveAt":"2023-11-14T22:14:50.005Z",` +
		`"idleExpiresAt":"2023-11-14T22:44:50.005Z","expiresAt":"2023-11-15T06:13:20.000Z"}}`
	if a.body != want {
		t.Errorf("body is\n%s\nnot\n%s", a.body, want)
	}
	if a.get("Content-Type") != "application/json" {
		t.Errorf("content type is %q", a.get("Content-Type"))
	}

	// The roles of the native realm follow the record.
	roles := []string{"ops"}
	f.fake.must(t, &session.UpdateUser{ID: "user-svc", RoleNames: &roles})
	a = f.send("GET", "/api/session", cookie("id="+token))
	if !strings.Contains(a.body, `"roles":[{"name":"developer"},{"name":"ops"},{"name":"service"}]`) {
		t.Errorf("body is %s", a.body)
	}
}

func TestGetSessionFixedRoles(t *testing.T) {
	f := newFixture(t)
	f.fake.must(t, &session.CreateRole{ID: "role-dev", Name: "developer"})
	f.fake.must(t, &session.CreateRealm{ID: "r-ldap", Name: "corp", Type: "ldap", Enabled: true})
	tok := f.create(session.Create{Realm: "corp", Username: "eve", UserID: "u-eve", AutoCreate: true, FixedRoles: true, Roles: []string{"developer"}})
	f.fake.must(t, &session.UpdateRealm{ID: "r-ldap", Enabled: true, RoleNames: []string{"service"}})
	a := f.send("GET", "/api/session", idCookie(tok))
	f.expect(a, 200, "")
	if !strings.Contains(a.body, `"roles":[{"name":"developer"}]`) {
		t.Errorf("body is %s", a.body)
	}
}

func TestSessionsThatAreNone(t *testing.T) {
	f := newFixture(t)
	ended := f.loginAs("ann")
	f.expect(f.send("DELETE", "/api/session", cookie("id="+ended)), 204, "")
	for _, method := range []string{"GET", "DELETE"} {
		for name, o := range map[string]option{
			"none":      func(*ctxOf) {},
			"unknown":   idCookie(credential.Mint()),
			"ended":     cookie("id=" + ended),
			"garbage":   cookie("id=1"),
			"empty":     cookie("id="),
			"conflict":  cookie("id=" + f.loginAs("ann") + "; id=" + f.loginAs("ann")),
			"no scheme": header("Authorization", "Bearer "+ended),
		} {
			a := f.send(method, "/api/session", o)
			if a.status != 401 || errorCode(t, a.body) != "session-invalid" {
				t.Errorf("%s, %s: %d %s", method, name, a.status, a.body)
			}
		}
	}
	idle := f.loginAs("ann")
	f.fake.advance(30 * time.Minute)
	f.expect(f.send("GET", "/api/session", cookie("id="+idle)), 401, "session-idle-timeout")
	f.expect(f.send("DELETE", "/api/session", cookie("id="+idle)), 401, "session-idle-timeout")
}

func TestDeleteSession(t *testing.T) {
	f := newFixture(t)
	token := f.loginAs("ann")
	a := f.send("DELETE", "/api/session", cookie("id="+token))
	if a.status != 204 || a.body != "" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if got, want := a.get("Set-Cookie"), "id=;HttpOnly;Path=/api;SameSite=Lax;Max-Age=0;Expires=Thu, 01 Jan 1970 00:00:00 GMT"; got != want {
		t.Errorf("cookie is %q, not %q", got, want)
	}
	if n := f.fake.stats().Ended[session.EndedByLogout]; n != 1 {
		t.Errorf("%d logouts", n)
	}
	// The cookie is what a logout goes by, even when credentials come along.
	token = f.loginAs("ann")
	f.expect(f.send("DELETE", "/api/session", cookie("id="+token), basic("root", testPassword)), 204, "")
	f.expect(f.send("GET", "/api/session", cookie("id="+token)), 401, "session-invalid")
	// Of the other surface's cookie, both are forgotten.
	token = f.loginAs("ann")
	a = f.send("DELETE", "/api/session", cookie("zsessionid="+token))
	f.expect(a, 204, "")
	if c := a.header["Set-Cookie"]; len(c) != 2 || !strings.HasPrefix(c[1], "zsessionid=;Path=/;") {
		t.Errorf("cookies: %q", c)
	}
}

func TestBasic(t *testing.T) {
	f := newFixture(t)
	a := f.send("GET", "/api/session", basic("root", testPassword))
	f.expect(a, 200, "")
	if want := `{"user":{"id":"user-root","username":"root","realmName":"native"},"roles":[{"name":"admin"}]}`; a.body != want {
		t.Errorf("body is %s", a.body)
	}
	f.expect(f.send("GET", "/api/users?realmName=native", basic("root", testPassword)), 200, "")
	f.expect(f.send("GET", "/api/users", basic("ann", testPassword)), 403, "forbidden")
	f.expect(f.send("GET", "/api/users?realmName=other", basic("root", testPassword)), 401, "invalid-credentials")
	f.expect(f.send("GET", "/api/users", header("Authorization", "basic "+basicAuth("root", testPassword))), 200, "")
	f.expect(f.send("GET", "/api/users", basic("root", "wrong")), 401, "invalid-credentials")
	f.expect(f.send("GET", "/api/users", header("Authorization", "Basic ???")), 401, "invalid-credentials")
	f.expect(f.send("GET", "/api/users", header("Authorization", "Basic cm9vdA==")), 401, "invalid-credentials")
	f.expect(f.send("DELETE", "/api/session", basic("ann", testPassword)), 204, "")
	f.expect(f.send("DELETE", "/api/session", basic("ann", "wrong")), 401, "invalid-credentials")
	// Wrong credentials are not made good by a cookie.
	f.expect(f.send("GET", "/api/session", basic("ann", "wrong"), cookie("id="+f.loginAs("ann"))), 401, "invalid-credentials")

	if n := f.fake.stats().Created; n != 1 {
		t.Errorf("%d sessions were made, not the one of the login", n)
	}
	for _, a := range []answer{a, f.send("GET", "/api/users", basic("root", testPassword))} {
		if a.get("Set-Cookie") != "" {
			t.Error("Basic sets a cookie")
		}
	}
}
