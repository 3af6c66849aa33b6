package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
)

// Kinds of requests in tests.
const (
	kindEcho Kind = iota + 1
	kindBlock
	kindFail
)

var testKey = ClusterKey{1, 2, 3}

// testKeyHex is the beginning of the key in hex, longer than what a time or an address in memory may look like.
const testKeyHex = "0102030000000000"

// ring is a ring of keys that must be good.
func ring(keys ...ClusterKey) *KeyRing {
	r, err := NewKeyRing(keys...)
	if err != nil {
		panic(err)
	}
	return r
}

// testLimit is the limit of what is to come by the clock on the wall, on a machine that stands still for seconds.
const testLimit = time.Minute

// lab opens transports on one of the two networks.
type lab struct {
	t      testing.TB
	memory *clustertest.Network // nil: TCP on loopback
}

// onBoth runs a test in fake time over memory and in real time over TCP.
func onBoth(t *testing.T, f func(t *testing.T, l *lab)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { inMemory(t, f) })
	t.Run("tcp", func(t *testing.T) { f(t, &lab{t: t}) })
}

// inMemory runs a test in fake time. On one processor: with more of them the race detector breaks, because all timers
// of a bubble share one context of it (Go issue 78156). What may run in any order still does, and over TCP in parallel.
func inMemory(t *testing.T, f func(t *testing.T, l *lab)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) { f(t, &lab{t: t, memory: n}) })
}

// open starts the node of that id, with an echo handler.
func (l *lab) open(id string, change ...func(*Config)) *Transport {
	l.t.Helper()
	cfg := Config{NodeID: id, Bind: "127.0.0.1:0", Keys: ring(testKey), HandshakeTimeout: testLimit, DeadAfter: testLimit}
	if l.memory != nil {
		cfg.Bind, cfg.Advertise, cfg.Network = id+":7000", id+":7000", l.memory.Host(id)
		cfg.HandshakeTimeout, cfg.DeadAfter = 0, 0 // the defaults, which are looked at in fake time
	}
	for _, c := range change {
		c(&cfg)
	}
	tr, err := Open(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			l.t.Error(err)
		}
	})
	tr.Handle(kindEcho, func(_ context.Context, _ Peer, body []byte) ([]byte, error) { return body, nil })
	return tr
}

// network is where a stranger on a host of that name dials.
func (l *lab) network(host string) Network {
	if l.memory != nil {
		return l.memory.Host(host)
	}
	return TCP{}
}

// ctx ends late enough for a busy machine, and well before the test's own limit.
func (l *lab) ctx() context.Context {
	ctx, cancel := context.WithTimeout(l.t.Context(), testLimit)
	l.t.Cleanup(cancel)
	return ctx
}

func (l *lab) mustEcho(from *Transport, addr string) {
	l.t.Helper()
	got, err := from.Call(l.ctx(), Node{Addr: addr}, kindEcho, []byte("hello"))
	if err != nil || string(got) != "hello" {
		l.t.Fatalf("call %s: %q, %v", addr, got, err)
	}
}

// eventually asks again and again, for as long as ctx allows.
func (l *lab) eventually(what string, ok func() bool) {
	l.t.Helper()
	limit := time.NewTimer(testLimit)
	defer limit.Stop()
	ask := time.NewTicker(5 * time.Millisecond)
	defer ask.Stop()
	for !ok() {
		select {
		case <-ask.C:
		case <-limit.C:
			l.t.Fatal("never: " + what)
		}
	}
}

// raw connects a stranger to a transport.
func (l *lab) raw(host, addr string) net.Conn {
	l.t.Helper()
	c, err := l.network(host).Dial(l.ctx(), addr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(testLimit)); err != nil {
		l.t.Fatal(err)
	}
	return c
}

// puppet is a peer that has the key and otherwise does what the test wants.
type puppet struct {
	*tls.Conn
	l *lab
}

// puppet connects one with a certificate for certID.
func (l *lab) puppet(certID, addr string, change ...func(*tls.Config)) *puppet {
	l.t.Helper()
	return l.puppetUnder(testKey, certID, addr, change...)
}

// puppetUnder has a certificate under that key.
func (l *lab) puppetUnder(key ClusterKey, certID, addr string, change ...func(*tls.Config)) *puppet {
	l.t.Helper()
	id, err := newIdentity([]ClusterKey{key}, certID)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, c := range change {
		c(id.client)
	}
	return &puppet{tls.Client(l.raw(certID, addr), id.client), l}
}

// greet sends the kind of connection and a hello, and returns the answer's block.
func (p *puppet) greet(kind byte, h hello) ([]byte, error) {
	p.l.t.Helper()
	if _, err := p.Write(append([]byte{kind}, h.encode()...)); err != nil {
		return nil, err
	}
	return readBlock(p, MaxHello)
}

// stream greets properly.
func (p *puppet) stream(id string) *puppet {
	p.l.t.Helper()
	block, err := p.greet(kindStream, hello{nodeID: id, min: 1, max: 1})
	if err != nil {
		p.l.t.Fatal(err)
	}
	if _, refusal, err := decodeHello(block); err != nil || refusal != nil {
		p.l.t.Fatal(err, refusal)
	}
	return p
}

func (p *puppet) send(f frame) {
	p.l.t.Helper()
	if _, err := p.Write(f.encode()); err != nil {
		p.l.t.Fatal(err)
	}
}

// next returns the next frame that is no ping.
func (p *puppet) next() (frame, error) {
	for {
		block, err := readBlock(p, MaxFrame)
		if err != nil {
			return frame{}, err
		}
		f, err := decodeFrame(block)
		if err != nil || f.typ != framePing && f.typ != framePong {
			return f, err
		}
	}
}

// mustEnd reads until the other side has closed.
func mustEnd(t testing.TB, c net.Conn) {
	t.Helper()
	var b [256]byte
	for {
		_, err := c.Read(b[:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the connection was left open")
		}
		if err != nil {
			return
		}
	}
}

func lengthOf(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// logBuffer is a slog destination that may be read at any time.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// logsOnce waits for a line of one kind, since the end of what it tells of is seen first. There are more of them only if
// there was time for it since begin.
func (l *lab) logsOnce(log *logBuffer, what string, begin time.Time) {
	l.t.Helper()
	l.eventually("a line of "+what, func() bool { return strings.Contains(log.String(), what) })
	text := log.String()
	if n := strings.Count(text, what); n > 1+int(time.Since(begin)/logEvery) {
		l.t.Errorf("%d lines in the log:\n%s", n, text)
	}
}

func logTo(b *logBuffer) func(*Config) {
	return func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(b, nil)) }
}

// puppetServer is an impostor that gives a proper hello before it does what the test wants.
func puppetServer(l *lab, id string, serve func(*puppet)) func(*tls.Conn) {
	return func(c *tls.Conn) {
		if _, err := c.Read(make([]byte, 1)); err != nil {
			return
		}
		if _, err := readBlock(c, MaxHello); err != nil {
			return
		}
		if _, err := c.Write(hello{nodeID: id, min: 1, max: 1}.encode()); err == nil {
			serve(&puppet{c, l})
		}
	}
}
