package realm

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloakroom/cluster/session"
)

const goodLDAP = `{"autoCreateUsers":true,"host":"ldap.example.com","ssl":true,"port":636,"ephemeralUsers":false,"login":{"bindDnTemplate":"uid={},ou=users,dc=example,dc=com"}}`

func TestValidateConfig(t *testing.T) {
	change := func(old, replacement string) string { return strings.Replace(goodLDAP, old, replacement, 1) }
	for _, tt := range []struct {
		name, realmType, config string
		err                     error
	}{
		{"ldap", TypeLDAP, goodLDAP, nil},
		{"ldap, least", TypeLDAP, `{"host":"10.0.0.1","login":{"bindDnTemplate":"uid={},dc=x"}}`, nil},
		{"ldap, IPv6", TypeLDAP, change("ldap.example.com", "2001:db8::1"), nil},
		{"ldap, user@domain", TypeLDAP, change("uid={},ou=users,dc=example,dc=com", "{}@corp.example.com"), nil},
		{"ldap, unknown member", TypeLDAP, change(`"ssl"`, `"pageSize":100,"ssl"`), nil},
		{"ldap, timeout text", TypeLDAP, change(`"ssl"`, `"timeout":"2.5s","ssl"`), nil},
		{"ldap, timeout number", TypeLDAP, change(`"ssl"`, `"timeout":2500,"ssl"`), nil},
		{"ldap, timeout too long", TypeLDAP, change(`"ssl"`, `"timeout":"31s","ssl"`), ErrRealmConfig},
		{"ldap, timeout too short", TypeLDAP, change(`"ssl"`, `"timeout":1,"ssl"`), ErrRealmConfig},
		{"ldap, timeout negative", TypeLDAP, change(`"ssl"`, `"timeout":"-1s","ssl"`), ErrRealmConfig},
		{"ldap, timeout nonsense", TypeLDAP, change(`"ssl"`, `"timeout":"soon","ssl"`), ErrRealmConfig},
		{"ldap, no host", TypeLDAP, change(`"host":"ldap.example.com",`, ""), ErrRealmConfig},
		{"ldap, host with scheme", TypeLDAP, change("ldap.example.com", "ldap://ldap.example.com"), ErrRealmConfig},
		{"ldap, host with port", TypeLDAP, change("ldap.example.com", "ldap.example.com:389"), ErrRealmConfig},
		{"ldap, port too high", TypeLDAP, change("636", "65536"), ErrRealmConfig},
		{"ldap, port negative", TypeLDAP, change("636", "-1"), ErrRealmConfig},
		{"ldap, port text", TypeLDAP, change("636", `"636"`), ErrRealmConfig},
		{"ldap, ssl text", TypeLDAP, change("true", `"true"`), ErrRealmConfig},
		{"ldap, no template", TypeLDAP, change(`"bindDnTemplate"`, `"other"`), ErrRealmConfig},
		{"ldap, template without place", TypeLDAP, change("uid={}", "uid=ann"), ErrRealmConfig},
		{"ldap, template not a DN", TypeLDAP, change("uid={},ou=users,dc=example,dc=com", "{}"), ErrRealmConfig},
		{"ldap, nothing", TypeLDAP, "", ErrRealmConfig},
		{"ldap, broken", TypeLDAP, goodLDAP[:40], ErrRealmConfig},
		{"ldap, two objects", TypeLDAP, goodLDAP + goodLDAP, ErrRealmConfig},
		{"ldap, array", TypeLDAP, "[" + goodLDAP + "]", ErrRealmConfig},
		{"ldap, good member overridden by bad", TypeLDAP, strings.TrimSuffix(goodLDAP, "}") + `,"login":{}}`, ErrRealmConfig},
		{"ldap, too long", TypeLDAP, change(`"ssl"`, `"x":"`+strings.Repeat("x", session.MaxRealmConfig)+`","ssl"`), session.ErrLimitRealmConfig},
		{"native", TypeNative, `{}`, nil},
		{"native, nothing", TypeNative, ``, nil},
		{"native, null", TypeNative, `null`, ErrRealmConfig},
		{"native, number", TypeNative, `1`, ErrRealmConfig},
		{"unknown type", "saml", goodLDAP, ErrUnknownRealmType},
		{"no type", "", goodLDAP, ErrUnknownRealmType},
	} {
		if err := ValidateConfig(tt.realmType, []byte(tt.config)); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
	}
}

