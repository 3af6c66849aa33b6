package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"

	"cloakroom/cluster/session"
)

// csrfName is the header, the parameter and the member of a session's attributes that hold the CSRF token. It is
// never an attribute itself.
const csrfName = session.ReservedAttribute

// errCSRF refuses a change that does not repeat the session's CSRF token.
var errCSRF = &session.Error{Code: "csrf-token", Message: "CSRF token missing or wrong"}

// csrfToken derives a session's CSRF token from the session's token, so that nothing needs to be stored. It comes
// from the token itself and not from its key: the key is the session's public handle. From the CSRF token, which pages
// hand around, there is no way back. text is a cookie's value that parseToken has accepted.
func csrfToken(text []byte) string {
	h := sha256.New()
	h.Write([]byte("cloakroom csrf token v1\x00")) // a hash's Write never fails
	for i := range text {
		// Two spellings of one token are one session, and have one CSRF token.
		if c := text[i]; 'A' <= c && c <= 'F' {
			h.Write([]byte{c + 'a' - 'A'})
		} else {
			h.Write([]byte{c})
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// needsCSRF reports whether a change of a session must repeat the CSRF token. A session of the M/Monit login always
// must, unless the login turned that off. On other sessions a POST need not: a SameSite=Lax cookie does not travel on
// a foreign page's form; but it does on a link, so a GET must.
func needsCSRF(sess *session.Session, isGet bool) bool {
	if sess.Surface == session.SurfaceMMonit {
		return !sess.CSRFOff
	}
	return isGet
}

// checkCSRF compares what the request repeats, as header or parameter, with the session's CSRF token. The error is
// errCSRF.
func checkCSRF(rc *request, list args, sess *session.Session, cookie cookieValue) error {
	if !needsCSRF(sess, !rc.ctx.IsPost()) {
		return nil
	}
	want := []byte(csrfToken(cookie.text))
	equal := subtle.ConstantTimeCompare(rc.ctx.Request.Header.Peek(csrfName), want)
	for _, a := range list {
		if a.name == csrfName {
			equal |= subtle.ConstantTimeCompare([]byte(a.value), want)
		}
	}
	if equal != 1 {
		return errCSRF
	}
	return nil
}
