package httpapi

import (
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"cloakroom/httpapi/credential"
)

func zCookie(value string) option { return cookie("zsessionid=" + value) }

func formBody(body string) option {
	return func(ctx *fasthttp.RequestCtx) {
		ctx.Request.Header.SetContentType("application/x-www-form-urlencoded")
		ctx.Request.SetBodyString(body)
	}
}

// browser is what a modern browser sends with a form of the login page.
func browser() option {
	return func(ctx *fasthttp.RequestCtx) {
		ctx.Request.Header.Set("Origin", "http://cloak.example")
		ctx.Request.Header.Set("Sec-Fetch-Site", "same-origin")
	}
}

const annsLogin = "z_username=ann&z_password=correct+horse"

// zToken returns the token that an answer's first cookie carries; it must be zsessionid's.
func zToken(t *testing.T, a answer) string {
	t.Helper()
	text, ok := strings.CutPrefix(a.get("Set-Cookie"), "zsessionid=")
	if !ok {
		t.Fatalf("status %d, first cookie %q: not zsessionid", a.status, a.get("Set-Cookie"))
	}
	value, attributes, _ := strings.Cut(text, ";")
	if attributes != "Path=/;HttpOnly;SameSite=Lax" {
		t.Errorf("cookie attributes %q", attributes)
	}
	return value
}

// anonymous returns the token that the login page comes with.
func (f *fixture) anonymous() string {
	f.t.Helper()
	a := f.send("GET", "/index.csp")
	f.expect(a, 200, "")
	return zToken(f.t, a)
}

// checkLoginPage expects the login page, and the given status.
func (f *fixture) checkLoginPage(a answer, status int) {
	f.t.Helper()
	f.expect(a, status, "")
	if a.get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(a.body, `action="/z_security_check"`) {
		f.t.Fatalf("not the login page: %s %.80q", a.get("Content-Type"), a.body)
	}
}

// username returns whose session a token is, "" for nobody's.
func (f *fixture) username(text string) string {
	f.t.Helper()
	key, ok := credential.Parse([]byte(text))
	if !ok {
		return ""
	}
	f.fake.mu.Lock()
	defer f.fake.mu.Unlock()
	view, ok := f.fake.machine.Lookup(key)
	if !ok {
		return ""
	}
	return view.Session.Username
}

// attributes returns what the machine holds for a session.
func (f *fixture) attributes(t credential.Token) (attrs map[string]string, live bool) {
	f.t.Helper()
	f.fake.mu.Lock()
	defer f.fake.mu.Unlock()
	sess, ok := f.fake.machine.Session(t.Key)
	if !ok {
		return nil, false
	}
	attrs = map[string]string{}
	for _, a := range sess.Attrs {
		attrs[a.Key] = a.Value
	}
	return attrs, true
}

// proposed returns how many commands the cluster was given.
func (f *fixture) proposed() int {
	f.fake.mu.Lock()
	defer f.fake.mu.Unlock()
	return len(f.fake.commands)
}
