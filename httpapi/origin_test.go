package httpapi

import (
	"slices"
	"strings"
	"testing"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/exchange"
)

// What a page of an allowed origin may do, each call of the surface: the answer to the preflight lets it, and names
// everything that the APIs read. Others get nothing that a browser would go by.
func TestPreflights(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.AllowedOrigins = []string{"https://app.example", "https://other.example:8443"} })
	for _, r := range f.router.All {
		if r == f.router.Unknown || r.Control {
			continue
		}
		path := strings.ReplaceAll(r.Path, "{}", "x")
		if strings.HasSuffix(path, "/") {
			path += "x"
		}
		for _, m := range r.Methods {
			for _, origin := range []string{"https://app.example", "https://other.example:8443"} {
				a := f.send("OPTIONS", path, header("Origin", origin), header("Access-Control-Request-Method", m.Name),
					header("Access-Control-Request-Headers", "csrftoken,content-type"), header("Sec-Fetch-Site", "cross-site"))
				if a.status != 204 || a.body != "" || a.get("Access-Control-Allow-Origin") != origin || a.get("Access-Control-Allow-Credentials") != "true" ||
					a.get("Access-Control-Max-Age") != "600" || !slices.Contains(a.header["Vary"], "Origin") {
					t.Errorf("%s: %d %v", path, a.status, a.header)
				}
				if methods := exchange.SplitList([]byte(a.get("Access-Control-Allow-Methods"))); !slices.Contains(methods, m.Name) {
					t.Errorf("%s %s: methods are %q", m.Name, path, methods)
				}
				headers := exchange.SplitList([]byte(a.get("Access-Control-Allow-Headers")))
				for _, want := range []string{"CSRFToken", "Content-Type", "If-Match", "Consistency", "Authorization", "X-No-Touch"} {
					if !slices.Contains(headers, want) {
						t.Errorf("%s: headers are %q, without %s", path, headers, want)
					}
				}
				if slices.Contains(headers, "*") || slices.Contains(headers, "Cookie") {
					t.Errorf("%s: headers are %q", path, headers)
				}
			}
		}
	}
}

// Origins that are like an allowed one, and those that stand for any, get no header that a browser would go by, from
// whatever answer.
func TestForeignOriginsGetNothing(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.AllowedOrigins = []string{"https://app.example"} })
	tok := f.create(session.Create{Username: "ann"})
	for _, origin := range []string{
		"null", "*", "", "https://app.example.", "https://app.example/", "https://app.example:443", "http://app.example", "https://APP.example", "HTTPS://app.example",
		"https://app.example.evil.example", "https://evil-app.example", "https://sub.app.example", "https://app.example, https://evil.example",
		"https://app.example https://evil.example", "https://user@app.example", "app.example", "file://", "https://evil.example",
	} {
		for _, a := range []answer{
			f.send("GET", "/api/session", header("Origin", origin), idCookie(tok)),
			f.send("GET", "/api/session", header("Origin", origin)),
			f.send("GET", "/nowhere", header("Origin", origin)),
			f.send("POST", "/api/session", header("Origin", origin), jsonBody(annsJSON)),
			f.send("OPTIONS", "/api/session", header("Origin", origin), header("Access-Control-Request-Method", "DELETE")),
		} {
			for name := range a.header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%q: %d with %s", origin, a.status, name)
				}
			}
			if !slices.Equal(a.header["Vary"], []string{"Origin"}) {
				t.Errorf("%q: Vary is %q", origin, a.header["Vary"])
			}
		}
	}
	for _, name := range []string{"ETag", "X-Request-Id", "Retry-After"} {
		a := f.send("GET", "/api/session", header("Origin", "https://app.example"), idCookie(tok))
		if !slices.Contains(exchange.SplitList([]byte(a.get("Access-Control-Expose-Headers"))), name) {
			t.Errorf("%s can't be read: %v", name, a.header)
		}
	}
}

// An origin is refused at the start that no browser sends, or that would let in more than was meant.
func TestAllowedOrigins(t *testing.T) {
	for origin, ok := range map[string]bool{
		"https://app.example": true, "http://localhost:3000": true, "https://app.example:8443": true, "http://127.0.0.1": true, "https://[2001:db8::1]:8443": true,
		"https://xn--bcher-kva.example": true,
		"*":                             false, "null": false, "": false, "app.example": false, "https://": false, "https://*": false, "https://*.example": false, "https://app.example/": false,
		"https://app.example/x": false, "https://user@app.example": false, "https://app.example?x": false, "https://app.example:443": false, "http://app.example:80": false,
		"https://App.example": false, "https://b\u00fccher.example": false, "ftp://app.example": false, "file:///": false, "https://app.example:": false, "https://app.example, https://x.example": false,
	} {
		cfg := newFixture(t).cfg
		cfg.AllowedOrigins = []string{origin}
		if err := cfg.validate(); (err == nil) != ok {
			t.Errorf("%q: %v", origin, err)
		}
	}
}
