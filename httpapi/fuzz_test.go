package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// What strangers send, piece by piece: each decoder against what must hold of its answers. Whole requests are at the
// end, and in FuzzFraming.

// fuzzed returns a request with one header line of the fuzzer's. What is no line of a header can't reach a decoder.
func fuzzed(t *testing.T, s *Server, name, value string) *exchange.Request {
	t.Helper()
	if strings.ContainsAny(value, "\r\n\x00") {
		t.Skip("not a header's value")
	}
	ctx := &fasthttp.RequestCtx{}
	ctx.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 5000}, nil)
	raw := "GET / HTTP/1.1\r\nHost: cloak.example\r\n" + name + ": " + value + "\r\n\r\n"
	if err := ctx.Request.Header.Read(bufio.NewReaderSize(strings.NewReader(raw), 4*exchange.MaxHeader)); err != nil {
		t.Skip("not HTTP")
	}
	rc := &exchange.Request{Ctx: ctx}
	if exchange.CheckFraming(rc) != nil {
		t.Skip("refused before")
	}
	return rc
}

// quietServer is a server for a decoder's sake.
func quietServer(f *testing.F, change ...func(*Config)) *fixture {
	return newFixture(f, append(change, func(cfg *Config) { cfg.Logger = slog.New(slog.DiscardHandler) })...)
}

var behindProxy = func(cfg *Config) { cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }

// FuzzJSON: what is taken is JSON, comes back when it is written, and has no character that was not sent.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{annsJSON, `[{"username":"ann","realmName":"native","attributes":{"a":"b"}}]`, `{"username":"\ud83d\ude00"}`, `{"username":"\ud83d"}`, "{\"username\":\"\xff\"}", `null`, `{"username":1}`, `[]`, `{"a":`, `{"username":"\ufffd"}`, strings.Repeat("[", 10000)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ctx := &fasthttp.RequestCtx{}
		ctx.Init(&fasthttp.Request{}, nil, nil)
		ctx.Request.Header.SetContentType(exchange.TypeJSON)
		ctx.Request.SetBodyRaw(body)
		rc := &exchange.Request{Ctx: ctx}
		var one newSession
		var many []newSession
		errOne, errMany := exchange.DecodeJSON(rc, &one), exchange.DecodeJSON(rc, &many)
		for _, err := range []error{errOne, errMany} {
			if err != nil && !errors.Is(err, exchange.ErrMalformedJSON) {
				t.Fatalf("%q: %v", body, err)
			}
		}
		if errOne == nil {
			many = []newSession{one}
		} else if errMany != nil {
			return
		}
		if !json.Valid(body) || !utf8.Valid(body) {
			t.Fatalf("taken: %q", body)
		}
		sent := bytes.Contains(body, []byte("\ufffd")) || bytes.Contains(bytes.ToLower(body), []byte(`\ufffd`))
		for _, s := range many {
			for _, text := range []string{s.Username, s.RealmName} {
				if !sent && strings.Contains(text, "\ufffd") {
					t.Fatalf("%q became %q", body, text)
				}
				var back string
				if written := exchange.AppendString(nil, text); json.Unmarshal(written, &back) != nil || back != text {
					t.Fatalf("%q is written as %s", text, written)
				}
			}
		}
	})
}

// FuzzForwarded: whatever a client writes into X-Forwarded-For and X-Forwarded-Proto, what a trusted proxy puts behind
// it decides; and of a stranger nothing counts.
func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{"", "203.0.113.1", "10.0.0.2, 10.0.0.3", "::1, unknown", ",,,", "[2001:db8::1]:80", "https", "1.1.1.1:http", strings.Repeat("10.0.0.2,", 100), `"a,b"`, "10.0.0.2%eth0"} {
		f.Add(seed)
	}
	behind, alone := quietServer(f, behindProxy).Server, quietServer(f).Server
	client := netip.MustParseAddr("203.0.113.7")
	f.Fuzz(func(t *testing.T, sent string) {
		if got := behind.clients.ClientAddr(fuzzed(t, behind, "X-Forwarded-For", sent+", 203.0.113.7")); got != client {
			t.Fatalf("%q in front of the client's address makes it %v", sent, got)
		}
		if got := behind.clients.ClientAddr(fuzzed(t, behind, "X-Forwarded-For", sent)); !got.IsValid() || got.Zone() != "" || got.Is4In6() {
			t.Fatalf("%q makes the address %v", sent, got)
		}
		if got := alone.clients.ClientAddr(fuzzed(t, alone, "X-Forwarded-For", sent)); got != netip.AddrFrom4([4]byte{10, 0, 0, 1}) {
			t.Fatalf("a stranger's %q makes the address %v", sent, got)
		}
		if behind.clients.IsHTTPS(fuzzed(t, behind, "X-Forwarded-Proto", sent+", http")) || !behind.clients.IsHTTPS(fuzzed(t, behind, "x-forwarded-proto", sent+",https")) || alone.clients.IsHTTPS(fuzzed(t, alone, "X-Forwarded-Proto", sent)) {
			t.Fatalf("%q decides about the scheme", sent)
		}
	})
}

