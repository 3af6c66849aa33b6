package httpapi

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/realm"
)

func form(body string) option {
	return func(ctx *fasthttp.RequestCtx) {
		ctx.Request.Header.SetContentType("application/x-www-form-urlencoded")
		ctx.Request.SetBodyString(body)
	}
}

// oauthBody is what a client of the standard reads.
type oauthBody struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (f *fixture) oauth(a answer) oauthBody {
	f.t.Helper()
	var body oauthBody
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		f.t.Fatalf("%v: %s", err, a.body)
	}
	return body
}

var bearerForm = regexp.MustCompile(`^crs_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func TestOAuthToken(t *testing.T) {
	f := newFixture(t)
	for name, options := range map[string][]option{
		"empty body":         {basic("ann", testPassword)},
		"client credentials": {basic("ann", testPassword), form("grant_type=client_credentials")}, // RFC 6749, 4.4.2
		"password, as Basic": {basic("ann", testPassword), form("grant_type=password")},
		"password, in body":  {form("grant_type=password&username=ann&password=correct+horse")},
		"empty parameters":   {basic("ann", testPassword), form("grant_type=&scope=&x=y")}, // as if they were not there (3.2)
		"charset":            {basic("ann", testPassword), form("grant_type=client_credentials"), header("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")},
	} {
		a := f.send("POST", "/oauth2/token", options...)
		f.expect(a, 200, "")
		body := f.oauth(a)
		if body.TokenType != "Bearer" || body.ExpiresIn != 1800 || !bearerForm.MatchString(body.AccessToken) {
			t.Errorf("%s: %s", name, a.body)
		}
		if a.get("Pragma") != "no-cache" || a.get("Cache-Control") != "no-store" || a.get("Set-Cookie") != "" || !strings.HasPrefix(a.get("Content-Type"), "application/json") {
			t.Errorf("%s: headers are %v", name, a.header)
		}
		f.expect(f.send("GET", "/api/session", bearer(body.AccessToken)), 200, "")
		f.expect(f.send("GET", "/api/session", cookie("id="+body.AccessToken)), 401, "session-invalid")
		f.expect(f.send("GET", "/api/session", cookie("id="+strings.TrimPrefix(body.AccessToken, credential.BearerPrefix))), 401, "session-invalid")
		if strings.Contains(f.logs.String(), strings.TrimPrefix(body.AccessToken, credential.BearerPrefix)) {
			t.Error("the token is in the log")
		}
	}
	f.expect(f.send("POST", "/oauth2/token?realmName=native", basic("ann", testPassword)), 200, "")
	a := f.send("GET", "/oauth2/token")
	f.expect(a, 405, "method-not-allowed")
}

// The token ends at the earlier of the two.
func TestOAuthExpiry(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.IdleTimeout, cfg.MaxLifetime = 90*time.Second, 90*time.Second })
	body := f.oauth(f.send("POST", "/oauth2/token", basic("ann", testPassword)))
	if body.ExpiresIn != 90 {
		t.Errorf("expires in %d", body.ExpiresIn)
	}
	f.fake.advance(90*time.Second - time.Millisecond)
	f.expect(f.send("GET", "/auth/verify", bearer(body.AccessToken), header("X-No-Touch", "1")), 200, "")
	f.fake.advance(time.Millisecond)
	if a := f.send("GET", "/auth/verify", bearer(body.AccessToken)); a.status != 401 {
		t.Errorf("after that: %d", a.status)
	}
}

func TestOAuthErrors(t *testing.T) {
	f := newFixture(t)
	good := basic("ann", testPassword)
	for _, tt := range []struct {
		name    string
		uri     string
		options []option
		status  int
		err     string
		code    string
	}{
		{"nobody", "", nil, 401, "invalid_client", "invalid-credentials"},
		{"nobody, client credentials", "", []option{form("grant_type=client_credentials")}, 401, "invalid_client", "invalid-credentials"},
		{"wrong password", "", []option{basic("ann", "wrong")}, 401, "invalid_client", "invalid-credentials"},
		{"unknown user", "", []option{basic("nobody", testPassword)}, 401, "invalid_client", "invalid-credentials"},
		{"unknown realm", "?realmName=nowhere", []option{good}, 401, "invalid_client", "invalid-credentials"},
		{"no colon", "", []option{header("Authorization", "Basic YW5u")}, 401, "invalid_client", "invalid-credentials"},
		{"other scheme", "", []option{header("Authorization", "Digest x")}, 401, "invalid_client", "invalid-credentials"},
		{"JWT", "", []option{bearer("a.b.c")}, 401, "invalid_client", "invalid-credentials"},
		{"user as a client", "", []option{form("client_id=ann&client_secret=correct+horse")}, 400, "invalid_request", "two-credentials"},
		{"wrong password in the body", "", []option{form("grant_type=password&username=ann&password=wrong")}, 400, "invalid_grant", "invalid-credentials"},
		{"no password in the body", "", []option{form("grant_type=password&username=ann")}, 400, "invalid_request", "bad-request-parameters"},
		{"twice", "", []option{form("grant_type=password&username=ann&username=root&password=x")}, 400, "invalid_request", "bad-request-parameters"},
		{"grant type twice", "", []option{good, form("grant_type=password&grant_type=password")}, 400, "invalid_request", "bad-request-parameters"},
		{"RFC 6749, 4.3.2: client and user", "", []option{good, form("grant_type=password&username=johndoe&password=A3ddj3w")}, 400, "invalid_request", "two-credentials"},
		{"password without a grant type", "", []option{form("username=ann&password=correct+horse")}, 400, "invalid_request", "two-credentials"},
		{"RFC 6749, 4.1.3: code", "", []option{good, form("grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA")}, 400, "unsupported_grant_type", "bad-grant-type"},
		{"RFC 6749, 6: refresh", "", []option{good, form("grant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA")}, 400, "unsupported_grant_type", "bad-grant-type"},
		{"scope", "", []option{good, form("grant_type=client_credentials&scope=admin")}, 400, "invalid_scope", "bad-scope"},
		{"in the query", "?grant_type=password&username=ann&password=correct+horse", nil, 400, "invalid_request", "bad-request-parameters"},
		{"JSON", "", []option{good, jsonBody(`{"grant_type":"password"}`)}, 400, "invalid_request", "bad-request-parameters"},
		{"not UTF-8", "", []option{form("grant_type=password&username=ann&password=%ff")}, 400, "invalid_request", "bad-request-parameters"},
	} {
		a := f.send("POST", "/oauth2/token"+tt.uri, tt.options...)
		f.expect(a, tt.status, tt.code)
		body := f.oauth(a)
		if body.Error != tt.err || body.Description == "" || strings.ContainsAny(body.Description, `"\`) || body.AccessToken != "" {
			t.Errorf("%s: %s", tt.name, a.body)
		}
		if challenge := a.get("Www-Authenticate"); strings.HasPrefix(challenge, "Basic ") != (tt.status == 401) {
			t.Errorf("%s: challenge is %q", tt.name, challenge)
		}
		if a.get("Pragma") != "no-cache" {
			t.Errorf("%s: headers are %v", tt.name, a.header)
		}
	}
	if n := f.fake.stats().Sessions; n != 0 {
		t.Errorf("%d sessions were made", n)
	}
	f.auth.Authenticator = failingAuth{realm.ErrUnavailable}
	a := f.send("POST", "/oauth2/token", good)
	f.expect(a, 503, "realm-unavailable")
	if f.oauth(a).Error != "temporarily_unavailable" {
		t.Error(a.body)
	}
	f.fake.before = func(session.Command) error { return cluster.ErrNoLeader }
	f.auth.Authenticator = identityOf{realm.Identity{Realm: "native", Username: "ann"}}
	f.expect(f.send("POST", "/oauth2/token", good), 503, "no-leader")
}

