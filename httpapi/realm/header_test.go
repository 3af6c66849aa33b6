package realm

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"cloakroom/cluster/session"
)

const (
	proxySecret = "0123456789abcdef0123456789abcdef"
	goodHeader  = `{"proxies":["10.1.0.0/16","2001:db8::/32","192.0.2.7"],"secret":"` + proxySecret + `","autoCreateUsers":true,` +
		`"groupRoles":{"staff":"developer","ops":["admin","developer"],"db-secret":"auditor"}}`
)

func TestHeaderRealm(t *testing.T) {
	f := newFixture(t, Config{})
	f.addRealmOf(t, "proxied", TypeHeader, goodHeader, "everyone")
	f.directory.addUser(&session.User{ID: "u9", Realm: "proxied", Username: "known", RoleNames: []string{"own"}, Rev: 30})
	f.directory.addUser(&session.User{ID: "u10", Realm: "proxied", Username: "off", Disabled: true, Rev: 31})
	const secret = "X-Forwarded-Secret: " + proxySecret + "\n"
	for _, tt := range []struct {
		name, peer, head string
		user             string
		roles            []string
		err              error
	}{
		{"right", "10.1.2.3", secret + "X-Forwarded-User: ann", "ann", []string{"everyone"}, nil},
		{"right, single address", "192.0.2.7", secret + "X-Forwarded-User: ann", "ann", []string{"everyone"}, nil},
		{"right, IPv6", "2001:db8::1", secret + "X-Forwarded-User: ann", "ann", []string{"everyone"}, nil},
		{"right, IPv4 in IPv6", "::ffff:10.1.2.3", secret + "X-Forwarded-User: ann", "ann", []string{"everyone"}, nil},
		{"other case of the header", "10.1.2.3", secret + "x-forwarded-user: ann", "ann", []string{"everyone"}, nil},
		{"other case of the name", "10.1.2.3", secret + "X-Forwarded-User: ANN", "ann", []string{"everyone"}, nil},
		{"groups", "10.1.2.3", secret + "X-Forwarded-User: ann\nX-Forwarded-Groups: staff , nobody,,db-secret", "ann", []string{"auditor", "developer", "everyone"}, nil},
		{"own roles", "10.1.2.3", secret + "X-Forwarded-User: known\nX-Forwarded-Groups: ops", "known", []string{"admin", "developer", "everyone", "own"}, nil},
		{"other headers beside it", "10.1.2.3", secret + "X-Forwarded-For: 6.6.6.6\nX-Forwarded-User: ann\nX-Forwarded-Usera: root", "ann", []string{"everyone"}, nil},

		{"from elsewhere", "10.2.0.1", secret + "X-Forwarded-User: ann", "", nil, ErrNoEvidence},
		{"from elsewhere, claimed address", "10.2.0.1", secret + "X-Forwarded-For: 10.1.2.3\nForwarded: for=10.1.2.3\nX-Forwarded-User: ann", "", nil, ErrNoEvidence},
		{"from elsewhere, twice", "10.2.0.1", secret + "X-Forwarded-User: ann\nX-Forwarded-User: ann", "", nil, ErrNoEvidence},
		{"nobody", "10.1.2.3", secret, "", nil, ErrNoEvidence},
		{"empty", "10.1.2.3", secret + "X-Forwarded-User: ", "", nil, ErrNoEvidence},
		{"nothing", "10.1.2.3", "", "", nil, ErrNoEvidence},

		{"no secret", "10.1.2.3", "X-Forwarded-User: ann", "", nil, ErrInvalidCredentials},
		{"wrong secret", "10.1.2.3", "X-Forwarded-Secret: " + strings.ToUpper(proxySecret) + "\nX-Forwarded-User: ann", "", nil, ErrInvalidCredentials},
		{"secret with more behind", "10.1.2.3", "X-Forwarded-Secret: " + proxySecret + "0\nX-Forwarded-User: ann", "", nil, ErrInvalidCredentials},
		{"beginning of the secret", "10.1.2.3", "X-Forwarded-Secret: " + proxySecret[:31] + "\nX-Forwarded-User: ann", "", nil, ErrInvalidCredentials},

		{"user twice", "10.1.2.3", secret + "X-Forwarded-User: ann\nX-Forwarded-User: root", "", nil, ErrAmbiguousHeaders},
		{"user twice, the same", "10.1.2.3", secret + "X-Forwarded-User: ann\nX-Forwarded-User: ann", "", nil, ErrAmbiguousHeaders},
		{"user twice, first empty", "10.1.2.3", secret + "X-Forwarded-User:\nX-Forwarded-User: root", "", nil, ErrAmbiguousHeaders},
		{"user twice, other case", "10.1.2.3", secret + "X-Forwarded-User: ann\nx-forwarded-USER: root", "", nil, ErrAmbiguousHeaders},
		{"underscores", "10.1.2.3", secret + "X-Forwarded-User: ann\nX_Forwarded_User: root", "", nil, ErrAmbiguousHeaders},
		{"one underscore", "10.1.2.3", secret + "X-Forwarded_User: root\nX-Forwarded-User: ann", "", nil, ErrAmbiguousHeaders},
		{"underscores alone", "10.1.2.3", secret + "X_Forwarded_User: root", "", nil, ErrAmbiguousHeaders},
		{"dots", "10.1.2.3", secret + "X.Forwarded.User: root", "", nil, ErrAmbiguousHeaders},
		{"groups twice", "10.1.2.3", secret + "X-Forwarded-User: ann\nX-Forwarded-Groups: staff\nX-Forwarded-Groups: ops", "", nil, ErrAmbiguousHeaders},
		{"groups with underscores", "10.1.2.3", secret + "X-Forwarded-User: ann\nx_forwarded_groups: ops", "", nil, ErrAmbiguousHeaders},
		{"secret twice", "10.1.2.3", secret + secret + "X-Forwarded-User: ann", "", nil, ErrAmbiguousHeaders},

		{"name for no header", "10.1.2.3", secret + "X-Forwarded-User: ann smith", "", nil, ErrBadUsername},
		{"list of names", "10.1.2.3", secret + "X-Forwarded-User: ann, root", "", nil, ErrBadUsername},
		{"name not ASCII", "10.1.2.3", secret + "X-Forwarded-User: änn", "", nil, ErrBadUsername},
		{"disabled", "10.1.2.3", secret + "X-Forwarded-User: OFF", "", nil, ErrInvalidCredentials},
	} {
		t.Run(tt.name, func(t *testing.T) {
			identity, err := f.AuthenticateRequest(t.Context(), "proxied", Evidence{Peer: at(tt.peer), Headers: lines(tt.head)})
			wantExactly(t, err, tt.err)
			if identity.Username != tt.user || !slices.Equal(identity.Roles, tt.roles) {
				t.Errorf("identity is %+v, want %s with %v", identity, tt.user, tt.roles)
			}
			if err == nil && (!identity.FixedRoles || identity.RealmRev != 20 || identity.AutoCreate != (tt.user == "ann") || identity.UserID == "") {
				t.Errorf("identity is %+v", identity)
			}
		})
	}
	if len(f.hashed) != 0 {
		t.Error("a password hash was spent")
	}
}

