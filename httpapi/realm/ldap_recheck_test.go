package realm

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm/slapdtest"
)

const annDN = "uid=ann," + slapdtest.Users

// recheckable are the kinds of realm that can say whether a user is still there.
func recheckable(port int, more settings) map[string]settings {
	account := settings{"bindDn": slapdtest.Reader, "bindPassword": slapdtest.ReaderSecret}
	return map[string]settings{
		"search":   bySearch(port, more),
		"template": merge(byTemplate(port, settings{"login": account}), more),
	}
}

func (f *fixture) mustRecheck(t *testing.T, username string) Verdict {
	t.Helper()
	verdict, err := f.Recheck(t.Context(), "corp", username)
	if err != nil {
		t.Fatalf("re-check of %s: %v", username, err)
	}
	return verdict
}

func TestRecheck(t *testing.T) {
	for _, kind := range []string{"search", "template"} {
		t.Run(kind, func(t *testing.T) {
			server := slapdtest.Start(t, slapdtest.Config{
				LDIF:     slapdtest.Person("ann") + slapdtest.Person("bob") + slapdtest.Person("eve"),
				Database: []string{"overlay memberof", "overlay ppolicy"},
			})
			server.AddGroup("ops", "ann")
			f := ldapFixture(t, Config{}, recheckable(server.Port, settings{
				"groups": settings{"attribute": "memberOf"}, "groupRoles": groupRoles,
				"login": settings{"disabledFilter": "(employeeType=left)"},
			})[kind])
			f.directory.addUser(&session.User{ID: "u20", Realm: "corp", Username: "ann", RoleNames: []string{"own"}, Rev: 31})
			f.directory.addUser(&session.User{ID: "u21", Realm: "corp", Username: "eve", Disabled: true, Rev: 32})

			roles := func(want ...string) {
				t.Helper()
				if got := f.mustRecheck(t, "ann"); got.Gone || !slices.Equal(got.Roles, want) {
					t.Errorf("%+v, want roles %v", got, want)
				}
			}
			gone := func(name, why string) {
				t.Helper()
				if got := f.mustRecheck(t, name); !got.Gone || !strings.Contains(got.Reason, why) || got.Roles != nil {
					t.Errorf("%s: %+v, want gone: %s", name, got, why)
				}
			}
			roles("admin", "deploy", "developer", "own", "staff")
			server.AddGroup("readers", "ann", "bob")
			roles("admin", "deploy", "developer", "own", "read", "staff")
			server.Delete("cn=ops," + slapdtest.Groups)
			roles("developer", "own", "read", "staff")
			if got := f.mustRecheck(t, "bob"); !slices.Equal(got.Roles, []string{"developer", "read", "staff"}) {
				t.Errorf("bob, who has no record: %+v", got)
			}

			server.Set(annDN, "pwdAccountLockedTime", "20260101000000Z")
			roles("developer", "own", "read", "staff") // guessed at: no reason to end anything
			server.Set(annDN, "pwdAccountLockedTime", lockedForGood)
			gone("ann", "pwdAccountLockedTime")
			server.Set(annDN, "pwdAccountLockedTime")
			server.Set(annDN, "employeeType", "left")
			gone("ann", "disabledFilter")
			server.Set(annDN, "employeeType")
			roles("developer", "own", "read", "staff")
			gone("eve", "record")
			gone("nobody", "not in the directory")
			server.Delete(annDN)
			gone("ann", "not in the directory")
		})
	}
}

// cantTell asks for verdicts that must not come.
func (f *fixture) cantTell(t *testing.T, what string, want error, usernames ...string) {
	t.Helper()
	for _, username := range usernames {
		verdict, err := f.Recheck(t.Context(), "corp", username)
		if !errors.Is(err, want) {
			t.Errorf("%s: %s: %+v, %v, want %v", what, username, verdict, err, want)
		}
	}
}

// What looks like everybody's end is the end of nobody.
func TestRecheckOfSickDirectory(t *testing.T) {
	for _, kind := range []string{"search", "template"} {
		t.Run(kind, func(t *testing.T) {
			server := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann") + slapdtest.Person("bob")})
			f := ldapFixture(t, Config{}, recheckable(server.Port, nil)[kind])
			if f.mustRecheck(t, "ann").Gone || !f.mustRecheck(t, "nobody").Gone {
				t.Fatal("the directory is not what this test is about")
			}
			usual := f.directory.realms["corp"]
			f.directory.addRealm(f.ldapRealm(t, recheckable(server.Port, hasty("500ms"))[kind]))
			thaw := server.Freeze()
			f.cantTell(t, "hangs", ErrUnavailable, "ann", "nobody")
			thaw()
			usual.Rev = f.directory.realms["corp"].Rev + 1
			f.directory.addRealm(usual)
			f.mustRecheck(t, "ann")

			server.Delete(annDN)
			server.Delete("uid=bob," + slapdtest.Users)
			f.cantTell(t, "emptied", ErrUnavailable, "ann", "bob", "nobody")
			server.Delete(slapdtest.Users)
			f.cantTell(t, "without base", ErrUnavailable, "ann", "bob", "nobody")
			server.Stop()
			f.cantTell(t, "stopped", ErrUnavailable, "ann", "bob", "nobody")
			if _, err := f.login(t, "ann"); !errors.Is(err, ErrUnavailable) {
				t.Errorf("login: %v", err)
			}
		})
	}
}

