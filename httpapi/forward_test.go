package httpapi

import (
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/mmonit"
	"cloakroom/httpapi/realm"
)

// page is what a browser sends when somebody opens a page, and the proxy says which.
func page(uri string) option {
	return func(ctx *ctxOf) {
		ctx.Request.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
		ctx.Request.Header.Set("X-Forwarded-Method", "GET")
		ctx.Request.Header.Set("X-Forwarded-Uri", uri)
	}
}

func TestForward(t *testing.T) {
	f := newFixture(t)
	tok := f.create(session.Create{Username: "svc"})
	for _, name := range []string{"id", "zsessionid"} {
		a := f.send("GET", "/auth/forward", cookie(name+"="+tok.Text), page("/reports"))
		f.expect(a, 200, "")
		b := f.send("GET", "/auth/verify", cookie(name+"="+tok.Text))
		for _, h := range []string{"Remote-User", "Remote-Groups", "Remote-Realm", "X-Session-Handle"} {
			if a.get(h) == "" || a.get(h) != b.get(h) {
				t.Errorf("%s is %q, and %q to verify", h, a.get(h), b.get(h))
			}
		}
	}
	// A page is sent to the login, whatever is wrong with the session, and comes back to where it was.
	for _, o := range []option{cookie("x=y"), zCookie(credential.Mint().Text), zCookie(f.anonymous())} {
		a := f.send("GET", "/auth/forward", o, page("/reports/7?of=2026&by=name"))
		f.expect(a, 302, "")
		if a.get("Location") != "/index.csp?z_return=%2Freports%2F7%3Fof%3D2026%26by%3Dname" || a.get("Remote-User") != "" || a.get("Set-Cookie") != "" || a.get("Cache-Control") != "no-store" {
			t.Errorf("headers: %v", a.header)
		}
	}
	// Whose login made the cookie for every path is not held up by one for /api that is left over.
	both := cookie("id=" + credential.Mint().Text + "; zsessionid=" + tok.Text)
	f.expect(f.send("GET", "/auth/forward", both, page("/api/x")), 200, "")
	f.fake.set(func(c *fakeCluster) { c.lookupErr = cluster.ErrNoLeader })
	f.expect(f.send("GET", "/auth/forward", idCookie(tok), page("/reports")), 503, "no-leader")
	f.fake.set(func(c *fakeCluster) { c.lookupErr = nil; c.clock = c.clock.Add(31 * time.Minute) })
	f.expect(f.send("GET", "/auth/forward", idCookie(tok), page("/reports")), 302, "")
	f.expect(f.send("GET", "/auth/forward", idCookie(tok)), 401, session.ErrSessionIdle.Code)
}

// Only a page that somebody waits for leads to the login.
func TestForwardOfScripts(t *testing.T) {
	f := newFixture(t)
	set := func(name, value string) option {
		return func(ctx *ctxOf) { ctx.Request.Header.Set(name, value) }
	}
	for name, c := range map[string]struct {
		option option
		want   int
	}{
		"a page":                     {set("A", "b"), 302},
		"a page, HEAD":               {set("X-Forwarded-Method", "HEAD"), 302},
		"a form":                     {set("X-Forwarded-Method", "POST"), 401},
		"two methods":                {header("X-Forwarded-Method", "DELETE"), 401},
		"JSON":                       {set("Accept", "application/json, text/html;q=0.1"), 401},
		"anything":                   {set("Accept", "*/*"), 401},
		"a script":                   {set("X-Requested-With", "XMLHttpRequest"), 401},
		"fetch":                      {set("Sec-Fetch-Mode", "cors"), 401},
		"an image":                   {set("Sec-Fetch-Mode", "no-cors"), 401},
		"a page, by Fetch metadata":  {set("Sec-Fetch-Mode", "navigate"), 302},
		"a frame":                    {func(ctx *ctxOf) { set("Sec-Fetch-Mode", "navigate")(ctx); set("Sec-Fetch-Dest", "iframe")(ctx) }, 401},
		"a document":                 {func(ctx *ctxOf) { set("Sec-Fetch-Mode", "navigate")(ctx); set("Sec-Fetch-Dest", "document")(ctx) }, 302},
		"the login page":             {set("X-Forwarded-Uri", "/index.csp?z_return=/"), 401},
		"a page below a login page":  {set("X-Forwarded-Uri", "/index.csp/x"), 302},
		"from a page of another one": {set("Sec-Fetch-Site", "cross-site"), 302}, // a link to the application
	} {
		a := f.send("GET", "/auth/forward", page("/reports"), c.option)
		if a.status != c.want || (a.get("Location") != "") != (c.want == 302) {
			t.Errorf("%s: %d, Location %q", name, a.status, a.get("Location"))
		}
	}
	f.expect(f.send("POST", "/auth/forward", page("/reports")), 405, "")
}

