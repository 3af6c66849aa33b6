package realm

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm/slapdtest"
)

// groupRoles is a map with a group by DN, one by cn, and one that nobody is in.
var groupRoles = map[string][]string{
	"CN=Ops, OU=groups,dc=EXAMPLE,dc=org":       {"admin", "deploy"},
	"readers":                                   {"read", "staff"},
	"cn=ops,ou=elsewhere,dc=example,dc=org":     {"wrong-branch"},
	"cn=ops+ou=groups,dc=example,dc=org":        {"wrong-shape"},
	"nobody":                                    {"wrong-name"},
	"cn=ops,ou=groups,dc=example,dc=org,dc=com": {"wrong-end"},
}

func TestRolesFromGroups(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{
		LDIF:     slapdtest.Person("ann") + slapdtest.Person("bob"),
		Database: []string{"overlay memberof"},
	})
	server.AddGroup("ops", "ann")
	server.AddGroup("Readers", "ann", "bob")
	server.AddGroup("unmapped", "ann", "bob")
	byMember := settings{"search": settings{"baseDn": slapdtest.Groups, "filter": "(&(objectClass=groupOfNames)(member={dn}))", "scope": "one"}}
	for _, tt := range []struct {
		name   string
		config settings
	}{
		{"search, attribute", bySearch(server.Port, settings{"groups": settings{"attribute": "memberOf"}})},
		{"search, group search", bySearch(server.Port, settings{"groups": byMember})},
		{"template, attribute, read by the user", byTemplate(server.Port, settings{"groups": settings{"attribute": "memberof"}})},
		{"template, group search by the user", byTemplate(server.Port, settings{"groups": byMember})},
		{"template, group search by the service account", byTemplate(server.Port, settings{
			"groups": byMember, "login": settings{"bindDn": slapdtest.Reader, "bindPassword": slapdtest.ReaderSecret},
		})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := ldapFixture(t, Config{}, merge(tt.config, settings{"ephemeralUsers": true, "groupRoles": groupRoles}))
			f.directory.addUser(&session.User{ID: "u20", Realm: "corp", Username: "bob", RoleNames: []string{"own"}, Rev: 31})
			for username, want := range map[string][]string{
				"ann": {"admin", "deploy", "developer", "read", "staff"},
				"bob": {"developer", "own", "read", "staff"},
			} {
				identity, err := f.login(t, username)
				if err != nil || !slices.Equal(identity.Roles, want) {
					t.Errorf("%s: roles %v, %v, want %v", username, identity.Roles, err, want)
				}
			}
		})
	}
}

