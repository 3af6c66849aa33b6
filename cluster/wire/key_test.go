package wire

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
)

func TestClusterKeyText(t *testing.T) {
	k, err := NewClusterKey()
	if err != nil {
		t.Fatal(err)
	}
	if other, err := NewClusterKey(); err != nil || other == k {
		t.Errorf("two keys are equal (%v)", err)
	}
	for _, text := range []string{k.Encode(), " " + k.Encode() + "\n", "\t" + k.Encode() + "\r\n"} {
		if got, err := ParseClusterKey(text); err != nil || got != k {
			t.Errorf("%d bytes of text: %v", len(text), err)
		}
	}
	bad := map[string]string{
		"empty":     "",
		"short":     k.Encode()[4:],
		"long":      "AAAA" + k.Encode(),
		"hex":       hex.EncodeToString(k[:]),
		"two":       k.Encode() + "\n" + k.Encode(),
		"zeros":     ClusterKey{}.Encode(),
		"loose end": strings.Repeat("/", 43) + "=", // bits beyond the last byte are set
	}
	for name, text := range bad {
		if _, err := ParseClusterKey(text); !errors.Is(err, ErrBadKey) {
			t.Errorf("%s: %v", name, err)
		} else if text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error repeats the text", name)
		}
	}
}

// A changed derivation would keep new nodes out of an old cluster, and lock it out of what it has sealed.
func TestDeriveFrozen(t *testing.T) {
	want := map[string]string{
		PurposeGossip:    "fd7710841c6af6e917a16f2dfa33f75eb113221eaad298bb22424ed2d038b386",
		PurposeCA:        "48719572b37637230cfd5d50d2133b4e47ddccccea8e8a204b61b8cf714ac64d",
		PurposeAnonymous: "3bab1f55528b6ed7cd7edb199af8f7df95a749dafe102b49e66f671ebf488fcb",
		PurposeSeal:      "8cb88f2969d1e71690c7257d4d2d78aedd95ee64fc2864b259dfbf519a43ac3a",
		PurposeCSRF:      "62db5e66c19842557fd53e5b786999c32db8b9e31139221deb42e954716300fc",
	}
	seen := map[[32]byte]string{}
	for purpose, text := range want {
		got := DevelopmentKey().Derive(purpose)
		if hex.EncodeToString(got[:]) != text {
			t.Errorf("%s: %x", purpose, got)
		}
		if testKey.Derive(purpose) == got {
			t.Errorf("%s does not depend on the key", purpose)
		}
		if other := seen[got]; other != "" {
			t.Errorf("%s and %s are equal", purpose, other)
		}
		seen[got] = purpose
	}
}

func TestClusterKeyIsNotPrinted(t *testing.T) {
	k := testKey
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", k, "in", struct{ Key ClusterKey }{k}, "config", Config{Keys: ring(k)})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", k, "in", struct{ Key ClusterKey }{k})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U"} {
		fmt.Fprintf(&out, verb+"\n", k)
		fmt.Fprintf(&out, verb+"\n", &k)
		fmt.Fprintf(&out, verb+"\n", []ClusterKey{k})
	}
	if b, err := json.Marshal(map[string]any{"key": k, "config": struct{ Key *ClusterKey }{&k}}); err != nil {
		t.Error(err)
	} else {
		out.Write(b)
	}
	text := strings.ToLower(out.String())
	for _, leak := range []string{"1 2 3", "1,2,3", testKeyHex, "0x1", `\x01`, "[1", strings.ToLower(k.Encode()[:8])} {
		if strings.Contains(text, leak) {
			t.Errorf("%q is in the output", leak)
		}
	}
	if !strings.Contains(text, "<secret>") && !strings.Contains(text, `\u003csecret`) {
		t.Error("nothing says that there was a secret")
	}
}

// Whatever prints an open transport does not print the keys that it holds.
func TestKeyIsNotPrintedWithTheTransport(t *testing.T) {
	tr := (&lab{t: t}).open("a")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		text := fmt.Sprintf(verb, tr.cfg)
		for _, leak := range []string{"1 2 3", testKeyHex, "0x1, 0x2", "1, 2, 3"} {
			if strings.Contains(text, leak) {
				t.Errorf("%s: %q in %s", verb, leak, text)
			}
		}
	}
}

