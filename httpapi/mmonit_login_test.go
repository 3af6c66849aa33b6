package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/tries"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/mmonit"
)

// The sequence of a client that reads the cookie once, from the first answer, and sends it ever after.
func TestMMonitClientThatReadsTheCookieOnce(t *testing.T) {
	f := newFixture(t)
	z := f.anonymous()

	a := f.send("GET", "/api/2/session/get", zCookie(z))
	f.expect(a, 401, session.ErrSessionInvalid.Code)

	a = f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin+"&z_csrf_protection=off"))
	f.expect(a, 302, "")
	if a.get("Location") != "/index.csp" {
		t.Errorf("Location is %q", a.get("Location"))
	}
	if again := zToken(t, a); again != z {
		t.Errorf("the login gave another token, %s instead of %s", again, z)
	}
	if f.username(z) != "ann" {
		t.Fatalf("the token is %q's", f.username(z))
	}
	a = f.send("GET", "/index.csp", zCookie(z))
	f.expect(a, 200, "")
	if !strings.Contains(a.body, "<dd>ann</dd>") || a.get("Set-Cookie") != "" || a.get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("authenticated page %.80q, cookie %q", a.body, a.get("Set-Cookie"))
	}
	f.expect(f.send("POST", "/api/2/session/put", zCookie(z), formBody("myvar1=hello&myvar2=world")), 200, "")
	if a = f.send("GET", "/api/2/session/get?key=myvar1&key=myvar2", zCookie(z)); a.body != `{"myvar1":"hello","myvar2":"world"}` {
		t.Errorf("get: %s", a.body)
	}
	a = f.send("GET", "/login/logout.csp", zCookie(z))
	f.expect(a, 302, "")
	if a.get("Location") != "/index.csp" || !strings.HasPrefix(a.get("Set-Cookie"), "zsessionid=;") || !strings.Contains(a.get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("logout: Location %q, cookie %q", a.get("Location"), a.get("Set-Cookie"))
	}
	if f.username(z) != "" {
		t.Error("the session outlived its logout")
	}
	f.expect(f.send("POST", "/api/2/session/put?a=b", zCookie(z)), 401, session.ErrSessionInvalid.Code)
	f.checkLoginPage(f.send("GET", "/index.csp", zCookie(z)), 200)
}

