package httpapi

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/transport/certtest"
)

// armoured checks what every answer has, whatever it is: all tests that look at answers come by here.
func (a answer) armoured(t testing.TB) {
	t.Helper()
	isPage := strings.HasPrefix(a.get("Content-Type"), "text/html")
	referrer := "no-referrer"
	if isPage {
		referrer = "same-origin"
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": referrer,
	} {
		if got := a.header[name]; len(got) != 1 || got[0] != want {
			t.Errorf("answer %d: %s is %q, not %q", a.status, name, got, want)
		}
	}
	if framed := a.get("Content-Security-Policy"); isPage != strings.Contains(framed, "frame-ancestors 'none'") {
		t.Errorf("answer %d of type %q: policy %q", a.status, a.get("Content-Type"), framed)
	}
	if n := len(a.header["Strict-Transport-Security"]); n > 1 {
		t.Errorf("answer %d says %d times that TLS is a must", a.status, n)
	}
}

// Answers of every kind have the headers: the ways to them differ.
func TestArmour(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.AllowedOrigins = []string{"https://app.example"} }).opened()
	tok := f.create(session.Create{Username: "ann"})
	for request, status := range map[string]int{
		head("GET /healthz"):          200,
		head("GET /nowhere"):          404,
		head("BREW /healthz"):         405,
		head("GET /index.csp"):        200,
		head("GET /login/logout.csp"): 302,
		head("OPTIONS /api/session", "Origin: https://app.example"):                                204,
		head("GET /auth/verify", "Cookie: id="+tok.Text):                                           200,
		head("GET /auth/verify"):                                                                   401,
		head("DELETE /api/session", "Origin: https://evil.example"):                                403,
		head("GET /healthz", "A: b\nC: d"):                                                         400,
		"GET /healthz\r\n\r\n":                                                                     400,
		head("GET /healthz", "A: "+strings.Repeat("a", exchange.MaxHeader)):                        413,
		head("POST /api/session", "Content-Length: 1000000"):                                       413,
		head("POST /api/session", "Content-Length: 1000000", "Expect: 100-continue"):               413,
		head("POST /api/session", "Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n": 400,
	} {
		w := f.dial()
		w.t = t
		w.write(request)
		a := w.read()
		if a.status != status {
			t.Errorf("%q: %d", request, a.status)
		}
		a.armoured(t)
		if a.get("Strict-Transport-Security") != "" {
			t.Errorf("%q: the client is told of TLS without TLS", request)
		}
	}
	f.fake.onLookup = func() { panic("x") }
	a := f.send("GET", "/api/session", idCookie(tok))
	f.fake.onLookup = nil
	f.expect(a, 500, "internal")
	if !strings.Contains(string(refusal()), "\r\nX-Content-Type-Options: nosniff\r\n") {
		t.Error("a connection over the limit is answered without armour")
	}
	res, err := http.Get("http://" + f.OperatorAddr().String() + "/cluster")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the operator's answers: %v", res.Header)
	}
}

// Strict-Transport-Security is said to clients that came by TLS, as they see it, and to nobody else.
func TestHSTS(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		name, setting, peer string
		protos              []string
		want                string
	}{
		{"plain", "", "192.0.2.1:1", nil, ""},
		{"a stranger says https", "", "192.0.2.1:1", []string{"https"}, ""},
		{"a trusted proxy says https", "", "10.0.0.1:1", []string{"https"}, DefaultHSTS},
		{"in capitals", "", "10.0.0.1:1", []string{" HTTPS "}, DefaultHSTS},
		{"a trusted proxy says http", "", "10.0.0.1:1", []string{"http"}, ""},
		{"a trusted proxy says nothing", "", "10.0.0.1:1", nil, ""},
		{"the nearest proxy says http", "", "10.0.0.1:1", []string{"https, http"}, ""},
		{"the nearest proxy says http in a line of its own", "", "10.0.0.1:1", []string{"https", "http"}, ""},
		{"the nearest proxy says https", "", "10.0.0.1:1", []string{"http", "http, https"}, DefaultHSTS},
		{"another value", "max-age=5; includeSubDomains", "10.0.0.1:1", []string{"https"}, "max-age=5; includeSubDomains"},
		{"off", HSTSOff, "10.0.0.1:1", []string{"https"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, func(cfg *Config) { cfg.TrustedProxies, cfg.HSTS = trusted, c.setting })
			o := []option{from(c.peer)}
			for _, proto := range c.protos {
				o = append(o, header("X-Forwarded-Proto", proto))
			}
			for _, path := range []string{"/healthz", "/auth/verify", "/index.csp", "/nowhere"} {
				if got := f.send("GET", path, o...).get("Strict-Transport-Security"); got != c.want {
					t.Errorf("%s: %q, not %q", path, got, c.want)
				}
			}
		})
	}
	cert, key := certtest.Good(t, 1)
	files := certtest.NewFiles(t, cert, key)
	for setting, want := range map[string]string{"": DefaultHSTS, HSTSOff: "", "max-age=0": "max-age=0"} {
		f := newFixture(t, func(cfg *Config) { cfg.TLSCert, cfg.TLSKey, cfg.HSTS = files.Cert, files.Key, setting }).opened()
		for _, request := range []string{head("GET /healthz"), head("GET /nowhere"), "nonsense\r\n\r\n"} {
			c, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			w := newWireClient(t, c)
			w.write(request)
			a := w.read()
			a.armoured(t)
			if got := a.get("Strict-Transport-Security"); got != want {
				t.Errorf("%q at %q: %q, not %q", setting, request, got, want)
			}
		}
	}
}

func TestHSTSValues(t *testing.T) {
	for value, ok := range map[string]bool{
		"max-age=31536000": true, "max-age=0": true, "max-age=1; includeSubDomains": true, "includeSubDomains;max-age=1;preload": true, "MAX-AGE=1": true,
		"": false, "31536000": false, "max-age": false, "max-age=": false, "max-age=-1": false, "max-age=1y": false, "max-age=1;": false,
		"includeSubDomains": false, "max-age=1; max-age=2": false, "max-age=1; includeSubDomains=1": false, "max-age=1\r\nX-Evil: 1": false, "max-age=1, preload": false,
		"max-age=1; other": false, "off": true, "OFF": false,
	} {
		if err := CheckHSTS(value); (err == nil) != ok {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// A page posts its form back to where it came from: what Referrer-Policy makes of Origin must be let in.
func TestLoginOfAPage(t *testing.T) {
	f := newFixture(t).opened()
	c, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w := newWireClient(t, c)
	w.write(head("GET /index.csp"))
	page := w.read()
	if page.get("Referrer-Policy") != "same-origin" {
		t.Errorf("the page's policy is %q: browsers would post it with Origin: null", page.get("Referrer-Policy"))
	}
	cookie, _, _ := strings.Cut(page.get("Set-Cookie"), ";")
	if _, err := io.WriteString(c, formRequest("POST /z_security_check", annsLogin, "Origin: http://cloak.example", "Cookie: "+cookie)); err != nil {
		t.Fatal(err)
	}
	if a := w.read(); a.status != 302 || a.get("Location") != "/index.csp" {
		t.Errorf("%d %v", a.status, a.header)
	}
	w.write(formRequest("POST /z_security_check", annsLogin, "Origin: null"))
	f.expect(w.read(), 403, "foreign-origin")
}
