package realm

import (
	"regexp"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// ldapSearch is where to look, and for what.
type ldapSearch struct {
	BaseDN string `json:"baseDn"`
	Filter string `json:"filter"` // {} stands for the user name, {dn} for the user's DN (groups only)
	Scope  string `json:"scope"`  // sub (the default) or one
}

// check holds for searches of either kind.
func (s *ldapSearch) check(where string) error {
	if s.Scope == "" {
		s.Scope = scopeSub
	}
	base, err := ldap.ParseDN(s.BaseDN)
	switch {
	case err != nil || len(base.RDNs) == 0 || len(s.BaseDN) > maxBindTemplate:
		return badConfig(where + ".baseDn must be a DN")
	case s.Scope != scopeSub && s.Scope != scopeOne:
		return badConfig(where + ".scope must be sub or one")
	case !validFilter(s.fill("user", "cn=user")):
		return badConfig(where + ".filter must be an LDAP filter in parentheses")
	}
	return nil
}

// The scopes of a search.
const (
	scopeSub = "sub"
	scopeOne = "one"
)

func (s *ldapSearch) scope() int {
	if s.Scope == scopeOne {
		return ldap.ScopeSingleLevel
	}
	return ldap.ScopeWholeSubtree
}

// fill puts a user into the filter, escaped so that neither name nor DN can be anything but a value (RFC 4515, 3). What
// was put in is not looked at again.
func (s *ldapSearch) fill(username, dn string) string {
	return strings.NewReplacer("{}", ldap.EscapeFilter(username), "{dn}", ldap.EscapeFilter(dn)).Replace(s.Filter)
}

// anybody is the filter of a login with any user in the place of one.
func (s *ldapSearch) anybody() string { return placedName.ReplaceAllString(s.Filter, "($1=*)") }

// names reports whether an attribute's value is what a user of that name must have there: the name, with the end that
// the filter puts behind it. Only the case of ASCII letters is folded, as in names: whatever else folds to one of them is
// longer.
func (s *ldapSearch) names(value, attribute, username string) bool {
	same := func(want string) bool { return len(value) == len(want) && strings.EqualFold(value, want) }
	compared := false
	for _, place := range placedName.FindAllStringSubmatch(s.Filter, -1) {
		if strings.EqualFold(place[1], attribute) {
			if compared = true; same(username + place[2]) {
				return true
			}
		}
	}
	return !compared && same(username)
}

func validFilter(filter string) bool {
	if len(filter) > maxFilter {
		return false
	}
	_, err := ldap.CompileFilter(filter)
	return err == nil
}

// placedName finds where a filter compares an attribute with the user name: {} alone, or with a fixed end as a domain.
var placedName = regexp.MustCompile(`\(([A-Za-z][A-Za-z0-9-]*)=\{\}([^()*\\{}]*)\)`)
