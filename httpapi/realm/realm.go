// Package realm owns the question who may log in: it checks a user name and a password against the realm that they
// were given for, and hashes passwords. It makes no session, keeps no record and knows no HTTP: records come from the
// Directory, and what a successful check established is an Identity, for the caller to turn into a session.
package realm

import (
	"context"
	"slices"
	"strings"

	"cloakroom/cluster/session"
)

// The types of realm.
const (
	TypeNative = "native" // the password is checked against the user's record
	TypeLDAP   = "ldap"   // the password is checked by a bind at a directory server
)

// Identity is who a caller has proved to be, and against which revisions of the records it was proved. The session
// must be created with these revisions, so that a change of the user or the realm in between refuses it.
type Identity struct {
	Realm    string
	Username string // canonical: what the records and the session are named by, see CanonicalUsername
	UserID   string // of the record; where there is none, the id that a record would get
	UserRev  uint64 // 0: there was no record
	RealmRev uint64

	AutoCreate bool     // the user's record is to be made together with the session
	FixedRoles bool     // Roles hold for the whole session; else the roles follow the records
	Roles      []string // with FixedRoles: sorted, without duplicates, never nil
}

// Directory reads the records that a login is checked against. A record that does not exist is nil; the error means
// only that the cluster cannot say at the moment.
type Directory interface {
	User(ctx context.Context, realm, username string) (*session.User, *session.Realm, error)
}

// CanonicalUsername returns the form in which a realm of the given type names a user. Directory servers compare user
// names without regard to case, so a login as "ANN" is one as "ann": were it not folded, a disabled "ann" could come
// back as a new user "ANN". Records of users of such a realm must be made under the folded name.
func CanonicalUsername(realmType, username string) string {
	if realmType == TypeLDAP {
		return strings.ToLower(username)
	}
	return username
}

// union returns the names of both lists, sorted, without duplicates; never nil.
func union(a, b []string) []string {
	names := append(append(make([]string, 0, len(a)+len(b)), a...), b...)
	slices.Sort(names)
	return slices.Compact(names)
}