// A query may hold what a way back must not, and says the same when that is escaped.
func TestForwardEscapesQueries(t *testing.T) {
	f := newFixture(t)
	for uri, want := range map[string]string{
		"/a?to=https://x.example//y": "/a?to=https:/%2Fx.example/%2Fy",
		`/a?b\c`:                     "/a?b%5Cc",
		"/a?ä":                       "/a?%C3%A4",
		"/a?b?c":                     "/a?b?c",
		"/a?":                        "/a?",
		"/ä":                         "",
		"/a//b":                      "",
		"":                           "",
	} {
		a := f.send("GET", "/auth/forward", page(uri))
		f.expect(a, 302, "")
		if got := wayBackOf(t, a.get("Location"), "/index.csp"); got != want {
			t.Errorf("%q leads back to %q, not %q", uri, got, want)
		}
	}
	a := f.send("GET", "/auth/forward", page("/a"), header("X-Forwarded-Uri", "/b"))
	if got := wayBackOf(t, a.get("Location"), "/index.csp"); got != "" {
		t.Errorf("two URIs lead back to %q", got)
	}
}

// wayBackOf returns where a Location of forward auth leads after the login.
func wayBackOf(t *testing.T, location, login string) string {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil || !strings.HasPrefix(location, login) || strings.Trim(location[len(login):], "?") != u.RawQuery {
		t.Fatalf("Location %q, %v", location, err)
	}
	return u.Query().Get(mmonit.ReturnArg)
}

// A login page on a host of its own is told the whole URL, of a host that is allowed.
func TestForwardToAnotherHost(t *testing.T) {
	const login = "https://login.example/index.csp"
	f := newFixture(t, behindProxy, func(c *Config) {
		c.LoginURL, c.ReturnOrigins = login, []string{"https://app.example", "http://intern.example:8080"}
	})
	for _, c := range []struct {
		proto, host, uri, want string
	}{
		{"https", "app.example", "/a?b=c", "https://app.example/a?b=c"},
		{"http", "intern.example:8080", "/", "http://intern.example:8080/"},
		{"http", "app.example", "/a", ""},
		{"https", "evil.example", "/a", ""},
		{"https", "app.example.evil.example", "/a", ""},
		{"https", "app.example", "//evil.example", ""},
		{"https", "app.example", ".evil.example/", ""},
		{"https", "app.example", "@evil.example/", ""},
		{"https", "app.example", `\.evil.example/`, ""},
		{"https", "app.example@evil.example", "/", ""},
		{"https", "evil.example/https://app.example", "/", ""},
		{"https", "", "/", ""},
	} {
		a := f.send("GET", "/auth/forward", from("10.0.0.1:1"), page(c.uri), header("X-Forwarded-Proto", c.proto), header("X-Forwarded-Host", c.host))
		f.expect(a, 302, "")
		if got := wayBackOf(t, a.get("Location"), login); got != c.want {
			t.Errorf("%s %s %s: back to %q, not %q", c.proto, c.host, c.uri, got, c.want)
		}
	}
	// Whose word is not trusted says nothing of the host.
	a := f.send("GET", "/auth/forward", from("192.0.2.1:1"), page("/a"), header("X-Forwarded-Host", "intern.example:8080"))
	if got := wayBackOf(t, a.get("Location"), login); got != "" {
		t.Errorf("a stranger's word leads back to %q", got)
	}
	// The login page that is behind forward auth itself does not lead to itself.
	a = f.send("GET", "/auth/forward", from("10.0.0.1:1"), page("/index.csp?z_return=x"), header("X-Forwarded-Proto", "https"), header("X-Forwarded-Host", "login.example"))
	f.expect(a, 401, session.ErrSessionInvalid.Code)
	// From there it goes back, also past the page's own policy.
	const back = "https://app.example/a?b=c"
	a = f.send("GET", "/index.csp?z_return="+url.QueryEscape(back))
	if !strings.Contains(a.body, `value="https://app.example/a?b=c"`) || !strings.Contains(a.get("Content-Security-Policy"), "; form-action 'self' https://app.example http://intern.example:8080;") {
		t.Errorf("policy %q, page %s", a.get("Content-Security-Policy"), a.body)
	}
	a = f.send("POST", "/z_security_check", formBody(annsLogin+"&z_return="+url.QueryEscape(back)))
	f.expect(a, 302, "")
	if a.get("Location") != back {
		t.Errorf("after the login: %q", a.get("Location"))
	}
}

