package realm

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// slapd is a real directory server on loopback, with its own temporary data.
type slapd struct {
	port, tlsPort int
	rootCAs       *x509.CertPool
	cmd           *exec.Cmd
	done          chan struct{} // closed when the process is gone
}

const slapdEntries = `
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=users,dc=example,dc=org
objectClass: organizationalUnit
ou: users

dn: uid=ann,ou=users,dc=example,dc=org
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: Ann
userPassword: ann's secret

dn: uid=bob,ou=users,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Bob
userPassword: bob's secret

dn: uid=nopassword,ou=users,dc=example,dc=org
objectClass: inetOrgPerson
uid: nopassword
cn: None
sn: None
`

// startSlapd skips the test where slapd is not installed; a CI run fails instead.
func startSlapd(t *testing.T) *slapd {
	t.Helper()
	program := findTool(t, "slapd")
	add := findTool(t, "slapadd")
	dir := t.TempDir()
	s := &slapd{port: freePort(t), tlsPort: freePort(t), done: make(chan struct{})}
	s.rootCAs = writeCertificate(t, dir)
	config := fmt.Sprintf(`
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %[1]s/slapd.pid
TLSCertificateFile %[1]s/server.pem
TLSCertificateKeyFile %[1]s/server.key
database mdb
suffix "dc=example,dc=org"
directory %[1]s/data
`, dir)
	for name, text := range map[string]string{"slapd.conf": config, "entries.ldif": slapdEntries} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "slapd.conf")
	if out, err := exec.Command(add, "-f", conf, "-l", filepath.Join(dir, "entries.ldif")).CombinedOutput(); err != nil {
		t.Fatalf("load entries: %v\n%s", err, out)
	}
	// Debug level "stats" keeps it in the foreground and makes it say when it is ready.
	s.cmd = exec.Command(program, "-f", conf, "-d", "256",
		"-h", fmt.Sprintf("ldap://127.0.0.1:%d ldaps://127.0.0.1:%d", s.port, s.tlsPort))
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go s.watch(bufio.NewScanner(stderr), ready)
	t.Cleanup(s.stop)
	if _, ok := <-ready; !ok {
		t.Fatal("slapd ended before it was ready")
	}
	s.awaitListener(t)
	return s
}

// awaitListener waits until the server takes connections, which it does a moment after it says that it starts.
func (s *slapd) awaitListener(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, port := range []int{s.port, s.tlsPort} {
		for {
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				_ = conn.Close()
				break
			}
			select {
			case <-tick.C:
			case <-s.done:
				t.Fatal("slapd ended before it took connections")
			}
		}
	}
}

// watch reads what slapd says until it ends, and reports once that it is ready.
func (s *slapd) watch(lines *bufio.Scanner, ready chan<- string) {
	defer close(s.done)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "slapd starting") {
			ready <- lines.Text()
		}
	}
	_ = s.cmd.Wait() // it is killed at the end: always an error
	close(ready)
}

func (s *slapd) stop() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

func findTool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin/", "/usr/local/sbin/", "/usr/libexec/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed (Debian: apt-get install slapd)", name)
	}
	t.Skipf("%s is not installed (Debian: apt-get install slapd)", name)
	return ""
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().(*net.TCPAddr).Port
}

// writeCertificate makes a self-signed certificate for the name localhost and for no address.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "directory"},
		DNSNames:              []string{"localhost"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	for name, data := range map[string][]byte{"server.pem": certPEM, "server.key": keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool
}
