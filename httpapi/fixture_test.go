package httpapi

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// fixture is a server over a fake cluster with some users: root (admin), ann (no roles), svc (service).
type fixture struct {
	*Server
	t       *testing.T
	fake    *fakeCluster
	auth    *countingAuth
	hasher  *realm.Hasher
	logs    *logBuffer
	handler fasthttp.RequestHandler
}

const testPassword = "correct horse"

func newFixture(t testing.TB, change ...func(*Config)) *fixture {
	t.Helper()
	fake := newFakeCluster(t)
	logs := &logBuffer{}
	log := slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	hasher, err := realm.NewHasher(realm.HasherConfig{Memory: realm.MinMemory, Iterations: 1})
	if err != nil {
		t.Fatal(err)
	}
	authenticator, err := realm.New(realm.Config{Directory: fake, Hasher: hasher, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	auth := &countingAuth{Authenticator: authenticator}
	cfg := Config{
		Address: "127.0.0.1:0", Operator: "127.0.0.1:0",
		Cluster: fake, Membership: &fakeMembership{}, Authenticator: auth, Hasher: hasher, Sealer: authenticator, Logger: log,
		Version: "test", IdleTimeout: 30 * time.Minute, MaxLifetime: 8 * time.Hour,
	}
	for _, fn := range change {
		fn(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	asTest, _ := t.(*testing.T) // nil in a benchmark
	f := &fixture{Server: s, t: asTest, fake: fake, auth: auth, hasher: hasher, logs: logs, handler: s.Handler()}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	hash, err := hasher.HashPassword(t.Context(), testPassword)
	if err != nil {
		t.Fatal(err)
	}
	for name, roles := range map[string][]string{"root": {"admin"}, "ann": nil, "svc": {"service"}} {
		fake.must(t, &session.CreateUser{ID: "user-" + name, Realm: "native", Username: name, RoleNames: roles, PasswordHash: hash})
	}
	return f
}

// logBuffer keeps what was logged.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// answer is what a request got.
type answer struct {
	status int
	header map[string][]string
	body   string
}

func (a answer) get(name string) string {
	if v := a.header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// identityOf is an authenticator that is satisfied with anything; failingAuth one that does not answer.
type identityOf struct{ identity realm.Identity }

func (a identityOf) Authenticate(context.Context, string, string, string) (realm.Identity, error) {
	return a.identity, nil
}

func (a identityOf) AuthenticateRequest(context.Context, string, realm.Evidence) (realm.Identity, error) {
	return a.identity, nil
}

type failingAuth struct{ err error }

func (a failingAuth) AuthenticateRequest(context.Context, string, realm.Evidence) (realm.Identity, error) {
	return realm.Identity{}, a.err
}

func (a failingAuth) Authenticate(context.Context, string, string, string) (realm.Identity, error) {
	return realm.Identity{}, a.err
}

type ctxOf = fasthttp.RequestCtx

// option changes a request before it is sent.
type option func(*fasthttp.RequestCtx)

func header(name, value string) option {
	if strings.EqualFold(name, "Cookie") {
		return cookie(value)
	}
	return func(ctx *fasthttp.RequestCtx) { ctx.Request.Header.Add(name, value) }
}

// cookie adds a Cookie header that stays as it is: fasthttp would put one that it is given in order.
func cookie(value string) option {
	return func(ctx *fasthttp.RequestCtx) {
		lines, _ := ctx.UserValue("cookies").(string)
		ctx.SetUserValue("cookies", lines+"Cookie: "+value+"\r\n")
	}
}

func jsonBody(body string) option {
	return func(ctx *fasthttp.RequestCtx) {
		ctx.Request.Header.SetContentType("application/json")
		ctx.Request.SetBodyString(body)
	}
}

func basic(username, password string) option {
	return func(ctx *fasthttp.RequestCtx) {
		ctx.Request.Header.Set("Authorization", "Basic "+basicAuth(username, password))
	}
}

func from(address string) option {
	return func(ctx *fasthttp.RequestCtx) {
		addr, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			panic(err)
		}
		ctx.SetRemoteAddr(addr)
	}
}

// send runs a request through the handler on a bare context.
func (f *fixture) send(method, uri string, options ...option) answer {
	f.t.Helper()
	return f.through(f.handler, method, uri, options...)
}

// control is send by the control socket.
func (f *fixture) control(method, uri string, options ...option) answer {
	f.t.Helper()
	return f.through(func(ctx *fasthttp.RequestCtx) { f.serve(ctx, true) }, method, uri, options...)
}

func (f *fixture) through(h fasthttp.RequestHandler, method, uri string, options ...option) answer {
	f.t.Helper()
	ctx := bareRequest(method, uri, options...)
	h(ctx)
	a := answer{status: ctx.Response.StatusCode(), header: map[string][]string{}, body: string(ctx.Response.Body())}
	for key, value := range ctx.Response.Header.All() {
		a.header[string(key)] = append(a.header[string(key)], string(value))
	}
	a.armoured(f.t)
	return a
}

// bareRequest returns a request as it looks when it has come in.
func bareRequest(method, uri string, options ...option) *fasthttp.RequestCtx {
	ctx := &fasthttp.RequestCtx{}
	ctx.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5000}, nil)
	ctx.Response.Header.SetNoDefaultContentType(true)
	ctx.Request.Header.SetMethod(method)
	ctx.Request.Header.SetHost("cloak.example")
	ctx.Request.SetRequestURI(uri)
	for _, o := range options {
		o(ctx)
	}
	cookies, _ := ctx.UserValue("cookies").(string)
	raw := strings.TrimSuffix(string(ctx.Request.Header.Header()), "\r\n") + cookies + "\r\n"
	if err := ctx.Request.Header.Read(bufio.NewReaderSize(strings.NewReader(raw), 4*exchange.MaxHeader)); err != nil {
		panic(err)
	}
	ctx.ResetUserValues()
	return ctx
}

// login logs a user in by the Fusion surface and returns the token.
func (f *fixture) loginAs(username string, options ...option) string {
	f.t.Helper()
	a := f.send("POST", "/api/session", append([]option{jsonBody(`{"username":"` + username + `","password":"` + testPassword + `"}`)}, options...)...)
	if a.status != 201 {
		f.t.Fatalf("login as %s: %d %s", username, a.status, a.body)
	}
	value, _, _ := strings.Cut(strings.TrimPrefix(a.get("Set-Cookie"), "id="), ";")
	return value
}

// create makes a session without a login and returns its token.
func (f *fixture) create(cmd session.Create) credential.Token {
	f.t.Helper()
	t := credential.Mint()
	cmd.Key = t.Key
	cmd.Idle, cmd.Lifetime = 30*time.Minute, 8*time.Hour
	if cmd.Realm == "" {
		cmd.Realm = "native"
	}
	if cmd.Surface == 0 {
		cmd.Surface = session.SurfaceFusion
	}
	f.fake.set(func(c *fakeCluster) {
		if u, ok := c.machine.UserByName(cmd.Realm, cmd.Username); ok {
			cmd.UserID, cmd.UserRev = u.ID, u.Rev
		}
		if r, ok := c.machine.RealmByName(cmd.Realm); ok {
			cmd.RealmRev = r.Rev
		}
	})
	f.fake.must(f.t, &cmd)
	return t
}

func idCookie(t credential.Token) option { return cookie("id=" + t.Text) }

// expect checks an answer's status and, for an error, its code.
func (f *fixture) expect(a answer, status int, code string) {
	f.t.Helper()
	if a.status != status {
		f.t.Fatalf("status is %d, not %d: %s", a.status, status, a.body)
	}
	if code == "" {
		return
	}
	got := errorCode(f.t, a.body)
	if got != code {
		f.t.Fatalf("code is %q, not %q: %s", got, code, a.body)
	}
	if a.get("X-Request-Id") == "" {
		f.t.Error("error without X-Request-Id")
	}
	if wait := a.get("Retry-After"); (status == 503 || status == 429) != (wait != "") {
		f.t.Errorf("status %d with Retry-After %q", status, wait)
	}
}

func basicAuth(username, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(username + ":" + password))
}

// errorCode returns an error's code after checking the form that every error has.
func errorCode(t testing.TB, body string) string {
	t.Helper()
	var e struct{ Code, Error, Message *string }
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Code == nil || e.Error == nil || e.Message == nil || *e.Message == "" {
		t.Fatalf("not an error of the API's form: %s", body)
	}
	return *e.Code
}
