// Package certtest makes TLS certificates for tests, and replaces their files as people do. It is for tests alone.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Pair makes a self-signed certificate and its key, as PEM.
func Pair(t testing.TB, serial int64, from, until time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: from, NotAfter: until, DNSNames: []string{"cloak.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// Good makes a pair that is good for an hour.
func Good(t testing.TB, serial int64) (cert, key []byte) {
	return Pair(t, serial, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
}

// Files are the two files, and the ways in which people replace them.
type Files struct {
	t         testing.TB
	Cert, Key string // their names
}

// NewFiles writes a pair into files of its own.
func NewFiles(t testing.TB, cert, key []byte) Files {
	t.Helper()
	dir := t.TempDir()
	f := Files{t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	f.Write(cert, key)
	return f
}

// Write writes both files, one after the other.
func (f Files) Write(cert, key []byte) {
	f.t.Helper()
	for name, text := range map[string][]byte{f.Cert: cert, f.Key: key} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
}

// Rename replaces both files.
func (f Files) Rename(cert, key []byte) {
	f.t.Helper()
	for name, text := range map[string][]byte{f.Cert: cert, f.Key: key} {
		if err := os.WriteFile(name+".new", text, 0o600); err != nil {
			f.t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			f.t.Fatal(err)
		}
	}
}

// InPlace writes a file after the other, each in small pieces with pauses, so that the server sees all that is between.
func (f Files) InPlace(cert, key []byte, pause func()) {
	f.t.Helper()
	for name, text := range map[string][]byte{f.Cert: cert, f.Key: key} {
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			f.t.Fatal(err)
		}
		for len(text) > 0 {
			n := min(len(text), 200)
			if _, err := file.Write(text[:n]); err != nil {
				f.t.Fatal(err)
			}
			text = text[n:]
			pause()
		}
		if err := file.Close(); err != nil {
			f.t.Fatal(err)
		}
	}
}
