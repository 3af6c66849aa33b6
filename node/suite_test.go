package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/wire"
)

// suite is nodes, three mostly, as processes of their own, with real ports and disks.
type suite struct {
	t       testing.TB
	dir     string
	binary  string
	careful bool   // false: nodes are started with a umask that takes nothing away
	user    uint32 // nodes run as, and with a group of that number; 0: as this process
	tls     bool
	roots   *x509.CertPool
	options []string
	environ []string // besides this process's
	nodes   []*suiteNode
}

type suiteNode struct {
	name     string
	http     string
	operator string
	flags    []string
	process  *exec.Cmd
	ended    chan struct{}
	log      string
}

// calmHeartbeat are options of serve for tests in which nobody is to be elected: a machine with much to do stands still for
// seconds, which at the default passes for a dead leader.
var calmHeartbeat = []string{"--heartbeat", MaxHeartbeat.String()}

const suitePassword = "correct horse battery staple"

// buildDir is where buildOnce has put the program, "" if it has not. It is removed by TestMain: run after run would fill the disk.
var buildDir string

// buildOnce builds the program without the race detector: these tests are about processes, and some about their speed.
var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "cloakroom-suite")
	if err != nil {
		return "", err
	}
	buildDir = dir
	binary := filepath.Join(dir, "cloakroom")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return binary, nil
})

func newSuite(t testing.TB, options ...string) *suite {
	t.Helper()
	return newSuiteOf(t, 3, options...)
}

func newSuiteOf(t testing.TB, size int, options ...string) *suite {
	t.Helper()
	if raceEnabled {
		t.Skip("the nodes are processes without the race detector, and it leaves their clients too slow: run this without -race")
	}
	binary, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{t: t, dir: t.TempDir(), binary: binary, careful: true, options: options}
	key, err := wire.NewClusterKey()
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(s.dir, "key")
	if err := os.WriteFile(keyFile, []byte(key.Encode()), 0o600); err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 4*size)
	var seeds []string
	for i := range size {
		seeds = append(seeds, ports[4*i+3])
	}
	for i := range size {
		n := &suiteNode{name: fmt.Sprintf("n%d", i+1), http: ports[4*i], operator: ports[4*i+1]}
		n.log = filepath.Join(s.dir, n.name+".log")
		n.flags = []string{
			"serve", "--name", n.name, "--data-dir", filepath.Join(s.dir, n.name), "--cluster-key-file", keyFile,
			"--http", ports[4*i], "--operator", ports[4*i+1], "--peer", ports[4*i+2], "--gossip", ports[4*i+3],
		}
		if size > 1 {
			n.flags = append(n.flags, "--join", strings.Join(seeds, ","), "--bootstrap-expect", strconv.Itoa(size))
		}
		s.nodes = append(s.nodes, n)
	}
	t.Cleanup(func() {
		for _, n := range s.nodes {
			if n.process != nil {
				s.kill(n)
			}
		}
		if t.Failed() {
			s.showLogs()
		}
	})
	return s
}

// handedOut is the port that a node got last. Nodes' ports are below those that the kernel gives to connections, and no
// two tests that run at once get the same.
var handedOut = struct {
	sync.Mutex
	next int
}{next: firstPort + rand.IntN(portCount)}

const (
	firstPort = 16_000
	portCount = 16_000
)

// freePorts returns addresses on loopback that nobody listened on a moment ago.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	handedOut.Lock()
	defer handedOut.Unlock()
	var addrs []string
	for range portCount {
		if len(addrs) == n {
			return addrs
		}
		handedOut.next = firstPort + (handedOut.next+1-firstPort)%portCount
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", handedOut.next))
		if err != nil {
			continue // somebody else's
		}
		addrs = append(addrs, l.Addr().String())
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("fewer than %d free ports from %d on", n, firstPort)
	return nil
}

// withTLS makes the nodes serve TLS under a certificate that the suite's clients trust.
func (s *suite) withTLS() (caFile string) {
	s.t.Helper()
	caFile, keyFile := filepath.Join(s.dir, "cert.pem"), filepath.Join(s.dir, "cert.key")
	cert, key, err := selfSigned()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(caFile, cert, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, key, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.roots = x509.NewCertPool()
	s.roots.AppendCertsFromPEM(cert)
	s.tls = true
	s.options = append(s.options, "--tls-cert", caFile, "--tls-key", keyFile)
	return caFile
}

func (s *suite) start(n *suiteNode, options ...string) {
	s.t.Helper()
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	line := slices.Concat([]string{s.binary}, n.flags, s.options, options)
	if !s.careful {
		line = append([]string{"sh", "-c", `umask 0; exec "$0" "$@"`}, line...)
	}
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(slices.Concat(os.Environ(), s.environ), "CLOAKROOM_ADMIN_PASSWORD="+suitePassword)
	if s.user != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: s.user, Gid: s.user}}
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	n.process, n.ended = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait() // a node that was killed did not end well: the tests look at what it leaves
		close(n.ended)
	}()
}