// wantExactly compares errors that share a code with others.
func wantExactly(t *testing.T, err, want error) {
	t.Helper()
	e, _ := errors.AsType[*session.Error](err)
	if w, ok := errors.AsType[*session.Error](want); ok != (err != nil) || ok && e != w {
		t.Errorf("err = %v, want %v", err, want)
	}
}

// Only what may be a guess at the secret counts as one, or a visitor whom nobody lets in would hold up the others behind
// the same proxy.
func TestWhatIsAGuess(t *testing.T) {
	f := newFixture(t, Config{})
	f.addRealmOf(t, "proxied", TypeHeader, strings.Replace(goodHeader, `"autoCreateUsers":true`, `"autoCreateUsers":false`, 1))
	f.directory.addUser(&session.User{ID: "u10", Realm: "proxied", Username: "off", Disabled: true, Rev: 31})
	const secret = "X-Forwarded-Secret: " + proxySecret + "\n"
	for head, guess := range map[string]bool{
		"X-Forwarded-User: off":                                               true,
		"X-Forwarded-Secret: wrong\nX-Forwarded-User: off":                    true,
		secret + "X-Forwarded-User: off":                                      false,
		secret + "X-Forwarded-User: no record":                                false,
		secret + "X-Forwarded-User: norecord":                                 false,
		secret + "X-Forwarded-User: off\nX_Forwarded_User: off":               false,
		"X-Forwarded-Secret: wrong\nX-Forwarded-User: off\nx-forwarded-user:": false,
	} {
		_, err := f.AuthenticateRequest(t.Context(), "proxied", Evidence{Peer: at("10.1.2.3"), Headers: lines(head)})
		if !errors.Is(err, ErrInvalidCredentials) || IsGuess(err) != guess {
			t.Errorf("%q: %v, a guess: %v", head, err, IsGuess(err))
		}
	}
	if _, err := f.Authenticate(t.Context(), "native", "ann", "wrong"); !IsGuess(err) {
		t.Error("a wrong password is no guess")
	}
	if IsGuess(nil) || IsGuess(ErrNoEvidence) || IsGuess(ErrUnavailable) {
		t.Error("what is wrong with nothing is a guess")
	}
}

