package httpapi

import (
	"bytes"
	"errors"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"

	"cloakroom/httpapi/access"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/mmonit"
)

// forwardAuth answers proxies that ask before they let a request through.
type forwardAuth struct {
	loginURL string // where browsers are sent
	state    *access.State
	clients  *access.Clients
	jar      *access.Jar
	callers  *access.Callers
	pages    *mmonit.Pages
}

// What proxies say of the request that forward auth is about.
const (
	headerForwardedMethod = "X-Forwarded-Method"
	headerForwardedHost   = "X-Forwarded-Host"
	headerForwardedURI    = "X-Forwarded-Uri"
)

// forward is forward auth for applications that people use: GET /auth/forward answers as GET /auth/verify does, but who
// asks for a page and has no session is sent to log in, and comes back. The login is one of the M/Monit surface, whose
// cookie is good for every path, so that cookie is read first: another one left over from before would send its bearer
// to the login page for ever.
func (f *forwardAuth) forward(rc *exchange.Request) error {
	v, ok := rc.BearerToken()
	if !ok {
		c := f.jar.ScanCookies(rc)
		var err error
		if v, err = c.Of(credential.MMonit); err != nil {
			return f.toLogin(rc, err)
		}
	}
	view, err := f.callers.LookupOf(rc, v, f.state.Standard)
	if err != nil {
		return f.toLogin(rc, err)
	}
	rc.ShowIdentity(view)
	return nil
}

// toLogin sends a page's reader to log in. Everybody else gets the error: a script that asks for data must not take the
// login page for them, and what is not a GET would not be repeated afterwards.
func (f *forwardAuth) toLogin(rc *exchange.Request, err error) error {
	if !exchange.IsSignedOut(err) || !navigates(rc) {
		return err
	}
	asked, known := askedFor(rc)
	if known && f.isLoginPage(rc, asked) {
		return err // it is protected by itself: to send its reader there again would have no end
	}
	location := f.loginURL
	if back := f.wayBack(rc, asked); known && f.pages.Returns.Valid(back) {
		location += "?" + mmonit.ReturnArg + "=" + url.QueryEscape(back)
	}
	// Not by Redirect, which would make it absolute.
	rc.Ctx.Response.Header.Set(fasthttp.HeaderLocation, location)
	rc.Ctx.SetStatusCode(fasthttp.StatusFound)
	return nil
}

// navigates reports whether a person waits for a page: by the browser's own word (Fetch metadata), or, where it sends
// none, by what is accepted.
func navigates(rc *exchange.Request) bool {
	h := &rc.Ctx.Request.Header
	for _, method := range h.PeekAll(headerForwardedMethod) {
		if string(method) != fasthttp.MethodGet && string(method) != fasthttp.MethodHead {
			return false
		}
	}
	if mode := h.Peek("Sec-Fetch-Mode"); len(mode) > 0 {
		dest := h.Peek("Sec-Fetch-Dest")
		return string(mode) == "navigate" && (len(dest) == 0 || string(dest) == "document") // the login page can't be framed
	}
	return len(h.Peek("X-Requested-With")) == 0 && exchange.PrefersHTML(rc)
}

// askedFor returns the path and query that the proxy was asked for. What can stand in a query but not in a URL to return
// to is escaped there, which changes nothing of what it says. false: the proxy does not say, or says two things.
func askedFor(rc *exchange.Request) (string, bool) {
	lines := rc.Ctx.Request.Header.PeekAll(headerForwardedURI)
	if len(lines) != 1 {
		return "", false
	}
	path, query, found := bytes.Cut(lines[0], []byte("?"))
	if !found {
		return string(path), true
	}
	return string(path) + "?" + escapeQuery(query), true
}

// escapeQuery escapes what validReturnURL takes offence at, in a query only: paths have no other spelling that every
// server takes for the same.
func escapeQuery(query []byte) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i, c := range query {
		if c <= ' ' || c > '~' || c == '\\' || c == '/' && i > 0 && query[i-1] == '/' {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// wayBack returns what leads from the login page to what was asked for: the path, or the whole URL where the login page
// is on a host of its own.
func (f *forwardAuth) wayBack(rc *exchange.Request, asked string) string {
	if f.loginURL[0] == '/' {
		return asked
	}
	return f.originOf(rc) + asked
}

// originOf returns the origin that the proxy was asked at. It is only compared: a client may have made it up.
func (f *forwardAuth) originOf(rc *exchange.Request) string {
	host := rc.Ctx.Host()
	if lines := rc.Ctx.Request.Header.PeekAll(headerForwardedHost); len(lines) == 1 && f.clients.PeerTrusted(rc) {
		host = lines[0]
	}
	if f.clients.IsHTTPS(rc) {
		return "https://" + string(host)
	}
	return "http://" + string(host)
}

// isLoginPage reports whether what was asked for is where logins are made.
func (f *forwardAuth) isLoginPage(rc *exchange.Request, asked string) bool {
	login := f.loginURL
	if login[0] != '/' {
		asked = f.originOf(rc) + asked
	}
	path, _, _ := strings.Cut(asked, "?")
	return path == login
}

// errLoginURL is why a login page can't be where it is said to be.
var errLoginURL = errors.New("must be a path such as " + mmonit.IndexPath + ", or a URL such as https://login.example" + mmonit.IndexPath + ", without a query")

// CheckLoginURL checks a value of Config.LoginURL.
func CheckLoginURL(text string) error {
	if text == "" || mmonit.ValidReturnURL(text) && !strings.ContainsAny(text, "?#") {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return errLoginURL
	}
	origin := u.Scheme + "://" + u.Host
	rest, found := strings.CutPrefix(text, origin)
	if !found || access.CheckAllowed(origin) != nil || !mmonit.ValidReturnURL(rest) || strings.ContainsAny(rest, "?#") {
		return errLoginURL
	}
	return nil
}