// FuzzIfMatch: a revision is only found where it stands in the header as a strong tag.
func FuzzIfMatch(f *testing.F) {
	for _, seed := range []string{"", "*", `"5"`, `W/"5"`, `"4", "5"`, `"5`, `"05"`, `"+5"`, `"18446744073709551616"`, `"4,5"`, `""`, `,"5",`} {
		f.Add(seed, uint64(5))
	}
	s := quietServer(f).Server
	f.Fuzz(func(t *testing.T, sent string, current uint64) {
		rc := fuzzed(t, s, "If-Match", sent)
		rev, err := exchange.IfMatch(rc, current)
		if err != nil {
			if !errors.Is(err, session.ErrConflict) || rev != 0 {
				t.Fatalf("%q: %d, %v", sent, rev, err)
			}
			return
		}
		if rev == 0 {
			if !strings.Contains(sent, "*") {
				t.Fatalf("%q lets any revision pass", sent)
			}
			return
		}
		found := false
		for tag := range strings.SplitSeq(sent, ",") {
			tag = strings.TrimSpace(tag)
			inner, ok := strings.CutPrefix(tag, `"`)
			n, err := strconv.ParseUint(strings.TrimSuffix(inner, `"`), 10, 64)
			found = found || ok && err == nil && n == rev
		}
		if !found {
			t.Fatalf("%q has no %d", sent, rev)
		}
		exchange.ETag(rc, rev)
		if again, err := exchange.IfMatch(fuzzed(t, s, "If-Match", string(rc.Ctx.Response.Header.Peek("ETag"))), current); again != rev || err != nil {
			t.Fatalf("the tag of %d is read as %d, %v", rev, again, err)
		}
	})
}

// FuzzAccept: nobody gets a page who does not name its type, or says that he wants none.
func FuzzAccept(f *testing.F) {
	for _, seed := range []string{"", "*/*", "text/html", "text/html;q=0", "text/html;q=0.5,application/json", "text/html;q=nan", "text/html;q=1e9", "text/html;level=1;q=.5, application/json;q=0.4", ";;;,,,", "TEXT/HTML ; Q=1"} {
		f.Add(seed)
	}
	s := quietServer(f).Server
	f.Fuzz(func(t *testing.T, sent string) {
		rc := fuzzed(t, s, "Accept", sent)
		if exchange.PrefersHTML(rc) && !strings.Contains(strings.ToLower(sent), "text/html") {
			t.Fatalf("%q asks for a page", sent)
		}
		if exchange.PrefersHTML(fuzzed(t, s, "Accept", "text/html;q=0")) || !exchange.PrefersHTML(fuzzed(t, s, "Accept", "text/html")) {
			t.Fatal("the header of one request is that of another")
		}
		for item := range strings.SplitSeq(sent, ",") {
			if q := exchange.Quality([]byte(item)); !(q >= 0 && q <= 1) {
				t.Fatalf("%q weighs %v", item, q)
			}
		}
	})
}

// tried keeps the credentials that it is asked about, and is satisfied with any: there is no throttle for good ones.
type tried struct {
	username, password string
	identity           realm.Identity
}

func (a *tried) Authenticate(_ context.Context, _, username, password string) (realm.Identity, error) {
	a.username, a.password = username, password
	return a.identity, nil
}

func (a *tried) AuthenticateRequest(context.Context, string, realm.Evidence) (realm.Identity, error) {
	return a.identity, nil
}

// FuzzBasic: credentials are those that the standard library finds, or none.
func FuzzBasic(f *testing.F) {
	for _, seed := range []string{"", "Basic ", "Basic YW5uOmNvcnJlY3QgaG9yc2U=", "basic YW5uOg==", "Basic YW5uOnA6OnA6", "Basic Og==", "Basic YW5u", "Basic /w==", "Bearer x", "Basic  YTpi ", "Basic YTpi\tYTpi", "BasicYTpi"} {
		f.Add(seed)
	}
	auth := &tried{}
	s := quietServer(f, func(cfg *Config) { cfg.Authenticator = auth }).Server
	f.Fuzz(func(t *testing.T, sent string) {
		*auth = tried{}
		rc := fuzzed(t, s, "Authorization", sent)
		encoded, ok := exchange.BasicHeader(rc)
		if !ok {
			return
		}
		_, _ = s.callers.Basic(rc, encoded) // ann is known, others are not; what counts is who was asked about
		if auth.username == "" && auth.password == "" {
			return
		}
		plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(strings.TrimSpace(sent)[len("Basic "):]))
		if err != nil || string(plain) != auth.username+":"+auth.password || strings.Contains(auth.username, ":") || !utf8.Valid(plain) {
			t.Fatalf("%q is read as %q and %q; it is %q, %v", sent, auth.username, auth.password, plain, err)
		}
	})
}

