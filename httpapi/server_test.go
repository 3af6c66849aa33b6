package httpapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/transport"
)

func TestConnectionLimit(t *testing.T) {
	f := newFixture(t)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	limited := transport.NewListener(inner, &f.listeners, transport.Options{Connections: 1, Refusal: refusal})
	if !f.listeners.Add(limited) {
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
	if a.status != 503 || errorCode(t, a.body) != "overloaded" || a.get("Retry-After") == "" || a.get("X-Request-Id") == "" {
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
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, func(cfg *Config) { cfg.Listener = ln }).opened()
	tok := f.create(session.Create{Username: "ann"})
	idle, busy := f.dial(), f.dial()
	idle.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	f.expect(idle.read(), 200, "")
	entered, leave := make(chan struct{}), make(chan struct{})
	f.fake.onLookup = func() { close(entered); <-leave }
	busy.write("GET /api/session HTTP/1.1\r\nHost: x\r\nCookie: id=" + tok.Text + "\r\n\r\n")
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
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("still listening: %v", err)
	}
}

func TestDrainGivesUpAndCloseDoesNot(t *testing.T) {
	f := newFixture(t).opened()
	tok := f.create(session.Create{Username: "ann"})
	w := f.dial()
	entered := make(chan struct{})
	f.fake.onLookup = func() { close(entered); <-f.state.Base.Done() }
	w.write("GET /api/session HTTP/1.1\r\nHost: x\r\nCookie: id=" + tok.Text + "\r\n\r\n")
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
	f.expect(ask("DELETE /api/sessions/"+tok.Key.String()), 204, "")
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
		func(c *Config) { c.HSTS = "yes" },
		func(c *Config) { c.CertificateCheck = -time.Second },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("case %d is accepted", i)
		}
	}
}
