package access

import (
	"context"
	"errors"
	"slices"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// Principal is who makes a call of /api: the owner of a session, a user by credentials in the call itself (Basic, a JWT,
// a proxy's headers), or whoever holds the control socket.
// The zero principal may do nothing.
type Principal struct {
	View    session.View // of a session; without one it is made up for this one call, and has no key
	Control bool
}

// HasRole reports whether the caller has a role. The control socket has admin's.
func (p Principal) HasRole(name string) bool {
	if p.Control {
		return name == session.RoleAdmin
	}
	return p.known() && p.View.HasRole(name)
}

// Is reports whether the caller is that user.
func (p Principal) Is(realmName, username string) bool {
	s := &p.View.Session
	return p.known() && s.Realm == realmName && s.Username == username
}

// known reports whether the caller is a user.
func (p Principal) known() bool { return p.View.Session.Username != "" }

// Name is what the log calls the caller.
func (p Principal) Name() string {
	if p.Control || !p.known() {
		return "control socket"
	}
	return p.View.Session.Username + "@" + p.View.Session.Realm
}

// Key returns the caller's session, zero for one without.
func (p Principal) Key() session.Key {
	return p.View.Session.Key
}

// Callers says who makes a call, and whether they may.
type Callers struct {
	state *State
	jar   *Jar
	door  *Door
	diary *Diary
}

// Authenticate says who makes a call of /api. Credentials in the request go before cookies: they were put there for
// this call.
func (a *Callers) Authenticate(rc *exchange.Request) (Principal, error) {
	if rc.Control {
		return Principal{Control: true}, nil
	}
	view, err := a.caller(rc)
	exchange.Challenge(rc, err)
	return Principal{View: view}, err
}

// caller returns the session of who makes a call, or what stands for one when the call's own credentials say who it is.
func (a *Callers) caller(rc *exchange.Request) (session.View, error) {
	if ev, ok := a.door.Evidence(rc, false); ok {
		view, err := a.once(rc, func() (realm.Identity, error) { return a.door.verifyEvidence(rc, exchange.RealmParam(rc), ev) })
		if !errors.Is(err, realm.ErrNoEvidence) {
			return view, err
		}
	}
	if basic, ok := exchange.BasicHeader(rc); ok {
		return a.Basic(rc, basic)
	}
	view, _, err := a.Session(rc, credential.Fusion)
	return view, err
}

// Authorize is authenticate for callers that need a role, one of those.
func (a *Callers) Authorize(rc *exchange.Request, oneOf ...string) (Principal, error) {
	p, err := a.Authenticate(rc)
	if err == nil {
		p, err = a.Certain(rc, p)
	}
	if err == nil && !slices.ContainsFunc(oneOf, p.HasRole) {
		err = exchange.ErrForbidden
	}
	return p, err
}

// Certain returns a caller that Authenticate has returned, with the roles that it has for certain. A read at level local,
// by a node that is cut off or because somebody named that level, says who the caller was when this node heard of it last:
// that will do to be let in somewhere, but not for power over others, which may have been taken away since. Credentials in
// the call itself were checked against what a majority says.
func (a *Callers) Certain(rc *exchange.Request, p Principal) (Principal, error) {
	if p.Key().IsZero() {
		return p, nil
	}
	level, err := a.state.Level(rc)
	if err == nil && level < cluster.Lease {
		p.View, err = a.state.lookup(rc, p.Key(), cluster.Lease)
		exchange.Challenge(rc, err)
	}
	if rc.Weakened {
		err = cluster.ErrCutOff
	}
	return p, err
}

// Basic checks a Basic login for this one call. It costs a password hash, and makes no session.
func (a *Callers) Basic(rc *exchange.Request, encoded []byte) (session.View, error) {
	username, password, err := exchange.BasicLogin(encoded)
	return a.once(rc, func() (realm.Identity, error) {
		if err != nil {
			return realm.Identity{}, err
		}
		return a.door.verifyCredentials(rc, exchange.RealmParam(rc), username, password)
	})
}

// once checks credentials for this one call, and makes no session.
func (a *Callers) once(rc *exchange.Request, check func() (realm.Identity, error)) (session.View, error) {
	level, err := a.state.Level(rc)
	if err != nil {
		return session.View{}, err
	}
	who := attempt{realm: exchange.RealmParam(rc)}
	for range 2 { // once more when the records moved under the check, as for a login
		identity, err := check()
		if errors.Is(err, session.ErrRevisionMoved) {
			continue
		}
		if err != nil {
			return session.View{}, err
		}
		view, err := a.viewOf(a.state.Context(rc), level, identity)
		if err == nil {
			a.diary.auditCall(rc, identity)
		}
		if !errors.Is(err, session.ErrRevisionMoved) {
			return view, err
		}
		who.user = identity.Username
	}
	a.diary.auditRefused(rc, who, session.ErrRevisionMoved)
	return session.View{}, session.ErrRevisionMoved
}

// viewOf returns what a lookup of a session of that identity would show. The error is ErrRevisionMoved when the user
// or the realm is no longer what the credentials were checked against.
func (a *Callers) viewOf(ctx context.Context, level cluster.Level, identity realm.Identity) (session.View, error) {
	view := session.View{Session: session.Head{
		Realm:    identity.Realm,
		Username: identity.Username,
		UserID:   identity.UserID,
		Surface:  session.SurfaceFusion,
	}}
	if identity.FixedRoles {
		view.Session.Roles = identity.Roles
	}
	moved := false
	err := a.state.Cluster.Read(ctx, level, func(m *session.Machine) {
		var userRev, realmRev uint64
		view.User, view.Realm = nil, nil // a read may run again
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

// Session returns the session that the request's bearer token or else its cookies name, looked up at the request's
// level. The cookie is the one that was gone by. Errors: ErrSessionInvalid, ErrSessionIdle, or why no lookup is possible.
func (a *Callers) Session(rc *exchange.Request, own credential.Surface) (session.View, credential.Cookie, error) {
	level, err := a.state.Level(rc)
	if err != nil {
		return session.View{}, credential.Cookie{}, err
	}
	c := a.jar.ScanCookies(rc)
	v, err := c.Of(own)
	if token, ok := rc.BearerToken(); ok { // it was put there for this call
		v, err = token, nil
	}
	if err != nil {
		return session.View{}, credential.Cookie{}, err
	}
	view, err := a.LookupOf(rc, v, level)
	return view, v, err
}
