package realm

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cloakroom/httpapi/realm/slapdtest"
)

func TestLDAPSettings(t *testing.T) {
	pem := slapdtest.NewCA(t).PEM
	search := func(members settings) settings {
		return merge(settings{"host": "h", "login": settings{
			"search": settings{"baseDn": "dc=x", "filter": "(uid={})"}, "bindDn": "cn=s,dc=x", "bindPassword": "p",
		}}, members)
	}
	template := func(members settings) settings {
		return merge(settings{"host": "h", "login": settings{"bindDnTemplate": "uid={},ou=u,dc=x"}}, members)
	}
	login := func(members settings) settings { return settings{"login": members} }
	account := settings{"bindDn": "cn=s,dc=x", "bindPassword": "p"}
	filter := func(text string) settings { return login(settings{"search": settings{"filter": text}}) }
	groups := func(members settings) settings { return settings{"groups": members} }
	for _, tt := range []struct {
		name   string
		config settings
		wrong  string // a part of the error; "" for none
	}{
		{"least search", search(nil), ""},
		{"least template", template(nil), ""},
		{"template with account", template(login(account)), ""},
		{"several servers", search(settings{"hosts": []string{"b", "c:636", "[2001:db8::1]:1389", "2001:db8::2"}}), ""},
		{"server with a scheme", search(settings{"hosts": []string{"ldap://b"}}), "hosts"},
		{"server without a name", search(settings{"hosts": []string{""}}), "hosts"},
		{"server with port 0", search(settings{"hosts": []string{"b:0"}}), "port"},
		{"server with port 65536", search(settings{"hosts": []string{"b:65536"}}), "port"},
		{"too many servers", search(settings{"hosts": make([]string, maxServers)}), "at most"},
		{"hosts alone", search(settings{"host": nil, "hosts": []string{"b"}}), "host"},

		{"ssl and startTls", search(settings{"ssl": true, "startTls": true}), "exclude"},
		{"CA", search(settings{"ssl": true, "caCertificates": "\n" + pem + pem}), ""},
		{"CA with startTls", search(settings{"startTls": true, "caCertificates": pem}), ""},
		{"CA without TLS", search(settings{"caCertificates": pem}), "needs ssl"},
		{"CA that is no PEM", search(settings{"ssl": true, "caCertificates": "x"}), "PEM"},
		{"CA with something behind it", search(settings{"ssl": true, "caCertificates": pem + "x"}), "PEM"},
		{"a key for a CA", search(settings{"ssl": true, "caCertificates": strings.ReplaceAll(pem, "CERTIFICATE", "PRIVATE KEY")}), "PEM"},
		{"CA that is broken", search(settings{"ssl": true, "caCertificates": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}), "not a valid"},

		{"connectTimeout", search(settings{"timeout": "3s", "connectTimeout": "3s"}), ""},
		{"connectTimeout over the timeout", search(settings{"timeout": "3s", "connectTimeout": "4s"}), "connectTimeout"},
		{"connectTimeout negative", search(settings{"connectTimeout": -1}), "connectTimeout"},
		{"short timeout alone", search(settings{"timeout": "200ms"}), ""},

		{"neither template nor search", settings{"host": "h", "login": settings{}}, "bindDnTemplate"},
		{"both", search(login(settings{"bindDnTemplate": "uid={},dc=x"})), "not both"},
		{"search without account", search(login(settings{"bindDn": nil, "bindPassword": nil})), "service account"},
		{"account without password", search(login(settings{"bindPassword": nil})), "belong together"},
		{"account with an empty password", search(login(settings{"bindPassword": ""})), "belong together"},
		{"password without account", template(login(settings{"bindPassword": "p"})), "belong together"},
		{"password of the wrong type", search(login(settings{"bindPassword": 5})), "shape"},
		{"account user@domain", search(login(settings{"bindDn": "svc@corp.example"})), ""},
		{"account that is no DN", search(login(settings{"bindDn": "svc"})), "bindDn"},
		{"endless password", search(login(settings{"bindPassword": strings.Repeat("x", MaxPassword+1)})), "too long"},
		{"account where no entry can be found", template(merge(login(account), login(settings{"bindDnTemplate": "{}@corp.example"}))), "need login.search"},
		{"account without a base", template(merge(login(account), login(settings{"bindDnTemplate": "uid={}"}))), "need login.search"},
		{"groups without an entry", merge(template(login(settings{"bindDnTemplate": "{}@corp.example"})), groups(settings{"attribute": "memberOf"})), "need login.search"},

		{"base that is no DN", search(login(settings{"search": settings{"baseDn": "x"}})), "baseDn"},
		{"no base", search(login(settings{"search": settings{"baseDn": ""}})), "baseDn"},
		{"scope one", search(login(settings{"search": settings{"scope": "one"}})), ""},
		{"scope base", search(login(settings{"search": settings{"scope": "base"}})), "scope"},
		{"no filter", search(filter("")), "filter"},
		{"filter without parentheses", search(filter("uid={}")), "filter"},
		{"filter that is broken", search(filter("(&(uid={})")), "filter"},
		{"filter without a place", search(filter("(uid=ann)")), "filter"},
		{"filter with a substring", search(filter("(uid=*{}*)")), "filter"},
		{"filter with a beginning", search(filter("(uid={}*)")), "filter"},
		{"filter by likeness", search(filter("(uid~={})")), "filter"},
		{"filter by order", search(filter("(uid>={})")), "filter"},
		{"filter with a name for an attribute", search(filter("({}=x)")), "filter"},
		{"filter with a DN", search(filter("(&(uid={})(manager={dn}))")), "filter"},
		{"filter with one place of two wrong", search(filter("(|(uid={})(cn=*{}*))")), "filter"},
		{"filter with an end", search(filter("(userPrincipalName={}@corp.example)")), ""},
		{"filter with two attributes", search(filter("(|(uid={})(mail={}))")), "usernameAttribute"},
		{"filter with two attributes, one named", search(merge(filter("(|(uid={})(mail={}))"), login(settings{"usernameAttribute": "uid"}))), ""},
		{"filter with one attribute twice", search(filter("(|(uid={})(UID={}@x))")), ""},
		{"endless filter", search(filter("(&(uid={})(cn=" + strings.Repeat("x", maxFilter) + "))")), "filter"},
		{"strange usernameAttribute", search(login(settings{"usernameAttribute": "uid;x"})), "usernameAttribute"},
		{"usernameAttribute with a template", template(login(settings{"usernameAttribute": "uid"})), "usernameAttribute"},
		{"disabledFilter", search(login(settings{"disabledFilter": "(a=b)"})), ""},
		{"broken disabledFilter", search(login(settings{"disabledFilter": "a=b"})), "disabledFilter"},

		{"group attribute", search(groups(settings{"attribute": "memberOf"})), ""},
		{"strange group attribute", search(groups(settings{"attribute": "*"})), "groups.attribute"},
		{"group search", search(groups(settings{"search": settings{"baseDn": "dc=x", "filter": "(|(member={dn})(memberUid={}))"}})), ""},
		{"group search for nobody", search(groups(settings{"search": settings{"baseDn": "dc=x", "filter": "(cn=x)"}})), "{dn}"},
		{"groups both ways", search(groups(settings{"attribute": "memberOf", "search": settings{"baseDn": "dc=x", "filter": "(member={dn})"}})), "not both"},
		{"groupRoles without groups", search(settings{"groupRoles": map[string][]string{"ops": {"a"}}}), "groupRoles"},
		{"groupRoles", search(merge(groups(settings{"attribute": "memberOf"}), settings{"groupRoles": groupRoles})), ""},
		{"groupRoles with a broken DN", search(merge(groups(settings{"attribute": "memberOf"}), settings{"groupRoles": map[string][]string{"cn=a,b": {"a"}}})), "DN"},
		{"groupRoles with a broken role", search(merge(groups(settings{"attribute": "memberOf"}), settings{"groupRoles": map[string][]string{"ops": {"a b"}}})), "role names"},
		{"groupRoles with no group", search(merge(groups(settings{"attribute": "memberOf"}), settings{"groupRoles": map[string][]string{" ": {"a"}}})), "no name"},
	} {
		text, err := json.Marshal(tt.config)
		if err != nil {
			t.Fatal(err)
		}
		err = ValidateConfig(TypeLDAP, text)
		switch {
		case tt.wrong == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.wrong != "" && (!errors.Is(err, ErrRealmConfig) || !strings.Contains(err.Error(), tt.wrong)):
			t.Errorf("%s: %v, want an error about %s", tt.name, err, tt.wrong)
		}
	}
}

