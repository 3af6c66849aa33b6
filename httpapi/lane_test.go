package httpapi

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/transport"
)

// scripted is a connection on which each Read returns the next of some pieces.
type scripted struct {
	whole
	pieces  [][]byte
	written bytes.Buffer
	reads   []time.Time // deadlines that were set
	writes  []time.Time
	closed  int
	onWrite func()
}

func (c *scripted) Read(b []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

func (c *scripted) Write(b []byte) (int, error) {
	if c.onWrite != nil {
		c.onWrite()
	}
	return c.written.Write(b)
}

func (c *scripted) Close() error                       { c.closed++; return nil }
func (c *scripted) SetReadDeadline(t time.Time) error  { c.reads = append(c.reads, t); return nil }
func (c *scripted) SetWriteDeadline(t time.Time) error { c.writes = append(c.writes, t); return nil }

// serveScript serves a connection and returns what was written.
func (f *fixture) serveScript(l *lane, c *scripted) string {
	c.Reader = strings.NewReader("")
	var first transport.Lane
	if l != nil {
		first = l
	}
	_ = f.api.ServeConn(transport.NewConn(c, &f.listeners, first)) // how it ends does not matter
	return c.written.String()
}

// onLane returns the server's side of a connection that has had its first answer.
func onLane(s *Server, c net.Conn) *transport.Conn {
	own := transport.NewConn(c, &s.listeners, s.lane)
	transport.ConnState(own, fasthttp.StateIdle)
	return own
}

// ordinary is a request that is answered by the handlers, after which the lane may look at the next one.
const ordinary = "GET /healthz HTTP/1.1\r\nHost: cloak.example\r\n\r\n"

var madeUp = regexp.MustCompile(`(X-Request-Id: [0-9a-f]{16}|Date: [A-Z][A-Za-z0-9 ,:]{24} GMT)\r\n`)

// bothWays sends a request to the handlers by themselves and with the lane before them, and returns the answers, without
// what is made up for each, and whether the lane gave the second one.
func (f *fixture) bothWays(t *testing.T, request []byte) (plain, laned string, used bool) {
	t.Helper()
	handled := 0
	inner := f.api.Handler
	f.api.Handler = func(ctx *fasthttp.RequestCtx) { handled++; inner(ctx) }
	defer func() { f.api.Handler = inner }()
	answers := [2]string{}
	for i, l := range []*lane{nil, f.lane} {
		handled = 0
		text := f.serveScript(l, &scripted{pieces: [][]byte{[]byte(ordinary), request}})
		_, text, _ = strings.Cut(text, `{"status":"ok"}`)
		answers[i] = madeUp.ReplaceAllString(text, "<made up>\r\n")
	}
	return answers[0], answers[1], handled == 1 && answers[1] != "" && strings.HasPrefix(answers[1], "HTTP/1.1 200")
}

func laneText(target string, lines ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: cloak.example:8080\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
}

// The lane's answer is the handlers' answer; and what they refuse, or answer in another way, it leaves to them.
func TestLane(t *testing.T) {
	configs := map[string]func(*Config){
		"default": func(*Config) {},
		"proxies": behindProxy,
		"origins": func(cfg *Config) { cfg.AllowedOrigins = []string{"https://app.example"} },
		"prefix":  func(cfg *Config) { cfg.CookieHostPrefix, cfg.CookieSecure = true, access.SecureAlways },
		"local":   func(cfg *Config) { cfg.Level, cfg.AllowLocalReads = cluster.Local, true },
	}
	for name, change := range configs {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, change, func(cfg *Config) { cfg.Address = "192.0.2.1:0" })
			good := f.create(session.Create{Username: "root"}).Text
			other := f.create(session.Create{Username: "ann"}).Text
			bearer := f.create(session.Create{Username: "root", Surface: session.SurfaceBearer}).Text
			cookie := "Cookie: " + f.jar.Names.Fusion + "="
			for _, target := range []string{"/auth/verify", "/api/session"} {
				for _, c := range []struct {
					text string
					lane bool
				}{
					{laneText(target, cookie+good), true},
					{laneText(target, cookie+other), true},
					{laneText(target, cookie+strings.ToUpper(good)), true},
					{laneText(target, "cookie:a=b; "+f.jar.Names.Fusion+"="+good+";"), true},
					{laneText(target, "Cookie:  "+f.jar.Names.MMonit+"="+good+"; Path=/"), true},
					{laneText(target, cookie+`"`+good+`"`, "Connection: Keep-Alive", "User-Agent: x", "accept: */*", "X-Forwarded-For: 1.2.3.4"), true},
					{laneText(target, cookie+good, "If-None-Match: \"1\"", "Sec-Fetch-Site: cross-site", "Cache-Control: no-cache", "Referer: http://x/"), true},
					{laneText(target, cookie+good+"; "+f.jar.Names.Fusion+"="+good), true},

					{laneText(target, cookie+good, "Origin: https://app.example"), name != "origins"},
					{laneText(target, cookie+good, "X-Forwarded-Proto: https"), name != "proxies"},
					{laneText(target, cookie+good, "X-Request-Id: abc"), name != "proxies"},

					{laneText(target), false},
					{laneText(target, cookie+good+"; "+f.jar.Names.Fusion+"="+other), false},
					{laneText(target, cookie+good, cookie+good), false},
					{laneText(target, cookie+credential.Mint().Text), false},
					{laneText(target, cookie+bearer), false},
					{laneText(target, cookie+good, "Authorization: Bearer "+bearer), false},
					{laneText(target, cookie+good, "Authorization: Basic cm9vdDp4"), false},
					{laneText(target, cookie+good, "X-No-Touch: 1"), false},
					{laneText(target, cookie+good, "Consistency: quorum"), false},
					{laneText(target, cookie+good, "Consistency: nonsense"), false},
					{laneText(target, cookie+good, "Connection: close"), false},
					{laneText(target, cookie+good, "Connection: Keep-Alive, Close"), false},
					{laneText(target, cookie+good, "Content-Length: 0"), false},
					{laneText(target, cookie+good, "Content-Length: 5") + "hello", false},
					{laneText(target, cookie+good, "Content-Length: 1", "Transfer-Encoding: chunked") + "0\r\n\r\n", false},
					{laneText(target, cookie+good, "Content-Type: a", "Content-Type: b"), false},
					{laneText(target, cookie+good, "Expect: 100-continue"), false},
					{laneText(target, cookie+good, "Trailer: Host"), false},
					{laneText(target, cookie+good, "Upgrade: h2c"), false},
					{laneText(target, cookie+good, "Host: cloak.example:8080"), false},
					{laneText(target, cookie+good, "X-Unknown: 1"), false},
					{laneText(target, cookie+good, " Accept: 1"), false},
					{laneText(target, cookie+good, "Accept : 1"), false},
					{laneText(target, cookie+good, "Accept: 1\n"), false},
					{laneText(target, cookie+good, "Accept: a\x00b"), false},
					{laneText(target, cookie+good, "Accept: a\x7fb"), false},
					{laneText(target, cookie+good, "Accept: \xe9"), false},
					{laneText(target, cookie+good, "Accept: a", "\tb"), false},
					{laneText(target, cookie+good, ": b"), false},
					{laneText(target, cookie+good, "Accept"), false},
					{laneText(target, cookie+good) + "\r\n", false},
					{laneText(target, cookie+good) + laneText(target, cookie+good), false},
					{laneText(target+"?realmName=native", cookie+good), false},
					{laneText(target+"/", cookie+good), false},
					{laneText("/."+target, cookie+good), false},
					{laneText("http://cloak.example:8080"+target, cookie+good), false},
					{strings.Replace(laneText(target, cookie+good), "HTTP/1.1", "HTTP/1.0", 1), false},
					{strings.Replace(laneText(target, cookie+good), "GET", "HEAD", 1), false},
					{strings.Replace(laneText(target, cookie+good), "Host: cloak.example:8080\r\n", "", 1), false},
					{strings.Replace(laneText(target, cookie+good), "cloak.example:8080", "cloak.example:", 1), false},
					{strings.Replace(laneText(target, cookie+good), "cloak.example:8080", "a@b", 1), false},
					{strings.Replace(laneText(target, cookie+good), "cloak.example:8080", "[::1]", 1), false},
					{strings.Replace(laneText(target, cookie+good), "cloak.example:8080", "", 1), false},
					{strings.ReplaceAll(laneText(target, cookie+good), "\r\n", "\n"), false},
					{strings.Replace(laneText(target, cookie+good), "\r\nCookie", "\nCookie", 1), false},
					{strings.Replace(laneText(target, cookie+good), "\r\n\r\n", "\r\n\n", 1), false},
					{strings.Replace(laneText(target, cookie+good), "\r\nCookie", "\r\r\nCookie", 1), false},

					{laneText(target, "Cookie : "+f.jar.Names.Fusion+"="+good), false},
					{laneText(target, cookie+good[:18], " "+good[18:]), false},
					{laneText(target, cookie+good, "\tid=x"), false},
					{laneText(target, cookie+good+"\x00"), false},
					{laneText(target, cookie+good+"\u00a0"), false},
					{laneText(target, cookie+good, "Connection: "), false},
					{laneText(target, cookie+good, "Connection: keep-alive, Upgrade", "Upgrade: websocket"), false},
					{laneText(target, cookie+good, "Connection: keep-alive", "Connection: close"), false},
					{laneText(target, cookie+good, "Connection: keep-alive", "Connection: keep-alive"), true},
					{laneText(target, cookie+good, "Connection: Cookie"), false},
					{laneText(target, cookie+good, "Proxy-Connection: close"), false},
					{laneText(target, cookie+good, "Keep-Alive: timeout=5"), false},
					{laneText(target, cookie+good, "TE: trailers"), false},
					{laneText(target, cookie+good, "Transfer-Encoding: identity"), false},
					{laneText(target, cookie+good, "Transfer-Encoding: chunked") + "0\r\n\r\n", false},
					{laneText(target, cookie+good, "Transfer-Encoding : chunked"), false},
					{laneText(target, cookie+good, "Content-Length : 5") + "hello", false},
					{laneText(target, cookie+good, "Content-Length: 5", "Content-Length: 0") + "hello", false},
					{laneText(target, cookie+good, "Content_Length: 5"), false},
					{laneText(target, cookie+good, "Expect: 200-ok"), false},
					{laneText(target, cookie+good, "Host: evil.example"), false},
					{laneText(target, cookie+good, "X-HTTP-Method-Override: DELETE"), false},
					{laneText(target, cookie+good, "Accept: "+strings.Repeat("x", exchange.MaxHeader-len(laneText(target, cookie+good, "Accept: ")))), true},
					{laneText(target, cookie+good, "Accept: "+strings.Repeat("x", exchange.MaxHeader-len(laneText(target, cookie+good, "Accept: "))+1)), false},
					{laneText(target, cookie+good) + "\x00", false},
					{laneText(target, cookie+good) + "GET", false},
					{"\r\n" + laneText(target, cookie+good), false},
					{strings.Replace(laneText(target, cookie+good), "GET ", "GET  ", 1), false},
					{strings.Replace(laneText(target, cookie+good), "GET ", "get ", 1), false},
					{strings.Replace(laneText(target, cookie+good), "GET ", "GET\t", 1), false},
					{strings.Replace(laneText(target, cookie+good), "HTTP/1.1", "HTTP/1.1 ", 1), false},
					{strings.Replace(laneText(target, cookie+good), "HTTP/1.1", "HTTP/2.0", 1), false},
					{strings.Replace(laneText(target, cookie+good), "HTTP/1.1", "http/1.1", 1), false},
					{strings.Replace(laneText(target, cookie+good), " HTTP/1.1", "", 1), false},
					{laneText("/"+target, cookie+good), false},
					{laneText(strings.Replace(target, "e", "%65", 1), cookie+good), false},
					{laneText(strings.Replace(target, "/", "/%2e/", 1), cookie+good), false},
					{laneText(strings.ToUpper(target), cookie+good), false},
					{laneText(target+"?", cookie+good), false},
					{laneText(target+"#x", cookie+good), false},
					{laneText(target+";x", cookie+good), false},
					{laneText("*", cookie+good), false},
				} {
					plain, laned, used := f.bothWays(t, []byte(c.text))
					if plain != laned {
						t.Errorf("%q:\n%q\n%q by the lane", c.text, plain, laned)
					}
					if used != c.lane {
						t.Errorf("%q: answered by the lane %t", c.text, used)
					}
					if used && !strings.HasPrefix(plain, "HTTP/1.1 200 OK\r\n") {
						t.Errorf("%q: %q", c.text, plain)
					}
				}
			}
		})
	}
}