// tricks are ways to name another host, or to do something else than to open a page, that have worked somewhere. The
// login is at cloak.example, and https://app.example is allowed.
var tricks = []string{
	"//evil.example", "///evil.example", "////evil.example/%2f..", `/\evil.example`, `\/evil.example`, `\\evil.example`, `/\/evil.example`, `\evil.example`,
	"https://evil.example", "https:evil.example", "https:/evil.example", "https:///evil.example", "HTTPS://evil.example", `https:\\evil.example`, "http:@evil.example",
	"//evil.example@cloak.example", "//cloak.example@evil.example/", "https://cloak.example@evil.example/", "//cloak.example.evil.example/",
	"http://app.example/", "https://app.example:8443/", "https://app.example.evil.example/", "https://app.exampleevil.example/", "https://app.example@evil.example/",
	"https://app.example:pw@evil.example/", `https://app.example\.evil.example/`, `https://app.example\@evil.example/`, "https://app.example%2eevil.example/",
	"https://app.example%40evil.example/", "https://app.example#@evil.example/", "https://app.example?@evil.example/", "https://app.example;@evil.example/", "https://app.example//evil.example",
	"https://app.example.", "https://evil.example/https://app.example/", "https://evil.example?https://app.example/", "https://evil.example#https://app.example/", "//app.example/",
	"https://app.example\t.evil.example/", "https://app.example\n@evil.example/", "ftp://app.example/", "ws://app.example/",
	"javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", "javascript://app.example/%0aalert(1)", "data:text/html,<script>alert(1)</script>", "vbscript:x", "blob:https://app.example/x", "view-source:https://app.example/",
	"\t//evil.example", " //evil.example", "/\t/evil.example", "/\n/evil.example", "/\r/evil.example", "\n/evil.example", "\x01https://evil.example", "/\x00/evil.example", "/\x0b/evil.example", "/\x7f/evil.example",
	"/x\r\nLocation: https://evil.example", "/x\r\nSet-Cookie: id=1", "/x\n\n<script>", "evil.example", "@evil.example", ".evil.example", ":evil.example", "%2f%2fevil.example", "%5c%5cevil.example", "..//evil.example",
	"/.//evil.example", "/..//evil.example", "/a/..//evil.example", "/;//evil.example", "?//evil.example", "#//evil.example", "../evil.example",
	"//[::ffff:192.0.2.1]/", "//0xc0000201/", "//192.0.2.1:80/", "//evil。example/", "／／evil.example", "/／evil.example", "/\u2028/evil.example", "\ufeff//evil.example", "\u00a0//evil.example", "/\xff/evil.example",
}

// aside are paths on this host, or an allowed one, that must not follow a login: a logout, or another one's login.
var aside = []string{
	"/login/logout.csp", "/login", "/login/", "/./login/logout.csp", "/x/../login/logout.csp", "/%6cogin/logout.csp", "/login%2flogout.csp", "/%2e/login/logout.csp", "/x/%2e%2e/login/logout.csp",
	"/z_security_check?z_username=mallory&z_password=x", "/%7a_security_check?z_username=mallory&z_password=x", "https://app.example/login/logout.csp", "https://app.example/a/../z_security_check",
}

// identity is what an authenticator says of a user of the realm native.
func (f *fixture) identity(name string) realm.Identity {
	id := realm.Identity{Realm: "native", Username: name}
	f.fake.set(func(c *fakeCluster) {
		if u, ok := c.machine.UserByName(id.Realm, name); ok {
			id.UserID, id.UserRev = u.ID, u.Rev
		}
		if r, ok := c.machine.RealmByName(id.Realm); ok {
			id.RealmRev = r.Rev
		}
	})
	return id
}

