package exchange

import (
	"encoding/hex"
	"encoding/json"

	"cloakroom/cluster/session"
)

// AppendRoles appends the roles of a session with commas between them: names have none.
func AppendRoles(b []byte, view session.View) []byte {
	roles := RolesOf(view)
	for i, name := 0, roles.Next(); name != ""; i, name = i+1, roles.Next() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, name...)
	}
	return b
}

// AppendHandle appends a key in hexadecimal.
func AppendHandle(b []byte, key session.Key) []byte { return hex.AppendEncode(b, key[:]) }

// roleList goes through the union of two sorted lists without making one: View.Roles for the hot path.
type roleList struct{ a, b []string }

// RolesOf returns the roles of a session: those fixed with it, or those of its user and realm.
func RolesOf(view session.View) roleList {
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

// Next returns the next role, "" at the end.
func (l *roleList) Next() string {
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

// AppendSession appends the body of GET /api/session. A caller by Basic or the like has no session to show.
func AppendSession(b []byte, view session.View, lastUse session.Time) []byte {
	sess := &view.Session
	b = AppendString(append(b, `{"user":{"id":`...), sess.UserID)
	b = AppendString(append(b, `,"username":`...), sess.Username)
	b = AppendString(append(b, `,"realmName":`...), sess.Realm)
	b = append(b, `},"roles":[`...)
	roles := RolesOf(view)
	for i, name := 0, roles.Next(); name != ""; i, name = i+1, roles.Next() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(AppendString(append(b, `{"name":`...), name), '}')
	}
	b = append(b, ']')
	if !sess.Key.IsZero() {
		b = AppendTimes(append(b, `,"session":{`...), sess, lastUse)
		b = append(b, '}')
	}
	return append(b, '}')
}

// AppendTimes appends a session's handle and times as members of a JSON object. The idle timeout ends no session later
// than the absolute one, and none is shown to.
func AppendTimes(b []byte, sess *session.Head, lastUse session.Time) []byte {
	b = AppendHandle(append(b, `"handle":"`...), sess.Key)
	b = AppendTime(append(b, `","createdAt":`...), sess.Created)
	b = AppendTime(append(b, `,"lastActiveAt":`...), lastUse)
	b = AppendTime(append(b, `,"idleExpiresAt":`...), min(lastUse.Add(sess.Idle), sess.Expires))
	return AppendTime(append(b, `,"expiresAt":`...), sess.Expires)
}

// Moment is a time as JSON shows it.
type Moment session.Time

// MarshalJSON writes RFC 3339 with milliseconds.
func (t Moment) MarshalJSON() ([]byte, error) { return AppendTime(nil, session.Time(t)), nil }

var _ json.Marshaler = Moment(0)

// OrEmpty keeps a list from being shown as null.
func OrEmpty(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

// ShowIdentity says in headers whose a session is.
func (rc *Request) ShowIdentity(view session.View) {
	h := &rc.Ctx.Response.Header
	// By their bytes: to put the names in order takes longer than the lookup.
	rc.Buf = append(rc.Buf[:0], view.Session.Username...)
	h.SetCanonical([]byte("Remote-User"), rc.Buf)
	rc.Buf = append(rc.Buf[:0], view.Session.Realm...)
	h.SetCanonical([]byte("Remote-Realm"), rc.Buf)
	rc.Buf = AppendRoles(rc.Buf[:0], view)
	h.SetCanonical([]byte("Remote-Groups"), rc.Buf)
	rc.Buf = AppendHandle(rc.Buf[:0], view.Session.Key)
	h.SetCanonical([]byte("X-Session-Handle"), rc.Buf)
}
