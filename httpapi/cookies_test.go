package httpapi

import (
	"bufio"
	"net/netip"
	"strings"
	"testing"
	"unicode"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
)

func TestCookieOrder(t *testing.T) {
	f := newFixture(t)
	ann := f.create(session.Create{Username: "ann"}).text
	root := f.create(session.Create{Username: "root"}).text
	stale := mintToken().text
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

func TestCookieOfOwnSurface(t *testing.T) {
	one, two := mintToken(), mintToken()
	ctx := bareRequest("GET", "/", cookie("id="+one.text+"; zsessionid="+two.text))
	c := scanCookies(&ctx.Request.Header)
	for own, want := range map[surface]token{fusion: one, mmonit: two} {
		v, err := c.of(own)
		if err != nil || v.key != want.key || string(v.text) != want.text || v.of != own {
			t.Errorf("surface %d: %v, %+v", own, err, v)
		}
	}
}

func TestCookieAttributes(t *testing.T) {
	proxy := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	https := header("X-Forwarded-Proto", "https")
	for _, c := range []struct {
		name    string
		secure  CookieSecure
		domain  string
		trusted []netip.Prefix
		o       option
		want    string
	}{
		{"auto", "", "", nil, header("A", "b"), ";HttpOnly;Path=/api;SameSite=Lax"},
		{"auto, untrusted", SecureAuto, "", nil, https, ";HttpOnly;Path=/api;SameSite=Lax"},
		{"auto, trusted", SecureAuto, "", proxy, https, ";HttpOnly;Path=/api;SameSite=Lax;Secure"},
		{"auto, trusted, http", SecureAuto, "", proxy, header("X-Forwarded-Proto", "http"), ";HttpOnly;Path=/api;SameSite=Lax"},
		{"auto, trusted, the last counts", SecureAuto, "", proxy, header("X-Forwarded-Proto", "https, http"), ";HttpOnly;Path=/api;SameSite=Lax"},
		{"never", SecureNever, "", proxy, https, ";HttpOnly;Path=/api;SameSite=Lax"},
		{"always", SecureAlways, "", nil, header("A", "b"), ";HttpOnly;Path=/api;SameSite=Lax;Secure"},
		{"domain", SecureNever, "example.org", nil, https, ";HttpOnly;Path=/api;Domain=example.org;SameSite=Lax"},
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

func TestTokens(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		tok := mintToken()
		key, ok := parseToken([]byte(tok.text))
		if !ok || key != tok.key || seen[tok.text] {
			t.Fatalf("token does not parse, or came twice")
		}
		seen[tok.text] = true
		for i, r := range tok.text {
			if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (r == '-') || !dash && !unicode.Is(unicode.ASCII_Hex_Digit, r) {
				t.Fatalf("token has %q at %d", r, i)
			}
		}
	}
	for _, text := range []string{
		"", "840a33d4-b650-49f2-87a4-85412e99b37", "840a33d4-b650-49f2-87a4-85412e99b37cc", "840a33d4_b650-49f2-87a4-85412e99b37c",
		"840a33d4-b650-49f2-87a4-85412e99b37g", "840a33d4-b650-49f2-87a4-85412e99b3-c", "840a33d4b-650-49f2-87a4-85412e99b37c",
		strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("g", 64), strings.Repeat("-", 36),
	} {
		if _, ok := parseToken([]byte(text)); ok {
			t.Errorf("%q is no token", text)
		}
	}
	if key, ok := parseToken([]byte(strings.Repeat("00", 32))); !ok || key != session.KeyOf(make([]byte, 32)) {
		t.Error("a long token does not parse")
	}
}

func TestTokensAreNotPrinted(t *testing.T) {
	f := newFixture(t)
	tok := mintToken()
	f.log.Info("x", "token", tok)
	f.log.Info("y", "params", loginParams{token: tok})
	if strings.Contains(f.logs.String(), tok.text) {
		t.Errorf("a token was printed: %s", f.logs)
	}
}

func FuzzScanCookies(f *testing.F) {
	f.Add(`id=840a33d4-b650-49f2-87a4-85412e99b37c; zsessionid="x";;Path=/`)
	f.Add(`=;==;id;id=;id==`)
	f.Fuzz(func(t *testing.T, line string) {
		var h fasthttp.RequestHeader
		raw := "GET / HTTP/1.1\r\nHost: x\r\nCookie: " + line + "\r\n\r\n"
		if h.Read(bufio.NewReader(strings.NewReader(raw))) != nil {
			t.Skip("not HTTP")
		}
		c := scanCookies(&h)
		for _, own := range []surface{fusion, mmonit} {
			v, err := c.of(own)
			if (err == nil) != (v.ok && !v.conflict) {
				t.Fatalf("of: %v with %+v", err, v)
			}
			if err != nil {
				continue
			}
			if key, ok := parseToken(v.text); !ok || key != v.key || !strings.Contains(line, string(v.text)) {
				t.Fatalf("%+v is not in %q", v, line)
			}
		}
	})
}
