package access

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"

	"cloakroom/httpapi/exchange"
)

// CheckOrigin refuses a changing request that a page of another origin makes a browser send: cookies, a Basic login
// that the browser remembers, and the login itself (an attacker's account for the victim) would all serve it.
// Sec-Fetch-Site is the browser's own word and decides where it is sent; over plain HTTP browsers don't send it, and
// then Origin does. A client that sends neither is no browser.
func (cl *Clients) CheckOrigin(rc *exchange.Request) error {
	h := &rc.Ctx.Request.Header
	origin := h.Peek(fasthttp.HeaderOrigin)
	if len(origin) > 0 && cl.Origins[string(origin)] {
		return nil
	}
	switch site := h.Peek("Sec-Fetch-Site"); string(site) {
	case "same-origin", "none":
		return nil
	case "":
		if len(origin) == 0 || cl.ownOrigin(rc, string(origin)) {
			return nil
		}
	}
	return exchange.ErrForeignOrigin
}

// ownOrigin reports whether an origin is the one that the request was sent to. The scheme is compared only where it is
// known to be https: behind a proxy that is not trusted it is not known.
func (cl *Clients) ownOrigin(rc *exchange.Request, origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || !strings.EqualFold(u.Host, string(rc.Ctx.Host())) {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && !cl.IsHTTPS(rc)
}

// CheckAllowed checks an origin that is to be allowed. It is compared with what browsers send (RFC 6454, 6.2), so it
// must be written as they do: what can never be equal would be a mistake that nobody notices, and "null" is the origin
// of every page that hides its own.
func CheckAllowed(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || origin != u.Scheme+"://"+u.Host {
		return fmt.Errorf("allowed origin %q: must have the form https://host[:port]", origin)
	}
	port := u.Port()
	if strings.HasSuffix(u.Host, ":") || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return fmt.Errorf("allowed origin %q: browsers leave this port out", origin)
	}
	for _, r := range u.Host {
		if r <= ' ' || r > '~' || 'A' <= r && r <= 'Z' || r == '*' {
			return fmt.Errorf("allowed origin %q: %q is not in what browsers send: there are small letters only, punycode for others, and no patterns", origin, r)
		}
	}
	return nil
}

// AllowOrigin lets the pages of an allowed origin read the answer (CORS, Fetch standard 3.2). Others get no header,
// and the browser keeps the answer from them.
func (cl *Clients) AllowOrigin(rc *exchange.Request) {
	if len(cl.Origins) == 0 {
		return
	}
	h := &rc.Ctx.Response.Header
	h.Add(fasthttp.HeaderVary, fasthttp.HeaderOrigin)
	origin := rc.Ctx.Request.Header.Peek(fasthttp.HeaderOrigin)
	if len(origin) == 0 || !cl.Origins[string(origin)] {
		return
	}
	h.SetBytesV(fasthttp.HeaderAccessControlAllowOrigin, origin)
	h.Set(fasthttp.HeaderAccessControlAllowCredentials, "true")
	h.Set(fasthttp.HeaderAccessControlExposeHeaders, "Consistency, ETag, Link, Retry-After, X-Request-Id")
}
