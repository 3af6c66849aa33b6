package httpapi

import (
	"cmp"
	"strconv"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/audit"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// sessions is /api/sessions but for its bulk calls: sessions of one's own and, for admins, of others.
type sessions struct {
	state   *access.State
	jar     *access.Jar
	callers *access.Callers
	logins  *access.Logins
	diary   *access.Diary
}

// whose is the user that a call of /api/sessions is about. all stands for everybody, or if there is a realm all of that.
type whose struct {
	realm    string
	username string
	all      bool
}

// target reads ?user=U&realm=R. Everyone may ask about themselves, and need not say their name; admin about everyone. What
// type the realm is of is read at the level.
func (s *sessions) target(rc *exchange.Request, p access.Principal, level cluster.Level) (whose, error) {
	args := rc.Ctx.QueryArgs()
	w := whose{realm: string(args.Peek("realm")), username: string(args.Peek("user"))}
	admin := p.HasRole(session.RoleAdmin)
	of := cmp.Or(w.realm, session.NativeRealm)
	if w.realm == "" && !admin {
		of = p.View.Session.Realm
	}
	if err := s.canonical(rc, level, of, &w.username); err != nil {
		return whose{}, err
	}
	if others := w.username == "" || !p.Is(cmp.Or(w.realm, session.NativeRealm), w.username); admin && others {
		var err error
		if p, err = s.callers.Certain(rc, p); err != nil {
			return whose{}, err
		}
		admin = p.HasRole(session.RoleAdmin)
	}
	switch {
	case admin && w.username == "":
		w.all = true
		return w, nil
	case admin && w.realm == "":
		w.realm = session.NativeRealm
	case !admin:
		if w.username == "" {
			w.username = p.View.Session.Username
		}
		if w.realm == "" {
			w.realm = p.View.Session.Realm
		}
	}
	if !admin && !p.Is(w.realm, w.username) {
		return whose{}, exchange.ErrForbidden
	}
	return w, nil
}

// canonical puts a user's name into the form in which its realm names users.
func (s *sessions) canonical(rc *exchange.Request, level cluster.Level, realmName string, username *string) error {
	if *username == "" || realmName == session.NativeRealm { // it has them as they are
		return nil
	}
	return s.state.Cluster.Read(s.state.Context(rc), level, func(m *session.Machine) {
		if r, ok := m.RealmByName(realmName); ok {
			*username = realm.CanonicalUsername(r.Type, *username)
		}
	})
}

// listSessions is GET /api/sessions?user=U&realm=R&limit=N&after=HANDLE: a page of sessions, oldest first for one
// user, by handle for all, or for all of a realm. To be listed is no use.
func (s *sessions) listSessions(rc *exchange.Request) error {
	p, err := s.callers.Authenticate(rc)
	if err != nil {
		return err
	}
	level, err := s.state.Level(rc)
	if err != nil {
		return err
	}
	who, err := s.target(rc, p, level)
	if err != nil {
		return err
	}
	limit, err := exchange.PageSize(rc)
	if err != nil {
		return err
	}
	var after session.Key
	if handle := rc.Ctx.QueryArgs().Peek("after"); len(handle) > 0 {
		if after, err = session.ParseKey(string(handle)); err != nil {
			return err
		}
	}
	page, next, err := s.sessionPage(rc, who, after, limit)
	if err != nil {
		return err
	}
	b := append(rc.Buf[:0], `{"sessions":[`...)
	for i, sess := range page {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.appendListed(b, sess, sess.Key == p.Key())
	}
	b = append(b, ']')
	if !next.IsZero() {
		b = append(exchange.AppendHandle(append(b, `,"next":"`...), next), '"')
	}
	rc.Buf = append(b, '}')
	rc.Ctx.Response.Header.SetContentType(exchange.TypeJSON)
	rc.Ctx.SetBody(rc.Buf)
	return nil
}

// sessionPage reads one page of sessions that are not over. next is where the following page begins, zero at the end.
func (s *sessions) sessionPage(rc *exchange.Request, who whose, after session.Key, limit int) (page []*session.Session, next session.Key, err error) {
	level, err := s.state.Level(rc)
	if err != nil {
		return nil, next, err
	}
	var found []*session.Session
	err = s.state.Cluster.Read(s.state.Context(rc), level, func(m *session.Machine) {
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
	at, err := s.state.Cluster.Time(s.state.Context(rc))
	if err != nil {
		return nil, next, err
	}
	for i, sess := range found {
		if len(page) == limit {
			return page, found[i-1].Key, nil
		}
		if who.realm != "" && sess.Realm != who.realm {
			continue
		}
		if sess.Expires > at && s.state.Cluster.LastUse(sess.Key, sess.LastUse).Add(sess.Idle) > at {
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

func (s *sessions) appendListed(b []byte, sess *session.Session, current bool) []byte {
	b = exchange.AppendTimes(append(b, '{'), &sess.Head, s.state.Cluster.LastUse(sess.Key, sess.LastUse))
	b = exchange.AppendString(append(b, `,"username":`...), sess.Username)
	b = exchange.AppendString(append(b, `,"realmName":`...), sess.Realm)
	b = exchange.AppendString(append(b, `,"address":`...), sess.Address)
	b = exchange.AppendString(append(b, `,"userAgent":`...), sess.Agent)
	b = strconv.AppendBool(append(b, `,"current":`...), current)
	return append(b, '}')
}

// endSession is DELETE /api/sessions/{handle}. Other people's sessions are not there, to anyone but an admin.
func (s *sessions) endSession(rc *exchange.Request) error {
	p, err := s.callers.Authenticate(rc)
	if err != nil {
		return err
	}
	key, err := session.ParseKey(rc.Rest)
	if err != nil {
		return err
	}
	var found *session.Head
	err = s.state.Cluster.Read(s.state.Context(rc), access.DecisionLevel, func(m *session.Machine) {
		found = nil // a read may run again
		if view, ok := m.Lookup(key); ok {
			found = &view.Session
		}
	})
	if err != nil {
		return err
	}
	own := found != nil && p.Is(found.Realm, found.Username)
	if !own {
		if p, err = s.callers.Certain(rc, p); err != nil {
			return err
		}
	}
	if found == nil || !own && !p.HasRole(session.RoleAdmin) {
		return exchange.ErrNoSession
	}
	reason := session.EndedByAdmin
	if own {
		reason = session.EndedByLogout
	}
	err = s.logins.EndSessionByKey(rc, key, reason, p)
	s.diary.AuditEnd(rc, p, found, reason, err)
	if err != nil {
		if exchange.IsSignedOut(err) {
			return exchange.ErrNoSession // it ended between the two, or was idle for too long
		}
		return err
	}
	if key == p.Key() {
		s.jar.ExpireCookie(rc, credential.Fusion)
		s.jar.ExpireCookie(rc, credential.MMonit)
	}
	return exchange.NoContent(rc)
}

// endSessions is DELETE /api/sessions?user=U&realm=R: all sessions of one user, at once. The user must be named, even
// by those who can only mean themselves: a forgotten parameter must not log anybody out.
func (s *sessions) endSessions(rc *exchange.Request) error {
	p, err := s.callers.Authenticate(rc)
	if err != nil {
		return err
	}
	if string(rc.Ctx.QueryArgs().Peek("all")) == "true" {
		return s.endEverySession(rc, p)
	}
	if len(rc.Ctx.QueryArgs().Peek("user")) == 0 {
		return exchange.MissingField("the parameter user is required")
	}
	who, err := s.target(rc, p, access.DecisionLevel)
	if err != nil {
		return err
	}
	end := &session.EndUser{Realm: who.realm, Username: who.username}
	if !p.Is(who.realm, who.username) {
		end.By = p.Name()
	}
	result, err := s.state.Do(rc, end)
	s.diary.Audit(rc, p, audit.Event{Name: audit.SessionsEnded, Realm: who.realm, User: who.username, Count: int(result.Ended)}, err)
	if err != nil {
		return err
	}
	if p.Is(who.realm, who.username) && !p.Key().IsZero() {
		s.jar.ExpireCookie(rc, credential.Fusion)
		s.jar.ExpireCookie(rc, credential.MMonit)
	}
	return exchange.NoContent(rc)
}

// endEverySession is DELETE /api/sessions?all=true, for emergencies: everybody has to log in again, the caller too. It takes
// effect on all nodes when it is answered, however many sessions there are.
func (s *sessions) endEverySession(rc *exchange.Request, p access.Principal) error {
	p, err := s.callers.Certain(rc, p)
	switch args := rc.Ctx.QueryArgs(); {
	case err != nil:
		return err
	case !p.HasRole(session.RoleAdmin):
		return exchange.ErrForbidden
	case args.Has("user") || args.Has("realm"):
		return exchange.BadField("all=true is every session there is: leave user and realm out")
	}
	result, err := s.state.Do(rc, &session.EndAll{By: p.Name()})
	s.diary.Audit(rc, p, audit.Event{Name: audit.SessionsEnded, Reason: session.EndedByEmergency.String(), Count: int(result.Ended)}, err)
	if err != nil {
		return err
	}
	if !p.Key().IsZero() {
		s.jar.ExpireCookie(rc, credential.Fusion)
		s.jar.ExpireCookie(rc, credential.MMonit)
	}
	return exchange.WriteJSON(rc, fasthttp.StatusOK, map[string]uint32{"ended": result.Ended})
}
