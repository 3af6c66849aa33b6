package wire

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// signed is a certificate of the cluster's CA, changed.
func signed(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	ca, caKey, err := newCA(testKey)
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from, to := validity()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "n9"}, NotBefore: from, NotAfter: to, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true, DNSNames: []string{serverName},
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, ca, public, caKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// byLeaf is a certificate that a node has signed with its own one, which is no CA.
func byLeaf(t *testing.T) tls.Certificate {
	t.Helper()
	ca, caKey, err := newCA(testKey)
	if err != nil {
		t.Fatal(err)
	}
	node, err := newLeaf(ca, caKey, "n1")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(node.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := newLeaf(issuer, node.PrivateKey.(ed25519.PrivateKey), "n9")
	if err != nil {
		t.Fatal(err)
	}
	leaf.Certificate = append(leaf.Certificate, node.Certificate[0])
	return leaf
}

// likeCA is a certificate under a CA that calls itself as the cluster's does, of another key.
func likeCA(t *testing.T) tls.Certificate {
	t.Helper()
	ca, caKey, err := newCA(ClusterKey{9})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := newLeaf(ca, caKey, "n9")
	if err != nil {
		t.Fatal(err)
	}
	real, _, err := newCA(testKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf.Certificate = append(leaf.Certificate, real.Raw, ca.Raw)
	return leaf
}

// heavy is a chain of many large certificates: what a stranger makes a node verify.
func heavy(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: caName}, IsCA: true, BasicConstraintsValid: true}
	for i := range 300 {
		template.DNSNames = append(template.DNSNames, fmt.Sprintf("%d.%s", i, strings.Repeat("a", 50)))
	}
	cert := tls.Certificate{PrivateKey: key}
	for range 10 {
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert.Certificate = append(cert.Certificate, der)
	}
	return cert
}

// Certificates that are not those of a node let nobody in, whoever has signed them, and as a server's neither.
func TestHostileCertificates(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // a bubble begins then
	past, future := now.Add(-time.Hour), time.Now().Add(100*365*24*time.Hour)
	certificates := map[string]tls.Certificate{
		"expired":              signed(t, func(c *x509.Certificate) { c.NotAfter = past }),
		"not yet valid":        signed(t, func(c *x509.Certificate) { c.NotBefore = future }),
		"signed by a node":     byLeaf(t),
		"a namesake of the CA": likeCA(t),
		"many large ones":      heavy(t),
		"no node id":           signed(t, func(c *x509.Certificate) { c.Subject.CommonName = "" }),
		"a long node id":       signed(t, func(c *x509.Certificate) { c.Subject.CommonName = strings.Repeat("n", MaxNodeID+1) }),
		"an unknown demand": signed(t, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		}),
		"for mail": signed(t, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		}),
	}
	onBoth(t, func(t *testing.T, l *lab) {
		b := l.open("b")
		i := 0
		for name, cert := range certificates {
			p := l.puppet("n9", b.Addr(), func(c *tls.Config) {
				insist(c, cert)
				c.VerifyConnection = nil
			})
			if block, err := p.greet(kindStream, hello{nodeID: "n9", min: 1, max: 1}); err == nil {
				t.Errorf("%s: answered with %x", name, block)
			}
			i++
			addr := l.impostor(fmt.Sprintf("host%d", i), "n9", func(c *tls.Config) { c.Certificates = []tls.Certificate{cert} }, func(*tls.Conn) { t.Errorf("%s: spoken to", name) })
			if _, err := b.Call(l.ctx(), Node{Addr: addr}, kindEcho, nil); err == nil {
				t.Errorf("%s: called", name)
			}
		}
		l.eventually("all refused", func() bool { return b.Stats().Refused == uint64(len(certificates)) })
		notServed(t, b)
		l.puppet("n9", b.Addr(), func(c *tls.Config) { insist(c, signed(t, func(*x509.Certificate) {})) }).stream("n9")
	})
}

// What a connection says is cut off at every byte; then it is closed, or says nothing any more. Nobody is let in, and no
// connection stays.
func TestEveryCutHello(t *testing.T) {
	whole := append([]byte{kindStream}, hello{nodeID: "n9", min: 1, max: 1, cluster: "c"}.encode()...)
	inMemory(t, func(t *testing.T, l *lab) {
		b := l.open("b")
		for n := range len(whole) {
			for _, silent := range []bool{false, true} {
				p := l.puppet("n9", b.Addr())
				if _, err := p.Write(whole[:n]); err != nil {
					t.Fatal(err)
				}
				if !silent {
					_ = p.Close()
				}
				mustEnd(t, p)
			}
		}
		synctest.Wait() // they are counted after they were closed
		notServed(t, b)
		if s := b.Stats(); s.Handshakes != 0 || s.Refused != uint64(2*len(whole)) {
			t.Errorf("%+v", s)
		}
	})
}

