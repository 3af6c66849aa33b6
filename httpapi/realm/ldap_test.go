package realm

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm/slapdtest"
)

// settings are members of a realm's configuration.
type settings map[string]any

const userTemplate = "uid={}," + slapdtest.Users

// patient gives a server the longest time there is, for what must be answered on a machine that is busy with other tests,
// too. What is to find a server that never answers sets its own, in which nothing else may have to succeed.
func patient(config settings) settings {
	return merge(settings{"timeout": maxTimeout.String(), "connectTimeout": maxTimeout.String()}, config)
}

// hasty waits for a server only for so long.
func hasty(timeout string) settings { return settings{"timeout": timeout, "connectTimeout": timeout} }

// byTemplate is the configuration of a realm that binds by a template at these ports of 127.0.0.1.
func byTemplate(port int, more settings) settings {
	return merge(patient(settings{"host": "127.0.0.1", "port": port, "login": settings{"bindDnTemplate": userTemplate}}), more)
}

// bySearch is one that searches with the service account.
func bySearch(port int, more settings) settings {
	return merge(patient(settings{"host": "127.0.0.1", "port": port, "login": settings{
		"search": settings{"baseDn": slapdtest.Users, "filter": "(&(objectClass=inetOrgPerson)(uid={}))"},
		"bindDn": slapdtest.Reader, "bindPassword": slapdtest.ReaderSecret,
	}}), more)
}

// merge puts members into a configuration, those of objects into the objects; nil removes one.
func merge(into, more settings) settings {
	into = maps.Clone(into)
	for name, value := range more {
		old, isObject := into[name].(settings)
		inner, alsoObject := value.(settings)
		switch {
		case value == nil:
			delete(into, name)
		case isObject && alsoObject:
			into[name] = merge(old, inner)
		default:
			into[name] = value
		}
	}
	return into
}

// ldapRealm is a realm's record with that configuration, sealed.
func (f *fixture) ldapRealm(t *testing.T, config settings) *session.Realm {
	t.Helper()
	plain, err := marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := f.SealConfig(TypeLDAP, plain)
	if err != nil {
		t.Fatal(err)
	}
	f.revision++
	return &session.Realm{
		ID: "r9", Name: "corp", Type: TypeLDAP, Enabled: true, Rev: 20 + f.revision,
		RoleNames: []string{"developer", "staff"}, Config: sealed,
	}
}

// ldapFixture is an Authenticator with a realm of that configuration.
func ldapFixture(t *testing.T, cfg Config, config settings) *fixture {
	t.Helper()
	f := newFixture(t, cfg)
	f.directory.addRealm(f.ldapRealm(t, config))
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// login logs a user with the usual password in.
func (f *fixture) login(t *testing.T, username string) (Identity, error) {
	t.Helper()
	return f.Authenticate(t.Context(), "corp", username, username+"'s secret")
}

// twoUsers are ann and bob, and somebody without password.
const noPassword = "\ndn: uid=nopassword," + slapdtest.Users + "\nobjectClass: inetOrgPerson\nuid: nopassword\ncn: None\nsn: None\n"

func twoUsers() string {
	return slapdtest.Person("ann") + slapdtest.Person("bob") + noPassword
}

// Every rule about records holds in both kinds of realm.
func TestAuthenticateLDAP(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: twoUsers()})
	for kind, of := range map[string]func(int, settings) settings{"template": byTemplate, "search": bySearch} {
		t.Run(kind, func(t *testing.T) {
			testRecords(t, func(more settings) settings { return of(server.Port, more) })
		})
	}
}

