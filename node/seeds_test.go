package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// curlLines returns the commands of a document, continued lines joined.
func curlLines(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/seeds", file))
	if err != nil {
		t.Fatal(err)
	}
	joined := strings.ReplaceAll(string(text), "\\\n", " ")
	return regexp.MustCompile(`(?m)^curl .*$`).FindAllString(joined, -1)
}

// shell runs a command line in the directory and returns what it printed.
func shell(t *testing.T, dir, line string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// The document's own command lines, each sent to another node, over TLS. What stands for the reader's own values is
// filled in; /api/collections is an application behind nginx, which asks the nodes.
func TestFusionSeed(t *testing.T) {
	need(t, "curl")
	need(t, "nginx")
	lines := curlLines(t, "fusion-sessions-api.txt")
	if len(lines) != 4 {
		t.Fatalf("the document has %d command lines, want 4: %q", len(lines), lines)
	}
	s := newSuite(t)
	ca := s.withTLS()
	s.startAll()
	front := s.forwardAuth()
	dir := t.TempDir()
	run := func(line string, target string, replace ...string) string {
		line = strings.NewReplacer(append(replace,
			"https://FUSION_HOST:FUSION_PORT", target, "USERNAME", "admin", "PASSWORD", suitePassword, "REALM_NAME", "native")...).Replace(line)
		return shell(t, dir, strings.Replace(line, "curl ", "curl -sS --cacert "+ca+" ", 1))
	}

	out := run(lines[0], s.url(s.nodes[0]))
	if !strings.Contains(out, "201 Created") || !regexp.MustCompile(`(?m)^Set-Cookie: id=[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12};HttpOnly;Path=/api`).MatchString(out) {
		t.Fatalf("the login answers\n%s", out)
	}
	token := regexp.MustCompile(`id=([0-9a-f-]{36})`).FindStringSubmatch(out)[1]

	if out := run(lines[1], front); out != "collections of admin" {
		t.Fatalf("the application behind nginx answers %q", out)
	}

	const example = "416925d6-6d26-4afd-b31d-ced61714d287"
	var who struct {
		User  struct{ ID, Username string }
		Roles []struct{ Name string }
	}
	out = run(lines[2], s.url(s.nodes[1]), example, token)
	if err := json.Unmarshal([]byte(out), &who); err != nil || who.User.Username != "admin" || who.User.ID == "" || len(who.Roles) != 1 || who.Roles[0].Name != "admin" {
		t.Fatalf("who am I answers %s", out)
	}

	run(lines[3], s.url(s.nodes[2]), example, token)
	for _, n := range s.nodes {
		if a := s.do(s.client(), http.MethodGet, s.url(n)+"/api/session", "", "Cookie", "id="+token); a.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%s after the end: %d %s", n.name, a.StatusCode, a.text)
		}
	}
	if a := s.do(s.client(), http.MethodGet, front+"/api/collections", "", "Cookie", "id="+token); a.StatusCode != http.StatusUnauthorized {
		t.Fatalf("the application after the end: %d %s", a.StatusCode, a.text)
	}
}

// forwardAuth starts an application and nginx with the configuration that is shipped, its addresses replaced, and
// returns the address of nginx.
func (s *suite) forwardAuth() string {
	s.t.Helper()
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "" {
			s.t.Error("the application sees the cookie")
		}
		_, _ = fmt.Fprint(w, "collections of "+r.Header.Get("Remote-User")) // a client that has gone is none of its business
	}))
	s.t.Cleanup(application.Close)
	config, err := os.ReadFile("../scripts/nginx.conf")
	if err != nil {
		s.t.Fatal(err)
	}
	front := freePorts(s.t, 1)[0]
	replaced := strings.NewReplacer(
		"127.0.0.1:8090", front, "127.0.0.1:9000", strings.TrimPrefix(application.URL, "http://"),
		"127.0.0.1:8180", s.nodes[0].http, "127.0.0.1:8280", s.nodes[1].http, "127.0.0.1:8380", s.nodes[2].http,
	).Replace(string(config))
	if s.tls {
		replaced = strings.ReplaceAll(replaced, "http://cloakroom", "https://cloakroom")
	}
	dir := s.t.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(replaced), 0o600); err != nil {
		s.t.Fatal(err)
	}
	nginx := exec.Command("nginx", "-p", dir, "-c", file)
	var stderr strings.Builder
	nginx.Stderr = &stderr
	if err := nginx.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := nginx.Process.Signal(os.Interrupt); err != nil {
			s.t.Errorf("stop nginx: %v", err)
		}
		_ = nginx.Wait() // what it has to say is in its log
		if s.t.Failed() {
			s.t.Logf("nginx: %s", stderr.String())
		}
	})
	client := s.client()
	s.until("nginx", func() bool {
		_, err := s.try(s.t.Context(), client, http.MethodGet, "http://"+front+"/healthz", "")
		return err == nil
	})
	return "http://" + front
}

