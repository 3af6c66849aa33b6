package httpapi

import (
	"errors"
	"math"
	"strconv"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// errLoginByGet refuses a browser's login by GET: a link or an image on any page could log its reader in.
var errLoginByGet = &session.Error{Code: errForbidden.Code, Message: "browsers log in by POST only"}

// mmonitIndex is where every client begins: GET /index.csp. Without a session it gets an anonymous one on this very
// answer, and the login page.
func (s *Server) mmonitIndex(rc *request) error {
	view, _, err := s.session(rc, mmonit)
	list, argsErr := readArgs(rc)
	switch {
	case isSignedOut(err):
		c := scanCookies(&rc.ctx.Request.Header)
		if c.mmonit.conflict {
			return s.loginPage(rc, err, list.last(returnArg)) // another cookie would not help: both would be sent again
		}
		s.setCookie(rc, mmonit, s.mintAnonymous(s.cluster.Now()))
		writeLoginPage(rc, fasthttp.StatusOK, "", list.last(returnArg))
		return nil
	case err != nil:
		return err
	case argsErr != nil:
		return argsErr
	}
	writeIndexPage(rc, view)
	return nil
}

// mmonitLogin is a login: POST or GET /z_security_check. It answers 302 and sends the cookie again, for those clients
// that read it here; failures are 401 with the login page, for both kinds look at the status alone.
func (s *Server) mmonitLogin(rc *request) error {
	if err := refuseHead(rc); err != nil {
		return err
	}
	list, err := readArgs(rc)
	if err != nil {
		return err
	}
	back := list.last(returnArg)
	if rc.ctx.IsGet() && fromBrowser(rc) {
		return s.loginPage(rc, errLoginByGet, back)
	}
	p := loginParams{
		realm:    session.NativeRealm,
		username: list.last("z_username"),
		password: list.last("z_password"),
		surface:  session.SurfaceMMonit,
		csrfOff:  list.last("z_csrf_protection") == "off",
	}
	err = s.chooseToken(rc, &p)
	if err == nil && (p.username == "" || p.password == "") {
		err = realm.ErrInvalidCredentials
	}
	var t token
	if err == nil {
		t, err = s.login(rc, p)
	}
	if err != nil {
		s.replaceAnonymous(rc, err)
		return s.loginPage(rc, err, back)
	}
	s.setCookie(rc, mmonit, t)
	// Not by Redirect, which would make it absolute.
	rc.ctx.Response.Header.Set(fasthttp.HeaderLocation, afterLogin(back))
	rc.ctx.SetStatusCode(fasthttp.StatusFound)
	return nil
}

// chooseToken decides which token the session gets. A browser gets a fresh one: whatever cookie it sent may have been
// planted by somebody who knows it (session fixation, OWASP ASVS 7.2.4). Other clients keep an anonymous one, since half
// of them read the cookie only once; but one that this cluster did not issue, or too long ago, is refused: such a
// client must not go on with it and would not read another. A session that the cookie names is ended by the login.
func (s *Server) chooseToken(rc *request, p *loginParams) error {
	c := scanCookies(&rc.ctx.Request.Header).mmonit
	if !c.ok || c.conflict {
		return nil
	}
	p.replaces = c.key
	if s.cfg.MMonitRotate || fromBrowser(rc) || !isAnonymous(c.text) {
		return nil
	}
	// A session that is still good is not used by this, so there is no touch.
	_, err := s.cluster.Lookup(s.context(rc), c.key, s.cfg.Level)
	if !isSignedOut(err) {
		return err
	}
	p.replaces = session.Key{}
	p.token, p.notAfter, err = redeemAnonymous(&s.cfg.AnonymousKey, c.text, s.cluster.Now())
	return err
}

// replaceAnonymous gives a client whose login failed a new anonymous token if it has none that could still serve. A
// cookie that could is left alone, and so is one that may name a session.
func (s *Server) replaceAnonymous(rc *request, err error) {
	c := scanCookies(&rc.ctx.Request.Header)
	spent := errors.Is(err, session.ErrKeyUsed) || errors.Is(err, session.ErrTooLate) || errors.Is(err, session.ErrSessionInvalid)
	if !c.mmonit.present || spent {
		s.setCookie(rc, mmonit, s.mintAnonymous(s.cluster.Now()))
	}
}

// mmonitLogout ends the session: GET or POST /login/logout.csp. It leads to the login page, also without a session. It
// needs no CSRF token: to be logged out is a nuisance, not a loss.
func (s *Server) mmonitLogout(rc *request) error {
	if err := refuseHead(rc); err != nil {
		return err
	}
	c := scanCookies(&rc.ctx.Request.Header)
	cookie, err := c.of(mmonit)
	if err == nil {
		err = s.endSessionByKey(rc, cookie.key, session.EndedByLogout)
	}
	// Two cookies that name different sessions are left to the client: to end one of them would look like a logout.
	if err != nil && (!isSignedOut(err) || c.mmonit.conflict) {
		return s.mmonitFail(rc, err, "")
	}
	s.expireCookies(rc, &c)
	rc.ctx.Response.Header.Set(fasthttp.HeaderLocation, indexPath)
	rc.ctx.SetStatusCode(fasthttp.StatusFound)
	return nil
}

// expireCookies makes the client forget the session: by this surface's cookie, and by the other one if it was sent.
func (s *Server) expireCookies(rc *request, c *cookies) {
	s.expireCookie(rc, mmonit)
	if c.fusion.present {
		s.expireCookie(rc, fusion)
	}
}

// isSignedOut reports whether an error says that there is no such session, rather than that nobody can tell.
func isSignedOut(err error) bool {
	return errors.Is(err, session.ErrSessionInvalid) || errors.Is(err, session.ErrSessionIdle)
}

// loginPage answers a failed login by the login page: always when the credentials or the token were refused, else only
// to who prefers a page.
func (s *Server) loginPage(rc *request, err error, back string) error {
	status, e, known := answerOf(err)
	if errors.Is(err, session.ErrKeyUsed) {
		status = fasthttp.StatusUnauthorized
	}
	if !known || status != fasthttp.StatusUnauthorized && !prefersHTML(rc) {
		return err
	}
	if status == fasthttp.StatusTooManyRequests || status == fasthttp.StatusServiceUnavailable {
		rc.ctx.Response.Header.Set(headerRetryAfter, strconv.Itoa(int(math.Ceil(waitOf(err).Seconds()))))
	}
	rc.ctx.Response.Header.SetBytesV(headerRequestID, rc.requestID())
	writeLoginPage(rc, status, e.Message, back)
	return nil
}