func TestCheckBind(t *testing.T) {
	for addr, loopback := range map[string]bool{
		"127.0.0.1:7000": true, "127.9.9.9:0": true, "[::1]:7000": true, "localhost:7000": true, "::1": true, "127.0.0.1": true,
		"0.0.0.0:7000": false, ":7000": false, "[::]:7000": false, "10.0.0.1:7000": false, "example.org:7000": false, "": false,
		"localhost.example.org:1": false, "127.0.0.1.example.org:1": false,
	} {
		if err := CheckBind(DevelopmentKey(), addr); (err == nil) != loopback || err != nil && !errors.Is(err, ErrLoopbackOnly) {
			t.Errorf("%q: %v", addr, err)
		}
		if err := CheckBind(testKey, addr); err != nil {
			t.Errorf("%q with a key: %v", addr, err)
		}
	}
}

// fixed is a listener that says it is elsewhere, as one on a name that resolves to an open address.
type fixed struct {
	TCP
	addr net.TCPAddr
}

type fixedListener struct {
	net.Listener
	addr *net.TCPAddr
}

func (f fixed) Listen(string) (net.Listener, error) {
	l, err := f.TCP.Listen("127.0.0.1:0")
	return fixedListener{l, &f.addr}, err
}

func (f fixedListener) Addr() net.Addr { return f.addr }

func TestOpenRefuses(t *testing.T) {
	good := Config{NodeID: "a", Bind: "127.0.0.1:0", Keys: ring(testKey)}
	for name, change := range map[string]func(*Config){
		"no key":          func(c *Config) { c.Keys = nil },
		"no node id":      func(c *Config) { c.NodeID = "" },
		"long node id":    func(c *Config) { c.NodeID = strings.Repeat("x", MaxNodeID+1) },
		"development key": func(c *Config) { c.Keys, c.Bind = DevelopmentRing(), "0.0.0.0:0" },
		"localhost elsewhere": func(c *Config) {
			c.Keys, c.Network = DevelopmentRing(), fixed{addr: net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}}
		},
		"nothing to advertise":     func(c *Config) { c.Bind = "0.0.0.0:0" },
		"advertised without port":  func(c *Config) { c.Advertise = "example.org" },
		"versions the wrong way":   func(c *Config) { c.MinVersion = 2 },
		"deadline too short":       func(c *Config) { c.DeadAfter = time.Nanosecond },
		"handshake too short":      func(c *Config) { c.HandshakeTimeout = time.Nanosecond },
		"address that is not here": func(c *Config) { c.Bind = "192.0.2.1:0" },
	} {
		cfg := good
		change(&cfg)
		tr, err := Open(cfg)
		if err == nil {
			t.Errorf("%s: accepted", name)
			_ = tr.Close()
		}
	}
	open := good
	open.Bind, open.Advertise = "0.0.0.0:0", "n1.example.org:7000"
	tr, err := Open(open)
	if err != nil {
		t.Fatal(err)
	}
	if tr.Addr() != open.Advertise || tr.Raft().Addr().String() != open.Advertise {
		t.Errorf("advertised %s", tr.Addr())
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
}

// Every node makes the same CA: fields chosen by the standard library would differ between builds.
func TestCAFrozen(t *testing.T) {
	first, private, err := newCA(DevelopmentKey())
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := newCA(DevelopmentKey())
	if err != nil || !bytes.Equal(first.Raw, again.Raw) {
		t.Errorf("another certificate each time (%v)", err)
	}
	golden(t, "ca.der", first.Raw)
	if other, _, err := newCA(testKey); err != nil || bytes.Equal(other.RawSubjectPublicKeyInfo, first.RawSubjectPublicKeyInfo) {
		t.Errorf("the same CA for another key (%v)", err)
	}
	if !first.IsCA || first.CheckSignatureFrom(first) != nil || len(private) == 0 {
		t.Error("it is no CA")
	}
}

func TestLeaf(t *testing.T) {
	ca, caKey, err := newCA(testKey)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := newLeaf(ca, caKey, "n1")
	if err != nil {
		t.Fatal(err)
	}
	second, err := newLeaf(ca, caKey, "n1")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if other, err := x509.ParseCertificate(second.Certificate[0]); err != nil || bytes.Equal(other.RawSubjectPublicKeyInfo, leaf.RawSubjectPublicKeyInfo) {
		t.Errorf("the key is not fresh (%v)", err)
	}
	if leaf.IsCA || leaf.Subject.CommonName != "n1" {
		t.Errorf("CA %t, name %q", leaf.IsCA, leaf.Subject.CommonName)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for _, year := range []int{1999, 2000, 2026, 2049, 2050, 2500} {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			_, err := leaf.Verify(x509.VerifyOptions{
				Roots: roots, DNSName: serverName, KeyUsages: []x509.ExtKeyUsage{usage},
				CurrentTime: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC),
			})
			if err != nil {
				t.Errorf("in %d: %v", year, err)
			}
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "other.cloakroom"}); err == nil {
		t.Error("good for any name")
	}
}