// A client that reads the cookie once, from the first answer, and goes on with that token; each request at another
// node. Then the document's own command lines with its cookie file.
func TestMMonitSeed(t *testing.T) {
	need(t, "curl")
	lines := curlLines(t, "mmonit-session-api.txt")
	if len(lines) != 4 {
		t.Fatalf("the document has %d command lines, want 4: %q", len(lines), lines)
	}
	s := newSuite(t)
	ca := s.withTLS()
	s.startAll()
	client := s.client()
	at := func(i int, path string) string { return s.url(s.nodes[i%3]) + path }

	first := s.do(client, http.MethodGet, at(0, "/index.csp"), "")
	if first.StatusCode != http.StatusOK || len(first.Cookies()) == 0 || first.Cookies()[0].Name != "zsessionid" {
		t.Fatalf("the first page: %d, cookies %v", first.StatusCode, first.Cookies())
	}
	cookie := "zsessionid=" + first.cookie("zsessionid") + ";"
	form := url.Values{"z_username": {"admin"}, "z_password": {suitePassword}, "z_csrf_protection": {"off"}}.Encode()
	login := s.do(client, http.MethodPost, at(1, "/z_security_check"), form, "Content-Type", "application/x-www-form-urlencoded", "Cookie", cookie)
	if login.StatusCode != http.StatusFound || !strings.HasPrefix(login.Header.Get("Location"), "/") {
		t.Fatalf("the login: %d, location %q", login.StatusCode, login.Header.Get("Location"))
	}
	if page := s.do(client, http.MethodGet, at(2, "/index.csp"), "", "Cookie", cookie); page.StatusCode != http.StatusOK || page.cookie("zsessionid") != "" {
		t.Fatalf("the page after the login: %d, cookies %v: the first token is not good any more", page.StatusCode, page.Cookies())
	}

	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, ".mmonit"), 0o700); err != nil {
		t.Fatal(err)
	}
	// curl reads headers too where it expects its own format.
	if err := os.WriteFile(filepath.Join(dir, ".mmonit/cookie"), []byte("Set-Cookie: zsessionid="+first.cookie("zsessionid")+"; Path=/\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{`{}`, `{"myvar1":"hello","myvar2":"world"}`, `{}`, `{}`} {
		line := strings.ReplaceAll(lines[i], "https://127.0.0.1:8080", s.url(s.nodes[i%3]))
		out := shell(t, dir, strings.Replace(line, "curl ", "curl -sS --cacert "+ca+" ", 1))
		if strings.Join(strings.Fields(out), "") != want {
			t.Fatalf("%s\nanswers %s, want %s", line, out, want)
		}
	}
	for i := range s.nodes {
		if a := s.do(client, http.MethodGet, at(i, "/api/2/session/get"), "", "Cookie", cookie); a.StatusCode != http.StatusUnauthorized {
			t.Fatalf("node %d accepts the invalidated session: %d %s", i, a.StatusCode, a.text)
		}
	}
}

