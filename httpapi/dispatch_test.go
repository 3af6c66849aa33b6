package httpapi

import (
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
)

func TestUnknownPathsAndMethods(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/", "/api", "/api/session/", "/api/sessions/", "/api/users/", "/api/users/a/b", "/apps", "/api/collections", "/cluster", "/metrics", "/debug/pprof/", "/auth/"} {
		for _, method := range []string{"GET", "POST", "OPTIONS", "BREW"} {
			f.expect(f.send(method, path), 404, "not-found")
		}
	}
	for _, c := range []struct{ method, path, allow string }{
		{"PUT", "/api/session", "GET, HEAD, POST, DELETE, OPTIONS"},
		{"PATCH", "/api/users/x", "GET, HEAD, PUT, DELETE, OPTIONS"},
		{"POST", "/auth/verify", "GET, HEAD, OPTIONS"},
		{"POST", "/healthz", "GET, HEAD, OPTIONS"},
		{"GET", "/api/sessions/x", "DELETE, OPTIONS"},
		{"DELETE", "/api/2/session/get", "GET, HEAD, POST, OPTIONS"},
		{"TRACE", "/api/session", "GET, HEAD, POST, DELETE, OPTIONS"},
		{"BREW", "/api/roles", "GET, HEAD, POST, OPTIONS"},
		{"get", "/api/roles", "GET, HEAD, POST, OPTIONS"},
	} {
		a := f.send(c.method, c.path)
		f.expect(a, 405, "method-not-allowed")
		if a.get("Allow") != c.allow {
			t.Errorf("%s %s: Allow is %q", c.method, c.path, a.get("Allow"))
		}
	}
	a := f.send("OPTIONS", "/api/session")
	if a.status != 204 || a.get("Allow") == "" || a.get("Access-Control-Allow-Methods") != "" {
		t.Errorf("%d %v", a.status, a.header)
	}
}

// Every path that asks for a login says so to strangers, and every admin's path no to everybody else.
func TestWhoMayCallWhat(t *testing.T) {
	f := newFixture(t)
	ann, svc := f.create(session.Create{Username: "ann"}), f.create(session.Create{Username: "svc"})
	admin := 0
	for _, r := range f.router.All {
		if !strings.HasPrefix(r.Path, "/api/") || strings.Contains(r.Path, "/1/") || strings.Contains(r.Path, "/2/") {
			continue
		}
		path := r.Path
		if strings.HasSuffix(path, "/") {
			path += "role-admin"
		}
		for _, m := range r.Methods {
			if m.Name == "POST" && path == "/api/session" {
				continue
			}
			f.expect(f.send(m.Name, path, jsonBody(`{}`)), 401, "session-invalid")
			if path == "/api/session" || strings.HasPrefix(path, "/api/sessions") {
				continue
			}
			admin++
			for _, tok := range []credential.Token{ann, svc} {
				f.expect(f.send(m.Name, path, jsonBody(`{}`), idCookie(tok)), 403, "forbidden")
			}
		}
	}
	if admin != 15+7+2+2 {
		t.Errorf("%d calls are for admins, not 5 for each of users, roles and realms, 7 for the cluster, 2 for limits and 2 for the log", admin)
	}
}

func TestOriginCheck(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.AllowedOrigins = []string{"https://app.example"} })
	login := jsonBody(`{"username":"ann","password":"correct horse"}`)
	for _, c := range []struct {
		site, origin string
		ok           bool
	}{
		{"", "", true},
		{"same-origin", "", true},
		{"none", "", true},
		{"cross-site", "", false},
		{"same-site", "", false},
		{"something-new", "", false},
		{"same-origin", "http://other.example", true}, // the browser knows better
		{"cross-site", "http://cloak.example", false},
		{"", "http://cloak.example", true},
		{"", "https://cloak.example", true},
		{"", "https://CLOAK.example", true},
		{"", "http://cloak.example:81", false},
		{"", "http://cloak.example.evil.example", false},
		{"", "http://evil.example", false},
		{"", "null", false},
		{"", "file://", false},
		{"", "chrome-extension://cloak.example", false},
		{"", "://", false},
		{"cross-site", "https://app.example", true},
		{"", "https://app.example", true},
		{"cross-site", "http://app.example", false},
		{"cross-site", "https://app.example.evil.example", false},
	} {
		o := []option{login}
		if c.site != "" {
			o = append(o, header("Sec-Fetch-Site", c.site))
		}
		if c.origin != "" {
			o = append(o, header("Origin", c.origin))
		}
		if a := f.send("POST", "/api/session", o...); c.ok && a.status != 201 || !c.ok && (a.status != 403 || errorCode(t, a.body) != "foreign-origin") {
			t.Errorf("%+v: %d %s", c, a.status, a.body)
		}
	}
}