func TestLDAPConfigDefaults(t *testing.T) {
	for _, tt := range []struct{ config, address string }{
		{`{"host":"10.0.0.1","login":{"bindDnTemplate":"uid={},dc=x"}}`, "10.0.0.1:389"},
		{`{"host":"ldap.example","ssl":true,"login":{"bindDnTemplate":"uid={},dc=x"}}`, "ldap.example:636"},
		{`{"host":"2001:db8::1","port":1389,"login":{"bindDnTemplate":"uid={},dc=x"}}`, "[2001:db8::1]:1389"},
	} {
		c, err := parseLDAPConfig([]byte(tt.config))
		if err != nil || c.servers[0].dial != tt.address || c.Timeout != jsonTimeout(defaultTimeout) {
			t.Errorf("%s: %+v, %v, want address %s", tt.config, c, err, tt.address)
		}
	}
}

func TestBindNameKeepsTheUserInItsPlace(t *testing.T) {
	c := ldapConfig{}
	c.Login.BindDNTemplate = "uid={},ou=guests,dc=example"
	for username, want := range map[string]string{
		"ann":            "uid=ann,ou=guests,dc=example",
		"ann,ou=admins":  `uid=ann\,ou=admins,ou=guests,dc=example`,
		"ann+uid=bob":    `uid=ann\+uid=bob,ou=guests,dc=example`,
		"#04":            `uid=\#04,ou=guests,dc=example`,
		" ann ":          `uid=\ ann\ ,ou=guests,dc=example`,
		"a\\,dc=x":       `uid=a\\\,dc=x,ou=guests,dc=example`,
		"ann\x00":        `uid=ann\00,ou=guests,dc=example`,
		"{}":             "uid={},ou=guests,dc=example",
		"ann@example.io": "uid=ann@example.io,ou=guests,dc=example",
	} {
		if got := c.bindName(username); got != want {
			t.Errorf("%q: %s, want %s", username, got, want)
		}
	}
}

const secretConfig = `{"host":"ldap.example.com","bindPassword":"hunter-1","login":{"bindDnTemplate":"uid={},dc=x","password":"hunter-2"},` +
	`"servers":[{"client_secret":"hunter-3"},{"trustStorePassword":{"text":"hunter-4"}}],"apiKey":12345678}`

func TestSealConfig(t *testing.T) {
	f := newFixture(t, Config{})
	sealed, err := f.SealConfig(TypeLDAP, []byte(secretConfig))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter", "12345678"} {
		if strings.Contains(string(sealed), secret) {
			t.Errorf("a secret stands in the stored form: %s", sealed)
		}
	}
	if again, err := f.SealConfig(TypeLDAP, []byte(secretConfig)); err != nil || string(again) == string(sealed) {
		t.Errorf("sealed twice to the same bytes: nonces are not random (%v)", err)
	}
	if err := ValidateConfig(TypeLDAP, sealed); err != nil {
		t.Errorf("the stored form is not valid: %v", err)
	}
	opened, err := f.OpenConfig(TypeLDAP, sealed)
	if err != nil {
		t.Fatal(err)
	}
	want, err := parseObject([]byte(secretConfig))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := marshal(want); err != nil || string(plain) != string(opened) {
		t.Errorf("opened %s, want %s (%v)", opened, plain, err)
	}

	public, err := PublicConfig(sealed)
	if err != nil {
		t.Fatal(err)
	}
	const wantPublic = `{"host":"ldap.example.com","login":{"bindDnTemplate":"uid={},dc=x"},"servers":[{},{}]}`
	if string(public) != wantPublic {
		t.Errorf("public form %s, want %s", public, wantPublic)
	}
	if fromClear, err := PublicConfig([]byte(secretConfig)); err != nil || string(fromClear) != wantPublic {
		t.Errorf("public form of a clear configuration %s, %v", fromClear, err)
	}
}

