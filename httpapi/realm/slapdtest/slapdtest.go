// Package slapdtest owns the directory servers of tests: it starts real ones, slapd of OpenLDAP, each with its own
// configuration, data and certificates in the test's temporary folder. It is for tests alone and knows nothing of realms.
package slapdtest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// What every server holds, besides the entries of Config.LDIF.
const (
	Suffix       = "dc=example,dc=org"
	Users        = "ou=users," + Suffix
	Groups       = "ou=groups," + Suffix
	Root         = "cn=root," + Suffix // may do everything
	RootPassword = "root's secret"
	Reader       = "cn=reader," + Suffix // a service account
	ReaderSecret = "reader's secret"
)

const entries = `
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=users,dc=example,dc=org
objectClass: organizationalUnit
ou: users

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: cn=reader,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: reader's secret
`

// Config is what a server may have besides.
type Config struct {
	LDIF     string   // more entries
	Global   []string // lines of slapd.conf before the database
	Database []string // and behind it
	Ports    [2]int   // plain and TLS, of a server that is to take another one's place; zero: any
	CA       *CA      // who signs its certificate; nil: one of its own
	Names    []string // that the certificate is for; nil: localhost, and no address
}

// Server is a running slapd on loopback.
type Server struct {
	Port, TLSPort int // ldap (with StartTLS), ldaps
	CA            *CA

	t       *testing.T
	dir     string
	program string
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process is gone
	asked   int           // how often for the log

	mu  sync.Mutex
	log []string
}

// Person is an entry of LDIF for a user below Users, with a password that is the name and "'s secret". More lines may
// follow the uid.
func Person(uid string, more ...string) string {
	lines := append([]string{
		"", "dn: uid=" + uid + "," + Users, "objectClass: inetOrgPerson", "uid: " + uid, "cn: " + uid, "sn: " + uid,
		"userPassword: " + uid + "'s secret",
	}, more...)
	return strings.Join(lines, "\n") + "\n"
}

// Group is an entry of LDIF for a group below Groups.
func Group(cn string, members ...string) string {
	lines := []string{"", "dn: cn=" + cn + "," + Groups, "objectClass: groupOfNames", "cn: " + cn}
	for _, uid := range members {
		lines = append(lines, "member: uid="+uid+","+Users)
	}
	return strings.Join(lines, "\n") + "\n"
}

// Start starts a server that ends with the test. It skips the test where slapd is not installed; a CI run fails instead.
func Start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s := &Server{Port: cfg.Ports[0], TLSPort: cfg.Ports[1], CA: cfg.CA, t: t, dir: t.TempDir(), program: findTool(t, "slapd")}
	load := findTool(t, "slapadd")
	if s.Port == 0 {
		s.Port, s.TLSPort = ownPort(t), ownPort(t)
	}
	if s.CA == nil {
		s.CA = NewCA(t)
	}
	names := cfg.Names
	if names == nil {
		names = []string{"localhost"}
	}
	s.CA.write(t, s.dir, names)
	write(t, s.dir, "slapd.conf", s.config(cfg))
	write(t, s.dir, "entries.ldif", entries+cfg.LDIF)
	if err := os.Mkdir(filepath.Join(s.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	add := exec.CommandContext(t.Context(), load, "-f", s.path("slapd.conf"), "-l", s.path("entries.ldif"))
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("load entries: %v\n%s", err, out)
	}
	s.Run()
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Server) config(cfg Config) string {
	const common = `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
pidfile %[1]s/slapd.pid
TLSCertificateFile %[1]s/server.pem
TLSCertificateKeyFile %[1]s/server.key
%[2]s
database mdb
suffix "%[3]s"
rootdn "%[4]s"
rootpw "%[5]s"
directory %[1]s/data
%[6]s
`
	return fmt.Sprintf(common, s.dir, strings.Join(cfg.Global, "\n"), Suffix, Root, RootPassword, strings.Join(cfg.Database, "\n"))
}

// Run starts a server that was stopped, with the data that it had.
func (s *Server) Run() {
	s.t.Helper()
	// Debug level "stats" keeps it in the foreground and makes it say when it is ready.
	s.cmd = exec.Command(s.program, "-f", s.path("slapd.conf"), "-d", "256",
		"-h", fmt.Sprintf("ldap://127.0.0.1:%d ldaps://127.0.0.1:%d", s.Port, s.TLSPort))
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.done = make(chan struct{})
	ready := make(chan string, 1)
	go s.watch(s.cmd, bufio.NewScanner(stderr), ready, s.done)
	if last, ok := <-ready; !ok {
		s.t.Fatalf("slapd ended before it was ready: %s", last)
	}
	s.awaitListener()
}