// FuzzLane: whatever is sent behind a good request, it makes no difference whether there is a lane.
func FuzzLane(f *testing.F) {
	h := newFixture(f, func(cfg *Config) { cfg.Logger = slog.New(slog.DiscardHandler) })
	token := "0123456789abcdef0123456789abcdef"
	grouped := token[:8] + "-" + token[8:12] + "-" + token[12:16] + "-" + token[16:20] + "-" + token[20:]
	key, ok := credential.Parse([]byte(grouped))
	if !ok {
		f.Fatal("no token")
	}
	user, native, err := h.fake.User(f.Context(), "native", "root")
	if err != nil {
		f.Fatal(err)
	}
	h.fake.must(f, &session.Create{
		Key: key, Realm: "native", Username: "root", UserID: "user-root", Surface: session.SurfaceFusion,
		UserRev: user.Rev, RealmRev: native.Rev, Idle: time.Hour, Lifetime: time.Hour,
	})
	for _, seed := range []string{
		laneText("/auth/verify", "Cookie: id="+grouped), laneText("/api/session", "Cookie: a=b; zsessionid="+grouped, "Connection: keep-alive", "Accept: x"),
		laneText("/auth/verify", "Cookie: id="+grouped, "X-No-Touch: 1"), laneText("/auth/verify", "Cookie: id="+grouped, "Transfer-Encoding: chunked") + "0\r\n\r\n",
		laneText("/auth/verify", "Cookie: id="+grouped, "Content-Length: 3") + "abc" + ordinary, laneText("/api/session?x", "Cookie: id="+grouped),
		laneText("/auth/verify", "Cookie: id="+grouped, "Sec-Fetch-Site: none", "Origin: null", "DNT: 1", "Via: 1.1 x"),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		if plain, laned, _ := h.bothWays(t, sent); plain != laned {
			t.Fatalf("%q:\n%q\n%q by the lane", sent, plain, laned)
		}
	})
}

