package credential

import (
	"bytes"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
)

// Surface is one of the two APIs. Its cookie is read first in its own calls.
type Surface uint8

const (
	Fusion Surface = iota // cookie id, Path=/api
	MMonit                // cookie zsessionid, Path=/
)

const (
	fusionCookie = "id"
	mmonitCookie = "zsessionid"
)

// Names are the names under which the cookies are sent and read. A cookie of another name is not looked at, also
// where it differs by the prefix alone: that one may have been planted by whoever has a sibling of this host's name, or
// speaks plain HTTP for it.
type Names struct{ Fusion, MMonit string }

// NamesOf returns the cookies' names. Browsers take a cookie with a prefix only over TLS and with the attribute Secure;
// one with __Host- only for this very host and the path "/" (RFC 6265bis, 4.1.3), which Fusion's cookie does not have.
func NamesOf(prefixed bool) Names {
	if prefixed {
		return Names{Fusion: "__Secure-" + fusionCookie, MMonit: "__Host-" + mmonitCookie}
	}
	return Names{Fusion: fusionCookie, MMonit: mmonitCookie}
}

// Cookie is what a request says in the cookies of one name. text belongs to the request: it is valid only until
// the handler returns.
type Cookie struct {
	Of       Surface
	Present  bool // there is a cookie of that name with a value
	OK       bool // it has the form of a token, and key is its key
	Conflict bool // two cookies of that name name different sessions
	Bearer   bool // it is no cookie: the header Authorization had it
	Text     []byte
	Key      session.Key
}

// Cookies are the cookies of a request that matter here.
type Cookies struct {
	Fusion Cookie
	MMonit Cookie
}

// Scan reads the Cookie headers as clients really send them: a trailing semicolon, blanks, quotes and stray
// attributes (Path=/, HttpOnly) are passed over. Values that can't be a token don't name a session, so they neither
// conflict with nor hide one that can: other applications on the host use the name id too.
func (n *Names) Scan(h *fasthttp.RequestHeader) Cookies {
	return n.ScanLines(h.PeekAll(fasthttp.HeaderCookie)...)
}

// ScanLines is scan for the values of the headers.
func (n *Names) ScanLines(lines ...[]byte) Cookies {
	c := Cookies{Fusion: Cookie{Of: Fusion}, MMonit: Cookie{Of: MMonit}}
	for _, line := range lines {
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
			switch string(Trim(pair[:i])) {
			case n.Fusion:
				c.Fusion.add(pair[i+1:])
			case n.MMonit:
				c.MMonit.add(pair[i+1:])
			}
		}
	}
	return c
}

func (v *Cookie) add(text []byte) {
	text = Trim(text)
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	}
	if len(text) == 0 {
		return
	}
	v.Present = true
	key, ok := Parse(text)
	switch {
	case !ok:
	case !v.OK:
		v.OK, v.Text, v.Key = true, text, key
	case v.Key != key:
		v.Conflict = true
	}
}

// Of returns the cookie that a call of a surface goes by: its own, or the other one when its own is absent. The error
// is ErrSessionInvalid.
func (c *Cookies) Of(own Surface) (Cookie, error) {
	v, other := c.Fusion, c.MMonit
	if own == MMonit {
		v, other = other, v
	}
	if !v.Present {
		v = other
	}
	if !v.OK || v.Conflict {
		return Cookie{}, session.ErrSessionInvalid
	}
	return v, nil
}

// Trim is bytes.TrimSpace, for what mostly needs none, or has one blank before it.
func Trim(b []byte) []byte {
	if len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	if n := len(b); n > 0 && b[0] > ' ' && b[0] < 0x7f && b[n-1] > ' ' && b[n-1] < 0x7f {
		return b
	}
	return bytes.TrimSpace(b)
}