// The stored form of a configuration says all that the given one does, but for the secret.
func TestServiceAccountIsSealed(t *testing.T) {
	f := newFixture(t, Config{})
	given := settings{"host": "h", "login": settings{
		"search": settings{"baseDn": "dc=x", "filter": "(uid={})"}, "bindDn": "cn=s,dc=x", "bindPassword": "hunter",
	}}
	realm := f.ldapRealm(t, given)
	if strings.Contains(string(realm.Config), "hunter") {
		t.Errorf("the secret is stored: %s", realm.Config)
	}
	if public, err := PublicConfig(realm.Config); err != nil || strings.Contains(string(public), "bindPassword") || !strings.Contains(string(public), "bindDn") {
		t.Errorf("public form %s, %v", public, err)
	}
	d, err := f.directories.of(realm)
	if err != nil || d.cfg.Login.BindPassword.Text != "hunter" {
		t.Errorf("the secret does not come back: %v", err)
	}
	if shown := fmt.Sprintf("%v %+v %#v", d.cfg, d.cfg, d.cfg.Login); strings.Contains(shown, "hunter") {
		t.Error("the secret is printed")
	}
	if _, err := f.SealConfig(TypeLDAP, realm.Config); !errors.Is(err, ErrRealmConfig) {
		t.Errorf("a sealed secret is accepted from an administrator: %v", err)
	}
}

// No configuration panics, and what is accepted can be used.
func FuzzLDAPConfig(f *testing.F) {
	f.Add([]byte(goodLDAP))
	f.Add([]byte(`{"host":"h","login":{"search":{"baseDn":"dc=x","filter":"(uid={})"},"bindDn":"cn=s,dc=x","bindPassword":"p"},"groups":{"attribute":"memberOf"},"groupRoles":{"cn=a,dc=x":["b"]}}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		c, err := parseLDAPConfig(config)
		if err != nil {
			return
		}
		if len(c.servers) == 0 || c.Timeout <= 0 || c.ConnectTimeout <= 0 {
			t.Errorf("accepted: %+v", c)
		}
		if s := c.Login.Search; s != nil {
			if filter := s.fill("*)(x=y", `cn=\,*()`); !validFilter(filter) && len(filter) <= maxFilter {
				t.Errorf("the filter %q becomes %q", s.Filter, filter)
			}
			if filter := s.anybody(); !validFilter(filter) {
				t.Errorf("the filter %q becomes %q", s.Filter, filter)
			}
		} else {
			_ = c.bindName("ann")
		}
		rolesOf(c.rules, []string{"cn=a,dc=x", "a"})
	})
}