// The lane works where a request begins, and nowhere else: a body that looks like a request is a body.
func TestLaneKnowsBodies(t *testing.T) {
	f := newFixture(t)
	hit := laneText("/auth/verify", "Cookie: id="+f.create(session.Create{Username: "root"}).Text)
	post := "POST /nowhere HTTP/1.1\r\nHost: cloak.example\r\nContent-Length: "
	for _, first := range []bool{true, false} {
		c := &scripted{pieces: [][]byte{[]byte(post + "1000\r\n\r\n"), []byte(hit)}}
		if !first {
			c.pieces = append([][]byte{[]byte(ordinary)}, c.pieces...)
		}
		if text := f.serveScript(f.lane, c); strings.Contains(text, "Remote-User") {
			t.Errorf("a body was answered: %q", text)
		}
	}
	for i := range hit { // however it comes in, it is one request
		c := &scripted{pieces: [][]byte{[]byte(ordinary), []byte(hit[:i]), []byte(hit[i:]), []byte(hit)}}
		if i == 0 {
			c.pieces = [][]byte{[]byte(ordinary), []byte(hit), []byte(hit)}
		}
		if text := f.serveScript(f.lane, c); strings.Count(text, "Remote-User: root") != 2 {
			t.Errorf("in two pieces, the first of %d bytes: %q", i, text)
		}
	}
}