// Wrong passwords count here as they do at the other logins.
func TestOAuthIsThrottled(t *testing.T) {
	f := newFixture(t)
	for range 200 {
		if a := f.send("POST", "/oauth2/token", basic("ann", "wrong")); a.status == 429 {
			f.expect(a, 429, "limit-login-failures")
			if f.oauth(a).Error != "temporarily_unavailable" {
				t.Error(a.body)
			}
			f.expect(f.send("POST", "/api/session", jsonBody(`{"username":"ann","password":"wrong"}`)), 429, "limit-login-failures")
			return
		}
	}
	t.Error("two hundred wrong passwords")
}

func TestOAuthRevoke(t *testing.T) {
	f := newFixture(t)
	tok := f.create(session.Create{Username: "ann", Surface: session.SurfaceBearer})
	other := f.create(session.Create{Username: "ann", Surface: session.SurfaceBearer})
	browser := f.create(session.Create{Username: "ann"})
	for name, text := range map[string]string{
		"good": tok.BearerText(), "again": tok.BearerText(), "unknown": credential.Mint().BearerText(), "no prefix": other.Text, "nonsense": "45ghiukldjahdnhzdauz", "a cookie's": browser.Text, "a cookie's, prefixed": browser.BearerText(),
	} {
		if a := f.send("POST", "/oauth2/revoke", form("token="+text+"&token_type_hint=access_token")); a.status != 200 || a.body != "" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	f.expect(f.send("GET", "/api/session", bearer(tok.BearerText())), 401, "session-invalid")
	f.expect(f.send("GET", "/api/session", bearer(other.BearerText())), 200, "")
	f.expect(f.send("GET", "/api/session", idCookie(browser)), 200, "")
	for _, options := range [][]option{nil, {form("token=")}, {form("token=a&token=b")}, {jsonBody(`{"token":"x"}`)}} {
		a := f.send("POST", "/oauth2/revoke", options...)
		if body := f.oauth(a); a.status != 400 || body.Error != "invalid_request" {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	f.expect(f.send("POST", "/oauth2/revoke?token="+browser.Text), 400, "bad-request-parameters")
	f.fake.set(func(c *fakeCluster) { c.cutOff = cluster.Local })
	f.expect(f.send("POST", "/oauth2/revoke", form("token="+credential.Mint().BearerText())), 503, "cut-off") // this node may not know it yet
	f.fake.lookupErr = cluster.ErrNoLeader
	f.expect(f.send("POST", "/oauth2/revoke", form("token="+browser.Text)), 503, "no-leader") // it may be good still
}
