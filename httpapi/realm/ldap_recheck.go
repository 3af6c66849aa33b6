package realm

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-ldap/ldap/v3"

	"cloakroom/cluster/session"
)

// Verdict is what a realm says about a user who logged in some time ago.
type Verdict struct {
	Gone   bool     // the user may not log in any more: deleted or disabled
	Reason string   // with Gone: why, for the log
	Roles  []string // without Gone: the user's roles now; sorted, without duplicates, never nil
	Forced bool     // the realm's configuration has recheck.force: Gone holds however many users are gone
}

// Recheck asks whether a user who logged in may still, and for the user's roles now. An error means that nobody could
// tell, and that nothing may be concluded: ErrRecheckImpossible (of realms that can't say without the user's password),
// ErrRecheckUnclear (of this user; others can be asked), ErrUnavailable, ErrBusy, those of the Directory and of the
// context.
//
// Gone rests on a clear and complete answer of a server that the service account could log in to: the entry says that
// the account is closed; or there is no such entry, while others of the realm's users are to be seen. So neither a
// missing base nor an emptied directory nor lost rights of the service account make anybody Gone.
func (a *Authenticator) Recheck(ctx context.Context, realmName, username string) (Verdict, error) {
	user, realm, err := a.records(ctx, realmName, username)
	if err != nil {
		return Verdict{}, fmt.Errorf("look up user and realm: %w", err)
	}
	if realm == nil || realm.Type != TypeLDAP {
		return Verdict{}, ErrRecheckImpossible
	}
	directory, err := a.directories.of(realm)
	if err != nil {
		return Verdict{}, fmt.Errorf("use realm %q: %w: %w", realm.Name, ErrUnavailable, err)
	}
	if !directory.cfg.hasAccount() {
		return Verdict{}, ErrRecheckImpossible
	}
	if user != nil && user.Disabled {
		return Verdict{Gone: true, Reason: "the user's record is disabled", Forced: directory.cfg.Recheck.Force}, nil
	}
	verdict, err := directory.recheck(ctx, CanonicalUsername(TypeLDAP, username))
	if err != nil {
		return Verdict{}, fmt.Errorf("check user again in realm %q: %w", realm.Name, err)
	}
	if !verdict.Gone {
		verdict.Roles = union(union(rolesOfRecord(user), realm.RoleNames), verdict.Roles)
	}
	return verdict, nil
}

func rolesOfRecord(user *session.User) []string {
	if user == nil {
		return nil
	}
	return user.RoleNames
}

// recheck returns the verdict with the roles of the user's groups alone.
func (d *ldapDirectory) recheck(ctx context.Context, username string) (Verdict, error) {
	leave, err := d.checks.enter(ctx)
	if err != nil {
		return Verdict{}, err
	}
	defer leave()
	verdict := Verdict{Forced: d.cfg.Recheck.Force}
	err = d.onServer(ctx, func(ctx context.Context, s *ldapServer) error {
		return d.asAccount(ctx, s, func(link *ldapLink) (err error) {
			verdict.Reason, verdict.Roles, err = d.look(ctx, link, username)
			return err
		})
	})
	verdict.Gone = verdict.Reason != ""
	switch {
	case errors.Is(err, errSeveral), errors.Is(err, errOtherName), isFault(err, answerUnclear):
		return Verdict{}, unclear(err)
	case err != nil:
		return Verdict{}, err
	}
	return verdict, nil
}

// look returns why the user is gone, or "" and the roles of the user's groups.
func (d *ldapDirectory) look(ctx context.Context, link *ldapLink, username string) (gone string, roles []string, err error) {
	var entry *ldap.Entry
	if d.cfg.Login.Search != nil {
		entry, err = d.find(ctx, link, username)
	} else {
		entry, err = d.entryAt(ctx, link, username)
	}
	switch {
	case errors.Is(err, errNotFound), errors.Is(err, errNoSuchObject):
		return "not in the directory any more", nil, d.othersSeen(ctx, link)
	case err != nil:
		return "", nil, err
	}
	if gone, err = d.closed(ctx, link, entry); err != nil || gone != "" {
		return gone, nil, err
	}
	roles, err = d.roles(ctx, link, entry, username)
	return "", roles, err
}

// othersSeen returns an error unless the service account sees users in the directory. Only then does it mean anything
// that one is not to be seen.
func (d *ldapDirectory) othersSeen(ctx context.Context, link *ldapLink) error {
	base, scope, filter, least := d.cfg.usersBase(), ldap.ScopeWholeSubtree, "(objectClass=*)", 2 // the base itself is one
	if search := d.cfg.Login.Search; search != nil {
		base, scope, filter, least = search.BaseDN, search.scope(), search.anybody(), 1
	}
	seen, err := link.exists(ctx, base, scope, least, filter)
	switch {
	case errors.Is(err, errNoSuchObject):
		return fault(realmFails, fmt.Errorf("%w: %q", errNoBase, base))
	case err != nil:
		return err
	case !seen:
		return fault(realmFails, errEmpty)
	}
	return nil
}

// unclear makes an error ErrRecheckUnclear and nothing else that has a code.
func unclear(err error) error {
	return &session.Error{Code: ErrRecheckUnclear.Code, Message: ErrRecheckUnclear.Message + ": " + err.Error()}
}
