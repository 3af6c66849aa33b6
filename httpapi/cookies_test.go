package httpapi

import (
	"net/netip"
	"strings"
	"testing"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/credential"
)

func TestCookieOrder(t *testing.T) {
	f := newFixture(t)
	ann := f.create(session.Create{Username: "ann"}).Text
	root := f.create(session.Create{Username: "root"}).Text
	stale := credential.Mint().Text
	for _, c := range []struct{ name, cookies, want string }{
		{"own", "id=" + ann, "ann"},
		{"other surface's", "zsessionid=" + ann, "ann"},
		{"own first", "zsessionid=" + root + "; id=" + ann, "ann"},
		{"own first, other order", "id=" + ann + "; zsessionid=" + root, "ann"},
		{"own is stale", "id=" + stale + "; zsessionid=" + ann, ""},
		{"own is garbage", "id=1; zsessionid=" + ann, ""},
		{"own is empty", "id=; zsessionid=" + ann, "ann"},
		{"trailing semicolon", "id=" + ann + ";", "ann"},
		{"many semicolons", ";; id=" + ann + ";; ;", "ann"},
		{"no blanks", "a=b;id=" + ann + ";c=d", "ann"},
		{"stray attributes", "id=" + ann + "; Path=/api; HttpOnly; SameSite=Lax; Secure", "ann"},
		{"stray attributes first", "$Version=1; id=" + ann + "; $Path=/", "ann"},
		{"blanks", "  id = " + ann + "  ; x", "ann"},
		{"quotes", `id="` + ann + `"`, "ann"},
		{"upper case", "id=" + strings.ToUpper(ann), "ann"},
		{"the same twice", "id=" + ann + "; id=" + ann, "ann"},
		{"the same in two cases", "id=" + ann + "; id=" + strings.ToUpper(ann), "ann"},
		{"two different", "id=" + ann + "; id=" + root, ""},
		{"two different, the second stale", "id=" + ann + "; id=" + stale, ""},
		{"another application's id", "id=42; id=" + ann, "ann"},
		{"another application's id, last", "id=" + ann + "; id=42", "ann"},
		{"a conflict of the other surface", "id=" + ann + "; zsessionid=" + ann + "; zsessionid=" + root, "ann"},
		{"other name", "sid=" + ann, ""},
		{"name's case", "ID=" + ann, ""},
		{"prefix", "xid=" + ann, ""},
		{"cut", "id=" + ann[:35], ""},
		{"longer", "id=" + ann + "0", ""},
		{"without dashes", "id=" + strings.ReplaceAll(ann, "-", ""), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, uri := range []string{"/api/session", "/auth/verify"} {
				a := f.send("GET", uri, cookie(c.cookies))
				if c.want == "" {
					f.expect(a, 401, "session-invalid")
				} else if a.status != 200 || !strings.Contains(a.body+a.get("Remote-User"), c.want) {
					t.Errorf("%s: %d %s", uri, a.status, a.body)
				}
			}
		})
	}
	// Some clients and HTTP/2 proxies send several headers.
	f.expect(f.send("GET", "/api/session", cookie("a=b"), cookie("id="+ann)), 200, "")
	f.expect(f.send("GET", "/api/session", cookie("id="+root), cookie("id="+ann)), 401, "session-invalid")
}

func TestCookieAttributes(t *testing.T) {
	proxy := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	https := header("X-Forwarded-Proto", "https")
	for _, c := range []struct {
		name    string
		secure  access.CookieSecure
		domain  string
		trusted []netip.Prefix
		o       option
		want    string
	}{
		{"auto", "", "", nil, header("A", "b"), ";HttpOnly;Path=/api;SameSite=Lax"},
		{"auto, untrusted", access.SecureAuto, "", nil, https, ";HttpOnly;Path=/api;SameSite=Lax"},
		{"auto, trusted", access.SecureAuto, "", proxy, https, ";HttpOnly;Path=/api;SameSite=Lax;Secure"},
		{"auto, trusted, http", access.SecureAuto, "", proxy, header("X-Forwarded-Proto", "http"), ";HttpOnly;Path=/api;SameSite=Lax"},
		{"auto, trusted, the last counts", access.SecureAuto, "", proxy, header("X-Forwarded-Proto", "https, http"), ";HttpOnly;Path=/api;SameSite=Lax"},
		{"never", access.SecureNever, "", proxy, https, ";HttpOnly;Path=/api;SameSite=Lax"},
		{"always", access.SecureAlways, "", nil, header("A", "b"), ";HttpOnly;Path=/api;SameSite=Lax;Secure"},
		{"domain", access.SecureNever, "example.org", nil, https, ";HttpOnly;Path=/api;Domain=example.org;SameSite=Lax"},
	} {
		f := newFixture(t, func(cfg *Config) {
			cfg.CookieSecure, cfg.CookieDomain, cfg.TrustedProxies = c.secure, c.domain, c.trusted
		})
		a := f.send("POST", "/api/session", jsonBody(`{"username":"ann","password":"correct horse"}`), c.o)
		if got := a.get("Set-Cookie"); len(got) < 39 || got[39:] != c.want {
			t.Errorf("%s: cookie is %q, not %q", c.name, got, c.want)
		}
	}
}

