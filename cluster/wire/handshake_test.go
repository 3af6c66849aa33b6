package wire

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/session"
)

// notServed fails the test when the node has run a handler.
func notServed(t *testing.T, tr *Transport) {
	t.Helper()
	if s := tr.Stats(); s.Served != 0 || s.StreamsIn != 0 || s.Raft != 0 {
		t.Errorf("a stranger got in: %+v", s)
	}
}

func TestWrongKey(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		a := l.open("a", func(c *Config) { c.Keys = ring(ClusterKey{9}) })
		b := l.open("b")
		for _, try := range [][2]*Transport{{a, b}, {b, a}} {
			_, err := try[0].Call(l.ctx(), Node{Addr: try[1].Addr()}, kindEcho, nil)
			if !errors.Is(err, ErrUnreachable) || !errors.Is(err, ErrOtherKey) || errors.Is(err, ErrLost) {
				t.Errorf("call: %v", err)
			}
			if _, err := try[0].Raft().Dial(raftAddr(try[1]), time.Minute); !errors.Is(err, ErrOtherKey) {
				t.Errorf("raft: %v", err)
			}
		}
		notServed(t, a)
		notServed(t, b)
	})
}

// strangerCert is a certificate that looks right and that the CA did not sign.
func strangerCert(t *testing.T) tls.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from, to := validity()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "n9"}, Issuer: pkix.Name{CommonName: caName},
		NotBefore: from, NotAfter: to, DNSNames: []string{serverName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// insist sends the certificate even if the server says that it trusts another CA only.
func insist(c *tls.Config, cert tls.Certificate) {
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
}

// nameless is a certificate of the cluster without a node id.
func nameless(t *testing.T) tls.Certificate {
	t.Helper()
	ca, caKey, err := newCA(testKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := newLeaf(ca, caKey, "")
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// Who can't show a certificate of the cluster, or speaks TLS otherwise than nodes do, gets no hello.
func TestTLSDemands(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		b := l.open("b")
		for name, change := range map[string]func(*tls.Config){
			"no certificate": func(c *tls.Config) { c.Certificates = nil },
			"self-signed":    func(c *tls.Config) { insist(c, strangerCert(t)) },
			"no node id":     func(c *tls.Config) { insist(c, nameless(t)) },
			"TLS 1.2":        func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 },
			"no protocol":    func(c *tls.Config) { c.NextProtos = nil },
			"other protocol": func(c *tls.Config) { c.NextProtos = []string{"h2"} },
		} {
			p := l.puppet("n9", b.Addr(), func(c *tls.Config) {
				change(c)
				c.VerifyConnection = nil
			})
			if block, err := p.greet(kindStream, hello{nodeID: "n9", min: 1, max: 1}); err == nil {
				t.Errorf("%s: answered with %x", name, block)
			}
		}
		l.eventually("all refused", func() bool { return b.Stats().Refused == 6 })
		notServed(t, b)

		// The same, rightly made, gets in: so it was the change that kept the others out.
		l.puppet("n9", b.Addr()).stream("n9")
	})
}

// No session is resumed: a resumed one would skip the certificates.
func TestNoResumption(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		b := l.open("b")
		cache := tls.NewLRUClientSessionCache(4)
		for range 2 {
			p := l.puppet("n9", b.Addr(), func(c *tls.Config) { c.ClientSessionCache = cache }).stream("n9")
			p.send(frame{typ: frameRequest, id: 1, kind: kindEcho})
			if _, err := p.next(); err != nil { // a ticket would have come before the answer
				t.Fatal(err)
			}
			if p.ConnectionState().DidResume {
				t.Error("resumed")
			}
		}
	})
}

// impostor is a server with a node's certificate that does what the test wants after TLS.
func (l *lab) impostor(host, certID string, change func(*tls.Config), serve func(*tls.Conn)) string {
	l.t.Helper()
	id, err := newIdentity([]ClusterKey{testKey}, certID)
	if err != nil {
		l.t.Fatal(err)
	}
	if change != nil {
		change(id.server)
	}
	bind := "127.0.0.1:0"
	if l.memory != nil {
		bind = host + ":7000"
	}
	listener, err := l.network(host).Listen(bind)
	if err != nil {
		l.t.Fatal(err)
	}
	done := make(chan struct{})
	l.t.Cleanup(func() { _ = listener.Close(); <-done })
	go func() {
		defer close(done)
		for {
			raw, err := listener.Accept()
			if err != nil {
				return
			}
			_ = raw.SetDeadline(time.Now().Add(testLimit))
			conn := tls.Server(raw, id.server)
			if conn.Handshake() == nil {
				serve(conn)
			}
			_ = raw.Close()
		}
	}()
	return listener.Addr().String()
}

