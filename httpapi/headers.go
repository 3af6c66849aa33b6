package httpapi

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"cloakroom/httpapi/exchange"
)

// Settings of Config.HSTS. A year is what it takes to be on browsers' own lists; of names below this one only their
// owner can speak.
const (
	DefaultHSTS = "max-age=31536000"
	HSTSOff     = "off"
)

// armour is what every answer begins with, made once: to copy all of it costs less than to set one header by its name.
type armour struct {
	plain  fasthttp.ResponseHeader
	secure fasthttp.ResponseHeader // to a connection under TLS
	hsts   []byte                  // for one whose client speaks TLS to a trusted proxy; nil: none
}

// newArmour makes the headers that every answer has, errors and redirects among them: nothing may be stored, taken for
// another type than it says, loaded into a page of another origin, or named to the site that a link or a redirect leads
// to. Pages have more (writePage).
func newArmour(hsts string) *armour {
	a := &armour{}
	for _, h := range []*fasthttp.ResponseHeader{&a.plain, &a.secure} {
		h.SetNoDefaultContentType(true)
		h.Set(fasthttp.HeaderCacheControl, exchange.HeaderNoStore)
		h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set(fasthttp.HeaderReferrerPolicy, "no-referrer")
	}
	if hsts != HSTSOff {
		a.hsts = []byte(hsts)
		a.secure.Set(fasthttp.HeaderStrictTransportSecurity, hsts)
	}
	return a
}

// put makes the answer nothing but armour. secure says that the connection is under TLS.
func (a *armour) put(ctx *fasthttp.RequestCtx, secure bool) {
	h, from := &ctx.Response.Header, &a.plain
	if secure {
		from = &a.secure
	}
	from.CopyTo(h)
}

// putBehindProxy adds what put can't know yet: that the client speaks TLS to the proxy in front of this node. What
// counts is how the answer reaches the client, not how it leaves here (RFC 6797, 7.2): over plain HTTP the header must
// not be sent, and browsers pass over it.
func (s *Server) putBehindProxy(rc *exchange.Request) {
	if s.armour.hsts != nil && len(rc.Scheme) > 0 && !s.clients.IsSecure(rc) && s.clients.IsHTTPS(rc) {
		rc.Ctx.Response.Header.SetCanonical([]byte(fasthttp.HeaderStrictTransportSecurity), s.armour.hsts)
	}
}

// CheckHSTS checks a value of Config.HSTS: off, or one of Strict-Transport-Security, max-age, and perhaps includeSubDomains and preload (RFC 6797,
// 6.1). A mistake in it would last in browsers for as long as it says.
func CheckHSTS(value string) error {
	if value == HSTSOff {
		return nil
	}
	seen := map[string]bool{}
	for directive := range strings.SplitSeq(value, ";") {
		name, number, valued := strings.Cut(strings.TrimSpace(directive), "=")
		name = strings.ToLower(name)
		_, err := strconv.ParseUint(number, 10, 31)
		switch {
		case seen[name]:
			return fmt.Errorf("HSTS %q: %s is there twice", value, name)
		case name == "max-age" && err == nil, name == "includesubdomains" && !valued, name == "preload" && !valued:
		default:
			return fmt.Errorf("HSTS %q: must have the form max-age=SECONDS[; includeSubDomains][; preload], or be %q", value, HSTSOff)
		}
		seen[name] = true
	}
	if !seen["max-age"] {
		return fmt.Errorf("HSTS %q: lacks max-age", value)
	}
	return nil
}
