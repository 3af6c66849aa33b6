package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/session"
)

// wireClient speaks to a server over a real connection, in bytes.
type wireClient struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func (f *fixture) opened() *fixture {
	f.t.Helper()
	if err := f.Open(); err != nil {
		f.t.Fatal(err)
	}
	return f
}

func (f *fixture) dial() *wireClient {
	f.t.Helper()
	c, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	return newWireClient(f.t, c)
}

func newWireClient(t *testing.T, c net.Conn) *wireClient {
	t.Cleanup(func() { _ = c.Close() })
	return &wireClient{t, c, bufio.NewReader(c)}
}

func (w *wireClient) write(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w.c, text); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wireClient) read() answer {
	w.t.Helper()
	res, err := http.ReadResponse(w.r, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if res.Close { // net/http takes the header out
		res.Header.Set("Connection", "close")
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

// closed checks that the server closes the connection, and sends nothing more before it does.
func (w *wireClient) closed() {
	w.t.Helper()
	rest, err := io.ReadAll(w.r)
	if len(rest) > 0 {
		w.t.Fatalf("after the answer: %q", rest)
	}
	if err != nil && !strings.Contains(err.Error(), "reset") {
		w.t.Fatal(err)
	}
}

// What one server takes for the body is the next request to another: all of these must be refused, and nothing that
// follows on the connection may be looked at.
func TestSmugglingIsRefused(t *testing.T) {
	f := newFixture(t).opened()
	tok := f.create(session.Create{Username: "ann"})
	const smuggled = "0\r\n\r\nDELETE /api/session HTTP/1.1\r\nHost: x\r\nCookie: id=%s\r\n\r\n"
	for name, headers := range map[string]string{
		"length first":        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
		"encoding first":      "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
		"upper case":          "CONTENT-LENGTH: 5\r\nTRANSFER-ENCODING: CHUNKED\r\n",
		"length is right":     "Content-Length: 124\r\nTransfer-Encoding: chunked\r\n",
		"length 0":            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
		"identity":            "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
		"two lengths":         "Content-Length: 5\r\nContent-Length: 6\r\n",
		"the same twice":      "Content-Length: 5\r\nContent-Length: 5\r\n",
		"list of lengths":     "Content-Length: 5, 5\r\n",
		"sign":                "Content-Length: +5\r\n",
		"two encodings":       "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
		"encoding and more":   "Transfer-Encoding: chunked, identity\r\n",
		"unknown encoding":    "Transfer-Encoding: xchunked\r\n",
		"blank before colon":  "Content-Length: 5\r\nTransfer-Encoding : chunked\r\n",
		"folded":              "Content-Length: 5\r\nTransfer-Encoding:\r\n chunked\r\n",
		"with two hosts":      "Host: y\r\n",
		"vertical tab":        "Content-Length: 5\r\nTransfer-Encoding: \x0bchunked\r\n",
		"length not a number": "Content-Length: 0x5\r\n",
	} {
		for _, method := range []string{"POST /api/session", "GET /api/session", "GET /auth/verify", "GET /nowhere"} {
			t.Run(name+" "+method, func(t *testing.T) {
				w := f.dial()
				w.t = t
				w.write(method + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + headers + "\r\n" + fmt.Sprintf(smuggled, tok.text))
				a := w.read()
				if a.status != 400 || a.get("Cache-Control") != "no-store" {
					t.Fatalf("%d %v %s", a.status, a.header, a.body)
				}
				if code := errorCode(t, a.body); code != "bad-framing" && code != "bad-request" {
					t.Errorf("code is %s", code)
				}
				w.closed()
			})
		}
	}
	f.expect(f.send("GET", "/api/session", idCookie(tok)), 200, "")
	// Either one alone is fine, and the connection goes on.
	w := f.dial()
	body := `{"username":"ann","password":"correct horse"}`
	head := "POST /api/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	w.write(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body))
	f.expect(w.read(), 201, "")
	w.write(fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(body), body))
	f.expect(w.read(), 201, "")
}

func TestSizeLimits(t *testing.T) {
	f := newFixture(t).opened()
	send := func(head string, body int) answer {
		w := f.dial()
		go func() {
			_, _ = io.WriteString(w.c, fmt.Sprintf("%sHost: x\r\nContent-Length: %d\r\n\r\n%s", head, body, strings.Repeat(" ", body)))
		}()
		return w.read()
	}
	const login = "POST /api/session HTTP/1.1\r\nContent-Type: application/json\r\n"
	f.expect(send(login, maxBody), 400, "malformed-json")
	f.expect(send(login, maxBody+1), 413, "limit-body")
	f.expect(send("PUT /api/users/x HTTP/1.1\r\n", maxBody+1), 413, "limit-body")
	f.expect(send("POST /api/sessions?x=y HTTP/1.1\r\n", maxBulkBody), 401, "session-invalid")
	f.expect(send("POST /api/sessions HTTP/1.1\r\n", maxBulkBody+1), 413, "limit-body")
	f.expect(send("POST /api/sessions/x HTTP/1.1\r\n", maxBody+1), 413, "limit-body")
	f.expect(send("GET /api/session HTTP/1.1\r\nX: "+strings.Repeat("x", maxHeader)+"\r\n", 0), 413, "limit-header")
	f.expect(send("GET /api/session HTTP/1.1\r\nX: "+strings.Repeat("x", maxHeader-200)+"\r\n", 0), 401, "session-invalid")
	f.expect(send("GET /"+strings.Repeat("x", maxHeader)+" HTTP/1.1\r\n", 0), 413, "limit-header")

	w := f.dial() // chunks are counted, too
	w.write(login + "Host: x\r\nTransfer-Encoding: chunked\r\n\r\n")
	go func() {
		for range 2 * maxBody / 1024 {
			if _, err := io.WriteString(w.c, "400\r\n"+strings.Repeat(" ", 1024)+"\r\n"); err != nil {
				return
			}
		}
	}()
	f.expect(w.read(), 413, "limit-body")
}

func TestBrokenRequests(t *testing.T) {
	f := newFixture(t).opened()
	for _, raw := range []string{
		"GET\r\n\r\n", "\x16\x03\x01\x02\x00\x01\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		w := f.dial()
		w.write(raw)
		f.expect(w.read(), 400, "bad-request")
		w.closed()
	}
}

func TestSlowClients(t *testing.T) {
	f := newFixture(t)
	f.api.ReadTimeout, f.api.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond
	f.opened()
	for _, raw := range []string{
		"", "GET /heal", "GET /healthz HTTP/1.1\r\nHost: x\r\n",
		"POST /api/session HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"POST /api/session HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
	} {
		w := f.dial()
		w.write(raw)
		f.expect(w.read(), 408, "request-timeout")
		w.closed()
	}
	// One that drips a byte at a time is no better off: the limit is for the whole request.
	slow, gone := f.dial(), make(chan struct{})
	go func() {
		defer close(gone)
		drip := time.NewTicker(5 * time.Millisecond)
		defer drip.Stop()
		for {
			if _, err := io.WriteString(slow.c, "x"); err != nil {
				return
			}
			<-drip.C
		}
	}()
	f.expect(slow.read(), 408, "request-timeout")
	_ = slow.c.Close()
	<-gone
	// A kept-alive connection that is silent is closed without a word.
	w := f.dial()
	w.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	f.expect(w.read(), 200, "")
	w.closed()
}

func TestPanicIsContained(t *testing.T) {
	f := newFixture(t).opened()
	tok := f.create(session.Create{Username: "ann"})
	f.fake.onLookup = func() { panic("boom secret=" + "x") }
	w := f.dial()
	request := "GET /api/session HTTP/1.1\r\nHost: x\r\nCookie: id=" + tok.text + "\r\n\r\n"
	w.write(request)
	a := w.read()
	f.expect(a, 500, "internal")
	if strings.Contains(a.body, "boom") || a.get("Cache-Control") != "no-store" {
		t.Errorf("%v %s", a.header, a.body)
	}
	if logs := f.logs.String(); !strings.Contains(logs, "boom") || !strings.Contains(logs, a.get("X-Request-Id")) || !strings.Contains(logs, "getSession") {
		t.Errorf("log is %s", logs)
	}
	f.fake.onLookup = nil
	w.write(request)
	f.expect(w.read(), 200, "")
	if n := f.inFlight.Load(); n != 0 {
		t.Errorf("%d requests in flight", n)
	}

	// A bulk call works in goroutines of its own.
	svc := f.create(session.Create{Username: "svc"})
	f.fake.before = func(session.Command) error { panic("bulk boom") }
	f.expect(f.send("POST", "/api/sessions", idCookie(svc), jsonBody(`[{"username":"ann"}]`)), 500, "internal")
}

func TestPipelinedRequests(t *testing.T) {
	f := newFixture(t).opened()
	w := f.dial()
	w.write(strings.Repeat("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 5))
	for range 5 {
		f.expect(w.read(), 200, "")
	}
}

func TestConnectionLimit(t *testing.T) {
	f := newFixture(t)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	limited := newListener(inner, 1, nil, &f.listeners, true)
	if !f.listeners.add(limited) {
		t.Fatal("closed")
	}
	go func() { served <- f.api.Serve(limited) }()
	dial := func() *wireClient {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return newWireClient(t, c)
	}
	first := dial()
	first.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	f.expect(first.read(), 200, "")
	a := dial().read()
	if a.status != 503 || errorCode(t, a.body) != "overloaded" || a.get("Retry-After") == "" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	first.write("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	f.expect(first.read(), 200, "")
	first.closed()
	for { // the slot is given back a moment after the client sees the end
		w := dial()
		w.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		if res, err := http.ReadResponse(w.r, nil); err == nil && res.StatusCode == 200 {
			break
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestRequestLimit(t *testing.T) {
	f := newFixture(t)
	f.inFlight.Add(maxInFlight)
	f.expect(f.send("GET", "/api/session"), 503, "overloaded")
	f.expect(f.send("GET", "/healthz"), 200, "")
	f.expect(f.send("GET", "/readyz"), 200, "")
	f.inFlight.Add(-maxInFlight)
	f.expect(f.send("GET", "/api/session"), 401, "session-invalid")
	if n := f.inFlight.Load(); n != 0 {
		t.Errorf("%d requests in flight", n)
	}
}

func TestDrain(t *testing.T) {
	f := newFixture(t).opened()
	tok := f.create(session.Create{Username: "ann"})
	idle, busy := f.dial(), f.dial()
	idle.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	f.expect(idle.read(), 200, "")
	entered, leave := make(chan struct{}), make(chan struct{})
	f.fake.onLookup = func() { close(entered); <-leave }
	busy.write("GET /api/session HTTP/1.1\r\nHost: x\r\nCookie: id=" + tok.text + "\r\n\r\n")
	<-entered
	f.Retire()
	f.expect(f.send("GET", "/readyz"), 503, "draining")
	f.expect(f.send("GET", "/healthz"), 200, "")
	drained := make(chan error, 1)
	go func() { drained <- f.Drain(context.Background()) }()
	idle.closed()
	select {
	case err := <-drained:
		t.Fatalf("drained with a request under way: %v", err)
	default:
	}
	close(leave)
	a := busy.read()
	if a.status != 200 || a.get("Connection") != "close" {
		t.Errorf("%d %v", a.status, a.header)
	}
	busy.closed()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", f.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("still listening")
	}
}

func TestDrainGivesUpAndCloseDoesNot(t *testing.T) {
	f := newFixture(t).opened()
	tok := f.create(session.Create{Username: "ann"})
	w := f.dial()
	entered := make(chan struct{})
	f.fake.onLookup = func() { close(entered); <-f.base.Done() }
	w.write("GET /api/session HTTP/1.1\r\nHost: x\r\nCookie: id=" + tok.text + "\r\n\r\n")
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Drain(ctx); err == nil {
		t.Error("drained with a request under way")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if n := f.inFlight.Load(); n != 0 {
		t.Errorf("closed with %d requests under way", n)
	}
}

func TestControlSocket(t *testing.T) {
	f := newFixture(t)
	path := filepath.Join(t.TempDir(), "control.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.ServeControl(ln) }()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	w := newWireClient(t, c)
	ask := func(request string) answer {
		w.write(request + " HTTP/1.1\r\nHost: control\r\n\r\n")
		return w.read()
	}
	f.expect(ask("GET /api/users"), 200, "")
	f.expect(ask("GET /cluster"), 200, "")
	f.expect(ask("GET /api/session"), 404, "session-not-found")
	f.expect(ask("GET /auth/verify"), 401, "session-invalid")
	tok := f.create(session.Create{Username: "ann"})
	f.expect(ask("DELETE /api/sessions/"+tok.key.String()), 204, "")
	f.expect(ask("POST /api/sessions"), 403, "forbidden") // an admin is no service
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := f.ServeControl(ln); err == nil {
		t.Error("serves after Close")
	}
}

func TestTLS(t *testing.T) {
	cert, key := writeCertificate(t)
	f := newFixture(t, func(cfg *Config) { cfg.TLSCert, cfg.TLSKey = cert, key }).opened()
	c, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	if p := c.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("protocol is %q", p)
	}
	w := newWireClient(t, c)
	body := `{"username":"ann","password":"correct horse"}`
	w.write(fmt.Sprintf("POST /api/session HTTP/1.1\r\nHost: x\r\nOrigin: https://x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	a := w.read()
	f.expect(a, 201, "")
	if !strings.HasSuffix(a.get("Set-Cookie"), ";SameSite=Lax;Secure") {
		t.Errorf("cookie is %q", a.get("Set-Cookie"))
	}
	w.write("DELETE /api/session HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n\r\n")
	f.expect(w.read(), 403, "foreign-origin")
	if _, err := tls.Dial("tcp", f.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
}

func writeCertificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"x"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestOpenErrors(t *testing.T) {
	f := newFixture(t).opened()
	for _, change := range []func(*Config){
		func(cfg *Config) { cfg.Address = f.Addr().String() },
		func(cfg *Config) { cfg.Operator = f.Addr().String() },
		func(cfg *Config) { cfg.TLSCert, cfg.TLSKey = "/nonexistent", "/nonexistent" },
	} {
		if err := newFixture(t, change).Open(); err == nil {
			t.Error("opened")
		}
	}
}

func TestConfigErrors(t *testing.T) {
	good := newFixture(t).cfg
	for i, change := range []func(*Config){
		func(c *Config) { c.Cluster = nil },
		func(c *Config) { c.IdleTimeout = 0 },
		func(c *Config) { c.MaxLifetime = time.Minute },
		func(c *Config) { c.TLSCert = "x" },
		func(c *Config) { c.CookieSecure = "maybe" },
		func(c *Config) { c.CookieDomain = "a;b" },
		func(c *Config) { c.AllowedOrigins = []string{"https://a.example/"} },
		func(c *Config) { c.AllowedOrigins = []string{"*"} },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("case %d is accepted", i)
		}
	}
}

func TestProxyProtocol(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	v2 := func(command, family byte, body ...byte) string {
		return proxyV2 + string([]byte{0x20 | command, family, byte(len(body) >> 8), byte(len(body))}) + string(body)
	}
	v4 := []byte{203, 0, 113, 7, 127, 0, 0, 1, 0x12, 0x34, 0, 80}
	v6 := bytes.Join([][]byte{netip.MustParseAddr("2001:db8::7").AsSlice(), make([]byte, 16), {0x12, 0x34, 0, 80}}, nil)
	for _, c := range []struct {
		name, header, xff string
		trusted           []netip.Prefix
		want              string // "" for a refused connection
	}{
		{"none", "", "", trusted, "127.0.0.1"},
		{"version 1", "PROXY TCP4 203.0.113.7 127.0.0.1 4660 80\r\n", "", trusted, "203.0.113.7"},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::7 ::1 4660 80\r\n", "", trusted, "2001:db8::7"},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", "", trusted, "127.0.0.1"},
		{"version 2", v2(1, 0x11, v4...), "", trusted, "203.0.113.7"},
		{"version 2, IPv6", v2(1, 0x21, v6...), "", trusted, "2001:db8::7"},
		{"version 2 with more", v2(1, 0x11, append(v4[:12:12], 3, 0, 4, 1, 2, 3, 4)...), "", trusted, "203.0.113.7"},
		{"version 2, local", v2(0, 0), "", trusted, "127.0.0.1"},
		{"version 2, unix", v2(1, 0x31, make([]byte, 216)...), "", trusted, "127.0.0.1"},
		{"not trusted", "PROXY TCP4 203.0.113.7 127.0.0.1 4660 80\r\n", "", nil, ""},
		{"version 2, not trusted", v2(1, 0x11, v4...), "", nil, ""},
		{"the client's own header does not count", "PROXY TCP4 203.0.113.7 127.0.0.1 1 80\r\n", "198.51.100.1", trusted, "203.0.113.7"},
		{"header of the proxy", "", "198.51.100.1", trusted, "198.51.100.1"},
		{"wrong family", "PROXY TCP6 203.0.113.7 127.0.0.1 4660 80\r\n", "", trusted, ""},
		{"bad address", "PROXY TCP4 203.0.113 127.0.0.1 4660 80\r\n", "", trusted, ""},
		{"bad port", "PROXY TCP4 203.0.113.7 127.0.0.1 66000 80\r\n", "", trusted, ""},
		{"too long", "PROXY " + strings.Repeat("x", 200) + "\r\n", "", trusted, ""},
		{"version 3", proxyV2 + "\x31\x11\x00\x00", "", trusted, ""},
		{"version 2, short", v2(1, 0x11, 1, 2, 3), "", trusted, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, func(cfg *Config) { cfg.TrustedProxies = c.trusted }).opened()
			w := f.dial()
			w.t = t
			body := `{"username":"ann","password":"correct horse"}`
			request := fmt.Sprintf("POST /api/session HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", c.xff, len(body), body)
			if c.want == "" {
				// The server may close before it has read everything, and then its answer may be lost.
				_, _ = io.WriteString(w.c, c.header+request)
				res, err := http.ReadResponse(w.r, nil)
				if err == nil && res.StatusCode != 400 || f.fake.stats().Sessions != 0 {
					t.Fatalf("answer is %v", res)
				}
				return
			}
			for i := range len(c.header) { // however it comes in
				w.write(c.header[i : i+1])
			}
			w.write(request)
			a := w.read()
			f.expect(a, 201, "")
			text, _, _ := strings.Cut(strings.TrimPrefix(a.get("Set-Cookie"), "id="), ";")
			key, _ := parseToken([]byte(text))
			if v, ok := f.fake.machine.Lookup(key); !ok || v.Session.Address != c.want {
				t.Errorf("address is %q, not %q", v.Session.Address, c.want)
			}
		})
	}
}

func TestClientAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		peer string
		xff  []string
		want string
	}{
		{"192.0.2.1:1", nil, "192.0.2.1"},
		{"192.0.2.1:1", []string{"203.0.113.1"}, "192.0.2.1"},
		{"10.0.0.1:1", nil, "10.0.0.1"},
		{"10.0.0.1:1", []string{"203.0.113.1"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"1.1.1.1, 203.0.113.1"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"1.1.1.1, 203.0.113.1, 10.0.0.2"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"1.1.1.1", "203.0.113.1", "10.0.0.2"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"203.0.113.1:5000"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"[2001:db8::1]:5000"}, "2001:db8::1"},
		{"10.0.0.1:1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"10.0.0.1:1", []string{"::ffff:203.0.113.1"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"203.0.113.1, unknown"}, "10.0.0.1"},
		{"10.0.0.1:1", []string{"unknown, 10.0.0.9"}, "10.0.0.9"},
		{"10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"10.0.0.1:1", []string{"203.0.113.1" + strings.Repeat(", 10.0.0.2", maxForwardedFor)}, "10.0.0.2"},
		{"[::ffff:10.0.0.1]:1", []string{"203.0.113.1"}, "203.0.113.1"},
		{"[fd00::1]:1", []string{"203.0.113.1"}, "203.0.113.1"},
	} {
		f := newFixture(t, func(cfg *Config) { cfg.TrustedProxies = proxies })
		o := []option{from(c.peer)}
		for _, line := range c.xff {
			o = append(o, header("X-Forwarded-For", line))
		}
		rc := &request{ctx: bareRequest("GET", "/", o...)}
		if got := f.clientAddr(rc).String(); got != c.want {
			t.Errorf("%s, %q: %s, not %s", c.peer, c.xff, got, c.want)
		}
	}
}

func TestRequestID(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	const given = "Ab-1._z"
	for _, c := range []struct {
		peer, id string
		taken    bool
	}{
		{"10.0.0.1:1", given, true},
		{"192.0.2.1:1", given, false},
		{"10.0.0.1:1", "", false},
		{"10.0.0.1:1", "a b", false},
		{"10.0.0.1:1", `a"b`, false},
		{"10.0.0.1:1", strings.Repeat("x", maxRequestID), true},
		{"10.0.0.1:1", strings.Repeat("x", maxRequestID+1), false},
	} {
		a := f.send("GET", "/nowhere", from(c.peer), header("X-Request-Id", c.id))
		f.expect(a, 404, "not-found")
		if got := a.get("X-Request-Id"); (got == c.id) != c.taken || len(a.header["X-Request-Id"]) != 1 {
			t.Errorf("%+v: id is %q", c, a.header["X-Request-Id"])
		}
		if b := f.send("GET", "/healthz", from(c.peer), header("X-Request-Id", c.id)); (b.get("X-Request-Id") == c.id && c.id != "") != c.taken {
			t.Errorf("%+v: id of a success is %q", c, b.get("X-Request-Id"))
		}
	}
	if a, b := f.send("GET", "/x").get("X-Request-Id"), f.send("GET", "/x").get("X-Request-Id"); a == b || len(a) != 16 {
		t.Errorf("ids are %q and %q", a, b)
	}
}