func testRecords(t *testing.T, with func(settings) settings) {
	auto, ephemeral := settings{"autoCreateUsers": true}, settings{"ephemeralUsers": true}
	bob := &session.User{ID: "u20", Realm: "corp", Username: "bob", RoleNames: []string{"admin", "staff"}, Rev: 31}
	annOff := &session.User{ID: "u21", Realm: "corp", Username: "ann", Disabled: true, Rev: 32}
	knownBob := Identity{Username: "bob", UserID: "u20", UserRev: 31, Roles: []string{"admin", "developer", "staff"}}
	for _, tt := range []struct {
		name               string
		config             settings
		username, password string
		identity           Identity
		err                error
	}{
		{"user with a record", nil, "bob", "bob's secret", knownBob, nil},
		{"other case is the same user", nil, "BOB", "bob's secret", knownBob, nil},
		{"wrong password", nil, "bob", "Bob's secret", Identity{}, ErrInvalidCredentials},
		{"empty password", nil, "bob", "", Identity{}, ErrInvalidCredentials},
		{"another one's password", nil, "bob", "ann's secret", Identity{}, ErrInvalidCredentials},
		{"entry without password", auto, "nopassword", "anything", Identity{}, ErrInvalidCredentials},
		{"unknown at the server", auto, "nobody", "anything", Identity{}, ErrInvalidCredentials},
		{"disabled record", auto, "ann", "ann's secret", Identity{}, ErrInvalidCredentials},
		{"disabled record, other case", auto, "Ann", "ann's secret", Identity{}, ErrInvalidCredentials},
		{"disabled record, ephemeral", ephemeral, "ann", "ann's secret", Identity{}, ErrInvalidCredentials},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := ldapFixture(t, Config{}, with(tt.config))
			f.directory.addUser(bob)
			f.directory.addUser(annOff)
			checkLDAP(t, f, tt.username, tt.password, tt.identity, false, tt.err)
		})
	}
	newcomer := Identity{Username: "ann", Roles: []string{"developer", "staff"}}
	created := newcomer
	created.AutoCreate = true
	for _, tt := range []struct {
		name     string
		config   settings
		identity Identity
		err      error
	}{
		{"no record, none made", nil, Identity{}, ErrInvalidCredentials},
		{"no record, one made", auto, created, nil},
		{"no record, ephemeral", ephemeral, newcomer, nil},
		{"no record, both", merge(auto, ephemeral), newcomer, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := ldapFixture(t, Config{}, with(tt.config))
			checkLDAP(t, f, "ann", "ann's secret", tt.identity, true, tt.err)
			checkLDAP(t, f, "ann", "wrong", Identity{}, false, ErrInvalidCredentials)
		})
	}
}

func checkLDAP(t *testing.T, f *fixture, username, password string, want Identity, anyID bool, wantErr error) {
	t.Helper()
	f.hashed = nil
	got, err := f.Authenticate(t.Context(), "corp", username, password)
	if !errors.Is(err, wantErr) {
		t.Fatalf("err = %v, want %v", err, wantErr)
	}
	if wantErr == nil {
		want.Realm, want.RealmRev, want.FixedRoles = "corp", 21, true
		if anyID && got.UserID == "" {
			t.Error("no id for the user")
		}
	}
	if anyID {
		got.UserID = ""
	}
	if !equalIdentity(got, want) {
		t.Errorf("identity %+v, want %+v", got, want)
	}
	if !slices.Equal(f.hashed, []costs{{MinMemory, 1, 1}}) {
		t.Errorf("hashes computed: %+v, want one", f.hashed)
	}
}

// An ephemeral user has no record to keep its id in, yet is the same user at each login; another one is not.
func TestEphemeralUserKeepsItsID(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: twoUsers()})
	f := ldapFixture(t, Config{}, byTemplate(server.Port, settings{"ephemeralUsers": true}))
	ids := make([]string, 0, 3)
	for _, login := range [][2]string{{"ann", "ann's secret"}, {"Ann", "ann's secret"}, {"bob", "bob's secret"}} {
		identity, err := f.Authenticate(t.Context(), "corp", login[0], login[1])
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, identity.UserID)
	}
	if ids[0] != ids[1] || ids[0] == ids[2] {
		t.Errorf("ids %v: the first two must be equal, the third another", ids)
	}
}

// directoryOf is a realm's directory without a realm.
func directoryOf(t *testing.T, config settings) *ldapDirectory {
	t.Helper()
	f := ldapFixture(t, Config{}, config)
	realm := f.directory.realms["corp"]
	d, err := f.directories.of(realm)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A user name that reached into the DN would bind as an entry that the template does not lead to. Such names do not get
// this far; the escape must hold nevertheless.
func TestBindRefusesNameThatLeavesItsPlace(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: twoUsers()})
	d := directoryOf(t, byTemplate(server.Port, settings{"login": settings{"bindDnTemplate": "uid={}," + slapdtest.Suffix}}))
	if _, err := d.login(t.Context(), "ann,ou=users", "ann's secret"); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("bind outside of the template = %v, want ErrInvalidCredentials", err)
	}
	d = directoryOf(t, byTemplate(server.Port, nil))
	if _, err := d.login(t.Context(), "ann", "ann's secret"); err != nil {
		t.Errorf("bind by the template = %v", err)
	}
	if _, err := d.login(t.Context(), "ann", ""); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("bind without password = %v, want ErrInvalidCredentials", err)
	}
	if n := len(binds(server.Log(), "")); n != 0 {
		t.Errorf("%d anonymous binds reached the server", n)
	}
}

