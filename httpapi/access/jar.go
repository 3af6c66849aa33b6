package access

import (
	"github.com/valyala/fasthttp"

	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
)

// CookieSecure says when cookies carry the attribute Secure.
type CookieSecure string

// The settings of CookieSecure.
const (
	SecureAuto   CookieSecure = "auto" // when the request came by TLS, as far as this node or a trusted proxy knows
	SecureAlways CookieSecure = "always"
	SecureNever  CookieSecure = "never"
)

// Jar reads and sets the cookies of both surfaces.
type Jar struct {
	Names   credential.Names
	domain  string
	secure  CookieSecure
	clients *Clients
}

// ScanCookies reads a request's cookies.
func (j *Jar) ScanCookies(rc *exchange.Request) credential.Cookies {
	return j.Names.Scan(&rc.Ctx.Request.Header)
}

// SetCookie sends a surface's cookie with a new token, first among the cookies of the answer.
func (j *Jar) SetCookie(rc *exchange.Request, of credential.Surface, t credential.Token) {
	rc.Buf = j.appendCookie(rc.Buf[:0], rc, of, t.Text)
	rc.Ctx.Response.Header.AddBytesV(fasthttp.HeaderSetCookie, rc.Buf)
}

// ExpireCookie makes the client forget a surface's cookie, if that is what it came with.
func (j *Jar) ExpireCookie(rc *exchange.Request, of credential.Surface) {
	if rc.Bearer {
		return
	}
	rc.Buf = j.appendCookie(rc.Buf[:0], rc, of, "")
	rc.Buf = append(rc.Buf, ";Max-Age=0;Expires=Thu, 01 Jan 1970 00:00:00 GMT"...)
	rc.Ctx.Response.Header.AddBytesV(fasthttp.HeaderSetCookie, rc.Buf)
}

// appendCookie writes the attributes in the order and without the blanks of the product's own answers: some clients
// compare or cut them by hand.
func (j *Jar) appendCookie(dst []byte, rc *exchange.Request, of credential.Surface, value string) []byte {
	switch of {
	case credential.Fusion:
		dst = append(append(append(append(dst, j.Names.Fusion...), '='), value...), ";HttpOnly;Path=/api"...)
	case credential.MMonit:
		dst = append(append(append(append(dst, j.Names.MMonit...), '='), value...), ";Path=/;HttpOnly"...)
	}
	if j.domain != "" {
		dst = append(append(dst, ";Domain="...), j.domain...)
	}
	dst = append(dst, ";SameSite=Lax"...)
	if j.secure == SecureAlways || j.secure == SecureAuto && j.clients.IsHTTPS(rc) {
		dst = append(dst, ";Secure"...)
	}
	return dst
}

// ExpireCookies makes the client forget the session: by this surface's cookie, and by the other one if it was sent.
func (j *Jar) ExpireCookies(rc *exchange.Request, c *credential.Cookies) {
	j.ExpireCookie(rc, credential.MMonit)
	if c.Fusion.Present {
		j.ExpireCookie(rc, credential.Fusion)
	}
}
