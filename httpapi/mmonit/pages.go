package mmonit

import (
	_ "embed"
	"html"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/exchange"
)

// The pages work without scripts and load nothing. Everything that is put into them goes through html.EscapeString,
// and into text or a quoted attribute only.
var (
	//go:embed login.html
	loginHTML string
	//go:embed index.html
	indexHTML string
)

// Pages writes the pages for people who have to log in.
type Pages struct {
	Returns returnOrigins
}

// PagePolicy lets a page use its one style sheet, by its hash, and send its form back here; nothing else.
const PagePolicy = "default-src 'none'; style-src 'sha256-IlpGHJ3eLw6/gNcnAGkxsG8LYEDUU99CK6VRelxI98U='; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// writeLoginPage answers with the login page. message is why the reader sees it again; back is where the login leads.
func (p *Pages) writeLoginPage(rc *exchange.Request, status int, message, back string) {
	notice, hidden := "", ""
	if message != "" {
		notice = `<p class="notice" role="alert">` + html.EscapeString(message) + `</p>`
	}
	if p.Returns.Valid(back) {
		hidden = `<input type="hidden" name="` + ReturnArg + `" value="` + html.EscapeString(back) + `">`
	}
	writePage(rc, status, strings.NewReplacer("{{notice}}", notice, "{{hidden}}", hidden).Replace(loginHTML))
	rc.Ctx.Response.Header.Set(fasthttp.HeaderContentSecurityPolicy, p.Returns.policy())
}

// writeIndexPage answers with the page of who is logged in.
func writeIndexPage(rc *exchange.Request, sess *session.Session) {
	const layout = "2006-01-02 15:04 UTC"
	writePage(rc, fasthttp.StatusOK, strings.NewReplacer(
		"{{username}}", html.EscapeString(sess.Username),
		"{{realm}}", html.EscapeString(sess.Realm),
		"{{created}}", sess.Created.Std().Format(layout),
		"{{expires}}", sess.Expires.Std().Format(layout),
		"{{attributes}}", strconv.Itoa(len(sess.Attrs)),
	).Replace(indexHTML))
}

func writePage(rc *exchange.Request, status int, page string) {
	h := &rc.Ctx.Response.Header
	h.SetContentType("text/html; charset=utf-8")
	h.Set(fasthttp.HeaderContentSecurityPolicy, PagePolicy)
	h.Set(fasthttp.HeaderXFrameOptions, "DENY") // for browsers that don't know frame-ancestors
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	// Not no-referrer, as elsewhere: that would make browsers send the login with "Origin: null" (Fetch standard, 3.1),
	// and over plain HTTP there is nothing else to go by.
	h.Set(fasthttp.HeaderReferrerPolicy, "same-origin")
	rc.Ctx.SetStatusCode(status)
	rc.Ctx.SetBodyString(page)
}