// The same with a real client over TCP that keeps a cookie jar and follows redirects, to the 200 at the end.
func TestMMonitClientWithACookieJar(t *testing.T) {
	f := newFixture(t)
	if err := f.Open(); err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	t.Cleanup(client.CloseIdleConnections)
	base := "http://" + f.Addr().String()
	get := func(path string) {
		t.Helper()
		r, err := client.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Body.Close(); err != nil || r.StatusCode != 200 {
			t.Fatalf("GET %s ended with %s, %v", path, r.Status, err)
		}
	}
	get("/index.csp")
	for _, round := range []string{"first", "again, with the session still there"} {
		r, err := client.PostForm(base+"/z_security_check", url.Values{"z_username": {"ann"}, "z_password": {testPassword}, "z_csrf_protection": {"off"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Body.Close(); err != nil || r.StatusCode != 200 || r.Request.URL.Path != "/index.csp" {
			t.Fatalf("login %s ended with %s at %s, %v", round, r.Status, r.Request.URL, err)
		}
		get("/session/put?round=" + url.QueryEscape(round))
	}
	if n := f.fake.stats().Sessions; n != 1 {
		t.Errorf("%d sessions: the second login left the first one's", n)
	}
	get("/login/logout.csp")
	if n := f.fake.stats().Sessions; n != 0 {
		t.Errorf("%d sessions after the logout", n)
	}
}

// A failed login leaves the cookie as it is, so a client that read it once can try again.
func TestMMonitLoginFailures(t *testing.T) {
	f := newFixture(t)
	f.fake.must(t, &session.UpdateUser{ID: "user-svc", Disabled: new(true)})
	z := f.anonymous()
	var first string
	for _, body := range []string{
		"z_username=ann&z_password=wrong", "z_username=nobody&z_password=correct+horse", "z_username=svc&z_password=correct+horse",
		"z_username=ann", "z_password=correct+horse", "",
	} {
		a := f.send("POST", "/z_security_check", zCookie(z), formBody(body))
		f.checkLoginPage(a, 401)
		if a.get("Set-Cookie") != "" || a.get("Location") != "" || a.get("X-Request-Id") == "" {
			t.Errorf("%q: cookie %q, Location %q, request id %q", body, a.get("Set-Cookie"), a.get("Location"), a.get("X-Request-Id"))
		}
		if first == "" {
			first = a.body
		}
		if a.body != first {
			t.Errorf("%q: the page differs from that for a wrong password", body)
		}
	}
	f.expect(f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin)), 302, "")
	if f.username(z) != "ann" {
		t.Error("the login after the failures did not keep the token")
	}
}

// A failed login as somebody else does not end the session that is there.
func TestFailedLoginKeepsTheSession(t *testing.T) {
	f := newFixture(t)
	s := f.create(session.Create{Username: "ann", Surface: session.SurfaceMMonit})
	a := f.send("POST", "/z_security_check", zCookie(s.Text), formBody("z_username=root&z_password=wrong"))
	f.checkLoginPage(a, 401)
	if a.get("Set-Cookie") != "" || f.username(s.Text) != "ann" {
		t.Errorf("cookie %q, session of %q", a.get("Set-Cookie"), f.username(s.Text))
	}
}

func TestLoginWithoutACookieMakesAFreshToken(t *testing.T) {
	f := newFixture(t)
	for name, value := range map[string]string{
		"none": "", "no token": "zsessionid=hello", "trailing semicolon": "zsessionid=;",
		"two that differ": "zsessionid=" + f.anonymous() + "; zsessionid=" + f.anonymous(),
	} {
		a := f.send("POST", "/z_security_check", cookie(value), formBody(annsLogin))
		f.expect(a, 302, "")
		if z := zToken(t, a); f.username(z) != "ann" || strings.Contains(value, z) {
			t.Errorf("%s: token %s of %q", name, z, f.username(z))
		}
	}
}

func TestLoginByGet(t *testing.T) {
	f := newFixture(t)
	z := f.anonymous()
	f.expect(f.send("GET", "/z_security_check?"+annsLogin, zCookie(z)), 302, "")
	if f.username(z) != "ann" {
		t.Error("not logged in")
	}
	for name, options := range map[string][]option{
		"same origin": {browser()},
		"typed in":    {header("Sec-Fetch-Site", "none"), header("Sec-Fetch-Mode", "navigate")},
		"cross-site":  {header("Sec-Fetch-Site", "cross-site")},
	} {
		a := f.send("GET", "/z_security_check?"+annsLogin, options...)
		f.expect(a, 403, errorCode(t, a.body))
		if a.get("Set-Cookie") != "" {
			t.Errorf("%s: cookie %q", name, a.get("Set-Cookie"))
		}
	}
	a := f.send("GET", "/z_security_check?"+annsLogin, header("Sec-Fetch-Site", "none"), header("Accept", "text/html"))
	f.checkLoginPage(a, 403)
	f.expect(f.send("HEAD", "/z_security_check?"+annsLogin), 405, "")
	if n := f.fake.stats().Sessions; n != 1 {
		t.Errorf("%d sessions", n)
	}
}

func TestForeignPagesCantLogIn(t *testing.T) {
	f := newFixture(t)
	for _, o := range []option{
		header("Sec-Fetch-Site", "cross-site"), header("Sec-Fetch-Site", "same-site"),
		header("Origin", "http://evil.example"), header("Origin", "null"),
	} {
		f.expect(f.send("POST", "/z_security_check", o, formBody(annsLogin)), 403, exchange.ErrForeignOrigin.Code)
	}
	if n := f.fake.stats().Sessions; n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// Failures that are not about the credentials: JSON, or the page for who prefers one.
func TestLoginWhenTheClusterCannot(t *testing.T) {
	f := newFixture(t)
	z := f.anonymous()
	f.fake.set(func(c *fakeCluster) {
		c.before = func(session.Command) error { return cluster.ErrNoLeader }
	})
	f.expect(f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin)), 503, cluster.ErrNoLeader.Code)
	a := f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin), header("Accept", "text/html,*/*;q=0.1"))
	f.checkLoginPage(a, 503)
	if a.get("Retry-After") == "" || a.get("Set-Cookie") != "" {
		t.Errorf("Retry-After %q, cookie %q", a.get("Retry-After"), a.get("Set-Cookie"))
	}
	f.fake.set(func(c *fakeCluster) { c.before, c.lookupErr = nil, errors.New("disk on fire") })
	f.expect(f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin)), 500, "internal")
	f.expect(f.send("GET", "/index.csp", zCookie(z)), 500, "internal")
	f.fake.set(func(c *fakeCluster) { c.lookupErr = nil })
	f.expect(f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin)), 302, "")
}

