package realm

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"sync"

	"github.com/google/uuid"

	"cloakroom/cluster/session"
)

// ldap checks the password at the realm's directory server. The server is asked whatever our own record says, so that
// the time taken does not tell a disabled user from a wrong password.
func (a *Authenticator) ldap(ctx context.Context, realm *session.Realm, user *session.User, username, password string) (Identity, error) {
	if _, err := a.hasher.check(ctx, nil, password); err != nil {
		return Identity{}, err
	}
	directory, err := a.directories.of(realm)
	if err != nil {
		return Identity{}, fmt.Errorf("use realm %q: %w: %w", realm.Name, ErrUnavailable, err)
	}
	groupRoles, err := directory.login(ctx, username, password)
	if err != nil {
		if isFault(err, answerUnclear) || isFault(err, realmFails) {
			directory.complain("logins fail", "user", username, "error", err)
		}
		return Identity{}, fmt.Errorf("check a password in realm %q: %w", realm.Name, err)
	}
	// The name is what the user typed, folded, and never one that the server gives.
	identity := Identity{Realm: realm.Name, Username: username, RealmRev: realm.Rev, FixedRoles: true}
	var ownRoles []string
	switch {
	case user != nil && user.Disabled:
		return Identity{}, ErrInvalidCredentials
	case user != nil:
		identity.UserID, identity.UserRev = user.ID, user.Rev
		ownRoles = user.RoleNames
	case directory.cfg.EphemeralUsers:
		identity.UserID = ephemeralID(realm, username)
	case directory.cfg.AutoCreateUsers:
		identity.UserID, identity.AutoCreate = uuid.NewString(), true
	default:
		return Identity{}, ErrInvalidCredentials
	}
	identity.Roles = union(union(ownRoles, realm.RoleNames), groupRoles)
	return identity, nil
}

// ldapDirectories keeps the directory of each realm for as long as its configuration holds, with its connections.
type ldapDirectories struct {
	sealer  *sealer
	rootCAs *x509.CertPool
	log     *slog.Logger

	mu      sync.Mutex
	byRealm map[string]*ldapDirectory // by the realm's id
	closed  bool
}

func newLDAPDirectories(sealer *sealer, rootCAs *x509.CertPool, log *slog.Logger) *ldapDirectories {
	return &ldapDirectories{sealer: sealer, rootCAs: rootCAs, log: log, byRealm: make(map[string]*ldapDirectory)}
}

// of returns the directory of a realm as this record describes it. Whoever comes with an older record than another one
// gets what is newer.
func (d *ldapDirectories) of(realm *session.Realm) (*ldapDirectory, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.byRealm[realm.ID]
	if old != nil && old.rev >= realm.Rev {
		return old, nil
	}
	plain, err := d.sealer.open(realm.Type, realm.Config)
	if err != nil {
		return nil, err
	}
	cfg, err := parseLDAPConfig(plain)
	if err != nil {
		return nil, err
	}
	made, err := newLDAPDirectory(cfg, realm.Rev, d.rootCAs, d.log.With("realm", realm.Name))
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.close()
	}
	if d.closed {
		made.close()
	}
	d.byRealm[realm.ID] = made
	return made, nil
}

// close closes all idle connections, and others when they are given back.
func (d *ldapDirectories) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, directory := range d.byRealm {
		directory.close()
	}
}
