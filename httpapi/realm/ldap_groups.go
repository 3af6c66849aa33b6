package realm

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"cloakroom/cluster/session"
)

// groupRule gives roles to the members of a group.
type groupRule struct {
	dn    *ldap.DN // nil: the rule goes by the name
	cn    string
	roles []string
}

// parseGroupRoles reads the map from groups to roles, in the order of its keys. A key with = in it is a DN.
func parseGroupRoles(groupRoles map[string][]string) ([]groupRule, error) {
	var rules []groupRule
	for _, group := range slices.Sorted(maps.Keys(groupRoles)) {
		rule := groupRule{cn: group, roles: groupRoles[group]}
		if strings.Contains(group, "=") {
			dn, err := ldap.ParseDN(group)
			if err != nil {
				return nil, badConfig("groupRoles: a group with = in its name must be a DN")
			}
			rule.dn = dn
		}
		switch {
		case strings.TrimSpace(group) == "":
			return nil, badConfig("groupRoles: a group has no name")
		case len(rule.roles) > session.MaxRoles || !validNames(rule.roles):
			return nil, badConfig("groupRoles must give each group a list of role names")
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func validNames(names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !session.ValidName(name) })
}

// rolesOf returns the roles of the groups that the rules name, sorted; others are ignored. A group is what the directory
// calls it: mostly a DN, at some a plain name.
func rolesOf(rules []groupRule, groups []string) []string {
	var roles []string
	for _, group := range groups {
		dn, err := ldap.ParseDN(group)
		if err != nil || len(dn.RDNs) == 0 {
			dn = nil
		}
		for _, rule := range rules {
			if rule.matches(dn, group) {
				roles = append(roles, rule.roles...)
			}
		}
	}
	return union(roles, nil)
}

// matches compares without regard to case, as directories do.
func (r groupRule) matches(dn *ldap.DN, name string) bool {
	switch {
	case r.dn != nil:
		return dn != nil && r.dn.EqualFold(dn)
	case dn == nil:
		return strings.EqualFold(r.cn, name)
	}
	first := dn.RDNs[0].Attributes
	return len(first) == 1 && strings.EqualFold(first[0].Type, "cn") && strings.EqualFold(r.cn, first[0].Value)
}

// attributeOf returns an attribute's values. A part of them is an error: Active Directory gives long lists in ranges.
func attributeOf(entry *ldap.Entry, name string) ([]string, error) {
	var values []string
	for _, attribute := range entry.Attributes {
		switch base, option, _ := strings.Cut(attribute.Name, ";"); {
		case !strings.EqualFold(base, name):
		case strings.Contains(";"+strings.ToLower(option), ";range="):
			return nil, fmt.Errorf("the directory server gives only a part of the attribute %s: use a search for groups instead", name)
		default:
			values = append(values, attribute.Values...)
		}
	}
	return values, nil
}

// Attributes by which directories say that an account is closed.
const (
	attrAccountControl = "userAccountControl"   // Active Directory
	attrAccountLock    = "nsAccountLock"        // 389 Directory Server, FreeIPA
	attrLockedTime     = "pwdAccountLockedTime" // OpenLDAP's password policy (draft-behera-ldap-password-policy-10, 5.3.3)

	accountDisable = 2               // bit of userAccountControl: ACCOUNTDISABLE
	lockedForGood  = "000001010000Z" // of pwdAccountLockedTime: only an administrator unlocks it
)

// closed says why the entry's account may not be used, "" if nothing in it speaks against it.
//
// A lock after too many wrong passwords does not count, neither a time in pwdAccountLockedTime nor Active Directory's
// lockoutTime: it stops logins, which is the server's own affair, and if it ended sessions, any stranger could end
// anybody's by guessing.
func closed(entry *ldap.Entry) (string, error) {
	for _, value := range entry.GetEqualFoldAttributeValues(attrAccountControl) {
		bits, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return "", errors.New("the directory server's userAccountControl is not a number")
		}
		if bits&accountDisable != 0 {
			return "disabled in the directory (userAccountControl)", nil
		}
	}
	for _, value := range entry.GetEqualFoldAttributeValues(attrAccountLock) {
		if strings.EqualFold(value, "true") {
			return "disabled in the directory (nsAccountLock)", nil
		}
	}
	if slices.Contains(entry.GetEqualFoldAttributeValues(attrLockedTime), lockedForGood) {
		return "locked for good in the directory (pwdAccountLockedTime)", nil
	}
	return "", nil
}
