package httpapi

import (
	"encoding/hex"

	"cloakroom/cluster/session"
)

// verify is forward auth: GET /auth/verify, for a proxy that asks before it lets a request through. It answers 200
// with the user in headers, 401, or 503; never a redirect. The level of its reads is the configured one, whatever the
// request says: the header Consistency comes from whoever wants to be let in.
func (s *Server) verify(rc *request) error {
	c := scanCookies(&rc.ctx.Request.Header)
	cookie, err := c.of(fusion)
	if err != nil {
		return err
	}
	view, err := s.lookup(rc, cookie.key, s.cfg.Level)
	if err != nil {
		return err
	}
	h := &rc.ctx.Response.Header
	h.Set("Remote-User", view.Session.Username)
	h.Set("Remote-Realm", view.Session.Realm)
	rc.buf = appendRoles(rc.buf[:0], view)
	h.SetBytesV("Remote-Groups", rc.buf)
	rc.buf = appendHandle(rc.buf[:0], view.Session.Key)
	h.SetBytesV("X-Session-Handle", rc.buf)
	return nil
}

// appendRoles appends the roles of a session with commas between them: names have none.
func appendRoles(b []byte, view session.View) []byte {
	roles := rolesOf(view)
	for i, name := 0, roles.next(); name != ""; i, name = i+1, roles.next() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, name...)
	}
	return b
}

// appendHandle appends a key in hexadecimal.
func appendHandle(b []byte, key session.Key) []byte { return hex.AppendEncode(b, key[:]) }

// roleList goes through the union of two sorted lists without making one: View.Roles for the hot path.
type roleList struct{ a, b []string }

// rolesOf returns the roles of a session: those fixed with it, or those of its user and realm.
func rolesOf(view session.View) roleList {
	if view.Session.Roles != nil {
		return roleList{a: view.Session.Roles}
	}
	var l roleList
	if view.User != nil {
		l.a = view.User.RoleNames
	}
	if view.Realm != nil {
		l.b = view.Realm.RoleNames
	}
	return l
}

// next returns the next role, "" at the end.
func (l *roleList) next() string {
	switch {
	case len(l.a) == 0 && len(l.b) == 0:
		return ""
	case len(l.b) == 0 || len(l.a) > 0 && l.a[0] < l.b[0]:
		name := l.a[0]
		l.a = l.a[1:]
		return name
	}
	name := l.b[0]
	l.b = l.b[1:]
	if len(l.a) > 0 && l.a[0] == name {
		l.a = l.a[1:]
	}
	return name
}
