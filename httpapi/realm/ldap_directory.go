package realm

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// ldapDirectory is a realm's directory: the servers that hold it, and how users are found in it.
type ldapDirectory struct {
	cfg     ldapConfig
	rev     uint64 // of the realm that it is made from
	servers []*ldapServer
	logins  *gate
	checks  *gate // re-checks: a flood of logins must not keep them out
	pool    linkPool
	log     *slog.Logger

	mu         sync.Mutex
	complained time.Time // until then no further complaint is logged
}

var (
	errAccountRefused = errors.New("the directory server refuses the service account: check login.bindDn and login.bindPassword")
	errNoBase         = errors.New("the base DN does not exist, or the service account may not see it")
	errEmpty          = errors.New("no user at all is to be seen in the directory: it is empty, or the service account may not read it")
	errNotFound       = errors.New("no such user")
	errSeveral        = errors.New("several entries match the user name")
	errOtherName      = errors.New("the entry that was found does not hold the user name as its only value of login.usernameAttribute")
)

func newLDAPDirectory(cfg ldapConfig, rev uint64, rootCAs *x509.CertPool, log *slog.Logger) (*ldapDirectory, error) {
	if len(cfg.extraCA) > 0 {
		var err error
		if rootCAs == nil {
			if rootCAs, err = x509.SystemCertPool(); err != nil {
				return nil, fmt.Errorf("load the system's certificates: %w", err)
			}
		}
		rootCAs = rootCAs.Clone()
		for _, certificate := range cfg.extraCA {
			rootCAs.AddCert(certificate)
		}
	}
	d := &ldapDirectory{
		cfg: cfg, rev: rev, log: log,
		logins: newGate(maxBinds, bindQueue, 0), checks: newGate(maxRechecks, recheckQueue, 0),
	}
	for _, address := range cfg.servers {
		d.servers = append(d.servers, &ldapServer{
			address: address, ssl: cfg.SSL, startTLS: cfg.StartTLS, rootCAs: rootCAs,
			connectTimeout: time.Duration(cfg.ConnectTimeout), log: log,
		})
	}
	return d, nil
}

func (d *ldapDirectory) close() { d.pool.close() }

