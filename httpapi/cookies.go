package httpapi

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
)

// surface is one of the two APIs. Its cookie is read first in its own calls.
type surface uint8

const (
	fusion surface = iota // cookie id, Path=/api
	mmonit                // cookie zsessionid, Path=/
)

const (
	fusionCookie = "id"
	mmonitCookie = "zsessionid"
)

// cookieValue is what a request says in the cookies of one name. text belongs to the request: it is valid only until
// the handler returns.
type cookieValue struct {
	of       surface
	present  bool // there is a cookie of that name with a value
	ok       bool // it has the form of a token, and key is its key
	conflict bool // two cookies of that name name different sessions
	text     []byte
	key      session.Key
}

// cookies are the cookies of a request that matter here.
type cookies struct {
	fusion cookieValue
	mmonit cookieValue
}

// scanCookies reads the Cookie headers as clients really send them: a trailing semicolon, blanks, quotes and stray
// attributes (Path=/, HttpOnly) are passed over. Values that can't be a token don't name a session, so they neither
// conflict with nor hide one that can: other applications on the host use the name id too.
func scanCookies(h *fasthttp.RequestHeader) cookies {
	c := cookies{fusion: cookieValue{of: fusion}, mmonit: cookieValue{of: mmonit}}
	for _, line := range h.PeekAll(fasthttp.HeaderCookie) {
		for len(line) > 0 {
			var pair []byte
			if i := bytes.IndexByte(line, ';'); i >= 0 {
				pair, line = line[:i], line[i+1:]
			} else {
				pair, line = line, nil
			}
			i := bytes.IndexByte(pair, '=')
			if i < 0 {
				continue
			}
			switch string(bytes.TrimSpace(pair[:i])) {
			case fusionCookie:
				c.fusion.add(pair[i+1:])
			case mmonitCookie:
				c.mmonit.add(pair[i+1:])
			}
		}
	}
	return c
}

func (v *cookieValue) add(text []byte) {
	text = bytes.TrimSpace(text)
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	}
	if len(text) == 0 {
		return
	}
	v.present = true
	key, ok := parseToken(text)
	switch {
	case !ok:
	case !v.ok:
		v.ok, v.text, v.key = true, text, key
	case v.key != key:
		v.conflict = true
	}
}

// of returns the cookie that a call of a surface goes by: its own, or the other one when its own is absent. The error
// is ErrSessionInvalid.
func (c *cookies) of(own surface) (cookieValue, error) {
	v, other := c.fusion, c.mmonit
	if own == mmonit {
		v, other = other, v
	}
	if !v.present {
		v = other
	}
	if !v.ok || v.conflict {
		return cookieValue{}, session.ErrSessionInvalid
	}
	return v, nil
}

// CookieSecure says when cookies carry the attribute Secure.
type CookieSecure string

// The settings of CookieSecure.
const (
	SecureAuto   CookieSecure = "auto" // when the request came by TLS, as far as this node or a trusted proxy knows
	SecureAlways CookieSecure = "always"
	SecureNever  CookieSecure = "never"
)

// setCookie sends a surface's cookie with a new token, first among the cookies of the answer.
func (s *Server) setCookie(rc *request, of surface, t token) {
	rc.buf = s.appendCookie(rc.buf[:0], rc, of, t.text)
	rc.ctx.Response.Header.AddBytesV(fasthttp.HeaderSetCookie, rc.buf)
}

// expireCookie makes the client forget a surface's cookie.
func (s *Server) expireCookie(rc *request, of surface) {
	rc.buf = s.appendCookie(rc.buf[:0], rc, of, "")
	rc.buf = append(rc.buf, ";Max-Age=0;Expires=Thu, 01 Jan 1970 00:00:00 GMT"...)
	rc.ctx.Response.Header.AddBytesV(fasthttp.HeaderSetCookie, rc.buf)
}

// appendCookie writes the attributes in the order and without the blanks of the product's own answers: some clients
// compare or cut them by hand.
func (s *Server) appendCookie(dst []byte, rc *request, of surface, value string) []byte {
	switch of {
	case fusion:
		dst = append(append(append(dst, fusionCookie+"="...), value...), ";HttpOnly;Path=/api"...)
	case mmonit:
		dst = append(append(append(dst, mmonitCookie+"="...), value...), ";Path=/;HttpOnly"...)
	}
	if s.cfg.CookieDomain != "" {
		dst = append(append(dst, ";Domain="...), s.cfg.CookieDomain...)
	}
	dst = append(dst, ";SameSite=Lax"...)
	if s.cfg.CookieSecure == SecureAlways || s.cfg.CookieSecure == SecureAuto && s.isHTTPS(rc) {
		dst = append(dst, ";Secure"...)
	}
	return dst
}