// Metrics, and the record of use, know of what the lane has answered.
func TestLaneCounts(t *testing.T) {
	f := newFixture(t)
	tok := f.create(session.Create{Username: "root"})
	hit := []byte(laneText("/auth/verify", "Cookie: id="+tok.Text))
	f.fake.advance(time.Minute)
	f.serveScript(f.lane, &scripted{pieces: [][]byte{[]byte(ordinary), hit, hit, hit}})
	if status, _ := f.lane.verify.Meter.Counts(); status[fasthttp.StatusOK-100] != 3 {
		t.Errorf("%d are counted", status[fasthttp.StatusOK-100])
	}
	if n := f.fake.lastUse[tok.Key]; n != f.fake.clock {
		t.Errorf("last use is %v", n)
	}
}

// What the lane can't vouch for goes to the handlers: a node that is leaving, overloaded, without a lease, or configured
// to a level that takes a round.
func TestLaneStandsBack(t *testing.T) {
	for name, change := range map[string]func(*fixture){
		"nothing": func(*fixture) {},
		"draining": func(f *fixture) { // from after the first answer on: each one closes its connection then
			inner := f.api.Handler
			f.api.Handler = func(ctx *fasthttp.RequestCtx) { inner(ctx); f.Retire() }
		},
		"overloaded": func(f *fixture) { f.inFlight.Store(maxInFlight) },
		"blind":      func(f *fixture) { f.fake.blind = true },
		"quorum":     func(f *fixture) { f.state.Standard = cluster.Quorum; f.lane = newLane(f.Server) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			tok := f.create(session.Create{Username: "root"})
			change(f)
			handled := 0
			inner := f.api.Handler
			f.api.Handler = func(ctx *fasthttp.RequestCtx) { handled++; inner(ctx) }
			hit := []byte(laneText("/auth/verify", "Cookie: id="+tok.Text))
			f.serveScript(f.lane, &scripted{pieces: [][]byte{[]byte(ordinary), hit}})
			if want := map[bool]int{true: 1, false: 2}[name == "nothing"]; handled != want {
				t.Errorf("%d requests were handled, not %d", handled, want)
			}
		})
	}
}

