package realm

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"

	"github.com/google/uuid"

	"cloakroom/cluster/session"
)

// Config is what an Authenticator works with.
type Config struct {
	Directory Directory
	Hasher    *Hasher
	SealKey   [32]byte       // seals the secrets of realm configurations; the same on every node
	RootCAs   *x509.CertPool // whom directory servers' certificates must be signed by; nil: the system's
	Logger    *slog.Logger
}

// Authenticator checks logins. It has no goroutine of its own and needs no Close.
type Authenticator struct {
	directory Directory
	hasher    *Hasher
	sealer    *sealer
	binder    *binder
	log       *slog.Logger
}

// New checks the configuration.
func New(cfg Config) (*Authenticator, error) {
	if cfg.Directory == nil || cfg.Hasher == nil || cfg.Logger == nil {
		return nil, errors.New("realm: Directory, Hasher and Logger are required")
	}
	sealer, err := newSealer(cfg.SealKey)
	if err != nil {
		return nil, fmt.Errorf("make realm sealer: %w", err)
	}
	return &Authenticator{
		directory: cfg.Directory,
		hasher:    cfg.Hasher,
		sealer:    sealer,
		binder:    newBinder(cfg.RootCAs),
		log:       cfg.Logger,
	}, nil
}

// Authenticate checks a user name and a password against a realm; "" is the realm native. Errors:
// ErrInvalidCredentials (ErrBadUsername for a name that nobody can have), ErrBusy, ErrUnavailable, ErrUnknownRealmType,
// those of the Directory and of the context.
//
// Every path that reaches a verdict computes exactly one password hash, so that the time taken does not say whether
// there is such a user or realm.
func (a *Authenticator) Authenticate(ctx context.Context, realmName, username, password string) (Identity, error) {
	if realmName == "" {
		realmName = session.NativeRealm
	}
	if !session.ValidName(username) {
		return a.refuse(ctx, ErrBadUsername)
	}
	// An empty password must never reach a directory server: to LDAP such a bind is an anonymous one, and succeeds
	// (RFC 4513, 5.1.2).
	if !session.ValidName(realmName) || password == "" || len(password) > MaxPassword {
		return a.refuse(ctx, ErrInvalidCredentials)
	}
	user, realm, err := a.records(ctx, realmName, username)
	if err != nil {
		return Identity{}, fmt.Errorf("look up user and realm: %w", err)
	}
	if realm == nil || !realm.Enabled {
		return a.refuse(ctx, ErrInvalidCredentials)
	}
	switch realm.Type {
	case TypeNative:
		return a.native(ctx, realm, user, password)
	case TypeLDAP:
		return a.ldap(ctx, realm, user, CanonicalUsername(TypeLDAP, username), password)
	}
	return a.refuse(ctx, ErrUnknownRealmType)
}

// records reads the user's record under the name that the realm's type gives it.
func (a *Authenticator) records(ctx context.Context, realmName, username string) (*session.User, *session.Realm, error) {
	user, realm, err := a.directory.User(ctx, realmName, username)
	if err != nil || realm == nil {
		return nil, nil, err
	}
	canonical := CanonicalUsername(realm.Type, username)
	if canonical == username {
		return user, realm, nil
	}
	return a.directory.User(ctx, realmName, canonical)
}

// refuse spends the hash that a real check would have cost, then answers with the verdict.
func (a *Authenticator) refuse(ctx context.Context, verdict error) (Identity, error) {
	if _, err := a.hasher.check(ctx, nil, ""); err != nil {
		return Identity{}, err
	}
	return Identity{}, verdict
}

func (a *Authenticator) native(ctx context.Context, realm *session.Realm, user *session.User, password string) (Identity, error) {
	matches, err := a.hasher.check(ctx, a.storedHash(user), password)
	if err != nil {
		return Identity{}, err
	}
	if !matches || user.Disabled {
		return Identity{}, ErrInvalidCredentials
	}
	return Identity{
		Realm:    realm.Name,
		Username: user.Username,
		UserID:   user.ID,
		UserRev:  user.Rev,
		RealmRev: realm.Rev,
	}, nil
}

// storedHash returns the user's password hash, nil when there is none to check against.
func (a *Authenticator) storedHash(user *session.User) *phc {
	if user == nil || user.PasswordHash == "" {
		return nil
	}
	stored, err := parsePHC(user.PasswordHash)
	if err != nil {
		a.log.Error("a user can't log in: set a new password", "realm", user.Realm, "user", user.Username, "err", err)
		return nil
	}
	return &stored
}

// ldap checks the password at the realm's directory server. The server is asked whatever our own record says, so that
// the time taken does not tell a disabled user from a wrong password.
func (a *Authenticator) ldap(ctx context.Context, realm *session.Realm, user *session.User, username, password string) (Identity, error) {
	if _, err := a.hasher.check(ctx, nil, password); err != nil {
		return Identity{}, err
	}
	settings, err := parseLDAPConfig(realm.Config)
	if err != nil {
		return Identity{}, fmt.Errorf("use realm %q: %w: %w", realm.Name, ErrUnavailable, err)
	}
	if err := a.binder.bind(ctx, settings, username, password); err != nil {
		return Identity{}, fmt.Errorf("check a password in realm %q: %w", realm.Name, err)
	}
	identity := Identity{Realm: realm.Name, Username: username, RealmRev: realm.Rev, FixedRoles: true}
	switch {
	case user != nil && user.Disabled:
		return Identity{}, ErrInvalidCredentials
	case user != nil:
		identity.UserID, identity.UserRev = user.ID, user.Rev
		identity.Roles = union(user.RoleNames, realm.RoleNames)
		return identity, nil
	case settings.EphemeralUsers:
		// No record is kept, yet the same user has the same id at each login.
		identity.UserID = uuid.NewSHA1(uuid.NameSpaceOID, []byte(realm.ID+"/"+username)).String()
	case settings.AutoCreateUsers:
		identity.UserID, identity.AutoCreate = uuid.NewString(), true
	default:
		return Identity{}, ErrInvalidCredentials
	}
	identity.Roles = union(nil, realm.RoleNames)
	return identity, nil
}

// SealConfig checks a realm's configuration as an administrator gave it and returns the form to store, in which every
// secret is sealed. Errors: ErrUnknownRealmType, ErrRealmConfig, session.ErrLimitRealmConfig.
func (a *Authenticator) SealConfig(realmType string, config []byte) ([]byte, error) {
	if err := ValidateConfig(realmType, config); err != nil {
		return nil, err
	}
	return a.sealer.seal(realmType, config)
}

// OpenConfig is the reverse of SealConfig, for what talks to the realm's server with those secrets. Its result must
// not be stored, logged or returned to a client.
func (a *Authenticator) OpenConfig(realmType string, config []byte) ([]byte, error) {
	return a.sealer.open(realmType, config)
}
