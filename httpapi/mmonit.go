package httpapi

import (
	"errors"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
)

// The calls of the M/Monit surface on a session: put, get, delete, invalidate. Each is a GET or a POST.

// mmonitPut sets attributes, all of them in one step. It never makes a session.
func (s *Server) mmonitPut(rc *request) error {
	view, _, list, err := s.mmonitChange(rc)
	if err != nil {
		return s.mmonitFail(rc, err, "")
	}
	attrs, err := list.attributes()
	switch {
	case err != nil:
		return err
	case len(list) == 0:
		return missingField("at least one argument key=value is required")
	case len(attrs) == 0: // nothing but a CSRF token
		return emptyObject(rc, view.Session)
	}
	rev, err := ifMatch(rc, view.Session.Rev)
	if err != nil {
		return err
	}
	return s.mmonitDo(rc, &session.Put{Key: view.Session.Key, Attrs: attrs, IfRev: rev})
}

// mmonitGet shows attributes, and the CSRF token as if it were one.
func (s *Server) mmonitGet(rc *request) error {
	view, cookie, err := s.session(rc, mmonit)
	if err != nil {
		back := ""
		if rc.ctx.IsGet() {
			back = string(rc.ctx.RequestURI())
		}
		return s.mmonitFail(rc, err, back)
	}
	list, err := readArgs(rc)
	if err != nil {
		return err
	}
	etag(rc, view.Session)
	rc.buf = appendAttributes(rc.buf[:0], view.Session, list, cookie)
	rc.ctx.Response.Header.SetContentType(typeJSON)
	rc.ctx.SetBody(rc.buf)
	return nil
}

func appendAttributes(b []byte, sess *session.Session, list args, cookie cookieValue) []byte {
	keys, all := list.keys()
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
			value, ok = csrfToken(cookie.text), true
		}
		if !ok {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(appendString(b, key), ':')
		b = appendString(b, value)
	}
	return append(b, '}')
}

// mmonitDelete removes attributes; without a key, all of them. The CSRF token stays: the machine refuses its name.
func (s *Server) mmonitDelete(rc *request) error {
	view, _, list, err := s.mmonitChange(rc)
	if err != nil {
		return s.mmonitFail(rc, err, "")
	}
	// Names that no attribute can have are passed on as they are: dropped, they might leave none, which means all.
	names, all := list.keys()
	if all {
		names = nil
	}
	rev, err := ifMatch(rc, view.Session.Rev)
	if err != nil {
		return err
	}
	return s.mmonitDo(rc, &session.Delete{Key: view.Session.Key, Names: names, IfRev: rev})
}

// mmonitInvalidate ends the session.
func (s *Server) mmonitInvalidate(rc *request) error {
	view, _, _, err := s.mmonitChange(rc)
	if err == nil {
		err = s.endSessionByKey(rc, view.Session.Key, session.EndedByLogout)
	}
	if err != nil {
		return s.mmonitFail(rc, err, "")
	}
	c := scanCookies(&rc.ctx.Request.Header)
	s.expireCookies(rc, &c)
	return emptyObject(rc, nil)
}

// mmonitChange does what every changing call begins with: the session, the arguments, the CSRF token.
func (s *Server) mmonitChange(rc *request) (session.View, cookieValue, args, error) {
	if err := refuseHead(rc); err != nil {
		return session.View{}, cookieValue{}, nil, err
	}
	view, cookie, err := s.session(rc, mmonit)
	if err != nil {
		return session.View{}, cookieValue{}, nil, err
	}
	list, err := readArgs(rc)
	if err != nil {
		return session.View{}, cookieValue{}, nil, err
	}
	return view, cookie, list, checkCSRF(rc, list, view.Session, cookie)
}

// refuseHead keeps HEAD, which is served as GET, from changing anything: who asks for headers only means to look.
func refuseHead(rc *request) error {
	if !rc.ctx.IsHead() {
		return nil
	}
	rc.ctx.Response.Header.Set(fasthttp.HeaderAllow, "GET, POST, OPTIONS")
	return errMethod
}

// mmonitDo makes a change of attributes and answers with the session's new revision.
func (s *Server) mmonitDo(rc *request, cmd session.Command) error {
	result, err := s.do(rc, cmd)
	if err != nil {
		return s.mmonitFail(rc, err, "")
	}
	return emptyObject(rc, &session.Session{Rev: result.Rev})
}

// mmonitFail answers what this surface answers in its own way, and returns every other error: who is not logged in
// and prefers a page gets the login page.
func (s *Server) mmonitFail(rc *request, err error, back string) error {
	switch {
	case errors.Is(err, errCSRF):
		writeError(rc.ctx, fasthttp.StatusForbidden, errCSRF, rc.requestID(), 0)
		return nil
	case isSignedOut(err) && prefersHTML(rc):
		return s.loginPage(rc, err, back)
	}
	return err
}

// emptyObject answers {}, with the revision of a session that goes on.
func emptyObject(rc *request, sess *session.Session) error {
	if sess != nil {
		etag(rc, sess)
	}
	rc.ctx.Response.Header.SetContentType(typeJSON)
	rc.ctx.SetBodyString("{}")
	return nil
}