func TestHeaderRealmWithOtherCredentials(t *testing.T) {
	f := newFixture(t, Config{})
	f.addRealmOf(t, "proxied", TypeHeader, goodHeader)
	good := lines("X-Forwarded-Secret: " + proxySecret + "\nX-Forwarded-User: ann")
	for _, tt := range []struct {
		ev  Evidence
		err error
	}{
		{Evidence{Peer: at("10.1.2.3"), Headers: good, Other: true}, ErrTwoCredentials},
		{Evidence{Peer: at("10.1.2.3"), Headers: good, Bearer: "a.b.c"}, ErrTwoCredentials},
		{Evidence{Peer: at("10.1.2.3"), Other: true}, ErrNoEvidence},
		{Evidence{Peer: at("11.1.2.3"), Headers: good, Other: true}, ErrNoEvidence},
		{Evidence{Peer: at("11.1.2.3"), Headers: good, Bearer: "a.b.c"}, ErrInvalidCredentials},
		{Evidence{Headers: good}, ErrNoEvidence}, // a socket without an address
	} {
		_, err := f.AuthenticateRequest(t.Context(), "proxied", tt.ev)
		wantExactly(t, err, tt.err)
	}
}

// A password is never right in a realm that has none, whatever a record says; and the other realms take no evidence.
func TestRealmsKeepToTheirKind(t *testing.T) {
	f := newFixture(t, Config{})
	f.addRealmOf(t, "proxied", TypeHeader, goodHeader)
	f.directory.addUser(&session.User{ID: "u9", Realm: "proxied", Username: "ann", PasswordHash: mustHash(t, newTestHasher(t, HasherConfig{}), "ann's secret"), Rev: 30})
	if _, err := f.Authenticate(t.Context(), "proxied", "ann", "ann's secret"); any(err) != any(ErrInvalidCredentials) {
		t.Errorf("password in a realm of headers: %v", err)
	}
	if len(f.hashed) != 1 {
		t.Errorf("%d hashes: the time tells the realm", len(f.hashed))
	}
	ev := Evidence{Peer: at("10.1.2.3"), Headers: lines("X-Forwarded-Secret: " + proxySecret + "\nX-Forwarded-User: ann"), Bearer: "a.b.c"}
	for _, name := range []string{"native", "closed", "strange", "nowhere", "", "bad name"} {
		if _, err := f.AuthenticateRequest(t.Context(), name, ev); any(err) != any(ErrInvalidCredentials) {
			t.Errorf("realm %q: %v", name, err)
		}
	}
}