// No login leads where somebody else wants it to lead.
func TestNoOpenRedirect(t *testing.T) {
	if len(tricks) < 30 {
		t.Fatalf("%d tricks", len(tricks))
	}
	allowed := func(c *Config) { c.ReturnOrigins = []string{"https://app.example"} }
	f, refusing := newFixture(t, allowed), newFixture(t, allowed)
	// Neither hashes.
	f.door.Authenticator, refusing.door.Authenticator = identityOf{f.identity("ann")}, failingAuth{realm.ErrInvalidCredentials}
	for i, trick := range tricks {
		escaped := url.QueryEscape(trick)
		for _, uri := range []string{"/index.csp?z_return=" + escaped, "/index.csp?z_return=%2Fok&z_return=" + escaped} {
			if a := f.send("GET", uri); a.status != 200 || strings.Contains(a.body, mmonit.ReturnArg) || a.get("Location") != "" {
				t.Errorf("%q is on the login page: %d", trick, a.status)
			}
		}
		// Another guesser each time: the throttle is not what this is about.
		a := refusing.send("POST", "/z_security_check", from(fmt.Sprintf("198.51.100.%d:1", i)), formBody(fmt.Sprintf("z_username=u%d&z_password=wrong&z_return=%s", i, escaped)))
		if a.status != 401 || strings.Contains(a.body, mmonit.ReturnArg) || strings.Contains(a.body, html.EscapeString(trick)) {
			t.Errorf("%q is on the page after a failure: %d", trick, a.status)
		}
		for _, o := range []struct {
			uri string
			o   option
		}{
			{"/z_security_check", formBody(annsLogin + "&z_return=" + escaped)},
			{"/z_security_check?z_return=" + escaped, formBody(annsLogin)},
			{"/z_security_check?z_return=%2Fok", formBody(annsLogin + "&z_return=" + escaped)},
		} {
			a := f.send("POST", o.uri, o.o)
			if a.status != 302 || a.get("Location") != mmonit.IndexPath || len(a.header["Location"]) != 1 {
				t.Errorf("%q leads to %q: %d", trick, a.header["Location"], a.status)
			}
		}
	}
	for _, path := range aside {
		a := f.send("POST", "/z_security_check", formBody(annsLogin+"&z_return="+url.QueryEscape(path)))
		if a.status != 302 || a.get("Location") != mmonit.IndexPath {
			t.Errorf("%q follows a login: %d %q", path, a.status, a.get("Location"))
		}
	}
	for _, good := range []string{"/", "/reports?of=2026", "/logins", "/a/login/b", "https://app.example/", "https://app.example/a?b=c#d"} {
		a := f.send("POST", "/z_security_check", formBody(annsLogin+"&z_return="+url.QueryEscape(good)))
		if a.get("Location") != good {
			t.Errorf("%q is refused: %q", good, a.get("Location"))
		}
	}
}

// Nor does forward auth carry such a thing to the login page, by whichever header it comes.
func TestForwardCarriesNoTricks(t *testing.T) {
	for _, login := range []string{"", "https://login.example/index.csp"} {
		f := newFixture(t, behindProxy, func(c *Config) { c.LoginURL, c.ReturnOrigins = login, []string{"https://app.example"} })
		for _, trick := range tricks {
			if strings.ContainsAny(trick, "\r\n\x00\x01\x0b\x7f") || strings.TrimSpace(trick) != trick {
				continue // no header can say that: the request is refused, or arrives without
			}
			for _, headers := range [][]option{
				{page(trick), header("X-Forwarded-Host", "app.example")},
				{page("/"), header("X-Forwarded-Host", trick)},
				{page("/"), header("X-Forwarded-Host", "app.example"+trick)},
				{page(trick), header("X-Forwarded-Host", "")},
			} {
				a := f.send("GET", "/auth/forward", append(headers, from("10.0.0.1:1"), header("X-Forwarded-Proto", "https"))...)
				if a.status == 401 || a.status == 400 {
					continue
				}
				f.expect(a, 302, "")
				back := wayBackOf(t, a.get("Location"), f.forwardAuth.loginURL)
				u, err := url.Parse(back)
				if err != nil || u.Host != "" && u.Host != "app.example" || u.Host != "" && u.Scheme != "https" || u.User != nil || strings.HasPrefix(back, "//") || strings.Contains(back, `\`) {
					t.Errorf("%q leads back to %q", trick, back)
				}
			}
		}
	}
}

func TestLoginURL(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "/index.csp": true, "/sso/index.csp": true, "https://login.example/index.csp": true, "http://login.example:8080/index.csp": true,
		"index.csp": false, "//login.example/index.csp": false, "https://login.example": false, "https://login.example/index.csp?a=b": false, "/index.csp?a=b": false,
		"/index.csp#x": false, "https://user@login.example/index.csp": false, "javascript:alert(1)": false, "https://Login.example/": false, "https://login.example:443/index.csp": false,
	} {
		if err := CheckLoginURL(text); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}
