package httpapi

import (
	"errors"
	"strconv"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
)

// whose is the user that a call of /api/sessions is about. all stands for everybody.
type whose struct {
	realm    string
	username string
	all      bool
}

// target reads ?user=U&realm=R. Everyone may ask about themselves, and need not say their name; admin about everyone.
func target(rc *request, p principal) (whose, error) {
	args := rc.ctx.QueryArgs()
	w := whose{realm: string(args.Peek("realm")), username: string(args.Peek("user"))}
	admin := p.hasRole(session.RoleAdmin)
	switch {
	case admin && w.username == "":
		w.all = true
		return w, nil
	case admin && w.realm == "":
		w.realm = session.NativeRealm
	case !admin:
		if w.username == "" {
			w.username = p.view.Session.Username
		}
		if w.realm == "" {
			w.realm = p.view.Session.Realm
		}
	}
	if !admin && !p.is(w.realm, w.username) {
		return whose{}, errForbidden
	}
	return w, nil
}

// listSessions is GET /api/sessions?user=U&realm=R&limit=N&after=HANDLE: a page of sessions, oldest first for one
// user, by handle for all. To be listed is no use.
func (s *Server) listSessions(rc *request) error {
	p, err := s.authenticate(rc)
	if err != nil {
		return err
	}
	who, err := target(rc, p)
	if err != nil {
		return err
	}
	limit, err := pageSize(rc)
	if err != nil {
		return err
	}
	var after session.Key
	if handle := rc.ctx.QueryArgs().Peek("after"); len(handle) > 0 {
		if after, err = session.ParseKey(string(handle)); err != nil {
			return err
		}
	}
	page, next, err := s.sessionPage(rc, who, after, limit)
	if err != nil {
		return err
	}
	b := append(rc.buf[:0], `{"sessions":[`...)
	for i, sess := range page {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.appendListed(b, sess, sess.Key == p.key())
	}
	b = append(b, ']')
	if !next.IsZero() {
		b = append(appendHandle(append(b, `,"next":"`...), next), '"')
	}
	rc.buf = append(b, '}')
	rc.ctx.Response.Header.SetContentType(typeJSON)
	rc.ctx.SetBody(rc.buf)
	return nil
}

// sessionPage reads one page of sessions that are not over. next is where the following page begins, zero at the end.
func (s *Server) sessionPage(rc *request, who whose, after session.Key, limit int) (page []*session.Session, next session.Key, err error) {
	level, err := s.level(rc)
	if err != nil {
		return nil, next, err
	}
	var found []*session.Session
	err = s.cluster.Read(s.context(rc), level, func(m *session.Machine) {
		if who.all {
			found = m.Sessions(after, min(4*limit, maxListScan))
		} else {
			found = m.SessionsOf(who.realm, who.username) // bounded by MaxSessionsPerUser
		}
	})
	if err != nil {
		return nil, next, err
	}
	if !who.all {
		found = following(found, after)
	}
	at := s.cluster.Now()
	for i, sess := range found {
		if len(page) == limit {
			return page, found[i-1].Key, nil
		}
		if sess.Expires > at && s.cluster.LastUse(sess).Add(sess.Idle) > at {
			page = append(page, sess)
		}
	}
	if who.all && len(found) == min(4*limit, maxListScan) {
		next = found[len(found)-1].Key
	}
	return page, next, nil
}

// following returns what comes after a key in a user's list; all of it when that session has ended meanwhile.
func following(list []*session.Session, after session.Key) []*session.Session {
	for i, sess := range list {
		if sess.Key == after {
			return list[i+1:]
		}
	}
	return list
}

func (s *Server) appendListed(b []byte, sess *session.Session, current bool) []byte {
	b = s.appendTimes(append(b, '{'), sess)
	b = appendString(append(b, `,"username":`...), sess.Username)
	b = appendString(append(b, `,"realmName":`...), sess.Realm)
	b = appendString(append(b, `,"address":`...), sess.Address)
	b = appendString(append(b, `,"userAgent":`...), sess.Agent)
	b = strconv.AppendBool(append(b, `,"current":`...), current)
	return append(b, '}')
}

// pageSize reads ?limit=N.
func pageSize(rc *request) (int, error) {
	text := rc.ctx.QueryArgs().Peek("limit")
	if len(text) == 0 {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 || n > maxPage {
		return 0, badField("limit must be 1 to " + strconv.Itoa(maxPage))
	}
	return n, nil
}

// endSession is DELETE /api/sessions/{handle}. Other people's sessions are not there, to anyone but an admin.
func (s *Server) endSession(rc *request) error {
	p, err := s.authenticate(rc)
	if err != nil {
		return err
	}
	key, err := session.ParseKey(rc.rest)
	if err != nil {
		return err
	}
	var found *session.Session
	err = s.cluster.Read(s.context(rc), cluster.Quorum, func(m *session.Machine) {
		if view, ok := m.Lookup(key); ok {
			found = view.Session
		}
	})
	if err != nil {
		return err
	}
	own := found != nil && p.is(found.Realm, found.Username)
	if found == nil || !own && !p.hasRole(session.RoleAdmin) {
		return errNoSession
	}
	reason := session.EndedByAdmin
	if own {
		reason = session.EndedByLogout
	}
	if err := s.endSessionByKey(rc, key, reason); err != nil {
		if errors.Is(err, session.ErrSessionInvalid) {
			return errNoSession // it ended between the two
		}
		return err
	}
	if key == p.key() {
		s.expireCookie(rc, fusion)
		s.expireCookie(rc, mmonit)
	}
	s.audit(rc, p, "session ended", "handle", key.String(), "user", found.Username, "realm", found.Realm)
	return noContent(rc)
}

// endSessions is DELETE /api/sessions?user=U&realm=R: all sessions of one user, at once. The user must be named, even
// by those who can only mean themselves: a forgotten parameter must not log anybody out.
func (s *Server) endSessions(rc *request) error {
	p, err := s.authenticate(rc)
	if err != nil {
		return err
	}
	if len(rc.ctx.QueryArgs().Peek("user")) == 0 {
		return missingField("the parameter user is required")
	}
	who, err := target(rc, p)
	if err != nil {
		return err
	}
	if _, err := s.do(rc, &session.EndUser{Realm: who.realm, Username: who.username}); err != nil {
		return err
	}
	if p.is(who.realm, who.username) && !p.key().IsZero() {
		s.expireCookie(rc, fusion)
		s.expireCookie(rc, mmonit)
	}
	s.audit(rc, p, "all sessions of a user ended", "user", who.username, "realm", who.realm)
	return noContent(rc)
}

// audit logs who changed what. Nothing of a body but names goes into it.
func (s *Server) audit(rc *request, p principal, what string, args ...any) {
	s.log.Info("changed by request", append([]any{"what", what, "by", p.name(), "client", s.addressOf(rc), "request", string(rc.requestID())}, args...)...)
}
