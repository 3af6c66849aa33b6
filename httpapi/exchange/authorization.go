package exchange

import (
	"bytes"
	"encoding/base64"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/realm"
)

// Schemed returns what follows the name of a scheme in the header Authorization.
func (rc *Request) Schemed(name string) ([]byte, bool) {
	header := rc.Authorization
	if len(header) <= len(name) || header[len(name)] != ' ' || !strings.EqualFold(string(header[:len(name)]), name) {
		return nil, false
	}
	return bytes.TrimSpace(header[len(name):]), true
}

// BearerToken returns the bearer token of the request as if a cookie had carried it. One without the form of ours is
// somebody else's, an application's behind the same proxy, and not looked at.
func (rc *Request) BearerToken() (v credential.Cookie, ok bool) {
	if len(rc.Authorization) == 0 {
		return v, false
	}
	text, ok := rc.Schemed("Bearer")
	if !ok {
		return v, false
	}
	key, ok := credential.ParseBearer(text)
	return credential.Cookie{Present: true, OK: ok, Bearer: true, Text: text, Key: key}, ok
}

// IsJWT reports whether a bearer token has the form of a JWT.
func IsJWT(text []byte) bool { return bytes.Count(text, []byte(".")) == 2 }

// BasicHeader returns what follows "Basic " in the header Authorization.
func BasicHeader(rc *Request) ([]byte, bool) { return rc.Schemed("Basic") }

// BasicLogin reads a user name and a password out of what a Basic login says (RFC 7617, in UTF-8). The error is
// realm.ErrInvalidCredentials.
func BasicLogin(encoded []byte) (username, password string, err error) {
	plain, err := base64.StdEncoding.AppendDecode(nil, encoded)
	first, rest, found := bytes.Cut(plain, []byte(":"))
	if err != nil || !found || !utf8.Valid(plain) {
		return "", "", realm.ErrInvalidCredentials
	}
	return string(first), string(rest), nil
}

// RealmParam returns the realm that a request names, native where it names none.
func RealmParam(rc *Request) string {
	if name := rc.Ctx.QueryArgs().Peek("realmName"); len(name) > 0 {
		return string(name)
	}
	return session.NativeRealm
}

// Challenge tells a client whose bearer token is not good that it is that (RFC 6750, 3.1).
func Challenge(rc *Request, err error) {
	if _, ok := rc.Schemed("Bearer"); err == nil || !ok {
		return
	}
	if status, _, _ := AnswerOf(err); status == fasthttp.StatusUnauthorized {
		rc.Ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, `Bearer error="invalid_token"`)
	}
}

// HeadLines goes through the lines of a request's head in the spelling that they came in. fasthttp's own list has the
// trailer's lines in it, and its own spelling.
func HeadLines(h *fasthttp.RequestHeader) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		for raw := h.RawHeaders(); len(raw) > 0; {
			line, rest, _ := bytes.Cut(raw, []byte("\n"))
			raw = rest
			name, value, ok := bytes.Cut(line, []byte(":"))
			if ok && !yield(bytes.TrimSpace(name), bytes.TrimSpace(value)) {
				return
			}
		}
	}
}