// A browser gets a fresh token at the login: one that somebody planted before is worth nothing.
func TestMMonitLoginOfABrowser(t *testing.T) {
	s := newSuite(t)
	s.startAll()
	client := s.client()
	planted := s.do(client, http.MethodGet, s.url(s.nodes[0])+"/index.csp", "").cookie("zsessionid")
	form := url.Values{"z_username": {"admin"}, "z_password": {suitePassword}}.Encode()
	login := s.do(client, http.MethodPost, s.url(s.nodes[1])+"/z_security_check", form, "Content-Type", "application/x-www-form-urlencoded",
		"Cookie", "zsessionid="+planted, "Origin", s.url(s.nodes[1]), "Sec-Fetch-Site", "same-origin")
	fresh := login.cookie("zsessionid")
	if login.StatusCode != http.StatusFound || fresh == "" || fresh == planted {
		t.Fatalf("the login: %d, token %q after %q", login.StatusCode, fresh, planted)
	}
	for _, c := range []struct {
		token string
		want  int
	}{{fresh, http.StatusOK}, {planted, http.StatusUnauthorized}} {
		if a := s.do(client, http.MethodGet, s.url(s.nodes[2])+"/session/get", "", "Cookie", "zsessionid="+c.token); a.StatusCode != c.want {
			t.Fatalf("token %q: %d %s, want %d", c.token, a.StatusCode, a.text, c.want)
		}
	}
}

// A login whose password is changed while its hash is computed must not succeed: what computes the hashes of one node is
// held up, and the change, through another node, comes in between. For as long as a node waits for it there is time.
func TestPasswordChangesDuringALogin(t *testing.T) {
	t.Parallel()
	s := newSuite(t, slices.Concat(cheapHashes, calmHeartbeat)...)
	s.startAll()
	admin := s.cookie(s.nodes[1])
	id := s.addUser(s.nodes[0], admin, "ann", "the old password")
	goOn := s.holdHashes(s.nodes[0])
	done := make(chan answer, 1)
	go func() { done <- s.login(s.client(), s.nodes[0], "ann", "the old password") }()
	s.until("the login holds a hash", func() bool { return s.hashing(s.nodes[0]) })
	change := s.do(s.client(), http.MethodPut, s.url(s.nodes[1])+"/api/users/"+id, `{"password":"the new password"}`, "Content-Type", "application/json", "Cookie", admin)
	if change.StatusCode != http.StatusOK {
		t.Fatalf("the change: %d %s", change.StatusCode, change.text)
	}
	select {
	case a := <-done:
		t.Fatalf("the login was answered (%d) before the change: the test shows nothing", a.StatusCode)
	default:
	}
	goOn()
	if a := <-done; a.StatusCode != http.StatusUnauthorized || a.cookie("id") != "" {
		t.Fatalf("a login with the old password, verified before the change: %d %s", a.StatusCode, a.text)
	}
	if a := s.login(s.client(), s.nodes[2], "ann", "the new password"); a.StatusCode != http.StatusCreated {
		t.Fatalf("the new password: %d %s", a.StatusCode, a.text)
	}
}

// holdHashes stops the processes in which a node computes hashes, until it is told to let them go on.
func (s *suite) holdHashes(n *suiteNode) (goOn func()) {
	s.t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		s.t.Skipf("the system does not tell its processes: %v", err)
	}
	var held []int
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var pid, parent int
		var state string
		rest := text[bytes.LastIndexByte(text, ')')+1:] // the name may be anything
		if _, err := fmt.Sscan(string(rest), &state, &parent); err != nil || parent != n.process.Process.Pid {
			continue
		}
		if _, err := fmt.Sscan(string(text), &pid); err != nil {
			s.t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			s.t.Fatal(err)
		}
		held = append(held, pid)
	}
	if len(held) == 0 {
		s.t.Fatalf("%s has no process for hashes", n.name)
	}
	return func() {
		for _, pid := range held {
			_ = syscall.Kill(pid, syscall.SIGCONT) // the node may have given it up
		}
	}
}

// hashing reports whether the node computes a password hash at the moment, by its metrics.
func (s *suite) hashing(n *suiteNode) bool {
	operator := n.flags[indexOf(n.flags, "--operator")+1]
	a := s.do(s.client(), http.MethodGet, "http://"+operator+"/metrics", "")
	m := regexp.MustCompile(`(?m)^cloakroom_password_hashes_running (\d+)`).FindStringSubmatch(a.text)
	if m == nil {
		s.t.Fatal("no metric cloakroom_password_hashes_running")
	}
	return m[1] != "0"
}

func indexOf(list []string, item string) int {
	for i, s := range list {
		if s == item {
			return i
		}
	}
	return -1
}