// The check stands before everything that changes something, whoever the caller is and by whatever credentials, and
// nothing has happened when it refuses.
func TestOriginCheckIsEverywhere(t *testing.T) {
	f := newFixture(t)
	root := f.create(session.Create{Username: "root"})
	evil := header("Sec-Fetch-Site", "cross-site")
	before := f.fake.index
	for _, r := range f.router.All {
		path := r.Path
		if strings.HasSuffix(path, "/") {
			path += root.Key.String()
		}
		for _, m := range r.Methods {
			want := m.Name != fasthttp.MethodGet || strings.HasSuffix(path, "/put") || strings.HasSuffix(path, "/delete") ||
				strings.HasSuffix(path, "/invalidate") || path == "/z_security_check" || path == "/login/logout.csp"
			if m.Name == fasthttp.MethodPost && strings.HasSuffix(path, "/get") {
				want = false
			}
			if m.Changing != want {
				t.Errorf("%s %s is marked as changing: %v", m.Name, path, m.Changing)
			}
			if !want || r.Control {
				continue
			}
			f.expect(f.send(m.Name, path, idCookie(root), evil), 403, "foreign-origin")
			f.expect(f.send(m.Name, path, basic("root", testPassword), evil), 403, "foreign-origin")
		}
	}
	if f.fake.index != before || f.auth.calls != 0 {
		t.Errorf("%d commands, %d checks of a password", f.fake.index-before, f.auth.calls)
	}
	// Reading is not refused: the browser keeps the answer from the page.
	f.expect(f.send("GET", "/api/session", idCookie(root), evil), 200, "")
	// Nor is the control socket: no browser opens it.
	f.expect(f.control("DELETE", "/api/sessions/"+root.Key.String(), evil), 204, "")
}

func TestCORS(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.AllowedOrigins = []string{"https://app.example"} })
	tok := f.create(session.Create{Username: "ann"})
	good, bad := header("Origin", "https://app.example"), header("Origin", "https://evil.example")
	for _, o := range [][]option{{good, idCookie(tok)}, {good}} { // errors can be read, too
		a := f.send("GET", "/api/session", o...)
		if a.get("Access-Control-Allow-Origin") != "https://app.example" || a.get("Access-Control-Allow-Credentials") != "true" ||
			a.get("Vary") != "Origin" || !strings.Contains(a.get("Access-Control-Expose-Headers"), "ETag") {
			t.Errorf("headers are %v", a.header)
		}
	}
	pre := f.send("OPTIONS", "/api/session", good, header("Access-Control-Request-Method", "DELETE"))
	if pre.status != 204 || !strings.Contains(pre.get("Access-Control-Allow-Methods"), "DELETE") ||
		!strings.Contains(pre.get("Access-Control-Allow-Headers"), "Content-Type") || pre.get("Access-Control-Max-Age") != "600" {
		t.Errorf("%d %v", pre.status, pre.header)
	}
	for _, a := range []answer{
		f.send("GET", "/api/session", bad, idCookie(tok)),
		f.send("OPTIONS", "/api/session", bad, header("Access-Control-Request-Method", "DELETE")),
		f.send("GET", "/api/session", idCookie(tok)),
	} {
		for name := range a.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %v", name, a.header[name])
			}
		}
		if a.get("Vary") != "Origin" {
			t.Errorf("Vary is %q", a.get("Vary"))
		}
	}
	if a := newFixture(t).send("GET", "/api/session", good); a.get("Vary") != "" || a.get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without configuration: %v", a.header)
	}
}

func TestFromBrowser(t *testing.T) {
	for name, want := range map[string]bool{
		"Origin": true, "Sec-Fetch-Site": true, "Sec-Fetch-Mode": true, "sec-fetch-anything": true,
		"Sec-Ch-Ua": false, "User-Agent": false, "Referer": false, "Sec-Fetch": false,
	} {
		rc := &exchange.Request{Ctx: bareRequest("GET", "/", header(name, "x"), cookie("a=b"))}
		if exchange.FromBrowser(rc) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func TestQueryIsNotLogged(t *testing.T) {
	f := newFixture(t)
	f.fake.onLookup = func() { panic("x") }
	f.send("GET", "/api/session?password=hunter2", idCookie(credential.Mint()))
	f.fake.onLookup = nil
	root := f.create(session.Create{Username: "root"})
	f.send("DELETE", "/api/users/x?password=hunter2", idCookie(root))
	if strings.Contains(f.logs.String(), "hunter2") {
		t.Error("a query was logged")
	}
}
