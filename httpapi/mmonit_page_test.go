package httpapi

import (
	"strings"
	"testing"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/mmonit"
)

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
}

func TestPageHeaders(t *testing.T) {
	f := newFixture(t)
	s := f.create(session.Create{Username: "ann"})
	for _, a := range []answer{f.send("GET", "/index.csp"), f.send("GET", "/index.csp", zCookie(s.Text)), f.send("POST", "/z_security_check")} {
		for name, want := range map[string]string{
			"Content-Security-Policy": mmonit.PagePolicy,
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
		if strings.Contains(a.body, s.Text) || strings.Contains(a.body, credential.CSRFToken([]byte(s.Text))) {
			t.Error("the page shows a secret")
		}
	}
}
