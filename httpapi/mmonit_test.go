package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
)

// open makes a session that needs no CSRF token, with some attributes.
func (f *fixture) open(attrs ...string) credential.Token {
	f.t.Helper()
	list := []session.Attr{}
	for i := 0; i < len(attrs); i += 2 {
		list = append(list, session.Attr{Key: attrs[i], Value: attrs[i+1]})
	}
	return f.create(session.Create{Username: "ann", Surface: session.SurfaceMMonit, CSRFOff: true, Attrs: list})
}

// Every call by every prefix and method, its arguments in the query, in the body, and in both.
func TestMMonitCalls(t *testing.T) {
	for _, prefix := range []string{"/api/2/session", "/api/1/session", "/session"} {
		for _, how := range []string{"GET query", "POST query", "POST body", "POST both"} {
			t.Run(prefix+" "+how, func(t *testing.T) {
				f := newFixture(t)
				s := f.open()
				call := func(name, first, second string) answer {
					t.Helper()
					method, where, _ := strings.Cut(how, " ")
					uri, options := prefix+"/"+name, []option{zCookie(s.Text)}
					switch where {
					case "query":
						uri += "?" + strings.Trim(first+"&"+second, "&")
					case "body":
						options = append(options, formBody(strings.Trim(first+"&"+second, "&")))
					case "both":
						uri += "?" + first
						options = append(options, formBody(second))
					}
					a := f.send(method, uri, options...)
					f.expect(a, 200, "")
					if a.get("Content-Type") != "application/json" || !strings.HasPrefix(a.body, "{") {
						t.Errorf("%s: %s %q", name, a.get("Content-Type"), a.body)
					}
					return a
				}
				expect := func(a answer, body string) {
					t.Helper()
					if a.body != body {
						t.Errorf("body %s, want %s", a.body, body)
					}
				}
				expect(call("put", "a=1", "b=2%20+3"), "{}")
				expect(call("put", "a=4", "c="), "{}")
				expect(call("get", "key=b", "key=a"), `{"b":"2  3","a":"4"}`)
				expect(call("get", "key=a", "key=none"), `{"a":"4"}`)
				csrf := `"CSRFToken":"` + credential.CSRFToken([]byte(s.Text)) + `"`
				expect(call("get", "", ""), "{"+csrf+`,"a":"4","b":"2  3","c":""}`)
				expect(call("get", "key=", ""), "{"+csrf+`,"a":"4","b":"2  3","c":""}`)
				expect(call("get", "key=CSRFToken", ""), "{"+csrf+"}")
				expect(call("delete", "key=a", "key=none"), "{}")
				expect(call("get", "key=a", "key=b"), `{"b":"2  3"}`)
				expect(call("delete", "", ""), "{}")
				expect(call("get", "", ""), "{"+csrf+"}")
				a := call("invalidate", "", "")
				expect(a, "{}")
				if !strings.HasPrefix(a.get("Set-Cookie"), "zsessionid=;") {
					t.Errorf("cookie after invalidate: %q", a.get("Set-Cookie"))
				}
				if _, live := f.attributes(s); live {
					t.Error("the session goes on")
				}
			})
		}
	}
}

// One call with every pair is one command: no reader can see half of it.
func TestPutIsOneCommand(t *testing.T) {
	f := newFixture(t)
	s := f.open()
	before := f.proposed()
	f.expect(f.send("POST", "/session/put?a=1&b=2&a=3", zCookie(s.Text), formBody("c=4&a=5")), 200, "")
	if n := f.proposed() - before; n != 1 {
		t.Errorf("%d commands, want 1", n)
	}
	if attrs, _ := f.attributes(s); !maps.Equal(attrs, map[string]string{"a": "5", "b": "2", "c": "4"}) {
		t.Errorf("attributes %v", attrs)
	}
}

func TestPutOnEndedSession(t *testing.T) {
	f := newFixture(t)
	s := f.open()
	f.fake.must(t, &session.Invalidate{Key: s.Key, Reason: session.EndedByLogout})
	for _, call := range []string{"put?a=b", "get", "delete", "invalidate"} {
		f.expect(f.send("POST", "/session/"+call, zCookie(s.Text)), 401, session.ErrSessionInvalid.Code)
	}
	// It ends between the lookup and the entry.
	s = f.open()
	f.fake.set(func(c *fakeCluster) {
		c.before = func(cmd session.Command) error {
			if put, ok := cmd.(*session.Put); ok {
				c.set(func(c *fakeCluster) { c.before = nil })
				_, err := c.Do(t.Context(), &session.Invalidate{Key: put.Key, Reason: session.EndedByAdmin})
				return err
			}
			return nil
		}
	})
	f.expect(f.send("POST", "/session/put?a=b", zCookie(s.Text)), 401, session.ErrSessionInvalid.Code)
	if n := f.fake.stats().Sessions; n != 0 {
		t.Errorf("%d sessions: the put made one", n)
	}
}