func TestSealConfigRefuses(t *testing.T) {
	f := newFixture(t, Config{})
	deep := strings.Repeat(`{"a":`, 12) + `{"password":"x"}` + strings.Repeat("}", 12)
	for _, tt := range []struct {
		name, realmType, config string
		err                     error
	}{
		{"unknown type", "saml", `{}`, ErrUnknownRealmType},
		{"bad ldap", TypeLDAP, `{}`, ErrRealmConfig},
		{"sealed by somebody else", TypeNative, `{"password":{"$sealed":"v1.AAAA"}}`, ErrRealmConfig},
		{"too deep to look for secrets", TypeNative, deep, ErrRealmConfig},
		{"too long once sealed", TypeNative, `{"password":"` + strings.Repeat("x", session.MaxRealmConfig-20) + `"}`, session.ErrLimitRealmConfig},
	} {
		if _, err := f.SealConfig(tt.realmType, []byte(tt.config)); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
	}
}

func TestOpenConfigRefuses(t *testing.T) {
	f := newFixture(t, Config{})
	sealed, err := f.SealConfig(TypeNative, []byte(`{"login":{"password":"hunter"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := f.OpenConfig(TypeNative, sealed); err != nil || string(opened) != `{"login":{"password":"hunter"}}` {
		t.Errorf("what the others were made from: %s, %v", opened, err)
	}
	otherKey, err := newSealer([32]byte{2})
	if err != nil {
		t.Fatal(err)
	}
	text := string(sealed)
	flip := byte('A')
	if text[40] == flip {
		flip = 'B'
	}
	for name, open := range map[string]func() ([]byte, error){
		"other key":  func() ([]byte, error) { return otherKey.open(TypeNative, sealed) },
		"other type": func() ([]byte, error) { return f.OpenConfig(TypeLDAP, sealed) },
		"other place": func() ([]byte, error) {
			return f.OpenConfig(TypeNative, []byte(strings.Replace(text, "login", "proxy", 1)))
		},
		"changed":    func() ([]byte, error) { return f.OpenConfig(TypeNative, []byte(text[:40]+string(flip)+text[41:])) },
		"not sealed": func() ([]byte, error) { return f.OpenConfig(TypeNative, []byte(`{"password":"x"}`)) },
		"short":      func() ([]byte, error) { return f.OpenConfig(TypeNative, []byte(`{"password":{"$sealed":"v1.AAAA"}}`)) },
		"other format": func() ([]byte, error) {
			return f.OpenConfig(TypeNative, []byte(strings.Replace(text, "v1.", "v2.", 1)))
		},
		"not a string": func() ([]byte, error) { return f.OpenConfig(TypeNative, []byte(`{"password":{"$sealed":1}}`)) },
	} {
		if opened, err := open(); !errors.Is(err, ErrRealmConfig) {
			t.Errorf("%s: opened %s, %v", name, opened, err)
		}
	}
}

// The golden file was sealed by the first version: what clusters have stored must stay readable.
func TestOpenGolden(t *testing.T) {
	sealed, err := os.ReadFile(filepath.Join("testdata", "sealed-v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, Config{})
	opened, err := f.OpenConfig(TypeLDAP, sealed)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"host":"ldap.example.com","login":{"bindDnTemplate":"uid={},dc=x","password":"hunter"}}`
	if string(opened) != want {
		t.Errorf("opened %s, want %s", opened, want)
	}
}

func TestIsSecretName(t *testing.T) {
	for name, want := range map[string]bool{
		"password": true, "bindPassword": true, "bind_password": true, "BIND-PASSWORD": true, "clientSecret": true,
		"privateKey": true, "passphrase": true, "apiKey": true, "accessToken": true, "keystorePassword": true,
		"host": false, "bindDnTemplate": false, "tokenEndpoint": false, "passwordAttribute": false, "": false,
	} {
		if got := isSecretName(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
