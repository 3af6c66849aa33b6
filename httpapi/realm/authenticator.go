package realm

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"

	"cloakroom/cluster/session"
)

// Config is what an Authenticator works with.
type Config struct {
	Directory Directory
	Hasher    *Hasher
	SealKey   [32]byte // seals the secrets of realm configurations; the same on every node
	// SealKeys returns the keys while the cluster's key is exchanged: the first seals, any opens. nil: SealKey alone.
	SealKeys  func() [][32]byte
	RootCAs   *x509.CertPool // whom directory servers' certificates must be signed by; nil: the system's
	KeySetDir string         // where files with the keys of issuers of tokens are; "": no realm can name one
	Logger    *slog.Logger
}

// Authenticator checks logins. It has no goroutine of its own; Close closes the connections that it keeps.
type Authenticator struct {
	directory Directory
	hasher    *Hasher
	sealer    *sealer
	evidence  *evidence
	log       *slog.Logger

	directories *ldapDirectories
}

// New checks the configuration.
func New(cfg Config) (*Authenticator, error) {
	if cfg.Directory == nil || cfg.Hasher == nil || cfg.Logger == nil {
		return nil, errors.New("realm: Directory, Hasher and Logger are required")
	}
	if cfg.SealKeys == nil {
		cfg.SealKeys = func() [][32]byte { return [][32]byte{cfg.SealKey} }
	}
	sealer, err := newRingSealer(cfg.SealKeys)
	if err != nil {
		return nil, fmt.Errorf("make realm sealer: %w", err)
	}
	return &Authenticator{
		directory: cfg.Directory,
		hasher:    cfg.Hasher,
		sealer:    sealer,
		evidence:  newEvidence(cfg),
		log:       cfg.Logger,

		directories: newLDAPDirectories(sealer, cfg.RootCAs, cfg.Logger),
	}, nil
}

// Close closes the connections to directory servers. Logins that still run get no others to keep.
func (a *Authenticator) Close() error {
	a.directories.close()
	return nil
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
	if realm.Type == TypeHeader || realm.Type == TypeJWT { // there is no password to be right
		return a.refuse(ctx, ErrInvalidCredentials)
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
