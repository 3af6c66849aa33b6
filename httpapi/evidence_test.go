package httpapi

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"cloakroom/cluster/session"
	"cloakroom/cluster/tries"
	"cloakroom/httpapi/credential"
)

// issuer signs tokens and publishes its key at an address of this machine.
type issuer struct {
	t   *testing.T
	key ed25519.PrivateKey
	*httptest.Server
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made, err := jwkset.NewJWKFromKey(public, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "k1"}})
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{made.Marshal()}})
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, key: private}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) }))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) token(change map[string]any) string {
	i.t.Helper()
	claims := jwt.MapClaims{"iss": "https://issuer.example", "aud": "cloakroom", "preferred_username": "kim", "groups": []string{"staff"}, "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(claims, change)
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	token.Header["kid"] = "k1"
	text, err := token.SignedString(i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

// addRealm makes a realm by the API and returns what it shows of it.
func (f *fixture) addRealm(name, realmType, config string) string {
	f.t.Helper()
	root := f.create(session.Create{Username: "root"})
	a := f.send("POST", "/api/realm-configs", idCookie(root), jsonBody(fmt.Sprintf(`{"realmType":%q,"name":%q,"roleNames":["developer"],"config":%s}`, realmType, name, config)))
	f.expect(a, 201, "")
	return a.body
}

func evidenceFixture(t *testing.T, change ...func(*Config)) (*fixture, *issuer) {
	t.Helper()
	f, i := newFixture(t, change...), newIssuer(t)
	f.fake.must(t, &session.CreateRole{ID: "role-dev", Name: "developer"})
	f.fake.must(t, &session.CreateRole{ID: "role-audit", Name: "auditor"})
	f.addRealm("sso", "jwt", fmt.Sprintf(`{"issuer":"https://issuer.example","audience":"cloakroom","jwksUrl":%q,"autoCreateUsers":true,"groupRoles":{"staff":"auditor"}}`, i.URL))
	return f, i
}

func TestJWTLogin(t *testing.T) {
	f, i := evidenceFixture(t)
	for name, options := range map[string][]option{
		"empty body":     {bearer(i.token(nil))},
		"empty object":   {bearer(i.token(nil)), jsonBody(`{}`)},
		"no credentials": {bearer(i.token(nil)), jsonBody(`{"username":"","password":""}`)},
	} {
		a := f.send("POST", "/api/session?realmName=sso", options...)
		f.expect(a, 201, "")
		value, _, _ := strings.Cut(strings.TrimPrefix(a.get("Set-Cookie"), "id="), ";")
		a = f.send("GET", "/api/session", cookie("id="+value))
		f.expect(a, 200, "")
		for _, part := range []string{`"username":"kim","realmName":"sso"`, `"roles":[{"name":"auditor"},{"name":"developer"}]`, `"handle"`} {
			if !strings.Contains(a.body, part) {
				t.Errorf("%s: %s lacks %s", name, a.body, part)
			}
		}
	}
	if _, _, err := f.fake.User(t.Context(), "sso", "kim"); err != nil || f.fake.stats().Users != 4 {
		t.Errorf("%d users, %v", f.fake.stats().Users, err)
	}
	for name, tt := range map[string]struct {
		uri     string
		options []option
		status  int
		code    string
	}{
		"no realm":            {"/api/session", []option{bearer(i.token(nil))}, 400, "malformed-json"},
		"realm of passwords":  {"/api/session?realmName=native", []option{bearer(i.token(nil))}, 401, "invalid-credentials"},
		"no such realm":       {"/api/session?realmName=nowhere", []option{bearer(i.token(nil))}, 401, "invalid-credentials"},
		"expired":             {"/api/session?realmName=sso", []option{bearer(i.token(map[string]any{"exp": 1}))}, 401, "invalid-credentials"},
		"for somebody else":   {"/api/session?realmName=sso", []option{bearer(i.token(map[string]any{"aud": []string{"x"}}))}, 401, "invalid-credentials"},
		"of somebody else":    {"/api/session?realmName=sso", []option{bearer(newIssuer(t).token(nil))}, 401, "invalid-credentials"},
		"two kinds":           {"/api/session?realmName=sso", []option{bearer(i.token(nil)), jsonBody(`{"username":"kim","password":"x"}`)}, 400, "two-credentials"},
		"password":            {"/api/session?realmName=sso", []option{jsonBody(`{"username":"kim","password":"anything"}`)}, 401, "invalid-credentials"},
		"form":                {"/api/session?realmName=sso", []option{bearer(i.token(nil)), form("a=b")}, 400, "malformed-json"},
		"name for no header":  {"/api/session?realmName=sso", []option{bearer(i.token(map[string]any{"preferred_username": "k m"}))}, 401, "invalid-credentials"},
		"foreign page":        {"/api/session?realmName=sso", []option{bearer(i.token(nil)), header("Sec-Fetch-Site", "cross-site")}, 403, "foreign-origin"},
		"nothing in the head": {"/api/session?realmName=sso", nil, 400, "malformed-json"},
	} {
		a := f.send("POST", tt.uri, tt.options...)
		if f.expect(a, tt.status, tt.code); a.get("Set-Cookie") != "" {
			t.Errorf("%s: cookie %s", name, a.get("Set-Cookie"))
		}
		if strings.HasPrefix(name, "expired") && !strings.Contains(a.body, "expired") {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	// A role that nobody has made is the administrator's fault.
	f.addRealm("wrong", "jwt", fmt.Sprintf(`{"issuer":"https://issuer.example","audience":"cloakroom","jwksUrl":%q,"ephemeralUsers":true,"groupRoles":{"staff":"nothing"}}`, i.URL))
	f.expect(f.send("POST", "/api/session?realmName=wrong", bearer(i.token(nil))), 503, "realm-unavailable")
	if !strings.Contains(f.logs.String(), "grants a role") {
		t.Error("the log does not say why nobody can log in")
	}
	if strings.Contains(f.logs.String(), i.token(nil)[:60]) {
		t.Error("a token is in the log")
	}
}

func TestJWTCalls(t *testing.T) {
	f, i := evidenceFixture(t)
	good := bearer(i.token(nil))
	before := f.fake.stats().Sessions
	a := f.send("GET", "/api/session?realmName=sso", good)
	f.expect(a, 200, "")
	if !strings.Contains(a.body, `"username":"kim"`) || strings.Contains(a.body, "handle") || a.get("Set-Cookie") != "" {
		t.Errorf("%v %s", a.header, a.body)
	}
	f.expect(f.send("GET", "/api/sessions?realmName=sso", good), 200, "")
	f.expect(f.send("GET", "/api/users?realmName=sso", good), 403, "forbidden")
	f.expect(f.send("DELETE", "/api/session?realmName=sso", good), 204, "")
	if n := f.fake.stats().Sessions; n != before {
		t.Errorf("%d sessions were made", n-before)
	}
	// The call's own credentials go before the cookie, and a cookie does not help a token that is not good.
	ann := f.create(session.Create{Username: "ann"})
	if a := f.send("GET", "/api/session?realmName=sso", good, idCookie(ann)); !strings.Contains(a.body, `"username":"kim"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	bad := bearer(newIssuer(t).token(nil))
	a = f.send("GET", "/api/session?realmName=sso", bad, idCookie(ann))
	f.expect(a, 401, "invalid-credentials")
	if a.get("Www-Authenticate") != `Bearer error="invalid_token"` {
		t.Errorf("challenge is %q", a.get("Www-Authenticate"))
	}
	// Where no realm is named, or sessions alone count, it is an application's own.
	for _, path := range []string{"/api/session", "/auth/verify?realmName=sso", "/session/get?realmName=sso", "/api/2/session/get"} {
		f.expect(f.send("GET", path, good), 401, "session-invalid")
		f.expect(f.send("GET", path, good, idCookie(ann)), 200, "")
	}
	// A logout goes by the cookie, if there is one.
	f.expect(f.send("DELETE", "/api/session", good, idCookie(ann)), 204, "")
	f.expect(f.send("GET", "/api/session", idCookie(ann)), 401, "session-invalid")
	// An outage of the issuer is none of the client's.
	i.Close()
	f.addRealm("sso2", "jwt", fmt.Sprintf(`{"issuer":"https://issuer.example","audience":"cloakroom","jwksUrl":%q}`, i.URL+"/other"))
	f.expect(f.send("GET", "/api/session?realmName=sso2", good), 503, "realm-unavailable")
	f.expect(f.send("GET", "/api/session?realmName=sso", good), 200, "")
}

// A realm may want sessions to end with the token that they were made from.
func TestJWTSessionEndsWithItsToken(t *testing.T) {
	f, i := evidenceFixture(t)
	config := `{"issuer":"https://issuer.example","audience":"cloakroom","jwksUrl":%q,"ephemeralUsers":true,"sessionBoundToToken":true}`
	f.addRealm("bound", "jwt", fmt.Sprintf(config, i.URL))
	lifetime := func(realmName string, left time.Duration) time.Duration {
		a := f.send("POST", "/api/session?realmName="+realmName, bearer(i.token(map[string]any{"exp": time.Now().Add(left).Unix()})))
		f.expect(a, 201, "")
		commands := f.fake.commands
		return commands[len(commands)-1].(*session.Create).Lifetime
	}
	if got := lifetime("bound", 10*time.Minute); got > 10*time.Minute || got < 9*time.Minute {
		t.Errorf("the session of a token of ten minutes lives for %v", got)
	}
	if got := lifetime("bound", 24*time.Hour); got != 8*time.Hour {
		t.Errorf("the session of a token of a day lives for %v", got)
	}
	if got := lifetime("sso", 10*time.Minute); got != 8*time.Hour {
		t.Errorf("a session that is not bound lives for %v", got)
	}
	// Within the leeway the token is good for a call, and for no session.
	over := bearer(i.token(map[string]any{"exp": time.Now().Add(-time.Second).Unix()}))
	f.expect(f.send("GET", "/api/session?realmName=bound", over), 200, "")
	f.expect(f.send("POST", "/api/session?realmName=bound", over), 401, "invalid-credentials")
	f.expect(f.send("POST", "/api/session?realmName=sso", over), 201, "")
}

// Made up tokens run into the same limit as passwords; good ones, and those that were good, do not.
func TestEvidenceIsThrottled(t *testing.T) {
	f, i := evidenceFixture(t)
	_, free, all := tries.Free()
	bad, over := bearer(newIssuer(t).token(nil)), bearer(i.token(map[string]any{"exp": 1}))
	good := bearer(i.token(nil))
	for range 2 * free {
		f.expect(f.send("GET", "/api/session?realmName=sso", over), 401, "invalid-credentials")
		f.expect(f.send("GET", "/api/session?realmName=sso", good), 200, "")
	}
	for range free {
		f.expect(f.send("GET", "/api/session?realmName=sso", bad), 401, "invalid-credentials")
	}
	f.expect(f.send("GET", "/api/session?realmName=sso", bad), 429, "limit-login-failures")
	f.expect(f.send("POST", "/api/session?realmName=sso", bad), 429, "limit-login-failures")
	f.expect(f.send("GET", "/api/session?realmName=sso", good), 200, "") // beside it, from the same address
	f.expect(f.send("GET", "/api/session", basic("ann", testPassword)), 200, "")
	for n := range 2 * all { // each one new
		if a := f.send("GET", "/api/session?realmName=sso", bearer(fmt.Sprintf("a.%d.c", n))); a.status == 429 {
			f.expect(f.send("GET", "/api/session?realmName=sso", good, from("198.51.100.9:1")), 200, "")
			return
		}
	}
	t.Error("made up tokens from one address have no limit")
}

const (
	headerSecret = "0123456789abcdef0123456789abcdef"
	headerRealm  = `{"proxies":[%q],"secret":"` + headerSecret + `","autoCreateUsers":true,"groupRoles":{"staff":"auditor"}}`
)

// raw sends a request over a real connection and returns the answer.
func (f *fixture) raw(before, method, uri string, lines ...string) answer {
	f.t.Helper()
	w := f.dial()
	w.write(before + method + " " + uri + " HTTP/1.1\r\nHost: cloak.example\r\nConnection: close\r\n" + strings.Join(append(lines, "", ""), "\r\n"))
	return w.read()
}

func TestHeaderRealm(t *testing.T) {
	f, i := evidenceFixture(t)
	f.opened()
	shown := f.addRealm("proxied", "header", fmt.Sprintf(headerRealm, "127.0.0.0/8"))
	f.addRealm("elsewhere", "header", fmt.Sprintf(headerRealm, "203.0.113.7"))
	if strings.Contains(shown, headerSecret) || strings.Contains(shown, "sealed") {
		t.Errorf("shown: %s", shown)
	}
	const secret, user = "X-Forwarded-Secret: " + headerSecret, "X-Forwarded-User: Kim"
	const call, login = "/api/session?realmName=proxied", "Content-Length: 0"

	a := f.raw("", "POST", call, secret, user, "x-forwarded-groups: staff", login)
	f.expect(a, 201, "")
	value, _, _ := strings.Cut(strings.TrimPrefix(a.get("Set-Cookie"), "id="), ";")
	a = f.send("GET", "/auth/verify", cookie("id="+value))
	if f.expect(a, 200, ""); a.get("Remote-User") != "kim" || a.get("Remote-Groups") != "auditor,developer" || a.get("Remote-Realm") != "proxied" {
		t.Errorf("%v", a.header)
	}
	a = f.raw("", "GET", call, secret, user)
	if f.expect(a, 200, ""); !strings.Contains(a.body, `"username":"kim"`) || strings.Contains(a.body, "handle") || a.get("Set-Cookie") != "" {
		t.Errorf("%s", a.body)
	}
	ann := f.create(session.Create{Username: "ann"})
	if a := f.raw("", "GET", call, secret, user, "Cookie: id="+ann.Text); !strings.Contains(a.body, `"username":"kim"`) {
		t.Errorf("beside a cookie: %s", a.body)
	}
	script := f.create(session.Create{Username: "ann", Surface: session.SurfaceBearer})
	for _, tt := range []struct {
		name, method, uri string
		lines             []string
		status            int
		code              string
	}{
		{"no realm", "GET", "/api/session", []string{secret, user}, 401, "session-invalid"},
		{"realm of passwords", "GET", "/api/session?realmName=native", []string{secret, user}, 401, "session-invalid"},
		{"sessions only", "GET", "/auth/verify?realmName=proxied", []string{secret, user}, 401, "session-invalid"},
		{"sessions only, other surface", "GET", "/session/get?realmName=proxied", []string{secret, user}, 401, "session-invalid"},
		{"from elsewhere", "GET", "/api/session?realmName=elsewhere", []string{secret, user}, 401, "session-invalid"},
		{"from elsewhere, claimed", "GET", "/api/session?realmName=elsewhere", []string{secret, user, "X-Forwarded-For: 203.0.113.7", "X-Real-IP: 203.0.113.7"}, 401, "session-invalid"},
		{"from elsewhere, login", "POST", "/api/session?realmName=elsewhere", []string{secret, user, login}, 400, "malformed-json"},
		{"nobody", "GET", call, []string{secret}, 401, "session-invalid"},
		{"nobody, login", "POST", call, []string{secret, login}, 400, "malformed-json"},
		{"wrong secret", "GET", call, []string{secret + "x", user}, 401, "invalid-credentials"},
		{"wrong secret beside a cookie", "GET", call, []string{secret + "x", user, "Cookie: id=" + ann.Text}, 401, "invalid-credentials"},
		{"no secret", "POST", call, []string{user, login}, 401, "invalid-credentials"},
		{"twice", "GET", call, []string{secret, user, "X-Forwarded-User: root"}, 401, "invalid-credentials"},
		{"twice, other case", "GET", call, []string{secret, user, "x-FORWARDED-user: root"}, 401, "invalid-credentials"},
		{"twice, underscores", "GET", call, []string{secret, user, "X_Forwarded_User: root"}, 401, "invalid-credentials"},
		{"underscores alone", "GET", call, []string{secret, "X_Forwarded_User: root"}, 401, "invalid-credentials"},
		{"name for no header", "GET", call, []string{secret, "X-Forwarded-User: kim, root"}, 401, "invalid-credentials"},
		{"Basic as well", "GET", call, []string{secret, user, "Authorization: Basic " + basicAuth("ann", testPassword)}, 400, "two-credentials"},
		{"session's token as well", "GET", call, []string{secret, user, "Authorization: Bearer " + script.BearerText()}, 400, "two-credentials"},
		{"JWT as well", "GET", call, []string{secret, user, "Authorization: Bearer " + i.token(nil)}, 400, "two-credentials"},
		{"JWT alone", "GET", call, []string{"Authorization: Bearer " + i.token(nil)}, 401, "invalid-credentials"},
		{"Basic alone", "GET", call, []string{"Authorization: Basic " + basicAuth("kim", testPassword)}, 401, "invalid-credentials"},
		{"session's token alone", "GET", call, []string{"Authorization: Bearer " + script.BearerText()}, 200, ""},
		{"cookie alone", "GET", call, []string{"Cookie: id=" + ann.Text}, 200, ""},
		{"foreign page", "POST", call, []string{secret, user, login, "Sec-Fetch-Site: cross-site"}, 403, "foreign-origin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.t = t
			a := f.raw("", tt.method, tt.uri, tt.lines...)
			if f.expect(a, tt.status, tt.code); a.get("Set-Cookie") != "" {
				t.Errorf("cookie %s", a.get("Set-Cookie"))
			}
		})
	}
	f.t = t
	body := `{"username":"ann","password":"` + testPassword + `"}`
	f.expect(f.raw("", "POST", call, secret, user, "Content-Type: application/json", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)), 400, "two-credentials")
	// What follows the body is no part of the head.
	f.addRealm("named", "header", strings.Replace(fmt.Sprintf(headerRealm, "127.0.0.1"), "{", `{"userHeader":"Remote-User",`, 1))
	trailer := []string{"Transfer-Encoding: chunked", "Trailer: Remote-User", secret, "", "0", "Remote-User: kim"}
	f.expect(f.raw("", "POST", "/api/session?realmName=named", append([]string{"Remote-User: kim"}, trailer[:5]...)...), 201, "")
	f.expect(f.raw("", "POST", "/api/session?realmName=named", trailer...), 400, "malformed-json")
	// The socket that brings a request by itself has no address of a proxy's.
	f.expect(f.send("GET", call, header("X-Forwarded-User", "kim"), header("X-Forwarded-Secret", headerSecret), from("127.0.0.1:5")), 401, "session-invalid")
}

// The PROXY protocol names a client, who then wrote the headers: it makes nobody a proxy, and a proxy's connection that
// carries somebody else's request is not the proxy's word.
func TestHeaderRealmBehindPROXY(t *testing.T) {
	f, _ := evidenceFixture(t, func(cfg *Config) { cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	f.opened()
	f.addRealm("proxied", "header", fmt.Sprintf(headerRealm, "127.0.0.0/8"))
	f.addRealm("elsewhere", "header", fmt.Sprintf(headerRealm, "203.0.113.7"))
	const secret, user = "X-Forwarded-Secret: " + headerSecret, "X-Forwarded-User: kim"
	f.expect(f.raw("", "GET", "/api/session?realmName=proxied", secret, user), 200, "")
	const named = "PROXY TCP4 203.0.113.7 127.0.0.1 4660 80\r\n"
	f.expect(f.raw(named, "GET", "/api/session?realmName=elsewhere", secret, user), 401, "session-invalid")
	f.expect(f.raw(named, "GET", "/api/session?realmName=proxied", secret, user), 401, "session-invalid")
	f.expect(f.raw("", "GET", "/api/session?realmName=elsewhere", secret, user, "X-Forwarded-For: 203.0.113.7"), 401, "session-invalid")
}

// A visitor whom nobody lets in must not hold up the others behind the same proxy.
func TestHeaderRefusalsDontCount(t *testing.T) {
	f, _ := evidenceFixture(t)
	f.opened()
	f.addRealm("proxied", "header", strings.Replace(fmt.Sprintf(headerRealm, "127.0.0.1"), "autoCreateUsers", "ephemeralUsers", 1))
	const secret, call = "X-Forwarded-Secret: " + headerSecret, "/api/session?realmName=proxied"
	for range 150 {
		f.expect(f.raw("", "GET", call, secret, "X-Forwarded-User: k m"), 401, "invalid-credentials")
		f.expect(f.raw("", "GET", call, secret, "X-Forwarded-User: kim", "X_Forwarded_User: root"), 401, "invalid-credentials")
	}
	f.expect(f.raw("", "GET", call, secret, "X-Forwarded-User: kim"), 200, "")
	wrong := 0
	for range 150 {
		if a := f.raw("", "GET", call, "X-Forwarded-Secret: guess", "X-Forwarded-User: kim"); a.status == 429 {
			wrong++
		}
	}
	if wrong == 0 {
		t.Error("guesses at the secret have no limit")
	}
}

// Who only names a realm of headers, and has a cookie, makes no try: failures from the same address are not in
// the way.
func TestHeaderRealmNamedBesideCookie(t *testing.T) {
	f, _ := evidenceFixture(t)
	f.opened()
	f.addRealm("proxied", "header", fmt.Sprintf(headerRealm, "127.0.0.1"))
	f.addRealm("elsewhere", "header", fmt.Sprintf(headerRealm, "203.0.113.0/24"))
	ann := "Cookie: id=" + f.create(session.Create{Username: "ann"}).Text
	const user, call = "X-Forwarded-User: kim", "/api/session?realmName="
	limited := false
	for range 150 {
		limited = limited || f.raw("", "GET", call+"proxied", user, "X-Forwarded-Secret: guess").status == 429
	}
	if !limited {
		t.Fatal("guesses have no limit")
	}
	f.expect(f.raw("", "GET", call+"proxied", ann), 200, "")
	f.expect(f.raw("", "GET", call+"proxied", ann, "X-Forwarded-User: "), 200, "")
	f.expect(f.raw("", "GET", call+"elsewhere", ann, user), 200, "")
	f.expect(f.raw("", "GET", call+"proxied", ann, "x_forwarded_user: kim"), 429, "limit-login-failures")
	f.expect(f.raw("", "GET", call+"proxied", ann, user), 429, "limit-login-failures")
}

// nginx as it would stand in front: it says who the user is, whatever its client says.
func TestHeaderRealmBehindNginx(t *testing.T) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed")
	}
	f, _ := evidenceFixture(t)
	f.opened()
	f.addRealm("proxied", "header", fmt.Sprintf(headerRealm, "127.0.0.1"))
	dir := t.TempDir()
	socket := filepath.Join(dir, "front.sock")
	config := fmt.Sprintf(`daemon off; pid nginx.pid; error_log stderr error; events {}
http {
	access_log off; client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
	underscores_in_headers on;
	server {
		listen unix:%s;
		location / {
			proxy_pass http://%s;
			proxy_set_header X-Forwarded-User kim;
			proxy_set_header X-Forwarded-Groups staff;
			proxy_set_header X-Forwarded-Secret %s;
		}
	}
}`, socket, f.Addr(), headerSecret)
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	nginx := exec.Command(program, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	nginx.Stderr = &said
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() {
		_ = nginx.Wait() // what it has to say is in said
		close(stopped)
	}()
	t.Cleanup(func() {
		_ = nginx.Process.Signal(os.Interrupt)
		<-stopped
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		poll := time.NewTicker(10 * time.Millisecond)
		defer poll.Stop()
		for {
			if c, err := net.Dial("unix", socket); err == nil {
				return c, nil
			}
			select {
			case <-poll.C:
			case <-stopped:
				return nil, fmt.Errorf("nginx has stopped: %s", said.String())
			}
		}
	}}}
	ask := func(lines map[string]string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), "GET", "http://front/api/session?realmName=proxied", nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range lines {
			request.Header[name] = []string{value}
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	for _, lines := range []map[string]string{nil, {"X-Forwarded-User": "root"}, {"x-forwarded-USER": "root", "X-Forwarded-Secret": "x", "X-Forwarded-For": "1.2.3.4"}} {
		if status, body := ask(lines); status != 200 || !strings.Contains(body, `"username":"kim"`) || !strings.Contains(body, "auditor") {
			t.Errorf("%v: %d %s", lines, status, body)
		}
	}
	for _, name := range []string{"X_Forwarded_User", "X-Forwarded_User", "x_forwarded_groups"} {
		if status, body := ask(map[string]string{name: "root"}); status != 401 || errorCode(t, body) != "invalid-credentials" {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

// FuzzAuthorization sends any header Authorization, with and without a cookie beside it. Nothing but the token of its own
// session may let anybody in.
func FuzzAuthorization(f *testing.F) {
	h := newFixture(f)
	tok := credential.Mint()
	user, native, err := h.fake.User(f.Context(), "native", "ann")
	if err != nil {
		f.Fatal(err)
	}
	h.fake.must(f, &session.Create{
		Key: tok.Key, Realm: "native", Username: "ann", UserID: user.ID, Surface: session.SurfaceBearer,
		UserRev: user.Rev, RealmRev: native.Rev, Idle: time.Hour, Lifetime: time.Hour,
	})
	for _, seed := range []string{
		"Bearer " + tok.BearerText(), "bearer  " + strings.ToUpper(tok.Text), "bearer  crs_" + strings.ToUpper(tok.Text), "Bearer " + tok.Text, "Bearer a.b.c", "Bearer ..", "Bearer", "Bearer ", "BearerX", "Basic Og==", "Bearer " + tok.BearerText() + ",",
		"Bearer " + strings.Repeat("0", credential.AnonymousText), "Bearer\t" + tok.BearerText(), "Token " + tok.BearerText(),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, uri := range []string{"/auth/verify", "/api/session", "/api/session?realmName=native", "/session/get"} {
			rc := fuzzed(t, h.Server, "Authorization", value)
			rc.Ctx.Request.SetRequestURI(uri)
			h.handler(rc.Ctx)
			status := rc.Ctx.Response.StatusCode()
			if status >= 500 {
				t.Errorf("%q at %s: %d", value, uri, status)
			}
			if ours := strings.Contains(strings.ToLower(value), tok.BearerText()); status == 200 && !ours {
				t.Errorf("%q is good at %s", value, uri)
			}
		}
	})
}
