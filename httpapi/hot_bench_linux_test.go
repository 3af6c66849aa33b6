package httpapi

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
	"cloakroom/httpapi/transport"
)

// hotSessions are enough that their records don't fit into a processor's own caches.
const hotSessions = 20_000

// hotSlice is how many requests are served in a row before it is the next one's turn: so few that all have the same
// share of whatever else this machine does.
const hotSlice = 2000

// BenchmarkHot measures the processor time of a lookup, from the bytes of the request to those of the answer, on a node
// of its own with hotSessions sessions, beside that of the bare handler of `bench bare` over the same connection. System
// calls are not in it: they are the same for both. A connection has a real socket's deadlines.
func BenchmarkHot(b *testing.B) {
	h := newHot(b)
	kinds := []struct {
		name   string
		server *fasthttp.Server
		head   string
	}{
		{"bare", h.bare(), "/auth/verify"},
		{"verify", h.api, "/auth/verify"},
		{"session", h.api, "/api/session"},
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	spent := make([]time.Duration, len(kinds))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for i, k := range kinds {
			before := threadTime(b)
			h.serve(b, k.server, "GET "+k.head+" HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nCookie: id=", "\r\n\r\n", hotSlice)
			spent[i] += threadTime(b) - before
		}
		n += hotSlice
	}
	for i, k := range kinds {
		b.ReportMetric(float64(spent[i].Nanoseconds())/float64(n), k.name+"-ns")
	}
}

// hot is a server on a node of its own.
type hot struct {
	*Server
	tokens []credential.Token
	socket net.Conn // whose deadlines are set; nothing is sent over it
}

func newHot(b *testing.B) *hot {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	node, err := cluster.Open(cluster.Config{
		Name: "hot", Ephemeral: true, Expect: 1, Peer: "127.0.0.1:0", Gossip: "127.0.0.1:0", HTTP: "127.0.0.1:1",
		Key: wire.DevelopmentKey(), Idle: time.Hour, Logger: log, OnFatal: func(err error) { b.Error(err) },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := node.Close(); err != nil {
			b.Error(err)
		}
	})
	formed := false
	for node.Read(b.Context(), cluster.Lease, func(m *session.Machine) { formed = m.ClusterID() != "" }) != nil || !formed {
		if b.Context().Err() != nil {
			b.FailNow()
		}
		runtime.Gosched()
	}
	hasher, err := realm.NewHasher(realm.HasherConfig{Memory: realm.MinMemory, Iterations: 1})
	if err != nil {
		b.Fatal(err)
	}
	s, err := New(Config{
		Address: "127.0.0.1:0", Cluster: hotCluster{node}, Membership: &fakeMembership{}, Authenticator: failingAuth{}, Hasher: hasher, Sealer: realmSealer{},
		Logger: log, Version: "test", IdleTimeout: time.Hour, MaxLifetime: 8 * time.Hour, Level: cluster.Lease,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	h := &hot{Server: s}
	h.fill(b, node)
	h.socket = loopback(b)
	return h
}

// hotCluster has the members that nobody asks for here.
type hotCluster struct{ *cluster.Cluster }

func (hotCluster) Members() []cluster.Member { return nil }

type realmSealer struct{}

func (realmSealer) SealConfig(_ string, config []byte) ([]byte, error) { return config, nil }

// fill makes the sessions, of users of the native realm with two roles.
func (h *hot) fill(b *testing.B, node *cluster.Cluster) {
	b.Helper()
	const users = hotSessions / 50
	h.tokens = make([]credential.Token, hotSessions)
	failed := make(chan error, users)
	for u := range users {
		go func() { failed <- h.fillUser(node, h.tokens[u*50:(u+1)*50], "user"+credential.NewID()[:8]) }()
	}
	for range users {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
}

func (h *hot) fillUser(node *cluster.Cluster, tokens []credential.Token, name string) error {
	ctx := context.Background()
	id := credential.NewID()
	if _, err := node.Do(ctx, &session.CreateUser{ID: id, Realm: "native", Username: name, RoleNames: []string{"service"}}); err != nil {
		return err
	}
	var userRev, realmRev uint64
	if err := node.Read(ctx, cluster.Lease, func(m *session.Machine) {
		user, _ := m.UserByName("native", name)
		native, _ := m.RealmByName("native")
		userRev, realmRev = user.Rev, native.Rev
	}); err != nil {
		return err
	}
	for i := range tokens {
		tokens[i] = credential.Mint()
		if _, err := node.Do(ctx, &session.Create{
			Key: tokens[i].Key, Realm: "native", Username: name, UserID: id, UserRev: userRev, RealmRev: realmRev,
			Surface: session.SurfaceFusion, Idle: time.Hour, Lifetime: 8 * time.Hour,
		}); err != nil {
			return err
		}
	}
	return nil
}

// bare is the server of the peer fasthttp in bench.
func (h *hot) bare() *fasthttp.Server {
	body := []byte(`{"user":"bench","roles":["abcdefghijklmnopqrstuvwxyzabcdefghijk"]}`)
	return &fasthttp.Server{
		CloseOnShutdown: true,
		Handler: func(ctx *fasthttp.RequestCtx) {
			if len(ctx.Request.Header.Cookie("id")) == 0 {
				ctx.SetStatusCode(fasthttp.StatusUnauthorized)
				return
			}
			ctx.SetContentType("application/json")
			ctx.SetBody(body)
		},
	}
}

// loopback returns one end of a connection.
func loopback(b *testing.B) net.Conn {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		for _, c := range []io.Closer{client, server, ln} {
			if err := c.Close(); err != nil {
				b.Error(err)
			}
		}
	})
	return server
}

// serve has a server answer n requests with random tokens on one connection.
func (h *hot) serve(b *testing.B, server *fasthttp.Server, head, tail string, n int) {
	c := &replay{Conn: h.socket, hot: h, head: head, tail: tail, left: n}
	wrapped := net.Conn(c)
	if server == h.api {
		wrapped = transport.NewConn(c, &h.listeners, h.lane)
	}
	if err := server.ServeConn(wrapped); err != nil {
		b.Fatal(err)
	}
	if c.answered != n || c.bad > 0 {
		b.Fatalf("%d of %d answers, %d not 200", c.answered, n, c.bad)
	}
}

// replay is a connection whose requests come from memory, and whose answers go nowhere.
type replay struct {
	net.Conn
	hot           *hot
	head, tail    string
	left          int
	answered, bad int
}

func (c *replay) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	c.left--
	n := copy(p, c.head)
	n += copy(p[n:], c.hot.tokens[rand.IntN(hotSessions)].Text)
	return n + copy(p[n:], c.tail), nil
}

