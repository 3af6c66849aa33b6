package transport

import (
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/httpapi/transport/certtest"
)

// What can't serve is refused: the pair from before stays, the log says so once, and each try is counted.
func TestBrokenCertificates(t *testing.T) {
	now := time.Now()
	cert, key := certtest.Good(t, 1)
	good, goodKey := certtest.Good(t, 2)
	over, overKey := certtest.Pair(t, 3, now.Add(-2*time.Hour), now.Add(-time.Hour))
	early, earlyKey := certtest.Pair(t, 4, now.Add(time.Hour), now.Add(2*time.Hour))
	bad := func(text string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(text)})
	}
	join := func(parts ...[]byte) (whole []byte) {
		for _, p := range parts {
			whole = append(whole, p...)
		}
		return whole
	}
	for _, c := range []struct {
		name      string
		cert, key []byte
	}{
		{"nothing", nil, nil},
		{"no certificate", nil, goodKey},
		{"no key", good, nil},
		{"no PEM", []byte("x"), []byte("y")},
		{"the other way round", goodKey, good},
		{"another one's key", good, overKey},
		{"half a certificate", good[:len(good)/2], goodKey},
		{"all but the last byte", good[:len(good)-8], goodKey},
		{"half a key", good, goodKey[:len(goodKey)/2]},
		{"half of a chain", join(good, cert[:len(cert)/2]), goodKey},
		{"a chain with a hole", join(good, cert[:len(cert)/2], cert), goodKey},
		{"a chain with what is no certificate", join(good, bad("x")), goodKey},
		{"what is no certificate", bad("x"), goodKey},
		{"over", over, overKey},
		{"not yet good", early, earlyKey},
		{"too long", join(good, make([]byte, maxPEM)), goodKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := certtest.NewFiles(t, cert, key)
			logs := &strings.Builder{}
			one := NewCertificate(files.Cert, files.Key, slog.New(slog.NewTextHandler(logs, nil)))
			if err := one.Reload(); err != nil { // before it is open, too
				t.Fatal(err)
			}
			files.Write(c.cert, c.key)
			if err := one.Reload(); err == nil {
				t.Error("taken")
			}
			for range 3 {
				one.look()
			}
			if got := one.current.Load().Leaf.SerialNumber.Int64(); got != 1 {
				t.Errorf("shows %d", got)
			}
			if n := strings.Count(logs.String(), "level=WARN"); n != 1 {
				t.Errorf("said %d times: %s", n, logs)
			}
			if n := one.failures.Load(); n < 3 {
				t.Errorf("%d failures are counted", n)
			}
			files.Write(good, goodKey)
			one.look()
			one.look()
			if got := one.current.Load().Leaf.SerialNumber.Int64(); got != 2 {
				t.Errorf("a good pair after it is not taken: shows %d", got)
			}
		})
	}
}

// The watch takes nothing that was not the same twice: a chain that is being written may be whole as far as it goes.
func TestCertificateIsSeenTwice(t *testing.T) {
	cert, key := certtest.Good(t, 1)
	files := certtest.NewFiles(t, cert, key)
	one := NewCertificate(files.Cert, files.Key, slog.New(slog.DiscardHandler))
	if err := one.Open(); err != nil {
		t.Fatal(err)
	}
	next, nextKey := certtest.Good(t, 2)
	issuer, _ := certtest.Good(t, 3)
	files.Write(next, nextKey)
	one.look()
	files.Write(append(next, issuer...), nextKey)
	one.look()
	if one.reloads.Load() != 0 {
		t.Error("half a chain is taken")
	}
	one.look()
	if n := len(one.current.Load().Certificate); n != 2 || one.failures.Load() != 0 {
		t.Errorf("chain of %d, %d failures", n, one.failures.Load())
	}
	// What is no file must not hold up the watch.
	if err := os.Remove(files.Cert); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(files.Cert, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := one.Reload(); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a directory: %v", err)
	}
}

// A certificate for other names is taken, since that may be meant, and the log says which names it is not for.
func TestLostNames(t *testing.T) {
	leaf := func(names []string, addrs ...net.IP) *x509.Certificate {
		return &x509.Certificate{DNSNames: names, IPAddresses: addrs}
	}
	loopback := net.IPv4(127, 0, 0, 1)
	for name, tt := range map[string]struct {
		former, present *x509.Certificate
		want            []string
	}{
		"the same":        {leaf([]string{"a.example.org"}, loopback), leaf([]string{"a.example.org"}, loopback), nil},
		"more":            {leaf([]string{"a.example.org"}), leaf([]string{"b.example.org", "a.example.org"}, loopback), nil},
		"another":         {leaf([]string{"a.example.org"}, loopback), leaf([]string{"b.example.org"}), []string{"a.example.org", "127.0.0.1"}},
		"now a wildcard":  {leaf([]string{"a.example.org"}), leaf([]string{"*.example.org"}), nil},
		"was a wildcard":  {leaf([]string{"*.example.org"}), leaf([]string{"a.example.org"}), []string{"*.example.org"}},
		"both a wildcard": {leaf([]string{"*.example.org"}), leaf([]string{"*.example.org"}), nil},
	} {
		if got := lostNames(tt.former, tt.present); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