// login checks a password and returns the roles that the user's groups give. Errors: ErrInvalidCredentials, ErrBusy,
// ErrUnavailable, or the context's.
func (d *ldapDirectory) login(ctx context.Context, username, password string) (roles []string, err error) {
	if password == "" {
		return nil, ErrInvalidCredentials
	}
	leave, err := d.logins.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("check password at directory server: %w", err)
	}
	defer leave()
	err = d.onServer(ctx, func(ctx context.Context, s *ldapServer) (err error) {
		if d.cfg.Login.Search != nil {
			roles, err = d.loginBySearch(ctx, s, username, password)
		} else {
			roles, err = d.loginByTemplate(ctx, s, username, password)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("check password at directory server: %w", err)
	}
	return roles, nil
}

// loginByTemplate binds as the DN that the template gives. What else is to be known of the user, the service account
// reads, or where there is none the user itself.
func (d *ldapDirectory) loginByTemplate(ctx context.Context, s *ldapServer, username, password string) (roles []string, err error) {
	link, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer link.close()
	if err := link.bind(ctx, d.cfg.bindName(username), password); err != nil || !d.cfg.readsEntry() {
		return nil, err
	}
	read := func(link *ldapLink) error {
		entry, err := d.entryAt(ctx, link, username)
		if err == nil {
			roles, err = d.rolesAtLogin(ctx, link, entry, username)
		}
		return err
	}
	if d.cfg.hasAccount() {
		err = d.asAccount(ctx, s, read)
	} else {
		err = read(link)
	}
	if errors.Is(err, errNoSuchObject) {
		err = fault(answerUnclear, errors.New("the user's entry can't be read"))
	}
	return roles, err
}

// loginBySearch looks the user's DN up, then binds as it on another connection.
func (d *ldapDirectory) loginBySearch(ctx context.Context, s *ldapServer, username, password string) (roles []string, err error) {
	var entry *ldap.Entry
	err = d.asAccount(ctx, s, func(link *ldapLink) (err error) {
		entry, err = d.find(ctx, link, username)
		return err
	})
	if errors.Is(err, errNotFound) || errors.Is(err, errSeveral) || errors.Is(err, errOtherName) {
		if !errors.Is(err, errNotFound) {
			d.complain("a user can't log in", "user", username, "error", err)
		}
		return nil, d.bindNobody(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	if err := d.bindUser(ctx, s, entry.DN, password); err != nil {
		return nil, err
	}
	err = d.asAccount(ctx, s, func(link *ldapLink) error {
		roles, err = d.rolesAtLogin(ctx, link, entry, username)
		return err
	})
	return roles, err
}

func (d *ldapDirectory) bindUser(ctx context.Context, s *ldapServer, dn, password string) error {
	link, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer link.close()
	return link.bind(ctx, dn, password)
}

// bindNobody does what a login of a user who exists does next, so that the answer takes as long. Nobody has the name,
// and the password is not the user's.
func (d *ldapDirectory) bindNobody(ctx context.Context, s *ldapServer) error {
	err := d.bindUser(ctx, s, "cn="+rand.Text()+","+d.cfg.Login.Search.BaseDN, rand.Text())
	if err != nil && !errors.Is(err, ErrInvalidCredentials) {
		return err
	}
	return ErrInvalidCredentials
}

// rolesAtLogin refuses a closed account, whatever its password, and returns the roles of the user's groups.
func (d *ldapDirectory) rolesAtLogin(ctx context.Context, link *ldapLink, entry *ldap.Entry, username string) ([]string, error) {
	why, err := d.closed(ctx, link, entry)
	if err != nil {
		return nil, err
	}
	if why != "" {
		return nil, ErrInvalidCredentials
	}
	return d.roles(ctx, link, entry, username)
}

// find searches the user's entry: exactly one, which says itself that this is its user name. A login under another name
// that leads to the same entry, as an alias or one that the server takes for equal, would be another user to us, and
// could be one whom our records disable, or somebody else's.
func (d *ldapDirectory) find(ctx context.Context, link *ldapLink, username string) (*ldap.Entry, error) {
	search, name := d.cfg.Login.Search, d.cfg.Login.UsernameAttribute
	entries, err := link.search(ctx, search.BaseDN, search.scope(), 1, search.fill(username, ""), d.attributes(name)...)
	switch {
	case errors.Is(err, errNoSuchObject):
		return nil, fault(realmFails, fmt.Errorf("%w: %q", errNoBase, search.BaseDN))
	case errors.Is(err, errTooMany):
		return nil, errSeveral
	case err != nil:
		return nil, err
	case len(entries) == 0:
		return nil, errNotFound
	}
	entry := entries[0]
	values, err := attributeOf(entry, name)
	if err != nil {
		return nil, fault(answerUnclear, err)
	}
	if entry.DN == "" || len(values) != 1 || !search.names(values[0], name, username) {
		return nil, errOtherName
	}
	return entry, nil
}

// entryAt reads the entry to which the template leads. Errors: errNoSuchObject, or a ldapFault.
func (d *ldapDirectory) entryAt(ctx context.Context, link *ldapLink, username string) (*ldap.Entry, error) {
	entries, err := link.search(ctx, d.cfg.bindName(username), ldap.ScopeBaseObject, 1, "(objectClass=*)", d.attributes("")...)
	if err == nil && len(entries) == 0 {
		err = fault(answerUnclear, errors.New("the user's entry is there and can't be read"))
	}
	if err != nil {
		return nil, err
	}
	return entries[0], nil
}

// attributes are those to ask for with a user's entry. Some are operational: they come only when they are named.
func (d *ldapDirectory) attributes(name string) []string {
	wanted := []string{attrAccountControl, attrAccountLock, attrLockedTime}
	for _, more := range []string{name, d.cfg.Groups.Attribute} {
		if more != "" {
			wanted = append(wanted, more)
		}
	}
	return wanted
}

// closed says why the account may not be used, "" if it may.
func (d *ldapDirectory) closed(ctx context.Context, link *ldapLink, entry *ldap.Entry) (string, error) {
	why, err := closed(entry)
	if err != nil {
		return "", fault(answerUnclear, err)
	}
	if why != "" || d.cfg.Login.DisabledFilter == "" {
		return why, nil
	}
	matching, err := link.search(ctx, entry.DN, ldap.ScopeBaseObject, 1, d.cfg.Login.DisabledFilter)
	switch {
	case errors.Is(err, errNoSuchObject):
		return "", fault(answerUnclear, errors.New("the user's entry is gone between two questions"))
	case err != nil:
		return "", err
	case len(matching) > 0:
		return "disabled in the directory (login.disabledFilter)", nil
	}
	return "", nil
}

// roles returns the roles that the user's groups give.
func (d *ldapDirectory) roles(ctx context.Context, link *ldapLink, entry *ldap.Entry, username string) ([]string, error) {
	if search := d.cfg.Groups.Search; search != nil {
		entries, err := link.search(ctx, search.BaseDN, search.scope(), maxGroups, search.fill(username, entry.DN))
		if errors.Is(err, errNoSuchObject) {
			return nil, fault(realmFails, fmt.Errorf("groups: %w: %q", errNoBase, search.BaseDN))
		}
		if err != nil {
			return nil, fmt.Errorf("groups: %w", err)
		}
		names := make([]string, len(entries))
		for i, group := range entries {
			names[i] = group.DN
		}
		return rolesOf(d.cfg.rules, names), nil
	}
	if d.cfg.Groups.Attribute == "" {
		return nil, nil
	}
	names, err := attributeOf(entry, d.cfg.Groups.Attribute)
	if err != nil {
		return nil, fault(answerUnclear, err)
	}
	if len(names) > maxGroups {
		return nil, fault(answerUnclear, fmt.Errorf("more than %d groups", maxGroups))
	}
	return rolesOf(d.cfg.rules, names), nil
}

// complain logs what an administrator has to mend, and not for every login anew.
func (d *ldapDirectory) complain(what string, args ...any) {
	now := time.Now()
	d.mu.Lock()
	quiet := now.Before(d.complained)
	if !quiet {
		d.complained = now.Add(complaintPause)
	}
	d.mu.Unlock()
	if !quiet {
		d.log.Warn(what, args...)
	}
}