func TestRolesOf(t *testing.T) {
	rules, err := parseGroupRoles(map[string][]string{
		"ops": {"a"}, `cn=a\, b,dc=x`: {"b"}, "#04": {"c"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for group, want := range map[string]string{
		"cn=ops,dc=x":             "a",
		"CN=OPS,dc=other":         "a", // by name it is any group of that name
		"ops":                     "a", // a directory that gives plain names
		"Ops":                     "a",
		"ou=ops,dc=x":             "",
		"cn=ops+ou=a,dc=x":        "",
		"cn=x,cn=ops,dc=x":        "",
		`cn=ops\,dc\=x`:           "",
		"cn=ops2,dc=x":            "",
		"cn=A\\2C B, DC=X":        "b",
		"cn=a,cn= b,dc=x":         "",
		"":                        "",
		"cn=\\":                   "",
		"cn=ops,":                 "",
		"cn=#04036f7073":          "a", // the same name in BER
		"uid=ops,dc=x":            "",
		"cn=ops\x00,dc=x":         "",
		"cn=ops\\00,dc=x":         "",
		strings.Repeat("=", 1000): "",
	} {
		if got := strings.Join(rolesOf(rules, []string{group}), " "); got != want {
			t.Errorf("%q gives %q, want %q", group, got, want)
		}
	}
}

// A part of somebody's groups is no answer.
func TestAttributeOf(t *testing.T) {
	entry := &ldap.Entry{Attributes: []*ldap.EntryAttribute{
		{Name: "memberOf;range=0-1499", Values: []string{"cn=a"}},
		{Name: "MAIL", Values: []string{"a@b"}},
		{Name: "mail;lang-en", Values: []string{"c@d"}},
	}}
	if got, err := attributeOf(entry, "mail"); err != nil || !slices.Equal(got, []string{"a@b", "c@d"}) {
		t.Errorf("mail: %v, %v", got, err)
	}
	if got, err := attributeOf(entry, "memberof"); err == nil {
		t.Errorf("a range of memberOf passes for the whole: %v", got)
	}
}

func TestClosed(t *testing.T) {
	for _, tt := range []struct {
		attribute, value string
		closed, broken   bool
	}{
		{"userAccountControl", "512", false, false},
		{"useraccountcontrol", "514", true, false},
		{"userAccountControl", "66050", true, false}, // disabled, password never expires
		{"userAccountControl", "66048", false, false},
		{"userAccountControl", "-2147483646", true, false},
		{"userAccountControl", "", false, true},
		{"userAccountControl", "514x", false, true},
		{"nsAccountLock", "TRUE", true, false},
		{"nsAccountLock", "false", false, false},
		{"pwdAccountLockedTime", "000001010000Z", true, false},
		{"pwdAccountLockedTime", "20260101000000Z", false, false}, // guessed at too often
		{"lockoutTime", "133000000000000000", false, false},
	} {
		entry := ldap.NewEntry("uid=ann,dc=x", map[string][]string{tt.attribute: {tt.value}})
		why, err := closed(entry)
		if (why != "") != tt.closed || (err != nil) != tt.broken {
			t.Errorf("%s=%q: %q, %v", tt.attribute, tt.value, why, err)
		}
	}
}

// An account that the directory calls closed does not get in with the right password.
func TestClosedAccountsDoNotLogIn(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{
		LDIF:     slapdtest.Person("ann") + slapdtest.Person("bob", "employeeType: left"),
		Database: []string{"overlay ppolicy"},
	})
	server.Set("uid=ann,"+slapdtest.Users, "pwdAccountLockedTime", lockedForGood)
	left := settings{"ephemeralUsers": true, "login": settings{"disabledFilter": "(employeeType=left)"}}
	for kind, config := range map[string]settings{
		"search": bySearch(server.Port, left), "template": byTemplate(server.Port, left),
	} {
		f := ldapFixture(t, Config{}, config)
		for _, username := range []string{"ann", "bob"} {
			if _, err := f.login(t, username); !errors.Is(err, ErrInvalidCredentials) {
				t.Errorf("%s: %s: %v, want ErrInvalidCredentials", kind, username, err)
			}
		}
		server.Set("uid=bob,"+slapdtest.Users, "employeeType", "here")
		if _, err := f.login(t, "bob"); err != nil {
			t.Errorf("%s: bob, who is back: %v", kind, err)
		}
		server.Set("uid=bob,"+slapdtest.Users, "employeeType", "left")
	}
}

// One person has one name: whoever could log in under two would be two users to us, one of whom may be disabled.
func TestOneNameForOnePerson(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann", "mail: boss@example.org") +
		slapdtest.Person("two", "uid: second") +
		slapdtest.Person("bob", "mail: bob@example.org", "mail: ann@example.org") +
		slapdtest.Person("eve", "telephoneNumber: 12-34") +
		slapdtest.Person("twin1", "mail: twin@example.org") + slapdtest.Person("twin2", "mail: twin@example.org")})
	search := func(filter, attribute string) settings {
		login := settings{"search": settings{"baseDn": slapdtest.Users, "filter": filter}}
		if attribute != "" {
			login["usernameAttribute"] = attribute
		}
		return bySearch(server.Port, settings{"ephemeralUsers": true, "login": login})
	}
	const both = "(|(uid={})(mail={}))"
	for _, tt := range []struct {
		name                     string
		config                   settings
		username, password, want string
	}{
		{"by uid", search(both, "uid"), "ann", "ann's secret", "ann"},
		{"by another name of the same entry", search(both, "uid"), "boss@example.org", "ann's secret", ""},
		{"by mail", search(both, "mail"), "boss@example.org", "ann's secret", "boss@example.org"},
		{"by uid where mail is the name", search(both, "mail"), "ann", "ann's secret", ""},
		{"one of two values", search("(uid={})", ""), "two", "two's secret", ""},
		{"the other of two values", search("(uid={})", ""), "second", "two's secret", ""},
		{"two entries", search("(mail={})", ""), "twin@example.org", "twin1's secret", ""},
		{"equal to the server alone", search("(telephoneNumber={})", ""), "1234", "eve's secret", ""},
		{"equal to us as well", search("(telephoneNumber={})", ""), "12-34", "eve's secret", "12-34"},
		{"with a fixed end", search("(mail={}@example.org)", ""), "boss", "ann's secret", "boss"},
		{"attribute not in the filter", search("(uid={})", "cn"), "ANN", "ann's secret", "ann"},
		{"attribute that nobody has", search("(uid={})", "title"), "ann", "ann's secret", ""},
	} {
		identity, err := ldapFixture(t, Config{}, tt.config).Authenticate(t.Context(), "corp", tt.username, tt.password)
		if tt.want == "" && !errors.Is(err, ErrInvalidCredentials) || identity.Username != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.name, identity.Username, err, tt.want)
		}
	}
}