func TestLoginIsThrottled(t *testing.T) {
	f := newFixture(t)
	for range freeFailures() {
		f.checkLoginPage(f.send("POST", "/z_security_check", formBody("z_username=ann&z_password=wrong")), 401)
	}
	f.expect(f.send("POST", "/z_security_check", formBody(annsLogin)), 429, tries.ErrFailures.Code)
	a := f.send("POST", "/z_security_check", formBody(annsLogin), header("Accept", "text/html"))
	f.checkLoginPage(a, 429)
	if a.get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestLogoutVariants(t *testing.T) {
	f := newFixture(t)
	open := func() credential.Token {
		return f.create(session.Create{Username: "ann", Surface: session.SurfaceMMonit})
	}

	s := open()
	f.expect(f.send("POST", "/login/logout.csp", zCookie(s.Text)), 302, "")
	if f.username(s.Text) != "" {
		t.Error("POST did not end the session")
	}
	f.expect(f.send("GET", "/login/logout.csp", zCookie(s.Text)), 302, "")
	f.expect(f.send("GET", "/login/logout.csp"), 302, "")

	s = open()
	a := f.send("GET", "/login/logout.csp", cookie("id="+s.Text))
	f.expect(a, 302, "")
	if f.username(s.Text) != "" || len(a.header["Set-Cookie"]) != 2 {
		t.Errorf("by the other cookie: session of %q, cookies %q", f.username(s.Text), a.header["Set-Cookie"])
	}

	s = open()
	f.expect(f.send("HEAD", "/login/logout.csp", zCookie(s.Text)), 405, "")
	f.expect(f.send("GET", "/login/logout.csp", zCookie(s.Text), header("Sec-Fetch-Site", "cross-site")), 403, exchange.ErrForeignOrigin.Code)
	if f.username(s.Text) != "ann" {
		t.Error("ended by a foreign page or by HEAD")
	}

	f.fake.set(func(c *fakeCluster) { c.before = func(session.Command) error { return cluster.ErrNoLeader } })
	a = f.send("GET", "/login/logout.csp", zCookie(s.Text))
	f.expect(a, 503, cluster.ErrNoLeader.Code)
	if a.get("Set-Cookie") != "" {
		t.Error("the client was made to forget a session that goes on")
	}
	f.fake.set(func(c *fakeCluster) { c.before = nil })

	other := open()
	a = f.send("GET", "/login/logout.csp", cookie("zsessionid="+s.Text+"; zsessionid="+other.Text))
	f.expect(a, 401, session.ErrSessionInvalid.Code)
	f.checkLoginPage(f.send("GET", "/index.csp", cookie("zsessionid="+s.Text+"; zsessionid="+other.Text)), 401)
}

// A logout needs no login, so what a stranger makes up must not fill the log; but a session that a node may only not have
// heard of is ended all the same.
func TestLogoutOfNobody(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.Level = cluster.Local })
	s := f.create(session.Create{Username: "ann", Surface: session.SurfaceMMonit})
	f.fake.set(func(c *fakeCluster) { c.commands, c.levels = nil, nil })
	for range 100 {
		f.expect(f.send("GET", "/login/logout.csp", zCookie(credential.Mint().Text)), 302, "")
	}
	if n := len(f.fake.commands); n > 0 {
		t.Errorf("%d commands for tokens that nobody was given", n)
	}
	if !slices.Contains(f.fake.levels, cluster.Lease) {
		t.Errorf("that there is no such session was read at %v", slices.Compact(f.fake.levels))
	}
	used := f.fake.LastUse(s.Key, 0)
	f.expect(f.send("GET", "/login/logout.csp", zCookie(s.Text)), 302, "")
	if n := len(f.fake.commands); n != 1 || f.username(s.Text) != "" || f.fake.LastUse(s.Key, 0) != used {
		t.Errorf("%d commands for a session, which is %q's, and was used by it", n, f.username(s.Text))
	}
	f.expect(f.send("GET", "/login/logout.csp", zCookie(s.Text)), 302, "")

	for what, cutOff := range map[string]func(*fakeCluster){
		"told to go on":  func(c *fakeCluster) { c.cutOff = cluster.Local },
		"told to refuse": func(c *fakeCluster) { c.lookupErr = cluster.ErrNoLeader },
	} {
		f.fake.set(func(c *fakeCluster) { c.commands, c.cutOff, c.lookupErr = nil, 0, nil })
		f.fake.set(cutOff)
		f.expect(f.send("GET", "/login/logout.csp", zCookie(credential.Mint().Text)), 302, "")
		if n := len(f.fake.commands); n != 1 {
			t.Errorf("%d commands of a node that is cut off and was %s", n, what)
		}
	}
}