// A dialer demands as much as the accepting side.
func TestDialerDemands(t *testing.T) {
	reply := func(b []byte) func(*tls.Conn) {
		return func(c *tls.Conn) {
			if _, err := c.Read(make([]byte, 1)); err != nil {
				return
			}
			if _, err := readBlock(c, MaxHello); err == nil {
				_, _ = c.Write(b)
				_, _ = c.Read(make([]byte, 1)) // until the dialer has closed
			}
		}
	}
	answer := func(h hello) func(*tls.Conn) { return reply(h.encode()) }
	ok := hello{nodeID: "n9", min: 1, max: 1}
	other := ok
	other.nodeID = "b"
	newer := ok
	newer.min, newer.max = 2, 2
	foreigner := ok
	foreigner.cluster = "theirs"
	onBoth(t, func(t *testing.T, l *lab) {
		a := l.open("a")
		a.SetCluster("ours")
		for i, c := range []struct {
			name   string
			change func(*tls.Config)
			serve  func(*tls.Conn)
			want   error
		}{
			{"self-signed", func(c *tls.Config) { c.Certificates = []tls.Certificate{strangerCert(t)} }, answer(ok), ErrOtherKey},
			{"no protocol", func(c *tls.Config) { c.NextProtos, c.VerifyConnection = nil, nil }, answer(ok), nil},
			{"certificate of another node", nil, answer(other), ErrIdentity},
			{"newer", nil, answer(newer), ErrVersion},
			{"foreign", nil, answer(foreigner), ErrOtherCluster},
			{"garbage", nil, reply([]byte("HTTP/1.1 200 OK\r\n\r\n")), ErrTooLarge},
			{"malformed", nil, reply(append(lengthOf(3), 1, 2, 3)), errHello},
			{"refusal", nil, reply(encodeRefusal(session.ErrTooLate)), session.ErrTooLate},
			{"closed", nil, func(*tls.Conn) {}, nil},
		} {
			addr := l.impostor(fmt.Sprintf("host%d", i), "n9", c.change, c.serve)
			_, err := a.Call(l.ctx(), Node{Addr: addr}, kindEcho, nil)
			if !errors.Is(err, ErrUnreachable) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	})
}

// The accepting side says why it refuses.
func TestRefusals(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		b := l.open("b")
		b.SetCluster("ours")
		for _, c := range []struct {
			name string
			kind byte
			h    hello
			want *session.Error
		}{
			{"id of another node", kindStream, hello{nodeID: "n2", min: 1, max: 1}, ErrIdentity},
			{"id of another node, raft", kindRaft, hello{nodeID: "n2", min: 1, max: 1}, ErrIdentity},
			{"its own id", kindStream, hello{nodeID: "b", min: 1, max: 1}, ErrIdentity},
			{"newer", kindStream, hello{nodeID: "n9", min: 2, max: 3}, ErrVersion},
			{"foreign", kindStream, hello{nodeID: "n9", min: 1, max: 1, cluster: "theirs"}, ErrOtherCluster},
			{"foreign, raft", kindRaft, hello{nodeID: "n9", min: 1, max: 1, cluster: "theirs"}, ErrOtherCluster},
			{"unknown kind", 'X', hello{nodeID: "n9", min: 1, max: 1}, ErrUnknownRequest},
		} {
			p := l.puppet("n9", b.Addr())
			block, err := p.greet(c.kind, c.h)
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			if _, refusal, err := decodeHello(block); err != nil || refusal == nil || refusal.Code != c.want.Code || !strings.HasPrefix(refusal.Message, c.want.Message) {
				t.Errorf("%s: %v, %v", c.name, refusal, err)
			}
			mustEnd(t, p)
		}
		notServed(t, b)
		l.puppet("n9", b.Addr()).stream("n9")
	})
}