// Frames are cut off at every byte, from a peer with the key.
func TestEveryCutFrame(t *testing.T) {
	whole := (&frame{typ: frameRequest, id: 1, kind: kindEcho, body: []byte("hello")}).encode()
	inMemory(t, func(t *testing.T, l *lab) {
		b := l.open("b")
		for n := range len(whole) {
			p := l.puppet("n9", b.Addr()).stream("n9")
			if _, err := p.Write(whole[:n]); err != nil {
				t.Fatal(err)
			}
			_ = p.Close()
			mustEnd(t, p)
		}
		l.eventually("none is left", func() bool { return b.Stats().StreamsIn == 0 })
		if s := b.Stats(); s.Served != 0 {
			t.Errorf("%+v", s)
		}
		l.mustEcho(l.open("a"), b.Addr())
	})
}

// Strangers from one address open some hundred connections a second and hold them, with nothing said, or garbage, or the
// beginning of a handshake. A peer from the same address is served all the while, what the node keeps is bounded, and
// afterwards nothing is left of it.
func TestFloodOverTCP(t *testing.T) {
	l := &lab{t: t}
	var log logBuffer
	begin := time.Now()
	b := l.open("b", logTo(&log))
	before := runtime.NumGoroutine()
	hellos := [][]byte{nil, []byte("GET / HTTP/1.1\r\n\r\n"), clientHello(t), clientHello(t)[:100]}
	var group sync.WaitGroup
	stop := make(chan struct{})
	var pause atomic.Int64 // of each stranger, between two connections
	pause.Store(int64(8 * time.Millisecond))
	for i := range 4 {
		group.Go(func() { flood(b.Addr(), hellos[i], &pause, stop) })
	}
	l.eventually("the node is full of strangers", func() bool { return b.Stats().Crowded > 200 })
	most := 0
	for i := range 20 {
		a := l.open(fmt.Sprintf("a%d", i)) // each time a new connection
		l.eventually(fmt.Sprintf("node %d is served", i), func() bool {
			got, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindEcho, []byte("x"))
			if err != nil { // it was turned out itself, since it is slower than 32 others: they leave this machine no time for it
				pause.Add(int64(time.Millisecond))
			}
			return err == nil && string(got) == "x"
		})
		if s := b.Stats(); s.Handshakes > MaxHandshakesPerHost {
			t.Errorf("%d in handshake", s.Handshakes)
		}
		most = max(most, runtime.NumGoroutine()-before)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	group.Wait()
	s := b.Stats()
	t.Logf("%d connections refused, %d of them turned out, one each %v; at most %d goroutines more", s.Refused, s.Crowded, time.Duration(pause.Load())/4, most)
	l.eventually("nothing is left", func() bool { return b.Stats().Handshakes == 0 && runtime.NumGoroutine() <= before })
	if lines := strings.Count(log.String(), "\n"); lines > 10+4*int(time.Since(begin)/logEvery) {
		t.Errorf("%d lines in the log", lines)
	}
}

// flood opens connections, says what it is told to, and keeps the last hundred of them.
func flood(addr string, say []byte, pause *atomic.Int64, stop <-chan struct{}) {
	var held []net.Conn
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	for {
		select {
		case <-stop:
			return
		default:
		}
		<-time.After(time.Duration(pause.Load())) // a node needs its time for a handshake on this machine, too
		c, err := net.Dial("tcp", addr)
		if err != nil {
			continue
		}
		_, _ = c.Write(say) // it may be closed already
		if held = append(held, c); len(held) > 100 {
			_ = held[0].Close()
			held = held[1:]
		}
	}
}

// clientHello is what a TLS client says first.
func clientHello(t *testing.T) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	go func() {
		_ = tls.Client(near, &tls.Config{ServerName: serverName, NextProtos: []string{alpn}, InsecureSkipVerify: true}).Handshake()
		_ = near.Close()
	}()
	b := make([]byte, 4096)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b[:n])
}
