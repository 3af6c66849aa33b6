package httpapi

import (
	"bytes"
	_ "embed"
	"html"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
)

// The pages work without scripts and load nothing. Everything that is put into them goes through html.EscapeString,
// and into text or a quoted attribute only.
var (
	//go:embed mmonit_login.html
	loginHTML string
	//go:embed mmonit_index.html
	indexHTML string
)

// pagePolicy lets a page use its one style sheet, by its hash, and send its form back here; nothing else.
const pagePolicy = "default-src 'none'; style-src 'sha256-IlpGHJ3eLw6/gNcnAGkxsG8LYEDUU99CK6VRelxI98U='; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// writeLoginPage answers with the login page. message is why the reader sees it again; back is where the login leads.
func writeLoginPage(rc *request, status int, message, back string) {
	notice, hidden := "", ""
	if message != "" {
		notice = `<p class="notice" role="alert">` + html.EscapeString(message) + `</p>`
	}
	if validReturnURL(back) {
		hidden = `<input type="hidden" name="` + returnArg + `" value="` + html.EscapeString(back) + `">`
	}
	writePage(rc, status, strings.NewReplacer("{{notice}}", notice, "{{hidden}}", hidden).Replace(loginHTML))
}

// writeIndexPage answers with the page of who is logged in.
func writeIndexPage(rc *request, view session.View) {
	const layout = "2006-01-02 15:04 UTC"
	sess := view.Session
	writePage(rc, fasthttp.StatusOK, strings.NewReplacer(
		"{{username}}", html.EscapeString(sess.Username),
		"{{realm}}", html.EscapeString(sess.Realm),
		"{{created}}", sess.Created.Std().Format(layout),
		"{{expires}}", sess.Expires.Std().Format(layout),
		"{{attributes}}", strconv.Itoa(len(sess.Attrs)),
	).Replace(indexHTML))
}

func writePage(rc *request, status int, page string) {
	h := &rc.ctx.Response.Header
	h.SetContentType("text/html; charset=utf-8")
	h.Set(fasthttp.HeaderContentSecurityPolicy, pagePolicy)
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	h.Set(fasthttp.HeaderXFrameOptions, "DENY")
	// Not no-referrer: that would make browsers send the login with "Origin: null", a foreign one.
	h.Set(fasthttp.HeaderReferrerPolicy, "same-origin")
	rc.ctx.SetStatusCode(status)
	rc.ctx.SetBodyString(page)
}

// prefersHTML reports whether a request would rather have a page than JSON: text/html is named in Accept, and weighs
// more than application/json does there, or as much and is named first (RFC 9110, 12.5.1). "*/*" asks for no page:
// command line clients send it.
func prefersHTML(rc *request) bool {
	var page, data float64
	pageFirst := false
	for _, line := range rc.ctx.Request.Header.PeekAll(fasthttp.HeaderAccept) {
		for item := range bytes.SplitSeq(line, []byte(",")) {
			kind, params, _ := bytes.Cut(item, []byte(";"))
			switch strings.ToLower(string(bytes.TrimSpace(kind))) {
			case "text/html":
				page = max(page, quality(params))
				pageFirst = pageFirst || data == 0
			case typeJSON:
				data = max(data, quality(params))
			}
		}
	}
	return page > data || page > 0 && page == data && pageFirst
}

// quality returns the weight among a media range's parameters, 1 where there is none, 0 where it is nonsense.
func quality(params []byte) float64 {
	for param := range bytes.SplitSeq(params, []byte(";")) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(param), []byte("="))
		if !bytes.EqualFold(bytes.TrimSpace(name), []byte("q")) {
			continue
		}
		q, err := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
		if err == nil && q >= 0 && q <= 1 {
			return q
		}
		return 0
	}
	return 1
}
