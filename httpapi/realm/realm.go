// Package realm owns the question who may log in: it checks a user name and a password against the realm that they
// were given for, and hashes passwords. It makes no session, keeps no record and knows no HTTP: records come from the
// Directory, and what a successful check established is an Identity, for the caller to turn into a session.
//
// # Realms of type ldap
//
// The configuration, of which host and one of login.bindDnTemplate and login.search are required:
//
//	{"host": "ldap1.example.com", "hosts": ["ldap2.example.com", "ldap3.example.com:1636"],
//	 "ssl": true, "startTls": false, "port": 636, "caCertificates": "-----BEGIN CERTIFICATE-----…",
//	 "timeout": "5s", "connectTimeout": "2s", "autoCreateUsers": true, "ephemeralUsers": false,
//	 "login": {"bindDnTemplate": "uid={},ou=users,dc=example,dc=com",
//	           "search": {"baseDn": "ou=users,dc=example,dc=com", "filter": "(uid={})", "scope": "sub"},
//	           "bindDn": "cn=reader,dc=example,dc=com", "bindPassword": "…",
//	           "usernameAttribute": "uid", "disabledFilter": "(employeeType=left)"},
//	 "groups": {"attribute": "memberOf",
//	            "search": {"baseDn": "ou=groups,dc=example,dc=com", "filter": "(member={dn})"}},
//	 "groupRoles": {"cn=ops,ou=groups,dc=example,dc=com": ["admin"], "readers": ["developer"]},
//	 "recheck": {"force": false}}
//
// The rules:
//
//   - A password is checked by a simple bind: as the DN of the template, or as the one entry that the service account's
//     search finds. An empty password or DN never reaches a server.
//   - A user has one name: what was typed, folded to lower case. The entry that a search finds must hold it as the only
//     value of usernameAttribute, so that no alias of an entry is a second user.
//   - {} in a DN or filter is the user name, {dn} in the filter for groups the user's DN, both escaped.
//   - Roles are the record's, the realm's and those of groupRoles. A key with = in it is a DN; another one is a cn, of
//     any group wherever it is, so a role that matters is better given by DN. Groups without a key are ignored.
//   - Servers are tried in order, each for its share of the timeout; one that failed is tried last for 15 s.
//   - A connection is one account's for all its life. Those of the service account are kept, at most 4 for a minute.
//   - A certificate is always checked, against the system's authorities and caCertificates. Referrals are never
//     followed. What is no clear and complete answer, as a part of somebody's groups, is ErrUnavailable: it neither
//     lets anybody in nor tells anybody that the password is wrong.
//   - Recheck needs a service account. It finds a user gone who is not in the directory, whom disabledFilter matches, or
//     whose entry says so: userAccountControl with bit 2, nsAccountLock, pwdAccountLockedTime 000001010000Z. A lock
//     after wrong passwords does not count: a stranger could end sessions by guessing.
//   - bindPassword is sealed where it is stored and never shown; a change of the configuration must repeat it.
package realm

import (
	"context"
	"slices"
	"strings"
	"time"

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

	Until time.Time // the session must not outlive it; zero: no limit
}

// Directory reads the records that a login is checked against. A record that does not exist is nil; the error means
// only that the cluster cannot say at the moment.
type Directory interface {
	User(ctx context.Context, realm, username string) (*session.User, *session.Realm, error)
}

// CanonicalUsername returns the form in which a realm of the given type names a user. Directory servers compare user
// names without regard to case, so a login as "ANN" is one as "ann": were it not folded, a disabled "ann" could come
// back as a new user "ANN". Records of users of such a realm must be made under the folded name. A proxy that has
// authenticated somebody will have asked such a server, and passes on what was typed in.
func CanonicalUsername(realmType, username string) string {
	if realmType == TypeLDAP || realmType == TypeHeader {
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
