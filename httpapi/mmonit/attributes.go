package mmonit

import (
	"errors"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
)

// Calls is the M/Monit surface.
type Calls struct {
	rotate  bool              // give every login a fresh token
	keys    func() [][32]byte // of anonymous tokens: the first makes new ones, any is accepted
	state   *access.State
	jar     *access.Jar
	callers *access.Callers
	logins  *access.Logins
	Pages   *Pages
}

// The calls of the M/Monit surface on a session: put, get, delete, invalidate. Each is a GET or a POST.

// Put sets attributes, all of them in one step. It never makes a session.
func (m *Calls) Put(rc *exchange.Request) error {
	view, _, list, err := m.mmonitChange(rc)
	if err != nil {
		return m.mmonitFail(rc, err, "")
	}
	attrs, err := list.Attributes()
	switch {
	case err != nil:
		return err
	case len(list) == 0:
		return exchange.MissingField("at least one argument key=value is required")
	case len(attrs) == 0: // nothing but a CSRF token
		return emptyObject(rc, view.Session.Rev)
	}
	rev, err := exchange.IfMatch(rc, view.Session.Rev)
	if err != nil {
		return err
	}
	return m.mmonitDo(rc, &session.Put{Key: view.Session.Key, Attrs: attrs, IfRev: rev})
}

// Get shows attributes, and the CSRF token as if it were one.
func (m *Calls) Get(rc *exchange.Request) error {
	view, cookie, err := m.callers.Session(rc, credential.MMonit)
	if err != nil {
		back := ""
		if rc.Ctx.IsGet() {
			back = string(rc.Ctx.RequestURI())
		}
		return m.mmonitFail(rc, err, back)
	}
	list, err := exchange.ReadArgs(rc)
	if err != nil {
		return err
	}
	sess, err := m.state.Whole(rc, view.Session.Key)
	if err != nil {
		return m.mmonitFail(rc, err, "")
	}
	exchange.ETag(rc, sess.Rev)
	rc.Buf = appendAttributes(rc.Buf[:0], sess, list, cookie)
	rc.Ctx.Response.Header.SetContentType(exchange.TypeJSON)
	rc.Ctx.SetBody(rc.Buf)
	return nil
}

func appendAttributes(b []byte, sess *session.Session, list exchange.Args, cookie credential.Cookie) []byte {
	keys, all := list.Keys()
	if all {
		keys = append(keys[:0], csrfName)
		for i := range sess.Attrs {
			keys = append(keys, sess.Attrs[i].Key)
		}
	}
	b = append(b, '{')
	for _, key := range keys {
		value, ok := sess.Attr(key)
		if key == csrfName {
			value, ok = credential.CSRFToken(cookie.Text), true
		}
		if !ok {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(exchange.AppendString(b, key), ':')
		b = exchange.AppendString(b, value)
	}
	return append(b, '}')
}

// Delete removes attributes; without a key, all of them. The CSRF token stays: the machine refuses its name.
func (m *Calls) Delete(rc *exchange.Request) error {
	view, _, list, err := m.mmonitChange(rc)
	if err != nil {
		return m.mmonitFail(rc, err, "")
	}
	// Names that no attribute can have are passed on as they are: dropped, they might leave none, which means all.
	names, all := list.Keys()
	if all {
		names = nil
	}
	rev, err := exchange.IfMatch(rc, view.Session.Rev)
	if err != nil {
		return err
	}
	return m.mmonitDo(rc, &session.Delete{Key: view.Session.Key, Names: names, IfRev: rev})
}

// Invalidate ends the session.
func (m *Calls) Invalidate(rc *exchange.Request) error {
	view, _, _, err := m.mmonitChange(rc)
	if err == nil {
		err = m.logins.Logout(rc, view.Session.Key)
	}
	if err != nil {
		return m.mmonitFail(rc, err, "")
	}
	c := m.jar.ScanCookies(rc)
	m.jar.ExpireCookies(rc, &c)
	return emptyObject(rc, 0)
}

// mmonitChange does what every changing call begins with: the session, the arguments, the CSRF token.
func (m *Calls) mmonitChange(rc *exchange.Request) (session.View, credential.Cookie, exchange.Args, error) {
	if err := refuseHead(rc); err != nil {
		return session.View{}, credential.Cookie{}, nil, err
	}
	view, cookie, err := m.callers.Session(rc, credential.MMonit)
	if err != nil {
		return session.View{}, credential.Cookie{}, nil, err
	}
	list, err := exchange.ReadArgs(rc)
	if err != nil {
		return session.View{}, credential.Cookie{}, nil, err
	}
	return view, cookie, list, checkCSRF(rc, list, &view.Session, cookie)
}

// refuseHead keeps HEAD, which is served as GET, from changing anything: who asks for headers only means to look.
func refuseHead(rc *exchange.Request) error {
	if !rc.Ctx.IsHead() {
		return nil
	}
	rc.Ctx.Response.Header.Set(fasthttp.HeaderAllow, "GET, POST, OPTIONS")
	return exchange.ErrMethod
}

// mmonitDo makes a change of attributes and answers with the session's new revision.
func (m *Calls) mmonitDo(rc *exchange.Request, cmd session.Command) error {
	result, err := m.state.Do(rc, cmd)
	if err != nil {
		return m.mmonitFail(rc, err, "")
	}
	return emptyObject(rc, result.Rev)
}

// mmonitFail answers what this surface answers in its own way, and returns every other error: who is not logged in
// and prefers a page gets the login page.
func (m *Calls) mmonitFail(rc *exchange.Request, err error, back string) error {
	switch {
	case errors.Is(err, ErrCSRF):
		exchange.WriteError(rc.Ctx, fasthttp.StatusForbidden, ErrCSRF, rc.RequestID(), 0)
		return nil
	case exchange.IsSignedOut(err) && exchange.PrefersHTML(rc):
		return m.Pages.loginPage(rc, err, back)
	}
	return err
}

// emptyObject answers {}, with the revision of a session that goes on; 0: it does not.
func emptyObject(rc *exchange.Request, rev uint64) error {
	if rev != 0 {
		exchange.ETag(rc, rev)
	}
	rc.Ctx.Response.Header.SetContentType(exchange.TypeJSON)
	rc.Ctx.SetBodyString("{}")
	return nil
}
