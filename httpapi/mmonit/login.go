package mmonit

import (
	"errors"
	"math"
	"strconv"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// errLoginByGet refuses a browser's login by GET: a link or an image on any page could log its reader in.
var errLoginByGet = &session.Error{Code: exchange.ErrForbidden.Code, Message: "browsers log in by POST only"}

// Index is where every client begins: GET /index.csp. Without a session it gets an anonymous one on this very
// answer, and the login page.
func (m *Calls) Index(rc *exchange.Request) error {
	view, _, err := m.callers.Session(rc, credential.MMonit)
	list, argsErr := exchange.ReadArgs(rc)
	switch {
	case exchange.IsSignedOut(err):
		c := m.jar.ScanCookies(rc)
		if c.MMonit.Conflict {
			return m.Pages.loginPage(rc, err, list.Last(ReturnArg)) // another cookie would not help: both would be sent again
		}
		now, err := m.state.Cluster.Time(m.state.Context(rc))
		if err != nil {
			return err
		}
		m.jar.SetCookie(rc, credential.MMonit, m.mintAnonymous(now))
		m.Pages.writeLoginPage(rc, fasthttp.StatusOK, "", list.Last(ReturnArg))
		return nil
	case err != nil:
		return err
	case argsErr != nil:
		return argsErr
	}
	sess, err := m.state.Whole(rc, view.Session.Key)
	if err != nil {
		return err
	}
	writeIndexPage(rc, sess)
	return nil
}

// Login is a login: POST or GET /z_security_check. It answers 302 and sends the cookie again, for those clients
// that read it here; failures are 401 with the login page, for both kinds look at the status alone.
func (m *Calls) Login(rc *exchange.Request) error {
	if err := refuseHead(rc); err != nil {
		return err
	}
	list, err := exchange.ReadArgs(rc)
	if err != nil {
		return err
	}
	back := list.Last(ReturnArg)
	if rc.Ctx.IsGet() && exchange.FromBrowser(rc) {
		return m.Pages.loginPage(rc, errLoginByGet, back)
	}
	p := access.LoginParams{
		Realm:    session.NativeRealm,
		Username: list.Last("z_username"),
		Password: list.Last("z_password"),
		Surface:  session.SurfaceMMonit,
		CsrfOff:  list.Last("z_csrf_protection") == "off",
	}
	err = m.chooseToken(rc, &p)
	if err == nil && (p.Username == "" || p.Password == "") {
		err = realm.ErrInvalidCredentials
	}
	var t credential.Token
	if err == nil {
		t, err = m.logins.Login(rc, p)
	}
	if err != nil {
		m.replaceAnonymous(rc, err)
		return m.Pages.loginPage(rc, err, back)
	}
	m.jar.SetCookie(rc, credential.MMonit, t)
	// Not by Redirect, which would make it absolute.
	rc.Ctx.Response.Header.Set(fasthttp.HeaderLocation, m.Pages.Returns.afterLogin(back))
	rc.Ctx.SetStatusCode(fasthttp.StatusFound)
	return nil
}

// chooseToken decides which token the session gets. A browser gets a fresh one: whatever cookie it sent may have been
// planted by somebody who knows it (session fixation, OWASP ASVS 7.2.4). Other clients keep an anonymous one, since half
// of them read the cookie only once; but one that this cluster did not issue, or too long ago, is refused: such a
// client must not go on with it and would not read another. A session that the cookie names is ended by the login.
func (m *Calls) chooseToken(rc *exchange.Request, p *access.LoginParams) error {
	c := m.jar.ScanCookies(rc).MMonit
	if !c.OK || c.Conflict {
		return nil
	}
	p.Replaces = c.Key
	if m.rotate || exchange.FromBrowser(rc) || !credential.IsAnonymous(c.Text) {
		return nil
	}
	// A session that is still good is not used by this, so there is no touch.
	_, _, err := m.state.Cluster.Lookup(m.state.Context(rc), c.Key, m.state.Standard)
	if !exchange.IsSignedOut(err) {
		return err
	}
	now, err := m.state.Cluster.Time(m.state.Context(rc))
	if err != nil {
		return err
	}
	p.Replaces = session.Key{}
	p.Token, p.NotAfter, err = credential.RedeemAnonymous(m.keys(), c.Text, now)
	return err
}

// replaceAnonymous gives a client whose login failed a new anonymous token if it has none that could still serve. A
// cookie that could is left alone, and so is one that may name a session.
func (m *Calls) replaceAnonymous(rc *exchange.Request, err error) {
	c := m.jar.ScanCookies(rc)
	spent := errors.Is(err, session.ErrKeyUsed) || errors.Is(err, session.ErrTooLate) || errors.Is(err, session.ErrSessionInvalid)
	if c.MMonit.Present && !spent {
		return
	}
	if now, err := m.state.Cluster.Time(m.state.Context(rc)); err == nil { // else it can wait for the login page
		m.jar.SetCookie(rc, credential.MMonit, m.mintAnonymous(now))
	}
}

// Logout ends the session: GET or POST /login/logout.csp. It leads to the login page, also without a session. It
// needs no CSRF token: to be logged out is a nuisance, not a loss.
func (m *Calls) Logout(rc *exchange.Request) error {
	if err := refuseHead(rc); err != nil {
		return err
	}
	c := m.jar.ScanCookies(rc)
	cookie, err := c.Of(credential.MMonit)
	if err == nil {
		err = m.logout(rc, cookie.Key)
	}
	// Two cookies that name different sessions are left to the client: to end one of them would look like a logout.
	if err != nil && (!exchange.IsSignedOut(err) || c.MMonit.Conflict) {
		return m.mmonitFail(rc, err, "")
	}
	m.jar.ExpireCookies(rc, &c)
	rc.Ctx.Response.Header.Set(fasthttp.HeaderLocation, IndexPath)
	rc.Ctx.SetStatusCode(fasthttp.StatusFound)
	return nil
}

// logout ends the session of a key, if there is one: a key that a stranger has made up must not become an entry of the
// log. Where nobody can tell at the level that this takes, the entry does. To be looked up is no use.
func (m *Calls) logout(rc *exchange.Request, key session.Key) error {
	level := m.state.OwnLevel()
	if _, at, err := m.state.Cluster.Lookup(m.state.Context(rc), key, level); at >= level && exchange.IsSignedOut(err) {
		return err
	}
	return m.logins.Logout(rc, key)
}

// loginPage answers a failed login by the login page: always when the credentials or the token were refused, else only
// to who prefers a page.
func (p *Pages) loginPage(rc *exchange.Request, err error, back string) error {
	status, e, known := exchange.AnswerOf(err)
	if errors.Is(err, session.ErrKeyUsed) {
		status = fasthttp.StatusUnauthorized
	}
	if !known || status != fasthttp.StatusUnauthorized && !exchange.PrefersHTML(rc) {
		return err
	}
	if status == fasthttp.StatusTooManyRequests || status == fasthttp.StatusServiceUnavailable {
		rc.Ctx.Response.Header.Set(exchange.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(exchange.WaitOf(err).Seconds()))))
	}
	rc.Ctx.Response.Header.SetBytesV(exchange.HeaderRequestID, rc.RequestID())
	p.writeLoginPage(rc, status, e.Message, back)
	return nil
}

// mintAnonymous makes a token for who has not logged in.
func (m *Calls) mintAnonymous(now session.Time) credential.Token {
	return credential.MintAnonymous(&m.keys()[0], now)
}
