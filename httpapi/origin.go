package httpapi

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// checkOrigin refuses a changing request that a page of another origin makes a browser send: cookies, a Basic login
// that the browser remembers, and the login itself (an attacker's account for the victim) would all serve it.
// Sec-Fetch-Site is the browser's own word and decides where it is sent; over plain HTTP browsers don't send it, and
// then Origin does. A client that sends neither is no browser.
func (s *Server) checkOrigin(rc *request) error {
	h := &rc.ctx.Request.Header
	origin := h.Peek(fasthttp.HeaderOrigin)
	if len(origin) > 0 && s.origins[string(origin)] {
		return nil
	}
	switch site := h.Peek("Sec-Fetch-Site"); string(site) {
	case "same-origin", "none":
		return nil
	case "":
		if len(origin) == 0 || s.ownOrigin(rc, string(origin)) {
			return nil
		}
	}
	return errForeignOrigin
}

// ownOrigin reports whether an origin is the one that the request was sent to. The scheme is compared only where it is
// known to be https: behind a proxy that is not trusted it is not known.
func (s *Server) ownOrigin(rc *request, origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || !strings.EqualFold(u.Host, string(rc.ctx.Host())) {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && !s.isHTTPS(rc)
}

// fromBrowser reports whether a request shows any sign of a modern browser.
func fromBrowser(rc *request) bool {
	h := &rc.ctx.Request.Header
	if len(h.Peek(fasthttp.HeaderOrigin)) > 0 {
		return true
	}
	for _, key := range h.PeekKeys() {
		if len(key) >= len(secFetch) && strings.EqualFold(string(key[:len(secFetch)]), secFetch) {
			return true
		}
	}
	return false
}

const secFetch = "Sec-Fetch-"

// allowOrigin lets the pages of an allowed origin read the answer (CORS, Fetch standard 3.2). Others get no header,
// and the browser keeps the answer from them.
func (s *Server) allowOrigin(rc *request) {
	if len(s.origins) == 0 {
		return
	}
	h := &rc.ctx.Response.Header
	h.Add(fasthttp.HeaderVary, fasthttp.HeaderOrigin)
	origin := rc.ctx.Request.Header.Peek(fasthttp.HeaderOrigin)
	if len(origin) == 0 || !s.origins[string(origin)] {
		return
	}
	h.SetBytesV(fasthttp.HeaderAccessControlAllowOrigin, origin)
	h.Set(fasthttp.HeaderAccessControlAllowCredentials, "true")
	h.Set(fasthttp.HeaderAccessControlExposeHeaders, "ETag, Link, Retry-After, X-Request-Id")
}

// options answers OPTIONS, a preflight among them. It is answered without a login: browsers send none with it.
func (s *Server) options(rc *request) error {
	h := &rc.ctx.Response.Header
	h.Set(fasthttp.HeaderAllow, rc.route.allow)
	if len(h.Peek(fasthttp.HeaderAccessControlAllowOrigin)) > 0 {
		h.Set(fasthttp.HeaderAccessControlAllowMethods, rc.route.allow)
		h.Set(fasthttp.HeaderAccessControlAllowHeaders, "Authorization, Content-Type, CSRFToken, Consistency, If-Match, X-No-Touch, X-Request-Id")
		h.Set(fasthttp.HeaderAccessControlMaxAge, strconv.Itoa(int(corsMaxAge.Seconds())))
	}
	return noContent(rc)
}
