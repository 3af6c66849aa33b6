package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// principal is who makes a call of /api: the owner of a session, a user by Basic, or whoever holds the control socket.
// The zero principal may do nothing.
type principal struct {
	view    session.View // of a session; by Basic it is made up for this one call, without a key
	control bool
}

// hasRole reports whether the caller has a role. The control socket has admin's.
func (p principal) hasRole(name string) bool {
	if p.control {
		return name == session.RoleAdmin
	}
	return p.view.Session != nil && p.view.HasRole(name)
}

// is reports whether the caller is that user.
func (p principal) is(realmName, username string) bool {
	s := p.view.Session
	return s != nil && s.Realm == realmName && s.Username == username
}

// name is what the log calls the caller.
func (p principal) name() string {
	if p.control || p.view.Session == nil {
		return "control socket"
	}
	return p.view.Session.Username + "@" + p.view.Session.Realm
}

// key returns the caller's session, zero for one without.
func (p principal) key() session.Key {
	if p.view.Session == nil {
		return session.Key{}
	}
	return p.view.Session.Key
}

// authenticate says who makes a call of /api. Credentials in the request go before cookies: they were put there for
// this call.
func (s *Server) authenticate(rc *request) (principal, error) {
	if rc.control {
		return principal{control: true}, nil
	}
	if basic, ok := basicHeader(rc); ok {
		view, err := s.basic(rc, basic)
		return principal{view: view}, err
	}
	view, _, err := s.session(rc, fusion)
	return principal{view: view}, err
}

// authorize is authenticate for callers that need a role.
func (s *Server) authorize(rc *request, role string) (principal, error) {
	p, err := s.authenticate(rc)
	if err == nil && !p.hasRole(role) {
		err = errForbidden
	}
	return p, err
}

// basicHeader returns what follows "Basic " in the header Authorization.
func basicHeader(rc *request) ([]byte, bool) {
	header := rc.ctx.Request.Header.Peek(fasthttp.HeaderAuthorization)
	const scheme = "Basic "
	if len(header) < len(scheme) || !bytes.EqualFold(header[:len(scheme)], []byte(scheme)) {
		return nil, false
	}
	return bytes.TrimSpace(header[len(scheme):]), true
}

// basic checks a Basic login (RFC 7617, in UTF-8) for this one call. It costs a password hash, and makes no session.
func (s *Server) basic(rc *request, encoded []byte) (session.View, error) {
	level, err := s.level(rc)
	if err != nil {
		return session.View{}, err
	}
	plain, err := base64.StdEncoding.AppendDecode(nil, encoded)
	username, password, found := bytes.Cut(plain, []byte(":"))
	if err != nil || !found || !utf8.Valid(plain) {
		return session.View{}, realm.ErrInvalidCredentials
	}
	realmName := realmParam(rc)
	for range 2 { // once more when the records moved under the check, as for a login
		identity, err := s.verifyCredentials(rc, realmName, string(username), string(password))
		if err != nil {
			return session.View{}, err
		}
		view, err := s.viewOf(s.context(rc), level, identity)
		if !errors.Is(err, session.ErrRevisionMoved) {
			return view, err
		}
	}
	return session.View{}, session.ErrRevisionMoved
}

// viewOf returns what a lookup of a session of that identity would show. The error is ErrRevisionMoved when the user
// or the realm is no longer what the credentials were checked against.
func (s *Server) viewOf(ctx context.Context, level cluster.Level, identity realm.Identity) (session.View, error) {
	view := session.View{Session: &session.Session{
		Realm:    identity.Realm,
		Username: identity.Username,
		UserID:   identity.UserID,
		Surface:  session.SurfaceFusion,
	}}
	if identity.FixedRoles {
		view.Session.Roles = identity.Roles
	}
	moved := false
	err := s.cluster.Read(ctx, level, func(m *session.Machine) {
		var userRev, realmRev uint64
		if user, ok := m.UserByName(identity.Realm, identity.Username); ok {
			view.User, userRev = user, user.Rev
		}
		if r, ok := m.RealmByName(identity.Realm); ok {
			view.Realm, realmRev = r, r.Rev
		}
		moved = userRev != identity.UserRev || realmRev != identity.RealmRev
	})
	switch {
	case err != nil:
		return session.View{}, err
	case moved:
		return session.View{}, session.ErrRevisionMoved
	}
	return view, nil
}

// realmParam returns the realm that a request names, native where it names none.
func realmParam(rc *request) string {
	if name := rc.ctx.QueryArgs().Peek("realmName"); len(name) > 0 {
		return string(name)
	}
	return session.NativeRealm
}