// CSRFToken is always the token and never an attribute, also where protection is off.
func TestCSRFTokenIsNoAttribute(t *testing.T) {
	f := newFixture(t)
	s := f.open("a", "1")
	own := credential.CSRFToken([]byte(s.Text))
	f.expect(f.send("POST", "/session/put?CSRFToken=mine&b=2", zCookie(s.Text)), 200, "")
	before := f.proposed()
	a := f.send("POST", "/session/put", zCookie(s.Text), formBody("CSRFToken=mine"))
	f.expect(a, 200, "")
	if n := f.proposed() - before; n != 0 || a.get("Etag") == "" {
		t.Errorf("a put of nothing: %d commands, ETag %q", n, a.get("Etag"))
	}
	if a := f.send("GET", "/session/get", zCookie(s.Text)); a.body != `{"CSRFToken":"`+own+`","a":"1","b":"2"}` {
		t.Errorf("get: %s", a.body)
	}
	for _, call := range []string{"delete?key=CSRFToken", "delete?key=a&key=CSRFToken"} {
		f.expect(f.send("POST", "/session/"+call, zCookie(s.Text)), 400, session.ErrReservedAttribute.Code)
	}
	if attrs, _ := f.attributes(s); !maps.Equal(attrs, map[string]string{"a": "1", "b": "2"}) {
		t.Errorf("attributes %v", attrs)
	}
	f.expect(f.send("POST", "/session/delete", zCookie(s.Text)), 200, "")
	if a := f.send("GET", "/session/get", zCookie(s.Text)); a.body != `{"CSRFToken":"`+own+`"}` {
		t.Errorf("after delete of all: %s", a.body)
	}
}

// Names that no attribute has delete nothing; only no name at all means every one.
func TestDeleteOfOddNames(t *testing.T) {
	f := newFixture(t)
	s := f.open("a", "1")
	for _, query := range []string{"key=none", "key=%ff", "key=&key=", "key=&key=none", "key=" + strings.Repeat("x", 4000)} {
		f.expect(f.send("POST", "/session/delete?"+query, zCookie(s.Text)), 200, "")
		if attrs, _ := f.attributes(s); attrs["a"] != "1" {
			t.Fatalf("delete?%.40s deleted something", query)
		}
	}
	f.expect(f.send("POST", "/session/delete?key=&CSRFToken=x", zCookie(s.Text)), 200, "")
	if attrs, _ := f.attributes(s); len(attrs) != 0 {
		t.Errorf("delete?key= left %v", attrs)
	}
}

func TestPutRefuses(t *testing.T) {
	f := newFixture(t)
	s := f.open()
	many := strings.Builder{}
	for i := range exchange.MaxArgs + 1 {
		fmt.Fprintf(&many, "k%d=v&", i)
	}
	for _, tt := range []struct {
		name   string
		body   option
		status int
		code   string
	}{
		{"nothing", formBody(""), 400, "missing-field"},
		{"name not UTF-8", formBody("%ff=x"), 400, "bad-field"},
		{"value not UTF-8", formBody("a=%c3%28"), 400, "bad-field"},
		{"raw bytes not UTF-8", formBody("a=\xff"), 400, "bad-field"},
		{"JSON", jsonBody(`{"a":"b"}`), 400, "bad-field"},
		{"empty name", formBody("=x"), 413, session.ErrLimitAttributeKey.Code},
		{"long name", formBody(strings.Repeat("k", 129) + "=x"), 413, session.ErrLimitAttributeKey.Code},
		{"long value", formBody("a=" + strings.Repeat("v", 4097)), 413, session.ErrLimitAttributeValue.Code},
		{"many attributes", formBody(many.String()[:700]), 413, session.ErrLimitAttributes.Code},
		{"many arguments", formBody(many.String()), 413, session.ErrLimitAttributes.Code},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.t = t
			f.expect(f.send("POST", "/session/put", zCookie(s.Text), tt.body), tt.status, tt.code)
			if attrs, _ := f.attributes(s); len(attrs) != 0 {
				t.Errorf("refused, yet stored %v", attrs)
			}
		})
	}
	f.t = t
	f.expect(f.send("HEAD", "/session/put?a=b", zCookie(s.Text)), 405, "")
	if attrs, _ := f.attributes(s); len(attrs) != 0 {
		t.Errorf("HEAD stored %v", attrs)
	}
}