// watch reads what slapd says until it ends, and reports once that it is ready.
func (s *Server) watch(cmd *exec.Cmd, lines *bufio.Scanner, ready chan<- string, done chan<- struct{}) {
	defer close(done)
	for lines.Scan() {
		s.mu.Lock()
		s.log = append(s.log, lines.Text())
		s.mu.Unlock()
		if strings.Contains(lines.Text(), "slapd starting") {
			ready <- lines.Text()
		}
	}
	_ = cmd.Wait() // it is killed at the end: always an error
	close(ready)
}

// awaitListener waits until the server takes connections, which it does a moment after it says that it starts.
func (s *Server) awaitListener() {
	s.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, port := range []int{s.Port, s.TLSPort} {
		for {
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				_ = conn.Close()
				break
			}
			select {
			case <-tick.C:
			case <-s.done:
				s.t.Fatal("slapd ended before it took connections")
			}
		}
	}
}

// Stop kills the server; Run starts it again.
func (s *Server) Stop() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// Log returns what the server has said so far: a line for each connection, operation and result. It has those of the
// operations that were answered before the call: what the server says is read behind what it does, so Log asks it for an
// entry that there is not, and waits for the line of that.
func (s *Server) Log() []string {
	s.t.Helper()
	s.asked++
	mark := fmt.Sprintf("cn=mark %d", s.asked)
	if !s.ended() {
		conn, err := ldap.DialURL(fmt.Sprintf("ldap://127.0.0.1:%d", s.Port))
		if err != nil {
			s.t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		// A comparison, since tests count binds and searches. The answer does not matter, and may be a refusal.
		if _, err := conn.Compare(mark+","+Suffix, "cn", "mark"); ldap.IsErrorWithCode(err, ldap.ErrorNetwork) {
			s.t.Fatal(err)
		}
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		log, ended := s.lines(), s.ended()
		at := slices.IndexFunc(log, func(line string) bool { return strings.Contains(line, `CMP dn="`+mark+",") })
		if at >= 0 {
			return log[:at]
		}
		if ended {
			return s.lines()
		}
		<-tick.C
	}
}

func (s *Server) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// ended reports whether the process is gone, and all that it has said is read.
func (s *Server) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Freeze makes the server stand still: it takes connections and answers nothing until the function that comes back is
// called.
func (s *Server) Freeze() (thaw func()) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	thaw = func() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !s.stopped() { // its threads go on for a moment
		select {
		case <-tick.C:
		case <-s.done:
			s.t.Fatal("slapd ended instead of standing still")
		}
	}
	return thaw
}

// stopped reports whether every thread stands still (proc(5), state T).
func (s *Server) stopped() bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid))
	if err != nil || len(threads) == 0 {
		return true // not Linux: nothing to wait by
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		_, state, found := strings.Cut(string(stat), ") ")
		if err == nil && found && !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return true
}

// Admin changes entries as the root of the directory.
func (s *Server) Admin(change func(*ldap.Conn) error) {
	s.t.Helper()
	conn, err := ldap.DialURL(fmt.Sprintf("ldap://127.0.0.1:%d", s.Port))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.Bind(Root, RootPassword); err != nil {
		s.t.Fatal(err)
	}
	if err := change(conn); err != nil {
		s.t.Fatal(err)
	}
}

// Set replaces an attribute's values; none: it removes it.
func (s *Server) Set(dn, attribute string, values ...string) {
	s.t.Helper()
	s.Admin(func(conn *ldap.Conn) error {
		request := ldap.NewModifyRequest(dn, nil)
		request.Replace(attribute, values)
		return conn.Modify(request)
	})
}

// Delete removes an entry.
func (s *Server) Delete(dn string) {
	s.t.Helper()
	s.Admin(func(conn *ldap.Conn) error { return conn.Del(ldap.NewDelRequest(dn, nil)) })
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

// ownPort returns a port of loopback that is the test's to its end, whether a server listens on it or not: a socket that
// only has the address keeps it from being given to anybody who asks for any port, and leaves it to a server that reuses
// addresses, as slapd does.
func ownPort(t *testing.T) int {
	t.Helper()
	syscall.ForkLock.RLock() // else a server that another test starts inherits it
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Close(fd); err != nil {
			t.Error(err)
		}
	})
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return addr.(*syscall.SockaddrInet4).Port
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Certificate is the server's certificate and key as a TLS configuration takes them, for a server of the test's own.
func (s *Server) Certificate() tls.Certificate {
	s.t.Helper()
	pair, err := tls.LoadX509KeyPair(s.path("server.pem"), s.path("server.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	return pair
}

// AddGroup makes a group below Groups, so that overlays see it.
func (s *Server) AddGroup(cn string, members ...string) {
	s.t.Helper()
	s.Admin(func(conn *ldap.Conn) error {
		request := ldap.NewAddRequest("cn="+cn+","+Groups, nil)
		request.Attribute("objectClass", []string{"groupOfNames"})
		request.Attribute("cn", []string{cn})
		dns := make([]string, len(members))
		for i, uid := range members {
			dns[i] = "uid=" + uid + "," + Users
		}
		request.Attribute("member", dns)
		return conn.Add(request)
	})
}
