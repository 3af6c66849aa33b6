package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"cloakroom/cluster/session"
)

// The policy names the style sheet by its hash: one that differs would leave the pages bare.
func TestPagePolicyFitsThePages(t *testing.T) {
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`)
	for name, page := range map[string]string{"login": loginHTML, "index": indexHTML} {
		m := style.FindStringSubmatch(page)
		if m == nil {
			t.Fatalf("%s: no style sheet", name)
		}
		sum := sha256.Sum256([]byte(m[1]))
		if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(pagePolicy, want) {
			t.Errorf("%s: the policy lacks %s", name, want)
		}
		for _, not := range []string{"<script", "http:", "https:", "javascript:", " style=", " on"} {
			if strings.Contains(strings.ReplaceAll(page, m[1], ""), not) {
				t.Errorf("%s: has %q, which the policy forbids or a reader without it misses", name, not)
			}
		}
		if !strings.Contains(page, `name="viewport"`) {
			t.Errorf("%s: no viewport: unreadable on a telephone", name)
		}
	}
}

// Whatever a request brings into a page stays text.
func TestPagesEscape(t *testing.T) {
	f := newFixture(t)
	a := f.send("GET", `/index.csp?z_return=/%3C/"'><script>alert(1)</script>{{notice}}`)
	f.checkLoginPage(a, 200)
	if strings.Contains(a.body, "<script") || strings.Contains(a.body, `"'>`) {
		t.Errorf("the page holds markup of the request: %s", a.body)
	}
	if !strings.Contains(a.body, `value="/&lt;/&#34;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;{{notice}}"`) {
		t.Errorf("the return URL is not carried along as text: %s", a.body)
	}
	rc := &request{ctx: bareRequest("GET", "/")}
	writeLoginPage(rc, 401, `<b>"bad"</b>`, `/a"b`)
	if body := string(rc.ctx.Response.Body()); strings.Contains(body, "<b>") || !strings.Contains(body, "&lt;b&gt;") || !strings.Contains(body, `value="/a&#34;b"`) {
		t.Errorf("message or URL not escaped: %s", body)
	}
	writeIndexPage(rc, session.View{Session: &session.Session{Username: "<i>ann", Realm: "{{username}}&"}})
	if body := string(rc.ctx.Response.Body()); strings.Contains(body, "<i>") || !strings.Contains(body, "&lt;i&gt;ann") || !strings.Contains(body, "<dd>{{username}}&amp;</dd>") {
		t.Errorf("name not escaped: %s", body)
	}
}

func TestPageHeaders(t *testing.T) {
	f := newFixture(t)
	s := f.create(session.Create{Username: "ann"})
	for _, a := range []answer{f.send("GET", "/index.csp"), f.send("GET", "/index.csp", zCookie(s.text)), f.send("POST", "/z_security_check")} {
		for name, want := range map[string]string{
			"Content-Security-Policy": pagePolicy,
			"X-Content-Type-Options":  "nosniff",
			"X-Frame-Options":         "DENY",
			"Referrer-Policy":         "same-origin",
			"Cache-Control":           "no-store",
		} {
			if a.get(name) != want {
				t.Errorf("status %d: %s is %q", a.status, name, a.get(name))
			}
		}
		if strings.Contains(a.body, "{{") {
			t.Errorf("a place in the page was not filled: %s", a.body)
		}
		if strings.Contains(a.body, s.text) || strings.Contains(a.body, csrfToken([]byte(s.text))) {
			t.Error("the page shows a secret")
		}
	}
}