// Whatever text is stored comes back as it was, in JSON that any parser reads.
func TestValuesComeBack(t *testing.T) {
	f := newFixture(t)
	s := f.open()
	values := map[string]string{
		"quote": `"\/`, "markup": "</script><b>&amp;", "control": "\x00\t\r\n\x1b", "separators": "\u2028\u2029",
		"text": "žluťoučký 🐎", "percent": "100%", "empty": "", "sign=&key": "a=b&c=d;e+f",
	}
	body := []string{}
	escape := strings.NewReplacer("%", "%25", "&", "%26", "=", "%3d", "+", "%2B", "\x00", "%00")
	for name, value := range values {
		body = append(body, escape.Replace(name)+"="+escape.Replace(value))
	}
	f.expect(f.send("POST", "/session/put", zCookie(s.Text), formBody(strings.Join(body, "&"))), 200, "")
	var got map[string]string
	a := f.send("GET", "/session/get", zCookie(s.Text))
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	delete(got, session.ReservedAttribute)
	if !maps.Equal(got, values) {
		t.Errorf("got %q, want %q", got, values)
	}
}

func TestLenientPercentSigns(t *testing.T) {
	f := newFixture(t)
	s := f.open()
	f.expect(f.send("POST", "/session/put", zCookie(s.Text), formBody("progress=100%&b=%zz&c=%4")), 200, "")
	if attrs, _ := f.attributes(s); !maps.Equal(attrs, map[string]string{"progress": "100%", "b": "%zz", "c": "%4"}) {
		t.Errorf("attributes %q", attrs)
	}
}

func TestETagAndIfMatch(t *testing.T) {
	f := newFixture(t)
	s := f.open("a", "1")
	tag := f.send("GET", "/session/get", zCookie(s.Text)).get("Etag")
	a := f.send("POST", "/session/put?a=2", zCookie(s.Text), header("If-Match", tag))
	f.expect(a, 200, "")
	next := a.get("Etag")
	if tag == "" || next == "" || next == tag {
		t.Fatalf("ETags %q, then %q", tag, next)
	}
	if now := f.send("GET", "/session/get?key=a", zCookie(s.Text)); now.get("Etag") != next || now.body != `{"a":"2"}` {
		t.Errorf("get: ETag %q, body %s", now.get("Etag"), now.body)
	}
	f.expect(f.send("POST", "/session/put?a=3", zCookie(s.Text), header("If-Match", tag)), 412, session.ErrConflict.Code)
	f.expect(f.send("POST", "/session/delete?key=a", zCookie(s.Text), header("If-Match", tag)), 412, session.ErrConflict.Code)
	if attrs, _ := f.attributes(s); attrs["a"] != "2" {
		t.Errorf("a stale change was made: %v", attrs)
	}
	f.expect(f.send("POST", "/session/delete?key=a", zCookie(s.Text), header("If-Match", next)), 200, "")

	// Another client's change comes between the lookup and the entry.
	tag = f.send("GET", "/session/get", zCookie(s.Text)).get("Etag")
	f.fake.set(func(c *fakeCluster) {
		c.before = func(cmd session.Command) error {
			c.set(func(c *fakeCluster) { c.before = nil })
			_, err := c.Do(t.Context(), &session.Put{Key: s.Key, Attrs: []session.Attr{{Key: "other", Value: "x"}}})
			return err
		}
	})
	f.expect(f.send("POST", "/session/put?a=4", zCookie(s.Text), header("If-Match", tag)), 412, session.ErrConflict.Code)
}

