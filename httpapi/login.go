package httpapi

import (
	"context"
	"errors"
	"log/slog"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// loginParams is what a login asks for. Strings are copies: they outlive the handler.
type loginParams struct {
	realm    string
	username string
	password string
	surface  session.Surface
	csrfOff  bool
	replaces session.Key  // session to end with the login; zero: none
	token    token        // that goes on as the session's; zero: a fresh one is minted
	notAfter session.Time // until when that token may be used; zero: no limit of its own
}

// No log prints a password or a token, and fmt does not ask unexported fields how they want to be printed.
func (loginParams) String() string       { return "<secret>" }
func (loginParams) GoString() string     { return "<secret>" }
func (loginParams) LogValue() slog.Value { return slog.StringValue("<secret>") }

// login checks credentials and makes a session for them. The one answer to every reason why somebody may not log in is
// realm.ErrInvalidCredentials (realm.ErrBadUsername for a name that nobody can have). Other errors: errFailures, realm.ErrBusy and ErrUnavailable, session.ErrBadUserName (of
// a user that a directory server knows, under a name that can't go into headers), session.ErrKeyUsed and ErrTooLate
// (of a given token), and those of the cluster.
//
// When user or realm change while the credentials are checked, the session is refused and everything is done once
// more: the login counts only if the credentials hold for what is in force when the session is made.
func (s *Server) login(rc *request, p loginParams) (token, error) {
	t, err := s.loginOnce(rc, p)
	if errors.Is(err, session.ErrRevisionMoved) {
		t, err = s.loginOnce(rc, p)
	}
	return t, err
}

func (s *Server) loginOnce(rc *request, p loginParams) (token, error) {
	ctx := s.context(rc)
	identity, err := s.verifyCredentials(rc, p.realm, p.username, p.password)
	if err != nil {
		return token{}, err
	}
	t := p.token
	if t.key.IsZero() {
		t = mintToken()
	}
	err = s.createSession(ctx, p.notAfter, &session.Create{
		Key:        t.key,
		Realm:      identity.Realm,
		Username:   identity.Username,
		UserID:     identity.UserID,
		UserRev:    identity.UserRev,
		RealmRev:   identity.RealmRev,
		AutoCreate: identity.AutoCreate,
		Roles:      identity.Roles,
		FixedRoles: identity.FixedRoles,
		Surface:    p.surface,
		CSRFOff:    p.csrfOff,
		Address:    s.addressOf(rc),
		Agent:      agentOf(rc),
		Replaces:   p.replaces,
	})
	switch {
	case err == nil:
		return t, nil
	case errors.Is(err, session.ErrUserDisabled), errors.Is(err, session.ErrUserNotFound),
		errors.Is(err, session.ErrRealmDisabled), errors.Is(err, session.ErrRealmNotFound):
		// It happened between the check and the entry. The client must not be told what.
		return token{}, realm.ErrInvalidCredentials
	}
	return token{}, err
}

// createSession proposes a session with this node's timeouts. A create that is not over within createWindow is refused
// by the machine, so one whose outcome is unknown can be ended for good.
func (s *Server) createSession(ctx context.Context, notAfter session.Time, create *session.Create) error {
	create.Idle, create.Lifetime = s.cfg.IdleTimeout, s.cfg.MaxLifetime
	create.NotAfter = s.cluster.Now().Add(createWindow)
	ownWindow := notAfter == 0 || create.NotAfter < notAfter
	if !ownWindow {
		create.NotAfter = notAfter
	}
	_, err := s.cluster.Do(ctx, create)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, session.ErrTooLate) && ownWindow:
		return cluster.ErrTimeout // it waited too long in some queue
	case isUnknown(err):
		s.orphans.end(create.Key, create.NotAfter)
		return cluster.ErrOutcomeUnknown
	}
	return err
}

// isUnknown reports whether a command may have taken effect, or may still, although there was an error.
func isUnknown(err error) bool {
	return errors.Is(err, cluster.ErrOutcomeUnknown) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// verifyCredentials asks the authenticator, within what the throttle allows. Every refusal of the credentials is what
// verdict makes of it, so that the answers can't differ.
func (s *Server) verifyCredentials(rc *request, realmName, username, password string) (realm.Identity, error) {
	forgive, err := s.throttle.admit(s.clientAddr(rc), realmName, username)
	if err != nil {
		s.metrics.throttled.Add(1)
		return realm.Identity{}, err
	}
	identity, err := s.cfg.Authenticator.Authenticate(s.context(rc), realmName, username, password)
	switch {
	case errors.Is(err, realm.ErrInvalidCredentials):
		s.metrics.loginsRefused.Add(1)
		return realm.Identity{}, verdict(err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		err = cluster.ErrTimeout
	}
	forgive() // a right password, or nothing that the client could help
	return identity, err
}

// verdict is the one answer to refused credentials. A name that nobody can have is told so: that depends on its
// characters alone, and a user of a directory server would otherwise look for the fault in the password. Both errors
// have one code, so errors.Is does not tell them apart.
func verdict(err error) error {
	if e, ok := errors.AsType[*session.Error](err); ok && e == realm.ErrBadUsername {
		return realm.ErrBadUsername
	}
	return realm.ErrInvalidCredentials
}

// addressOf returns the client's address as a session keeps it.
func (s *Server) addressOf(rc *request) string {
	if addr := s.clientAddr(rc); addr.IsValid() {
		return addr.String()
	}
	return ""
}

// agentOf returns a copy of the User-Agent, cut to what a session keeps, without control characters.
func agentOf(rc *request) string {
	agent := rc.ctx.Request.Header.UserAgent()
	clean := make([]byte, 0, min(len(agent), session.MaxAgent))
	for _, c := range agent {
		if len(clean) == session.MaxAgent {
			break
		}
		if c < ' ' || c > '~' { // also keeps a cut from leaving half a character
			c = '?'
		}
		clean = append(clean, c)
	}
	return string(clean)
}
