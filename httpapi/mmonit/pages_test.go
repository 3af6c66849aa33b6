package mmonit

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/exchange"
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
		if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(PagePolicy, want) {
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

// What is put into a page stays text.
func TestPagesEscape(t *testing.T) {
	rc := &exchange.Request{Ctx: new(fasthttp.RequestCtx)}
	(&Pages{}).writeLoginPage(rc, 401, `<b>"bad"</b>`, `/a"b`)
	if body := string(rc.Ctx.Response.Body()); strings.Contains(body, "<b>") || !strings.Contains(body, "&lt;b&gt;") || !strings.Contains(body, `value="/a&#34;b"`) {
		t.Errorf("message or URL not escaped: %s", body)
	}
	writeIndexPage(rc, &session.Session{Head: session.Head{Username: "<i>ann", Realm: "{{username}}&"}})
	if body := string(rc.Ctx.Response.Body()); strings.Contains(body, "<i>") || !strings.Contains(body, "&lt;i&gt;ann") || !strings.Contains(body, "<dd>{{username}}&amp;</dd>") {
		t.Errorf("name not escaped: %s", body)
	}
}