// FuzzOrigin: a page is one of this host's own only if its origin names it.
func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{"", "null", "http://cloak.example", "https://cloak.example", "https://cloak.example.evil.example", "https://cloak.example@evil.example", "https://evil.example#cloak.example", "https://cloak.example:443", "//cloak.example", "http:cloak.example", `https://evil.example\cloak.example`} {
		f.Add(seed)
	}
	s := quietServer(f, func(cfg *Config) { cfg.AllowedOrigins = []string{"https://app.example"} }).Server
	f.Fuzz(func(t *testing.T, sent string) {
		rc := fuzzed(t, s, "Origin", sent)
		s.clients.AllowOrigin(rc)
		sent = strings.Trim(sent, " \t")
		allowed := sent == "https://app.example"
		if got := string(rc.Ctx.Response.Header.Peek("Access-Control-Allow-Origin")); (got != "") != allowed || allowed && got != sent {
			t.Fatalf("%q may read: %q", sent, got)
		}
		if s.clients.CheckOrigin(rc) != nil || sent == "" || allowed {
			return
		}
		scheme, rest, _ := strings.Cut(sent, "://")
		authority, _, _ := strings.Cut(rest, "/")
		authority, _, _ = strings.Cut(authority, "?")
		authority, _, _ = strings.Cut(authority, "#")
		host := authority[strings.LastIndexByte(authority, '@')+1:]
		if !strings.EqualFold(host, "cloak.example") || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
			t.Fatalf("%q may change things", sent)
		}
	})
}

// FuzzToken: a token is 16 or 32 bytes in hexadecimal, and its key is theirs.
func FuzzToken(f *testing.F) {
	for _, seed := range []string{"", "840a33d4-b650-49f2-87a4-85412e99b37c", "840A33D4-B650-49F2-87A4-85412E99B37C", "840a33d4b-650-49f2-87a4-85412e99b37c", strings.Repeat("0", 64), strings.Repeat("g", 64), strings.Repeat("-", 36)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key, ok := credential.Parse([]byte(text))
		if !ok {
			if key != (session.Key{}) {
				t.Fatalf("%q is no token, and has a key", text)
			}
			return
		}
		plain := text
		if len(text) == credential.TokenText {
			plain = text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
		}
		raw, err := hex.DecodeString(plain)
		if err != nil || len(raw) != credential.TokenSize && len(raw) != credential.AnonymousSize || session.KeyOf(raw) != key {
			t.Fatalf("%q is taken for a token: %v", text, err)
		}
	})
}

// FuzzRequestID: an id is taken over from a trusted proxy, if it can do no harm in logs and headers.
func FuzzRequestID(f *testing.F) {
	for _, seed := range []string{"", "a", "Ab-1._z", "a b", `a"b`, strings.Repeat("x", exchange.MaxRequestID), strings.Repeat("x", exchange.MaxRequestID+1), "\xff", "a\tb"} {
		f.Add(seed)
	}
	behind, alone := quietServer(f, behindProxy).Server, quietServer(f).Server
	f.Fuzz(func(t *testing.T, sent string) {
		for _, s := range []*Server{behind, alone} {
			rc := fuzzed(t, s, exchange.HeaderRequestID, sent)
			s.clients.AcceptRequestID(rc)
			taken := len(rc.Ctx.Response.Header.Peek(exchange.HeaderRequestID)) > 0
			id := string(rc.RequestID())
			if taken && (s == alone || id != strings.Trim(sent, " \t")) {
				t.Fatalf("%q is taken for %q", sent, id)
			}
			if id == "" || len(id) > exchange.MaxRequestID || strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
				t.Fatalf("%q made %q", sent, id)
			}
		}
	})
}

// taped is a connection on which everything has been sent already; what is answered is kept.
type taped struct {
	whole
	said *bytes.Buffer
}

func (c taped) Write(b []byte) (int, error) { return c.said.Write(b) }