func TestRecheckWithoutRights(t *testing.T) {
	const hidden = `access to dn.children="` + slapdtest.Users + `" by anonymous auth by * none`
	const rest = `access to * by * read`
	server := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann") + slapdtest.Person("bob"), Database: []string{hidden, rest}})
	for kind, config := range recheckable(server.Port, settings{"ephemeralUsers": true}) {
		f := ldapFixture(t, Config{}, config)
		f.cantTell(t, kind, ErrUnavailable, "ann", "nobody")
	}
	refused := ldapFixture(t, Config{}, bySearch(server.Port, settings{"login": settings{"bindPassword": "old"}}))
	refused.cantTell(t, "account refused", ErrUnavailable, "ann", "nobody")
}

// Only one user's answer may be unclear, and the others' not.
func TestRecheckUnclear(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann") + slapdtest.Person("bob", "uid: bobby") +
		slapdtest.Person("twin", "mail: a@b") + "\ndn: cn=twin," + slapdtest.Users + "\nobjectClass: inetOrgPerson\nuid: twin\ncn: twin\nsn: twin\n" +
		slapdtest.Person("odd", "employeeNumber: 5")})
	f := ldapFixture(t, Config{}, bySearch(server.Port, nil))
	f.cantTell(t, "two entries", ErrRecheckUnclear, "twin")
	f.cantTell(t, "two names", ErrRecheckUnclear, "bob", "bobby")
	if f.mustRecheck(t, "ann").Gone {
		t.Error("ann is gone")
	}
}

// A referral is never followed, and nothing is concluded from it.
func TestReferrals(t *testing.T) {
	asked := make(chan struct{}, 100)
	other := serve(t, func(net.Conn) { asked <- struct{}{} })
	referral := "\ndn: ou=far," + slapdtest.Users + "\nobjectClass: referral\nobjectClass: extensibleObject\nou: far\nref: ldap://127.0.0.1:" + strconv.Itoa(other) + "/ou=far," + slapdtest.Users + "\n"
	server := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann") + referral})
	for name, config := range map[string]settings{
		"beside the answer": bySearch(server.Port, nil),
		"in its place":      bySearch(server.Port, settings{"login": settings{"search": settings{"baseDn": "ou=far," + slapdtest.Users}}}),
		"for a DN":          recheckable(server.Port, settings{"login": settings{"bindDnTemplate": "uid={},ou=far," + slapdtest.Users}})["template"],
	} {
		f := ldapFixture(t, Config{}, merge(config, settings{"ephemeralUsers": true}))
		f.cantTell(t, name, ErrRecheckUnclear, "ann", "nobody")
		if name == "for a DN" {
			continue // slapd refuses such a bind without a referral
		}
		if _, err := f.login(t, "ann"); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalidCredentials) {
			t.Errorf("%s: login: %v", name, err)
		}
		if !strings.Contains(f.log.String(), "refers to another one") {
			t.Errorf("%s: the log does not say why: %s", name, f.log)
		}
	}
	one := ldapFixture(t, Config{}, bySearch(server.Port, settings{"ephemeralUsers": true, "login": settings{"search": settings{"scope": "one", "filter": "(&(uid={})(!(objectClass=referral)))"}}}))
	_, err := one.login(t, "ann")
	t.Logf("with scope one: %v", err)
	if len(asked) > 0 {
		t.Error("the referral was followed")
	}
}

// A limit of the server makes an answer a part of one.
func TestRecheckOfPartialAnswers(t *testing.T) {
	ldif := slapdtest.Person("ann")
	for _, cn := range []string{"a", "b", "c", "ops"} {
		ldif += slapdtest.Group(cn, "ann")
	}
	server := slapdtest.Start(t, slapdtest.Config{LDIF: ldif, Database: []string{"limits dn=\"" + slapdtest.Reader + "\" size=3"}})
	groups := settings{"search": settings{"baseDn": slapdtest.Groups, "filter": "(member={dn})"}}
	f := ldapFixture(t, Config{}, bySearch(server.Port, settings{"ephemeralUsers": true, "groups": groups, "groupRoles": groupRoles}))
	f.cantTell(t, "groups", ErrRecheckUnclear, "ann")
	if _, err := f.login(t, "ann"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("login: %v, want ErrUnavailable", err)
	}
	server.Delete("cn=a," + slapdtest.Groups)
	if got := f.mustRecheck(t, "ann"); !slices.Contains(got.Roles, "deploy") {
		t.Errorf("within the limit: %+v", got)
	}
}

func TestRecheckImpossible(t *testing.T) {
	f := ldapFixture(t, Config{}, byTemplate(1, nil)) // nobody listens there: it must not be asked
	f.cantTell(t, "no service account", ErrRecheckImpossible, "ann")
	for _, realm := range []string{"native", "nowhere", "strange"} {
		if _, err := f.Recheck(t.Context(), realm, "ann"); !errors.Is(err, ErrRecheckImpossible) {
			t.Errorf("%s: %v", realm, err)
		}
	}
	f.directory.err = errNoAnswer
	f.cantTell(t, "no leader", errNoAnswer, "ann")
}

func TestRecheckSaysThatItIsForced(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann")})
	for _, force := range []bool{false, true} {
		f := ldapFixture(t, Config{}, bySearch(server.Port, settings{"recheck": settings{"force": force}}))
		if got := f.mustRecheck(t, "nobody"); !got.Gone || got.Forced != force {
			t.Errorf("force %v: %+v", force, got)
		}
	}
}

// A renamed user is gone under the old name.
func TestRecheckOfRenamedUser(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann")})
	f := ldapFixture(t, Config{}, bySearch(server.Port, nil))
	server.Admin(func(conn *ldap.Conn) error {
		return conn.ModifyDN(ldap.NewModifyDNRequest(annDN, "uid=anna", true, ""))
	})
	if !f.mustRecheck(t, "ann").Gone || f.mustRecheck(t, "anna").Gone {
		t.Error("ann must be gone, and anna there")
	}
}
