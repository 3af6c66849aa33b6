package mmonit

import (
	"crypto/subtle"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
)

// csrfName is the header, the parameter and the member of a session's attributes that hold the CSRF token. It is
// never an attribute itself.
const csrfName = session.ReservedAttribute

// ErrCSRF refuses a change that does not repeat the session's CSRF token.
var ErrCSRF = &session.Error{Code: "csrf-token", Message: "CSRF token missing or wrong"}

// needsCSRF reports whether a change of a session must repeat the CSRF token. A session of the M/Monit login always
// must, unless the login turned that off. On other sessions a POST need not: a SameSite=Lax cookie does not travel on
// a foreign page's form; but it does on a link, so a GET must. A bearer token travels
// nowhere by itself.
func needsCSRF(sess *session.Head, isGet bool) bool {
	switch sess.Surface {
	case session.SurfaceMMonit:
		return !sess.CSRFOff
	case session.SurfaceBearer:
		return false
	}
	return isGet
}

// checkCSRF compares what the request repeats, as header or parameter, with the session's CSRF token. The error is
// errCSRF.
func checkCSRF(rc *exchange.Request, list exchange.Args, sess *session.Head, cookie credential.Cookie) error {
	if !needsCSRF(sess, !rc.Ctx.IsPost()) {
		return nil
	}
	want := []byte(credential.CSRFToken(cookie.Text))
	equal := subtle.ConstantTimeCompare(rc.Ctx.Request.Header.Peek(csrfName), want)
	for _, a := range list {
		if a.Name == csrfName {
			equal |= subtle.ConstantTimeCompare([]byte(a.Value), want)
		}
	}
	if equal != 1 {
		return ErrCSRF
	}
	return nil
}