// With the prefix, cookies have its names and attributes in every answer, and a cookie of the plain name, which anybody
// near the host may have planted, is none: it neither names a session nor hides the one that counts.
func TestCookiePrefix(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.CookieHostPrefix = true })
	const host, secure = "__Host-zsessionid", "__Secure-id"
	check := func(what string, a answer, name, path string) string {
		t.Helper()
		for _, line := range a.header["Set-Cookie"] {
			value, attributes, _ := strings.Cut(line, ";")
			if got, token, _ := strings.Cut(value, "="); got == name {
				if attributes = ";" + attributes + ";"; !strings.Contains(attributes, ";Secure;") || !strings.Contains(attributes, ";Path="+path+";") || strings.Contains(attributes, "Domain") {
					t.Errorf("%s: browsers refuse %q", what, line)
				}
				return token
			}
		}
		t.Errorf("%s: no cookie %s in %q", what, name, a.header["Set-Cookie"])
		return ""
	}
	for _, line := range append(f.send("GET", "/index.csp").header["Set-Cookie"], f.send("POST", "/api/session", jsonBody(annsJSON)).header["Set-Cookie"]...) {
		if !strings.HasPrefix(line, "__") {
			t.Errorf("a cookie without a prefix: %q", line)
		}
	}
	check("login page", f.send("GET", "/index.csp"), host, "/")
	mine := check("Fusion login", f.send("POST", "/api/session", jsonBody(annsJSON)), secure, "/api")
	form := func(ctx *ctxOf) {
		ctx.Request.Header.SetContentType("application/x-www-form-urlencoded")
		ctx.Request.SetBodyString(annsLogin)
	}
	z := check("M/Monit login", f.send("POST", "/z_security_check", form), host, "/")
	planted := f.create(session.Create{Username: "root"}).Text
	for _, c := range []struct {
		cookies string
		status  int
	}{
		{secure + "=" + mine, 200},
		{host + "=" + z, 200},
		{"id=" + planted + "; " + secure + "=" + mine, 200},
		{secure + "=" + mine + "; zsessionid=" + planted, 200},
		{"id=" + mine, 401},
		{"zsessionid=" + z, 401},
		{"__secure-id=" + mine, 401},
		{"__Host-id=" + mine, 401},
		{"__Secure-zsessionid=" + z, 401},
		{"__HOST-zsessionid=" + z, 401},
		{"=" + secure + "=" + mine, 401}, // browsers once sent a cookie without a name like this
	} {
		for _, uri := range []string{"/api/session", "/auth/verify"} {
			if a := f.send("GET", uri, cookie(c.cookies)); a.status != c.status || c.status == 200 && !strings.Contains(a.body+a.get("Remote-User"), "ann") {
				t.Errorf("%s with %q: %d %s", uri, c.cookies, a.status, a.body)
			}
		}
	}
	check("logout", f.send("GET", "/login/logout.csp", cookie(host+"="+z)), host, "/")
	check("end", f.send("DELETE", "/api/session", cookie(secure+"="+mine)), secure, "/api")
	// Without the prefix it is the other way round.
	plain := newFixture(t)
	tok := plain.create(session.Create{Username: "ann"}).Text
	plain.expect(plain.send("GET", "/api/session", cookie(secure+"="+tok+"; "+host+"="+tok)), 401, "session-invalid")
}

func TestCookiePrefixNeeds(t *testing.T) {
	for _, c := range []struct {
		secure access.CookieSecure
		domain string
		ok     bool
	}{{"", "", true}, {access.SecureAuto, "", true}, {access.SecureAlways, "", true}, {access.SecureNever, "", false}, {access.SecureAlways, "example.org", false}} {
		cfg := newFixture(t).cfg
		cfg.CookieHostPrefix, cfg.CookieSecure, cfg.CookieDomain = true, c.secure, c.domain
		if err := cfg.validate(); (err == nil) != c.ok || c.ok && cfg.CookieSecure != access.SecureAlways {
			t.Errorf("%+v: %v, Secure %s", c, err, cfg.CookieSecure)
		}
	}
}

func TestTokensAreNotPrinted(t *testing.T) {
	f := newFixture(t)
	tok := credential.Mint()
	f.log.Info("x", "token", tok)
	f.log.Info("y", "params", access.LoginParams{Token: tok})
	if strings.Contains(f.logs.String(), tok.Text) {
		t.Errorf("a token was printed: %s", f.logs)
	}
}
