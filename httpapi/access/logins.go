package access

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// Logins makes sessions for those who have shown who they are, and ends them.
type Logins struct {
	Idle     time.Duration // of new sessions
	Lifetime time.Duration
	Orphans  *orphans
	log      *slog.Logger
	state    *State
	clients  *Clients
	door     *Door
	diary    *Diary
}

// LoginParams is what a login asks for. Strings are copies: they outlive the handler.
type LoginParams struct {
	Realm    string
	Username string
	Password string
	Surface  session.Surface
	CsrfOff  bool
	Replaces session.Key      // session to end with the login; zero: none
	Token    credential.Token // that goes on as the session's; zero: a fresh one is minted
	NotAfter session.Time     // until when that token may be used; zero: no limit of its own
	Evidence *realm.Evidence  // instead of user name and password
}

// String keeps passwords and tokens out of logs, as do the next two: what holds a secret is printed as one.
func (LoginParams) String() string       { return "<secret>" }
func (LoginParams) GoString() string     { return "<secret>" }
func (LoginParams) LogValue() slog.Value { return slog.StringValue("<secret>") }

// Login checks credentials and makes a session for them. The one answer to every reason why somebody may not log in is
// realm.ErrInvalidCredentials (realm.ErrBadUsername for a name that nobody can have). Other errors: tries.ErrFailures, realm.ErrBusy and ErrUnavailable, session.ErrBadUserName (of
// a user that a directory server knows, under a name that can't go into headers), session.ErrKeyUsed and ErrTooLate
// (of a given token), and those of the cluster.
//
// When user or realm change while the credentials are checked, the session is refused and everything is done once
// more: the login counts only if the credentials hold for what is in force when the session is made.
func (l *Logins) Login(rc *exchange.Request, p LoginParams) (credential.Token, error) {
	who := attempt{realm: p.Realm, user: p.Username}
	t, err := l.loginOnce(rc, p, &who)
	if errors.Is(err, session.ErrRevisionMoved) {
		t, err = l.loginOnce(rc, p, &who)
	}
	if errors.Is(err, session.ErrRevisionMoved) {
		l.diary.auditRefused(rc, who, err)
	}
	return t, err
}

// loginOnce is login but for the second time. It audits every outcome except ErrRevisionMoved, for which it leaves in who
// as much as it has found out.
func (l *Logins) loginOnce(rc *exchange.Request, p LoginParams, who *attempt) (credential.Token, error) {
	ctx := l.state.Context(rc)
	identity, err := l.door.identify(rc, p)
	if err != nil {
		return credential.Token{}, err
	}
	who.user = identity.Username
	lifetime, err := l.lifetimeOf(identity)
	if err != nil {
		l.diary.auditRefused(rc, *who, err)
		return credential.Token{}, err
	}
	t := p.Token
	if t.Key.IsZero() {
		t = credential.Mint()
	}
	create := &session.Create{
		Key:        t.Key,
		Realm:      identity.Realm,
		Username:   identity.Username,
		UserID:     identity.UserID,
		UserRev:    identity.UserRev,
		RealmRev:   identity.RealmRev,
		AutoCreate: identity.AutoCreate,
		Roles:      identity.Roles,
		FixedRoles: identity.FixedRoles,
		Surface:    p.Surface,
		CSRFOff:    p.CsrfOff,
		Address:    l.clients.addressOf(rc),
		Agent:      agentOf(rc),
		Replaces:   p.Replaces,
		Lifetime:   lifetime,
	}
	err = l.CreateSession(ctx, p.NotAfter, create)
	if !errors.Is(err, session.ErrRevisionMoved) {
		l.diary.auditLogin(rc, create, err)
	}
	switch {
	case err == nil:
		return t, nil
	case errors.Is(err, session.ErrUserDisabled), errors.Is(err, session.ErrUserNotFound),
		errors.Is(err, session.ErrRealmDisabled), errors.Is(err, session.ErrRealmNotFound):
		// It happened between the check and the entry. The client must not be told what.
		return credential.Token{}, realm.ErrInvalidCredentials
	case errors.Is(err, session.ErrRoleNotFound):
		l.log.Error("nobody can log in: the realm's configuration grants a role that there is not", "realm", identity.Realm, "roles", identity.Roles)
		return credential.Token{}, realm.ErrUnavailable
	}
	return credential.Token{}, err
}

// CreateSession proposes a session with this node's timeouts. A create that is not over within createWindow is refused
// by the machine, so one whose outcome is unknown can be ended for good.
func (l *Logins) CreateSession(ctx context.Context, notAfter session.Time, create *session.Create) error {
	create.Idle = l.Idle
	if create.Lifetime == 0 {
		create.Lifetime = l.Lifetime
	}
	now, err := l.state.Cluster.Time(ctx)
	if err != nil {
		return err
	}
	create.NotAfter = now.Add(createWindow)
	ownWindow := notAfter == 0 || create.NotAfter < notAfter
	if !ownWindow {
		create.NotAfter = notAfter
	}
	_, err = l.state.Cluster.Do(ctx, create)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, session.ErrTooLate) && ownWindow:
		return cluster.ErrTimeout // it waited too long in some queue
	case exchange.IsUnknown(err):
		l.Orphans.end(create.Key, create.NotAfter)
		return cluster.ErrOutcomeUnknown
	}
	return err
}

// agentOf returns a copy of the User-Agent, cut to what a session keeps, without control characters.
func agentOf(rc *exchange.Request) string {
	agent := rc.Ctx.Request.Header.UserAgent()
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

// EndSessionByKey ends a session for good: once it has returned without an error, no node accepts the token again.
// by is who ends it; where it is not the owner, the session's tombstone says so.
func (l *Logins) EndSessionByKey(rc *exchange.Request, key session.Key, reason session.Reason, by Principal) error {
	end := &session.Invalidate{Key: key, Reason: reason}
	if reason != session.EndedByLogout {
		end.By = by.Name()
	}
	_, err := l.state.Do(rc, end)
	return err
}