func TestHeaderConfig(t *testing.T) {
	change := func(old, replacement string) string {
		if !strings.Contains(goodHeader, old) {
			t.Fatalf("nothing to change: %s", old)
		}
		return strings.Replace(goodHeader, old, replacement, 1)
	}
	const networks = `["10.1.0.0/16","2001:db8::/32","192.0.2.7"]`
	for _, tt := range []struct {
		name, config string
		ok           bool
	}{
		{"good", goodHeader, true},
		{"least", `{"proxies":["10.0.0.0/8"],"secret":"` + proxySecret + `"}`, true},
		{"widest of IPv6", change(networks, `["2001::/16"]`), true},
		{"loopback", change(networks, `["127.0.0.1","::1"]`), true},
		{"names of headers", change(`"secret"`, `"userHeader":"Remote-User","groupsHeader":"Remote-Groups","secretHeader":"X-Proxy-Key","groupSeparator":"; ","secret"`), true},

		{"everybody", change(networks, `["0.0.0.0/0"]`), false},
		{"everybody of IPv6", change(networks, `["::/0"]`), false},
		{"everybody among others", change(`"192.0.2.7"`, `"0.0.0.0/0"`), false},
		{"half of everybody", change(networks, `["0.0.0.0/1","128.0.0.0/1"]`), false},
		{"too wide", change(networks, `["10.0.0.0/7"]`), false},
		{"too wide, IPv6", change(networks, `["2001::/15"]`), false},
		{"everybody, as IPv6", change(networks, `["::ffff:0.0.0.0/96"]`), false},
		{"IPv4 in IPv6", change(networks, `["::ffff:10.1.2.3"]`), false},
		{"bits of a host", change(networks, `["10.1.2.3/16"]`), false},
		{"zone", change(networks, `["fe80::1%eth0"]`), false},
		{"name", change(networks, `["proxy.example"]`), false},
		{"empty list", change(networks, `[]`), false},
		{"no list", change(`"proxies":`+networks+`,`, ``), false},
		{"no text", change(networks, `[10]`), false},

		{"short secret", change(proxySecret, proxySecret[:31]), false},
		{"no secret", `{"proxies":["10.0.0.0/8"]}`, false},
		{"secret for no header", change(proxySecret, proxySecret+`é`), false},
		{"secret with a blank", change(proxySecret, proxySecret+` x`), false},
		{"sealed secret", change(`"`+proxySecret+`"`, `{"$sealed":"v1.AAAA"}`), false},

		{"header with an underscore", change(`"secret"`, `"userHeader":"Remote_User","secret"`), false},
		{"header with a blank", change(`"secret"`, `"userHeader":"Remote User","secret"`), false},
		{"header with more", change(`"secret"`, `"userHeader":"A: b\r\nC","secret"`), false},
		{"header of HTTP", change(`"secret"`, `"userHeader":"authorization","secret"`), false},
		{"header of HTTP, by prefix", change(`"secret"`, `"groupsHeader":"Sec-Fetch-User","secret"`), false},
		{"header of proxies", change(`"secret"`, `"userHeader":"X-Forwarded-For","secret"`), false},
		{"one header for two", change(`"secret"`, `"userHeader":"Remote-User","groupsHeader":"REMOTE-USER","secret"`), false},
		{"one header for secret and user", change(`"secret"`, `"secretHeader":"x-forwarded-user","secret"`), false},
		{"empty header", change(`"secret"`, `"userHeader":"","secret"`), false},
		{"empty separator", change(`"secret"`, `"groupSeparator":"","secret"`), false},

		{"misspelt member", change(`"secret"`, `"userheaders":"Remote-User","secret"`), false},
		{"role for no header", change(`"developer"`, `"de veloper"`), false},
		{"role of another type", change(`"developer"`, `1`), false},
		{"nothing", ``, false},
		{"not an object", `[]`, false},
	} {
		err := ValidateConfig(TypeHeader, []byte(tt.config))
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrRealmConfig) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil && strings.Contains(err.Error(), proxySecret[:20]) {
			t.Errorf("%s: the error tells the secret: %v", tt.name, err)
		}
	}
}