// A panic in the lane costs nothing but a line in the log: the handlers answer.
func TestLanePanics(t *testing.T) {
	f := newFixture(t)
	tok := f.create(session.Create{Username: "root"})
	f.lane.names = nil
	text := f.serveScript(f.lane, &scripted{pieces: [][]byte{[]byte(ordinary), []byte(laneText("/auth/verify", "Cookie: id="+tok.Text, "Accept: x"))}})
	if !strings.Contains(text, "Remote-User: root") || f.panics.Load() != 1 {
		t.Errorf("%q, %d panics", text, f.panics.Load())
	}
}

// A server that drains closes connections that seem to be idle, but not over an answer.
func TestLaneFinishesItsAnswer(t *testing.T) {
	f := newFixture(t)
	tok := f.create(session.Create{Username: "root"})
	hit := []byte(laneText("/auth/verify", "Cookie: id="+tok.Text))
	c := &scripted{pieces: [][]byte{hit, hit}}
	own := onLane(f.Server, c)
	during := -1
	c.onWrite = func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
		during = c.closed
	}
	n, err := own.Read(make([]byte, exchange.MaxHeader))
	if n != 0 || !errors.Is(err, net.ErrClosed) || during != 0 || c.closed != 1 {
		t.Errorf("%d, %v; closed %d times during the answer, %d after it", n, err, during, c.closed)
	}
	if got := strings.Count(c.written.String(), "Remote-User: root"); got != 1 {
		t.Errorf("%d answers", got)
	}
	if _, err := own.Read(make([]byte, exchange.MaxHeader)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// A connection gets no less time than from fasthttp, and its deadlines are set once in laneStep, not for each request.
func TestLaneDeadlines(t *testing.T) {
	f := newFixture(t)
	tok := f.create(session.Create{Username: "root"})
	hit := []byte(laneText("/auth/verify", "Cookie: id="+tok.Text))
	c := &scripted{}
	for range 100 {
		c.pieces = append(c.pieces, hit)
	}
	own := onLane(f.Server, c)
	begun := time.Now()
	if _, err := own.Read(make([]byte, exchange.MaxHeader)); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	steps := int(time.Since(begun)/transport.Step) + 1
	if len(c.reads) == 0 || len(c.reads) > steps || len(c.writes) != len(c.reads) {
		t.Fatalf("%d and %d times", len(c.reads), len(c.writes))
	}
	if c.reads[0].Before(begun.Add(transport.IdleTimeout+transport.Step)) || c.writes[0].Before(begun.Add(transport.WriteTimeout+transport.Step)) {
		t.Errorf("until %v and %v", c.reads[0], c.writes[0])
	}
	transport.ConnState(own, fasthttp.StateIdle) // fasthttp has set them meanwhile
	c.pieces = [][]byte{hit}
	before := len(c.reads)
	if _, err := own.Read(make([]byte, exchange.MaxHeader)); !errors.Is(err, io.EOF) || len(c.reads) != before+1 {
		t.Errorf("%v; not set anew", err)
	}
}

// The headers that change nothing are not among those that count.
func TestLaneNames(t *testing.T) {
	f := newFixture(t, func(cfg *Config) {
		cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		cfg.AllowedOrigins = []string{"https://app.example"}
	})
	for _, name := range []string{
		"Cookie", "Host", "Connection", "Authorization", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Expect", "Trailer",
		exchange.HeaderNoTouch, exchange.HeaderConsistency, exchange.HeaderRequestID, "X-Forwarded-Proto", "Origin", "",
	} {
		if f.lane.inert([]byte(name)) {
			t.Errorf("%q counts", name)
		}
	}
	for _, name := range laneNames() {
		if !f.lane.inert([]byte(strings.ToLower(name))) {
			t.Errorf("%q is not known", name)
		}
	}
}

func TestPrintable(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				b := bytes.Repeat([]byte{'x'}, length)
				b[at] = byte(c)
				if want := c >= ' ' && c < 0x7f; printable(b) != want {
					t.Fatalf("%q is printable: %t", b, !want)
				}
			}
		}
	}
}

// From the bytes of a request to those of the answer nothing is allocated.
func TestLaneDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	f := newFixture(t)
	tok := f.create(session.Create{Username: "root"})
	for _, target := range []string{"/auth/verify", "/api/session"} {
		hit := []byte(laneText(target, "Cookie: a=b; id="+tok.Text, "User-Agent: curl", "Accept: */*"))
		own := onLane(f.Server, whole{})
		buf := make([]byte, exchange.MaxHeader)
		if n := testing.AllocsPerRun(200, func() {
			f.fake.levels = f.fake.levels[:0]
			n := copy(buf, hit)
			if answered, err := f.lane.Answer(own, buf, n); !answered || err != nil {
				t.Fatal(answered, err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", target, n)
		}
	}
}

// Where there is no lane, connections have none either: each request on one is the handlers'.
func TestConnectionsWithoutALane(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.Level = cluster.Quorum }).opened()
	tok := f.create(session.Create{Username: "root"})
	w := f.dial()
	for range 3 {
		w.write(laneText("/auth/verify", "Cookie: id="+tok.Text))
		if a := w.read(); a.status != 200 || a.get("Remote-User") != "root" {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}