// binds returns the lines of a server's log about binds as that DN.
func binds(log []string, dn string) []string {
	var found []string
	for _, line := range log {
		if strings.Contains(line, fmt.Sprintf(` BIND dn=%q method=`, dn)) {
			found = append(found, line)
		}
	}
	return found
}

// No name that a stranger types may widen the search's filter, whatever became of the check of names before it.
func TestSearchFilterIsNotInjected(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: slapdtest.Person("ann")})
	d := directoryOf(t, bySearch(server.Port, nil))
	if _, err := d.login(t.Context(), "ann", "ann's secret"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"*", "a*", "*nn", "ann)(uid=*", "ann)(|(uid=*", "nobody)(|(uid=ann)", `\61nn`, "a\\6en", "ann\x00", "", "ann ", " ann",
		"ann)(cn=ann", "{}", "{dn}", "(", ")", "\\", "ann,ou=users", "ｕid", "anｎ",
	} {
		if _, err := d.login(t.Context(), name, "ann's secret"); !errors.Is(err, ErrInvalidCredentials) {
			t.Errorf("%q: %v, want ErrInvalidCredentials", name, err)
		}
	}
}

// The names that reach a realm are checked before; these tests hold the search to it that it does not matter.
func TestFillKeepsNamesInTheirPlace(t *testing.T) {
	s := ldapSearch{Filter: "(|(memberUid={})(member={dn}))"}
	for _, tt := range []struct{ name, dn, want string }{
		{"ann", "uid=ann,dc=x", "(|(memberUid=ann)(member=uid=ann,dc=x))"},
		{"*)(a=*", `cn=a\,b (c)*,dc=x`, `(|(memberUid=\2a\29\28a=\2a)(member=cn=a\5c,b \28c\29\2a,dc=x))`},
		{"{dn}", "{}", "(|(memberUid={dn})(member={}))"},
		{"a\x00ä", "", `(|(memberUid=a\00\c3\a4)(member=))`},
	} {
		if got := s.fill(tt.name, tt.dn); got != tt.want {
			t.Errorf("%q, %q: %s, want %s", tt.name, tt.dn, got, tt.want)
		}
	}
}

func TestLDAPRealmWithBrokenConfiguration(t *testing.T) {
	for name, config := range map[string]string{
		"no host":         `{"host":""}`,
		"unsealed secret": `{"host":"127.0.0.1","login":{"bindDnTemplate":"uid={},dc=x","bindDn":"cn=a,dc=x","bindPassword":"hunter"}}`,
		"foreign secret":  `{"host":"127.0.0.1","login":{"bindDnTemplate":"uid={},dc=x","bindDn":"cn=a,dc=x","bindPassword":{"$sealed":"v1.AAAA"}}}`,
	} {
		f := newFixture(t, Config{})
		f.directory.addRealm(&session.Realm{ID: "r9", Name: "corp", Type: TypeLDAP, Enabled: true, Rev: 21, Config: []byte(config)})
		_, err := f.Authenticate(t.Context(), "corp", "ann", "ann's secret")
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalidCredentials) {
			t.Errorf("%s: err = %v, want ErrUnavailable", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: the error shows a secret: %v", name, err)
		}
		if len(f.hashed) != 1 {
			t.Errorf("%s: %d hashes, want 1", name, len(f.hashed))
		}
	}
}

// A changed configuration holds at once, and an older record, read a moment before, does not bring the old one back.
func TestChangedConfigurationHolds(t *testing.T) {
	server := slapdtest.Start(t, slapdtest.Config{LDIF: twoUsers()})
	f := ldapFixture(t, Config{}, bySearch(server.Port, settings{"ephemeralUsers": true}))
	old := f.directory.realms["corp"]
	if _, err := f.login(t, "ann"); err != nil {
		t.Fatal(err)
	}
	f.directory.addRealm(f.ldapRealm(t, bySearch(server.Port, settings{
		"ephemeralUsers": true, "login": settings{"search": settings{"filter": "(&(uid={})(uid=bob))"}},
	})))
	if _, err := f.login(t, "ann"); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("after the change: %v, want ErrInvalidCredentials", err)
	}
	if _, err := f.login(t, "bob"); err != nil {
		t.Errorf("after the change: %v", err)
	}
	f.directory.addRealm(old)
	if _, err := f.login(t, "ann"); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("with an older record: %v, want ErrInvalidCredentials", err)
	}
}
