package httpapi

import (
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
)

// verify is forward auth: GET /auth/verify, for a proxy that asks before it lets a request through. It answers 200
// with the user in headers, 401, or 503; never a redirect. The level of its reads is the configured one, whatever the
// request says: the header Consistency comes from whoever wants to be let in. It goes by a session's bearer token or
// else by the cookie.
func (f *forwardAuth) verify(rc *exchange.Request) error {
	v, ok := rc.BearerToken()
	if !ok {
		c := f.jar.ScanCookies(rc)
		var err error
		if v, err = c.Of(credential.Fusion); err != nil {
			return err
		}
	}
	view, err := f.callers.LookupOf(rc, v, f.state.Standard)
	if err != nil {
		return err
	}
	rc.ShowIdentity(view)
	return nil
}