func TestLoginLeadsBack(t *testing.T) {
	f := newFixture(t)
	for given, want := range map[string]string{
		"/reports/1?x=%20y":     "/reports/1?x=%20y",
		"/api/2/session/get":    "/api/2/session/get",
		"":                      "/index.csp",
		"//evil.example":        "/index.csp",
		`/\evil.example`:        "/index.csp",
		"https://evil.example/": "/index.csp",
		"/login/logout.csp":     "/index.csp",
		"/a\r\nSet-Cookie: x=y": "/index.csp",
	} {
		a := f.send("GET", "/index.csp?z_return="+url.QueryEscape(given))
		f.checkLoginPage(a, 200)
		if shown := strings.Contains(a.body, `name="z_return"`); shown != mmonit.ValidReturnURL(given) {
			t.Errorf("%q: carried along %v", given, shown)
		}
		a = f.send("POST", "/z_security_check", formBody(annsLogin+"&z_return="+url.QueryEscape(given)))
		f.expect(a, 302, "")
		if a.get("Location") != want || len(a.header["Set-Cookie"]) != 1 {
			t.Errorf("%q leads to %q, cookies %q", given, a.get("Location"), a.header["Set-Cookie"])
		}
	}
	a := f.send("POST", "/z_security_check", formBody("z_username=ann&z_password=wrong&z_return=/reports"))
	f.checkLoginPage(a, 401)
	if !strings.Contains(a.body, `name="z_return" value="/reports"`) {
		t.Error("a failed login forgets where it leads")
	}
}

// The login counts only if the password still holds when the session is made.
func TestPasswordChangedDuringLogin(t *testing.T) {
	f := newFixture(t)
	hash, err := f.hasher.HashPassword(t.Context(), "another horse")
	if err != nil {
		t.Fatal(err)
	}
	z := f.anonymous()
	f.auth.checked = func(call int) {
		if call == 1 {
			f.fake.must(t, &session.UpdateUser{ID: "user-ann", PasswordHash: &hash})
		}
	}
	f.checkLoginPage(f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin)), 401)
	if f.username(z) != "" {
		t.Fatal("logged in with a password that was changed before")
	}
	f.expect(f.send("POST", "/z_security_check", zCookie(z), formBody("z_username=ann&z_password=another+horse")), 302, "")
}

// Nothing that was typed in or issued may be found in the log.
func TestLoginLogsNoSecret(t *testing.T) {
	f := newFixture(t)
	z := f.anonymous()
	f.send("GET", "/z_security_check?z_username=ann&z_password=hunter22", zCookie(z))
	f.send("POST", "/z_security_check", zCookie(z), formBody(annsLogin))
	f.fake.set(func(c *fakeCluster) { c.lookupErr = errors.New("disk on fire") })
	f.send("GET", "/api/2/session/get?key=hunter22", zCookie(z))
	for _, secret := range []string{"hunter22", testPassword, "correct+horse", z, credential.CSRFToken([]byte(z))} {
		if strings.Contains(f.logs.String(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v", credential.MintAnonymous(&[32]byte{}, testStart), credential.Token{Text: z}, credential.Token{Text: z}); strings.Contains(s, z) {
		t.Errorf("a token prints itself: %s", s)
	}
}