// FuzzRequests sends whole requests through the server, of somebody who is logged in, too. Whatever they are: no panic,
// no 500, answers that are HTTP and armoured, JSON that is JSON, and nothing that happens to another's session.
func FuzzRequests(f *testing.F) {
	auth := &tried{}
	h := quietServer(f, behindProxy, func(cfg *Config) {
		cfg.Authenticator = auth
		cfg.AllowedOrigins = []string{"https://app.example"}
	})
	const annsToken, theVictims = "840a33d4-b650-49f2-87a4-85412e99b37c", "11111111-2222-3333-4444-555555555555"
	before, keys := h.withSessions(f, annsToken, theVictims)
	user, native, err := h.fake.User(f.Context(), "native", "ann")
	if err != nil {
		f.Fatal(err)
	}
	auth.identity = realm.Identity{Realm: "native", Username: "ann", UserID: user.ID, UserRev: user.Rev, RealmRev: native.Rev}
	cookie := "Cookie: id=" + annsToken + "; zsessionid=" + annsToken
	for _, r := range h.router.All {
		path := strings.ReplaceAll(r.Path, "{}", "x")
		if strings.HasSuffix(path, "/") {
			path += "x"
		}
		for _, m := range r.Methods {
			f.Add([]byte(head(m.Name+" "+path, cookie)))
			f.Add([]byte(jsonRequest(m.Name+" "+path, annsJSON, cookie, "Origin: https://app.example")))
			f.Add([]byte(formRequest(m.Name+" "+path+"?a=b&key=a&z_return=/x", "a=%20&CSRFToken=1", cookie, "Accept: text/html")))
		}
	}
	f.Add([]byte("PROXY TCP4 203.0.113.7 127.0.0.1 4660 80\r\n" + head("GET /healthz", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Request-Id: a")))
	f.Add([]byte(head("OPTIONS /api/session", "Origin: null") + head("HEAD /healthz", "Range: bytes=0-") + chunked("2\r\n{}\r\n0\r\n\r\n")))
	var methods []string // of the requests that were read
	server := h.fastServer(func(ctx *fasthttp.RequestCtx) {
		methods = append(methods, string(ctx.Method()))
		h.handler(ctx)
	}, 1)
	f.Fuzz(func(t *testing.T, sent []byte) {
		h.fake.set(func(c *fakeCluster) {
			c.levels, c.commands = nil, nil
			if _, alive := c.machine.Lookup(keys[0]); alive && c.machine.Stats().Sessions < 20 {
				return
			}
			machine, err := session.Restore(bytes.NewReader(before))
			if err != nil {
				t.Fatal(err)
			}
			c.machine = machine
		})
		methods = methods[:0]
		said := &bytes.Buffer{}
		_ = server.ServeConn(taped{whole{bytes.NewReader(sent)}, said}) // how it ends does not matter
		if n := h.panics.Load(); n > 0 {
			t.Fatalf("panic at %q", sent)
		}
		if _, ok := h.fake.machine.Lookup(keys[1]); !ok {
			t.Fatalf("%q ends the session of somebody else", sent)
		}
		checkAnswers(t, sent, said.Bytes(), methods)
	})
}

// withSessions makes sessions of ann with these tokens, and returns their keys and the state with them, to go back to:
// what is ended can't be made again.
func (f *fixture) withSessions(t testing.TB, tokens ...string) (state []byte, keys []session.Key) {
	t.Helper()
	user, native, err := f.fake.User(t.Context(), "native", "ann")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range tokens {
		key, ok := credential.Parse([]byte(text))
		if !ok {
			t.Fatalf("%q is no token", text)
		}
		keys = append(keys, key)
		f.fake.must(t, &session.Create{
			Key: key, Realm: "native", Username: "ann", UserID: user.ID, Surface: session.SurfaceFusion,
			UserRev: user.Rev, RealmRev: native.Rev, Idle: time.Hour, Lifetime: time.Hour,
		})
	}
	var b bytes.Buffer
	if _, err := f.fake.machine.Snapshot(nil).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), keys
}

func checkAnswers(t *testing.T, sent, said []byte, methods []string) {
	t.Helper()
	for r, i := bufio.NewReader(bytes.NewReader(said)), 0; ; i++ {
		if _, err := r.Peek(1); err != nil {
			return
		}
		method := http.MethodGet
		if i < len(methods) {
			method = methods[i]
		}
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%q: answer %d of %q: %v", sent, i, said, err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("%q: answer %d of %q: %v", sent, i, said, err)
		}
		if res.StatusCode == http.StatusContinue {
			i--
			continue
		}
		a := answer{res.StatusCode, res.Header, string(body)}
		a.armoured(t)
		if a.status == http.StatusInternalServerError {
			t.Fatalf("%q is answered %d %s", sent, a.status, body)
		}
		if a.get("Content-Type") == exchange.TypeJSON && len(body) > 0 && !json.Valid(body) {
			t.Fatalf("%q is answered with %q", sent, body)
		}
	}
}