// Nodes of several versions speak while their ranges meet. Where they do not, both sides say so, and who speaks what.
func TestVersions(t *testing.T) {
	for _, c := range []struct {
		low, high           uint8  // of a
		otherLow, otherHigh uint8  // of b
		says                string // by whom the ranges are told; "": they meet
	}{
		{1, 1, 1, 1, ""},
		{1, 1, 1, 2, ""},
		{1, 2, 2, 3, ""},
		{1, 9, 4, 5, ""},
		{2, 2, 1, 200, ""},
		{1, 1, 2, 3, "node a speaks version 1, node b versions 2 to 3"},
		{1, 3, 4, 4, "node a speaks versions 1 to 3, node b version 4"},
		{200, 255, 1, 199, "node a speaks versions 200 to 255, node b versions 1 to 199"},
	} {
		t.Run(fmt.Sprintf("%d-%d,%d-%d", c.low, c.high, c.otherLow, c.otherHigh), func(t *testing.T) {
			onBoth(t, func(t *testing.T, l *lab) {
				var logs [2]logBuffer
				versions := func(low, high uint8, log *logBuffer) func(*Config) {
					return func(cfg *Config) {
						cfg.MinVersion, cfg.MaxVersion = low, high
						logTo(log)(cfg)
					}
				}
				a, b := l.open("a", versions(c.low, c.high, &logs[0])), l.open("b", versions(c.otherLow, c.otherHigh, &logs[1]))
				for i, try := range [][2]*Transport{{a, b}, {b, a}} {
					_, err := try[0].Call(l.ctx(), Node{Addr: try[1].Addr()}, kindEcho, nil)
					_, raftErr := try[0].Raft().Dial(raftAddr(try[1]), time.Minute)
					if c.says == "" {
						if err != nil || raftErr != nil {
							t.Errorf("call %v, raft %v", err, raftErr)
						}
						continue
					}
					for _, err := range []error{err, raftErr} {
						if !errors.Is(err, ErrVersion) || !errors.Is(err, ErrUnreachable) || !tells(err.Error(), c.says) {
							t.Errorf("%v", err)
						}
					}
					l.eventually("the other side has refused twice and says why", func() bool {
						return try[1].Stats().Refused == 2 && tells(logs[1-i].String(), c.says)
					})
				}
				if c.says != "" {
					notServed(t, a)
					notServed(t, b)
				}
			})
		})
	}
}

// tells says whether a text tells of both nodes' versions, whichever comes first.
func tells(text, versions string) bool {
	first, second, _ := strings.Cut(strings.TrimPrefix(versions, "node a speaks "), ", node b ")
	return strings.Contains(text, versions) || strings.Contains(text, "node b speaks "+second+", node a "+first)
}

// A hello that is encoded in another way is refused in this version's way, which the other may understand; and what is
// answered in another way is taken for another version, not for noise.
func TestHelloOfAnotherEncoding(t *testing.T) {
	foreign := func() []byte {
		b := hello{nodeID: "n9", min: 1, max: 1}.encode()
		b[blockHeader] = helloVersion + 1
		return b
	}
	onBoth(t, func(t *testing.T, l *lab) {
		b := l.open("b")
		p := l.puppet("n9", b.Addr())
		if _, err := p.Write(append([]byte{kindStream}, foreign()...)); err != nil {
			t.Fatal(err)
		}
		block, err := readBlock(p, MaxHello)
		if err != nil {
			t.Fatal(err)
		}
		if _, refusal, err := decodeHello(block); err != nil || !errors.Is(refusal, ErrVersion) {
			t.Errorf("%v, %v", refusal, err)
		}
		mustEnd(t, p)
		notServed(t, b)

		addr := l.impostor("n9", "n9", nil, func(c *tls.Conn) {
			if _, err := c.Read(make([]byte, 1)); err != nil {
				return
			}
			if _, err := readBlock(c, MaxHello); err == nil {
				_, _ = c.Write(foreign())
				_, _ = c.Read(make([]byte, 1)) // until the dialer has closed
			}
		})
		if _, err := b.Call(l.ctx(), Node{Addr: addr}, kindEcho, nil); !errors.Is(err, ErrVersion) || !errors.Is(err, ErrUnreachable) {
			t.Errorf("%v", err)
		}
	})
}

// A kind of request that only later versions know is refused with a code, and the connection lives on: what was under way
// on it is answered, and so is what comes next.
func TestUnknownKindOfRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		release := make(chan struct{})
		b.Handle(kindBlock, func(_ context.Context, _ Peer, body []byte) ([]byte, error) {
			<-release
			return body, nil
		})
		under := make(chan error)
		go func() {
			_, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindBlock, []byte("under way"))
			under <- err
		}()
		for kind := 100; kind < 256; kind++ {
			_, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, Kind(kind), []byte("of a later version"))
			if !errors.Is(err, ErrUnknownRequest) || errors.Is(err, ErrLost) || errors.Is(err, ErrUnreachable) {
				t.Fatalf("kind %d: %v", kind, err)
			}
		}
		l.mustEcho(a, b.Addr())
		close(release)
		if err := <-under; err != nil {
			t.Errorf("what was under way: %v", err)
		}
		if s := b.Stats(); s.StreamsIn != 1 || s.Served != 2 {
			t.Errorf("%+v", s)
		}

		p := l.puppet("n9", b.Addr()).stream("n9")
		p.send(frame{typ: frameRequest, id: 1, kind: 254, body: []byte("x")})
		p.send(frame{typ: frameRequest, id: 2, kind: kindEcho, body: []byte("y")})
		for range 2 {
			f, err := p.next()
			switch {
			case err != nil:
				t.Fatal(err)
			case f.id == 1 && (f.typ != frameFailure || f.code != "unknown-request" || f.text == ""),
				f.id == 2 && (f.typ != frameAnswer || string(f.body) != "y"):
				t.Errorf("%+v", f)
			}
		}
	})
}