func TestProxySecretIsSealed(t *testing.T) {
	f := newFixture(t, Config{})
	r := f.addRealmOf(t, "proxied", TypeHeader, goodHeader)
	public, err := PublicConfig(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(r.Config), string(public), f.log.String()} {
		if strings.Contains(text, proxySecret) {
			t.Errorf("the secret is in %s", text)
		}
	}
	if strings.Contains(string(public), `"secret"`) || strings.Contains(string(public), "sealed") {
		t.Errorf("public: %s", public)
	}
	// Sealed by somebody else: nobody comes in, and the log says why.
	r.Config = []byte(strings.Replace(goodHeader, `"`+proxySecret+`"`, `{"$sealed":"v1.AAAA"}`, 1))
	_, err = f.AuthenticateRequest(t.Context(), "proxied", Evidence{Peer: at("10.1.2.3"), Headers: lines("X-Forwarded-User: ann")})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(f.log.String(), "realm=proxied") {
		t.Errorf("%v, log %s", err, f.log.String())
	}
}

// A changed configuration counts from the next call on, although the last one is kept ready.
func TestChangedConfigCounts(t *testing.T) {
	f := newFixture(t, Config{})
	f.addRealmOf(t, "proxied", TypeHeader, goodHeader)
	ev := Evidence{Peer: at("10.1.2.3"), Headers: lines("X-Forwarded-Secret: " + proxySecret + "\nX-Forwarded-User: ann")}
	for range 2 {
		if _, err := f.AuthenticateRequest(t.Context(), "proxied", ev); err != nil {
			t.Fatal(err)
		}
	}
	f.addRealmOf(t, "proxied", TypeHeader, strings.Replace(goodHeader, "0123", "4567", 1))
	if _, err := f.AuthenticateRequest(t.Context(), "proxied", ev); !errors.Is(err, ErrInvalidCredentials) {
		t.Errorf("the old secret: %v", err)
	}
	r := f.addRealmOf(t, "proxied", TypeHeader, goodHeader)
	r.Enabled = false
	if _, err := f.AuthenticateRequest(t.Context(), "proxied", ev); any(err) != any(ErrInvalidCredentials) {
		t.Errorf("a disabled realm: %v", err)
	}
}

// FuzzEvidence looks for a head that makes somebody of anyone without the secret, or two readers disagree about who it
// is.
func FuzzEvidence(f *testing.F) {
	c, err := parseHeaderConfig([]byte(goodHeader))
	if err != nil {
		f.Fatal(err)
	}
	const secret = "X-Forwarded-Secret: " + proxySecret + "\n"
	for _, seed := range []string{
		secret + "X-Forwarded-User: ann", "X-Forwarded-User: ann", secret + "X_Forwarded_User: ann\nX-Forwarded-User: bob",
		secret + "X-Forwarded-User: a\nx-forwarded-user: b", secret + "X-Forwarded-User: ann\nX-Forwarded-Groups: ,a,, b ,", "x-forwarded-secret:\nX-Forwarded-User:\x00",
		secret + "X-Forwarded-User: \tann\t", "X-Forwarded-Secret: " + proxySecret[:31] + "\n" + "X-Forwarded-User: ann",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, head string, trusted bool) {
		ev := Evidence{Peer: at("10.2.0.1"), Headers: lines(head)}
		if trusted {
			ev.Peer = at("10.1.0.1")
		}
		proved, err := c.prove(t.Context(), ev)
		if err != nil {
			return
		}
		users, secrets := 0, 0
		for name, value := range ev.Headers {
			switch strings.ReplaceAll(strings.ToLower(string(name)), "_", "-") {
			case "x-forwarded-user":
				users++
			case "x-forwarded-secret":
				if secrets++; strings.TrimSpace(string(value)) != proxySecret {
					t.Errorf("the secret was %q", value)
				}
			}
		}
		if !trusted || users != 1 || secrets != 1 || proved.username == "" {
			t.Errorf("%q made %+v of it", head, proved)
		}
	})
}
