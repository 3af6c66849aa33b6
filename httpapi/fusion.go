package httpapi

import (
	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
)

// postSession is a login: POST /api/session?realmName=R.
func (s *Server) postSession(rc *request) error {
	var body struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if err := decodeJSON(rc, &body); err != nil {
		return err
	}
	if body.Username == "" || body.Password == "" {
		return missingField("username and password are required")
	}
	c := scanCookies(&rc.ctx.Request.Header)
	t, err := s.login(rc, loginParams{
		realm:    realmParam(rc),
		username: body.Username,
		password: body.Password,
		surface:  session.SurfaceFusion,
		replaces: c.fusion.key, // one that is over already is no obstacle
	})
	if err != nil {
		return err
	}
	s.setCookie(rc, fusion, t)
	rc.ctx.SetStatusCode(fasthttp.StatusCreated)
	return nil
}

// getSession shows who the caller is: GET /api/session.
func (s *Server) getSession(rc *request) error {
	p, err := s.authenticate(rc)
	if err != nil {
		return err
	}
	if p.control {
		return errNoSession
	}
	rc.buf = s.appendSession(rc.buf[:0], p.view)
	rc.ctx.Response.Header.SetContentType(typeJSON)
	rc.ctx.SetBody(rc.buf)
	return nil
}

// appendSession appends the body of GET /api/session. A caller by Basic has no session to show.
func (s *Server) appendSession(b []byte, view session.View) []byte {
	sess := view.Session
	b = appendString(append(b, `{"user":{"id":`...), sess.UserID)
	b = appendString(append(b, `,"username":`...), sess.Username)
	b = appendString(append(b, `,"realmName":`...), sess.Realm)
	b = append(b, `},"roles":[`...)
	roles := rolesOf(view)
	for i, name := 0, roles.next(); name != ""; i, name = i+1, roles.next() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(append(b, `{"name":`...), name), '}')
	}
	b = append(b, ']')
	if !sess.Key.IsZero() {
		b = s.appendTimes(append(b, `,"session":{`...), sess)
		b = append(b, '}')
	}
	return append(b, '}')
}

// appendTimes appends a session's handle and times as members of a JSON object. The idle timeout ends no session later
// than the absolute one, and none is shown to.
func (s *Server) appendTimes(b []byte, sess *session.Session) []byte {
	lastUse := s.cluster.LastUse(sess)
	b = appendHandle(append(b, `"handle":"`...), sess.Key)
	b = appendTime(append(b, `","createdAt":`...), sess.Created)
	b = appendTime(append(b, `,"lastActiveAt":`...), lastUse)
	b = appendTime(append(b, `,"idleExpiresAt":`...), min(lastUse.Add(sess.Idle), sess.Expires))
	return appendTime(append(b, `,"expiresAt":`...), sess.Expires)
}

// deleteSession is a logout: DELETE /api/session. It goes by the cookie, whatever other credentials there are; without
// a cookie there is nothing to end, and a call by Basic has succeeded.
func (s *Server) deleteSession(rc *request) error {
	c := scanCookies(&rc.ctx.Request.Header)
	if !c.fusion.present && !c.mmonit.present {
		if _, err := s.authenticate(rc); err != nil {
			return err
		}
		return noContent(rc)
	}
	_, cookie, err := s.session(rc, fusion)
	if err != nil {
		return err
	}
	if err := s.endSessionByKey(rc, cookie.key, session.EndedByLogout); err != nil {
		return err
	}
	s.expireCookie(rc, fusion)
	if cookie.of == mmonit {
		s.expireCookie(rc, mmonit)
	}
	return noContent(rc)
}

// endSessionByKey ends a session for good: once it has returned without an error, no node accepts the token again.
func (s *Server) endSessionByKey(rc *request, key session.Key, reason session.Reason) error {
	_, err := s.do(rc, &session.Invalidate{Key: key, Reason: reason})
	return err
}
