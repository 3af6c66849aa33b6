package httpapi

import (
	"bytes"
	"errors"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// ownSession is /api/session: the session of whoever calls.
type ownSession struct {
	state   *access.State
	jar     *access.Jar
	door    *access.Door
	callers *access.Callers
	logins  *access.Logins
}

// postSession is a login: POST /api/session?realmName=R. Without a user name and a password it goes by what else the
// request brings along.
func (o *ownSession) postSession(rc *exchange.Request) error {
	var body struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	empty := len(bytes.TrimSpace(rc.Ctx.PostBody())) == 0
	if !empty {
		if err := exchange.DecodeJSON(rc, &body); err != nil {
			return err
		}
	}
	password := body.Username != "" || body.Password != ""
	if _, bearer := rc.BearerToken(); bearer && password {
		return realm.ErrTwoCredentials
	}
	if ev, ok := o.door.Evidence(rc, password); ok {
		if ev.Bearer != "" && password {
			return realm.ErrTwoCredentials
		}
		err := o.loginFusion(rc, access.LoginParams{Evidence: ev})
		if !errors.Is(err, realm.ErrNoEvidence) {
			exchange.Challenge(rc, err)
			return err
		}
	}
	switch {
	case empty:
		return exchange.ErrMalformedJSON
	case body.Username == "" || body.Password == "":
		return exchange.MissingField("username and password are required")
	}
	return o.loginFusion(rc, access.LoginParams{Username: body.Username, Password: body.Password})
}

// loginFusion makes a session and sends its cookie. A session that the request's cookie names is ended with it.
func (o *ownSession) loginFusion(rc *exchange.Request, p access.LoginParams) error {
	c := o.jar.ScanCookies(rc)
	p.Realm, p.Surface = exchange.RealmParam(rc), session.SurfaceFusion
	p.Replaces = c.Fusion.Key // one that is over already is no obstacle
	t, err := o.logins.Login(rc, p)
	if err != nil {
		return err
	}
	o.jar.SetCookie(rc, credential.Fusion, t)
	rc.Ctx.SetStatusCode(fasthttp.StatusCreated)
	return nil
}

// getSession shows who the caller is: GET /api/session.
func (o *ownSession) getSession(rc *exchange.Request) error {
	p, err := o.callers.Authenticate(rc)
	if err != nil {
		return err
	}
	if p.Control {
		return exchange.ErrNoSession
	}
	rc.Buf = exchange.AppendSession(rc.Buf[:0], p.View, o.state.Cluster.LastUse(p.View.Session.Key, p.View.Session.LastUse))
	rc.Ctx.Response.Header.SetContentType(exchange.TypeJSON)
	rc.Ctx.SetBody(rc.Buf)
	return nil
}

// deleteSession is a logout: DELETE /api/session. It goes by the bearer token of a session or else by the cookie,
// whatever other credentials there are; without either there is nothing to end, and a call by Basic has succeeded.
func (o *ownSession) deleteSession(rc *exchange.Request) error {
	c := o.jar.ScanCookies(rc)
	if _, bearer := rc.BearerToken(); !bearer && !c.Fusion.Present && !c.MMonit.Present {
		if _, err := o.callers.Authenticate(rc); err != nil {
			return err
		}
		return exchange.NoContent(rc)
	}
	_, cookie, err := o.callers.Session(rc, credential.Fusion)
	if err != nil {
		exchange.Challenge(rc, err)
		return err
	}
	if err := o.logins.Logout(rc, cookie.Key); err != nil {
		return err
	}
	o.jar.ExpireCookie(rc, credential.Fusion)
	if cookie.Of == credential.MMonit {
		o.jar.ExpireCookie(rc, credential.MMonit)
	}
	return exchange.NoContent(rc)
}