func TestNotLoggedIn(t *testing.T) {
	f := newFixture(t)
	const page, data = true, false
	for accept, want := range map[string]bool{
		"":                               data,
		"*/*":                            data,
		"application/json":               data,
		"application/json, text/html":    data,
		"text/html, application/json":    page,
		"text/html;q=0.5, */*":           page,
		"text/html;q=0, */*":             data,
		"text/html;q=x":                  data,
		"text/html;q=nan":                data,
		"text/html; charset=utf-8 ;q=.9": page,
		"TEXT/HTML;Q=0.5, application/json;q=0.4":                    page,
		"application/json;q=0.9, text/html;q=0.8":                    data,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*":  page,
		"application/json, text/javascript, */*; q=0.01":             data,
		"text/html;level=1;q=0.2, application/json;q=0.1;version=2 ": page,
	} {
		for _, call := range []string{"put?a=b", "get", "delete", "invalidate"} {
			a := f.send("GET", "/api/2/session/"+call, header("Accept", accept))
			if want == page {
				f.checkLoginPage(a, 401)
				if a.get("Set-Cookie") != "" {
					t.Errorf("%s: a call that fails must leave cookies alone, and set %q", call, a.get("Set-Cookie"))
				}
				continue
			}
			f.expect(a, 401, session.ErrSessionInvalid.Code)
			if !strings.HasPrefix(a.body, "{") {
				t.Errorf("body %q", a.body)
			}
		}
	}
	a := f.send("GET", "/api/2/session/get?key=a", header("Accept", "text/html"))
	if !strings.Contains(a.body, `value="/api/2/session/get?key=a"`) {
		t.Error("the login page does not lead back to where the reader wanted to go")
	}
	a = f.send("POST", "/api/2/session/put?a=b", header("Accept", "text/html"))
	if strings.Contains(a.body, "z_return") {
		t.Error("the login page leads to a change")
	}
}

// Either cookie names the session; this surface's own is read first. Odd Cookie headers of real clients are read.
func TestWhichCookieCounts(t *testing.T) {
	f := newFixture(t)
	mine, other := f.open("whose", "mine"), f.open("whose", "other")
	for _, tt := range []struct{ cookies, want string }{
		{"zsessionid=" + mine.Text, "mine"},
		{"zsessionid=" + mine.Text + ";", "mine"},
		{"zsessionid=" + mine.Text + "; Path=/; HttpOnly", "mine"},
		{"id=" + mine.Text, "mine"},
		{"id=" + other.Text + "; zsessionid=" + mine.Text, "mine"},
		{"zsessionid=" + mine.Text + "; zsessionid=" + mine.Text, "mine"},
		{"zsessionid=" + mine.Text + "; zsessionid=" + other.Text, ""},
		{"zsessionid=" + credential.Mint().Text + "; id=" + mine.Text, ""},
	} {
		a := f.send("GET", "/session/get?key=whose", cookie(tt.cookies))
		if tt.want == "" {
			f.expect(a, 401, session.ErrSessionInvalid.Code)
		} else if a.body != `{"whose":"`+tt.want+`"}` {
			t.Errorf("%s: %s", tt.cookies, a.body)
		}
	}
}

func TestCallsOfForeignPagesAreRefused(t *testing.T) {
	f := newFixture(t)
	s := f.open("a", "1")
	for _, call := range []string{"put?a=2", "delete?key=a", "invalidate"} {
		for _, method := range []string{"GET", "POST"} {
			f.expect(f.send(method, "/session/"+call, zCookie(s.Text), header("Sec-Fetch-Site", "cross-site")), 403, exchange.ErrForeignOrigin.Code)
			f.expect(f.send(method, "/session/"+call, zCookie(s.Text), header("Origin", "http://evil.example")), 403, exchange.ErrForeignOrigin.Code)
		}
	}
	if attrs, live := f.attributes(s); !live || attrs["a"] != "1" {
		t.Error("changed by a foreign page")
	}
}

func TestCallsWhenTheClusterCannot(t *testing.T) {
	f := newFixture(t)
	s := f.open()
	f.fake.set(func(c *fakeCluster) { c.after = func(session.Command) error { return cluster.ErrOutcomeUnknown } })
	for _, call := range []string{"put?a=b", "delete", "invalidate"} {
		a := f.send("POST", "/session/"+call, zCookie(s.Text), header("Accept", "text/html"))
		f.expect(a, 503, cluster.ErrOutcomeUnknown.Code)
		if a.get("Set-Cookie") != "" || a.get("Etag") != "" {
			t.Errorf("%s: cookie %q, ETag %q", call, a.get("Set-Cookie"), a.get("Etag"))
		}
	}
	f.fake.set(func(c *fakeCluster) { c.after, c.lookupErr = nil, cluster.ErrNoLeader })
	for _, call := range []string{"put?a=b", "get", "delete", "invalidate"} {
		f.expect(f.send("POST", "/session/"+call, zCookie(s.Text), header("Accept", "text/html")), 503, cluster.ErrNoLeader.Code)
	}
	f.expect(f.send("GET", "/index.csp", zCookie(s.Text)), 503, cluster.ErrNoLeader.Code)
}