// startAll starts the nodes and waits until they are ready and the first user can log in everywhere.
func (s *suite) startAll() {
	s.t.Helper()
	for _, n := range s.nodes {
		s.start(n)
	}
	for _, n := range s.nodes {
		s.awaitReady(n)
	}
	s.until("the first user", func() bool {
		resp := s.login(s.client(), s.nodes[0], "admin", suitePassword)
		return resp.StatusCode == http.StatusCreated
	})
}

func (s *suite) awaitReady(n *suiteNode) {
	s.t.Helper()
	client := s.client()
	s.until(n.name+" ready", func() bool {
		select {
		case <-n.ended:
			s.t.Fatalf("%s has ended", n.name)
		default:
		}
		resp, err := client.Get(s.url(n) + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (s *suite) until(what string, cond func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within %v", what, patience)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// kill ends a node as a loss of power does, as far as the process is concerned.
func (s *suite) kill(n *suiteNode) {
	if err := n.process.Process.Signal(syscall.SIGKILL); err != nil && !strings.Contains(err.Error(), "finished") {
		s.t.Errorf("kill %s: %v", n.name, err)
	}
	<-n.ended
	n.process = nil
}

func (s *suite) url(n *suiteNode) string {
	if s.tls {
		return "https://" + n.http
	}
	return "http://" + n.http
}

// client has connections of its own and follows no redirects.
func (s *suite) client() *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	text string
}

func (a answer) cookie(name string) string {
	for _, c := range a.Cookies() {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// do sends a request; header is name and value in turn. Where there is no leader it does as it is told, and tries again: a
// machine that stands still for a moment may cost any cluster its leader.
func (s *suite) do(client *http.Client, method, url, body string, header ...string) (a answer) {
	s.t.Helper()
	s.until("an answer to "+method+" "+url, func() bool {
		var err error
		if a, err = s.try(s.t.Context(), client, method, url, body, header...); err != nil {
			s.t.Fatalf("%s %s: %v", method, url, err)
		}
		return a.StatusCode != http.StatusServiceUnavailable || code(a.text) != cluster.ErrNoLeader.Code
	})
	return a
}

func (s *suite) try(ctx context.Context, client *http.Client, method, url, body string, header ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp, string(text)}, err
}

func (s *suite) login(client *http.Client, n *suiteNode, user, password string) answer {
	s.t.Helper()
	body, err := json.Marshal(map[string]string{"username": user, "password": password})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.do(client, http.MethodPost, s.url(n)+"/api/session", string(body), "Content-Type", "application/json")
}

// standstill starts to watch how long the machine keeps this process from running, and returns what tells the longest time
// so far. What a node does when it was kept from running itself is none of a test's business that is about something else.
func (s *suite) standstill() (longest func() time.Duration) {
	const every = 100 * time.Millisecond
	var most atomic.Int64
	done, ticker := make(chan struct{}), time.NewTicker(every)
	var group sync.WaitGroup
	group.Go(func() {
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-ticker.C:
				slower(&most, time.Since(last)-every)
			case <-done:
				return
			}
		}
	})
	s.t.Cleanup(func() {
		ticker.Stop()
		close(done)
		group.Wait()
	})
	return func() time.Duration { return time.Duration(most.Load()) }
}

// addUser makes a user in the realm native and returns its id.
func (s *suite) addUser(n *suiteNode, admin, name, password string) string {
	s.t.Helper()
	body := fmt.Sprintf(`{"username":%q,"password":%q,"realmName":"native","roleNames":[]}`, name, password)
	a := s.do(s.client(), http.MethodPost, s.url(n)+"/api/users", body, "Content-Type", "application/json", "Cookie", admin)
	var user struct{ ID string }
	if err := json.Unmarshal([]byte(a.text), &user); a.StatusCode != http.StatusCreated || err != nil {
		s.t.Fatalf("add user %s: %d %s", name, a.StatusCode, a.text)
	}
	return user.ID
}

func (s *suite) showLogs() {
	for _, n := range s.nodes {
		log, err := os.ReadFile(n.log)
		if err != nil {
			s.t.Log(err)
			continue
		}
		lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
		s.t.Logf("the end of the log of %s:\n%s", n.name, bytes.Join(lines[max(0, len(lines)-25):], []byte("\n")))
	}
}

// need finds a program that a test drives. Without it the test is skipped; where everything must be there, it fails.
func need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", program)
	}
	t.Skipf("%s is not installed", program)
	return ""
}