func (c *replay) Write(p []byte) (int, error) {
	c.answered++
	if string(p[:12]) != "HTTP/1.1 200" {
		c.bad++
	}
	return len(p), nil
}

func (c *replay) Close() error { return nil }

// threadTime is the processor time of this thread, which the benchmark is locked to.
func threadTime(b *testing.B) time.Duration {
	const rusageThread = 1
	var used syscall.Rusage
	if err := syscall.Getrusage(rusageThread, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkHotBulk measures the processor time of one token in a bulk verification of maxBulkVerify random ones.
func BenchmarkHotBulk(b *testing.B) {
	h := newHot(b)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx := bareRequest("POST", "/api/sessions/verify", idCookie(h.tokens[0]))
	ctx.Request.Header.SetContentType(exchange.TypeJSON)
	handler := h.Handler()
	var spent time.Duration
	var body []byte
	b.ReportAllocs()
	for b.Loop() {
		body = append(append(body[:0], `{"tokens":["`...), h.tokens[0].Text...)
		for range exchange.MaxBulkVerify - 1 {
			body = append(append(body, `","`...), h.tokens[rand.IntN(hotSessions)].Text...)
		}
		body = append(body, `"]}`...)
		ctx.Request.SetBodyRaw(body)
		ctx.Response.Header.Reset()
		ctx.Response.ResetBody()
		h.checker.checks.until = nil
		before := threadTime(b)
		handler(ctx)
		spent += threadTime(b) - before
		if ctx.Response.StatusCode() != fasthttp.StatusOK {
			b.Fatalf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N)/exchange.MaxBulkVerify, "ns/token")
}

// BenchmarkLane is a lookup by the lane, from the buffer of the socket to the answer: no allocation. TestLaneDoesNotAllocate
// asserts that.
func BenchmarkLane(b *testing.B) {
	h := newHot(b)
	for _, target := range []string{"/auth/verify", "/api/session"} {
		b.Run(target, func(b *testing.B) {
			own := onLane(h.Server, whole{})
			buf := make([]byte, exchange.MaxHeader)
			head := "GET " + target + " HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nCookie: id="
			b.ReportAllocs()
			for b.Loop() {
				n := copy(buf, head)
				n += copy(buf[n:], h.tokens[rand.IntN(hotSessions)].Text)
				n += copy(buf[n:], "\r\n\r\n")
				if answered, err := h.lane.Answer(own, buf, n); !answered || err != nil {
					b.Fatal(answered, err)
				}
			}
		})
	}
}
