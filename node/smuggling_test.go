package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// quiet is how long a connection must be silent for an answer no longer to be waited for. It only decides how much of an
// attack is seen; whether it worked is asked afterwards.
const quiet = 100 * time.Millisecond

// attack is a request that two servers may end in different places. {n} stands for the length of the request that is
// hidden in it, {N} for the same in hexadecimal, {inner} for that request.
type attack struct{ name, head, body string }

// attacks are the ways to hide one request in another: by both kinds of length at once, by lengths that are spelled
// oddly, by lines that end oddly, by chunks that do. By any reading that RFC 9112 allows, the hidden request is part of
// a body, or the whole is to be refused, or a proxy sees both requests and puts its own headers on each.
func attacks() (list []attack) {
	add := func(name, head, body string) { list = append(list, attack{name, head, body}) }
	const length, hidden, inChunk = "Content-Length: {n+5}\r\n", "0\r\n\r\n{inner}", "{N}\r\n{inner}\r\n0\r\n\r\n"
	for _, te := range []string{
		"Transfer-Encoding: chunked\r\n", "Transfer-Encoding: xchunked\r\n", "Transfer-Encoding : chunked\r\n", "Transfer-Encoding\t: chunked\r\n",
		"Transfer-Encoding:chunked\r\n", "Transfer-Encoding:\tchunked\r\n", "Transfer-Encoding: chunked \r\n", "tRANSFER-eNCODING: cHUNKED\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked, chunked\r\n", "Transfer-Encoding: chunked, identity\r\n",
		"Transfer-Encoding: identity, chunked\r\n", "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: identity\r\n", "Transfer-Encoding:\r\n",
		"Transfer-Encoding: \x0bchunked\r\n", "Transfer-Encoding: \x0cchunked\r\n", "Transfer-Encoding: \x00chunked\r\n", "Transfer-Encoding: chunked\x00\r\n",
		"Transfer-Encoding: chun\x00ked\r\n", "\x00Transfer-Encoding: chunked\r\n", "Transfer-Encoding\x00: chunked\r\n", "Transfer-Encoding: \xa0chunked\r\n",
		"Transfer-Encoding:\r\n chunked\r\n", "Transfer-Encoding\r\n : chunked\r\n", " Transfer-Encoding: chunked\r\n", "X: y\r\n Transfer-Encoding: chunked\r\n",
		"X: y\nTransfer-Encoding: chunked\r\n", "X: y\rTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\n", "Transfer-Encoding: chunked\r\r\n",
		"Transfer-Encoding: \"chunked\"\r\n", "Transfer-Encoding: 'chunked'\r\n", "Transfer-Encoding: chunked;q=1\r\n", "Transfer-Encoding: chunked,\r\n",
		"Transfer-Encoding: ,chunked\r\n", "Transfer_Encoding: chunked\r\n", "Transfer Encoding: chunked\r\n", "X-Transfer-Encoding: chunked\r\n",
		"Transfer-Encoding; chunked\r\n", "Transfer-Encoding chunked\r\n", ": chunked\r\nTransfer-Encoding: chunked\r\n", "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
	} {
		add("CL.TE "+te, length+te, hidden)
		add("TE.CL "+te, te+"Content-Length: 4\r\n", inChunk)
	}
	for _, n := range []string{
		"{n}", "+{n}", "-{n}", " {n}", "{n} ", "\t{n}", "0{n}", "0000000000000000000{n}", "{n},{n}", "{n}, {n}", "{n} {n}", "{n}, 0", "0, {n}", "0x{N}", "{n}.0", "{n}e0",
		"\x0b{n}", "{n}\x00", "\x00{n}", "{n};", "\"{n}\"", "", "18446744073709551616", "99999999999999999999{n}", "{n}_", "{n}\r\n ", "\r\n {n}",
	} {
		add("length "+n, "Content-Length: "+n+"\r\n", "{inner}")
	}
	for _, h := range []string{
		"Content-Length : {n}\r\n", "Content-Length\t: {n}\r\n", "Content-Length\x00: {n}\r\n", " Content-Length: {n}\r\n", "X: y\r\n Content-Length: {n}\r\n",
		"X: y\nContent-Length: {n}\r\n", "X: y\rContent-Length: {n}\r\n", "Content-Length: {n}\n", "Content_Length: {n}\r\n", "Content Length: {n}\r\n", "content-length: {n}\r\n",
		"Content-Length: 0\r\nContent-Length: {n}\r\n", "Content-Length: {n}\r\nContent-Length: 0\r\n", "Content-Length: {n}\r\nContent-Length: {n}\r\n",
		"Connection: Content-Length\r\nContent-Length: {n}\r\n", "Connection: close, Content-Length\r\nContent-Length: {n}\r\n",
		"Connection: X-Forwarded-For\r\nContent-Length: {n}\r\n", "Connection: keep-alive\r\nKeep-Alive: timeout=1\r\nContent-Length: {n}\r\n",
		"Expect: 100-continue\r\nContent-Length: {n}\r\n", "Expect: 100-Continue\r\nContent-Length: {n}\r\n", "Expect: 100-continue, x\r\nContent-Length: {n}\r\n",
		"Expect: y\r\n 100-continue\r\nContent-Length: {n}\r\n", "Expect: 0\r\nContent-Length: {n}\r\n", "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: {n}\r\n",
		"Expect: 100-continue\r\nContent-Length: 0\r\n", "Expect: 100-continue\r\n", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\nContent-Length: {n}\r\n",
		"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: {n}\r\n",
		"Host: other.example\r\nContent-Length: {n}\r\n", "Content-Encoding: gzip\r\nContent-Length: {n}\r\n", "X-HTTP-Method-Override: PUT\r\nContent-Length: {n}\r\n",
		"Content-Length: {n}\r\nX: " + strings.Repeat("a", 7000) + "\r\n", "Content-Length: {n}\r\nX\r\n", "Content-Length: {n}\r\n: x\r\n", "Content-Length: {n}\r\nX\x7f: y\r\n",
	} {
		add("head "+h, h, "{inner}")
	}
	for _, body := range []string{
		inChunk, "{N};x=y\r\n{inner}\r\n0\r\n\r\n", "{N};\r\n{inner}\r\n0\r\n\r\n", "{N};x=\"\r\n{inner}\r\n0\r\n\r\n", "{N} ;x\r\n{inner}\r\n0\r\n\r\n", "{N}\t\r\n{inner}\r\n0\r\n\r\n",
		"{N};\n{inner}\r\n0\r\n\r\n", "{N};x\n\r\n{inner}\r\n0\r\n\r\n", "{N};x\r{inner}\r\n0\r\n\r\n", "{N}\n{inner}\r\n0\r\n\r\n", "{N}\r{inner}\r\n0\r\n\r\n", "{N}\r\n{inner}\n0\r\n\r\n",
		"{N}\r\n{inner}0\r\n\r\n", "{N}\r\n{inner}xx0\r\n\r\n", "{N}\r\n{inner}\r\n0\r\n\n", "{N}\r\n{inner}\r\n0\n\n", "{N}\r\n{inner}\r\n0\n\r\n", "0{N}\r\n{inner}\r\n0\r\n\r\n", "00000000000000000{N}\r\n{inner}\r\n0\r\n\r\n",
		"0x{N}\r\n{inner}\r\n0\r\n\r\n", "+{N}\r\n{inner}\r\n0\r\n\r\n", " {N}\r\n{inner}\r\n0\r\n\r\n", "-{N}\r\n{inner}\r\n0\r\n\r\n", "{N}g\r\n{inner}\r\n0\r\n\r\n", "{N},\r\n{inner}\r\n0\r\n\r\n",
		"10000000000000000{N}\r\n{inner}\r\n0\r\n\r\n", "ffffffffffffffff\r\n{inner}\r\n0\r\n\r\n", "\r\n{N}\r\n{inner}\r\n0\r\n\r\n", "{N}\x00\r\n{inner}\r\n0\r\n\r\n", "\x00{N}\r\n{inner}\r\n0\r\n\r\n",
		"{N}\r\n{inner}\r\n0\r\nContent-Length: 5\r\n\r\n", "{N}\r\n{inner}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", "{N}\r\n{inner}\r\n0\r\nX-Forwarded-For: 192.0.2.66\r\nX: y\n\r\n",
		"{N}\r\n{inner}\r\n0\r\n X: y\r\n\r\n", "0\r\n{inner}", "0\r\nX: {inner}", "0\n{inner}", "0;\r\n{inner}", "0\r\nX:\r\n{inner}",
	} {
		add("chunks "+body, "Transfer-Encoding: chunked\r\n", body)
	}
	return list
}

// lines are the first lines that each attack is tried with. The answers tell whose they are: mallory's, or nobody's.
var firstLines = []string{"GET /api/session HTTP/1.1", "POST /healthz HTTP/1.1"}

// special are attacks by the first line.
func special() (list []struct{ line, head, body string }) {
	for _, line := range []string{
		"POST /healthz HTTP/1.0", "POST http://cloak.example/healthz HTTP/1.1", "POST http://other.example/healthz HTTP/1.1", "POST //other.example/healthz HTTP/1.1",
		"HEAD /api/session HTTP/1.1", "OPTIONS /api/session HTTP/1.1", "OPTIONS * HTTP/1.1", "DELETE /nowhere HTTP/1.1", "TRACE /healthz HTTP/1.1", "CONNECT /healthz HTTP/1.1",
		"CONNECT cloak.example:80 HTTP/1.1", "BREW /healthz HTTP/1.1", "post /healthz HTTP/1.1", "POST /healthz HTTP/1.2", "POST /healthz HTTP/2.0", "POST /healthz http/1.1", "POST /healthz",
		"POST /healthz HTTP/1.1 ", "POST  /healthz HTTP/1.1", "POST /healthz?a b HTTP/1.1", "POST /healthz?\x00 HTTP/1.1", "POST /healthz#x HTTP/1.1", "\r\nPOST /healthz HTTP/1.1", " POST /healthz HTTP/1.1",
		"POST /healthz HTTP/1.1\r\n X: y", "POST /healthz HTTP/1.1\nX: y", "POST /healthz HTTP/1.1\rX: y",
	} {
		list = append(list,
			struct{ line, head, body string }{line, "Content-Length: {n}\r\n", "{inner}"},
			struct{ line, head, body string }{line, "Transfer-Encoding: chunked\r\n", "{N}\r\n{inner}\r\n0\r\n\r\n"},
			struct{ line, head, body string }{line, "Content-Length: {n+5}\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n", "0\r\n\r\n{inner}"},
		)
	}
	return list
}

// smuggler sends attacks by one way to the node, and looks at what became of them.
type smuggler struct {
	t      testing.TB
	way    string
	front  string
	prefix string                              // of the addresses that hidden requests claim to come from
	tokens map[string]string                   // by user
	seen   func(address string) (string, bool) // what a request that claimed to come from there has done
	alone  bool                                // no proxy is in between
	sent   int
}

// byTheBook are heads that say nothing of a body, or of a shorter one, to whoever goes by RFC 9112: what follows is a
// request like any other, and only whether a proxy sees it as one is of interest.
var byTheBook = map[string]bool{
	"Transfer_Encoding: chunked\r\nContent-Length: 4\r\n": true, "X-Transfer-Encoding: chunked\r\nContent-Length: 4\r\n": true,
	"Content_Length: {n}\r\n": true, "Expect: 100-continue\r\nContent-Length: 0\r\n": true, "Expect: 100-continue\r\n": true,
}

func (s *smuggler) run() {
	for _, a := range attacks() {
		for _, line := range firstLines {
			s.try(a.name, line, a.head, a.body)
		}
	}
	for _, a := range special() {
		s.try("first line", a.line, a.head, a.body)
	}
}

// try sends an attack, and a request of the canary behind it; then the victim asks on connections of its own.
func (s *smuggler) try(name, line, head, body string) {
	if s.alone && byTheBook[head] {
		return
	}
	s.sent++
	what := fmt.Sprintf("%s, %d, %q, %q", s.way, s.sent, line, name)
	address := fmt.Sprintf("%s.%d.%d", s.prefix, s.sent/250, s.sent%250+1)
	login := `{"username":"bait","password":"` + suitePassword + `"}`
	inner := fmt.Sprintf("POST /api/session HTTP/1.1\r\nHost: cloak.example\r\nX-Forwarded-For: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", address, len(login), login)
	fill := strings.NewReplacer("{n}", strconv.Itoa(len(inner)), "{n+5}", strconv.Itoa(len(inner)+5), "{N}", strconv.FormatInt(int64(len(inner)), 16), "{inner}", inner)
	raw := line + "\r\nHost: cloak.example\r\nCookie: id=" + s.tokens["mallory"] + "\r\n" + fill.Replace(head) + "\r\n" + fill.Replace(body)
	canary := "GET /api/session HTTP/1.1\r\nHost: cloak.example\r\nCookie: id=" + s.tokens["canary"] + "\r\n\r\n"
	s.check(what, strings.HasPrefix(line, "HEAD "), raw+canary)
	for range 2 {
		if said, err := s.ask("victim"); err != nil || said != "victim" {
			s.t.Errorf("%s: afterwards the victim is answered %q, %v", what, said, err)
		}
	}
	if done, yes := s.seen(address); yes {
		s.t.Errorf("%s: the hidden request came through: %s", what, done)
	}
}

// check reads the answers. The canary's is the last, if there is one: it must not be given to what stands before.
func (s *smuggler) check(what string, isHead bool, raw string) {
	c, err := net.Dial("tcp", s.front)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	go func() { _, _ = io.WriteString(c, raw) }() // it may be refused in the middle
	r := bufio.NewReader(c)
	var answers []string
	for {
		if err := c.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			s.t.Fatal(err)
		}
		request := &http.Request{Method: http.MethodGet}
		if isHead && len(answers) == 0 {
			request.Method = http.MethodHead
		}
		status, name, err := readAnswer(r, request)
		if err != nil {
			if rest, _ := r.Peek(r.Buffered()); len(answers) == 0 && !strings.Contains(string(rest), "canary") {
				break // nginx answers HTTP/0.9 in HTTP/0.9
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "reset") {
				s.t.Errorf("%s: after %q: %v", what, answers, err)
			}
			break
		}
		if status == http.StatusContinue {
			continue
		}
		answers = append(answers, fmt.Sprintf("%d %s", status, name))
	}
	for i, a := range answers {
		if strings.HasSuffix(a, " canary") && (i == 0 || i < len(answers)-1) || strings.HasSuffix(a, " victim") || strings.HasSuffix(a, " mallory") && i > 0 || i > 2 {
			s.t.Errorf("%s: answers are %q", what, answers)
		}
	}
}

// readAnswer reads an answer, and whose session it shows.
func readAnswer(r *bufio.Reader, request *http.Request) (status int, name string, err error) {
	res, err := http.ReadResponse(r, request)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, "", err
	}
	var shown struct{ User struct{ Username string } }
	_ = json.Unmarshal(text, &shown) // of an error or a page there is nothing to show
	return res.StatusCode, shown.User.Username, nil
}

// named checks that a client can't choose the name under which a node logs its request: the node takes it from a
// trusted proxy, and the proxy must not take it from the client.
func (s *smuggler) named() {
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.front+"/nowhere", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("X-Request-Id", "forged")
	res, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if id := res.Header.Get("X-Request-Id"); res.StatusCode != http.StatusNotFound || id == "" || id == "forged" {
		s.t.Errorf("%s: a stranger's request id: %d %q", s.way, res.StatusCode, id)
	}
}

// ask asks who a user is, on a connection of its own.
func (s *smuggler) ask(user string) (string, error) {
	c, err := net.Dial("tcp", s.front)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "GET /api/session HTTP/1.1\r\nHost: cloak.example\r\nCookie: id="+s.tokens[user]+"\r\n\r\n"); err != nil {
		return "", err
	}
	_, name, err := readAnswer(bufio.NewReader(c), &http.Request{Method: http.MethodGet})
	return name, err
}

// TestSmuggling tries to get a request past HAProxy and nginx, configured as they are shipped, and past the node alone.
// The proxies keep few connections to the node and use them for everybody, so what one client leaves on one another
// client finds.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	need(t, "haproxy")
	need(t, "nginx")
	// Alone, so that no change of leaders takes the node out of service.
	s := newSuiteOf(t, 1, "--trusted-proxies", "127.0.0.0/8", "--argon2-memory", "8192", "--argon2-iterations", "1")
	s.startAll()
	n := s.nodes[0]
	login := func(user string) string {
		a := s.login(s.client(), n, user, suitePassword)
		if a.StatusCode != http.StatusCreated {
			t.Fatalf("login of %s: %d %s", user, a.StatusCode, a.text)
		}
		return a.cookie("id")
	}
	admin := "id=" + login("admin")
	tokens := map[string]string{}
	for _, user := range []string{"mallory", "canary", "victim", "bait"} {
		s.addUser(n, admin, user, suitePassword)
		tokens[user] = login(user)
	}
	client := s.client()
	var mu sync.Mutex
	seen := func(address string) (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		a := s.do(client, http.MethodGet, s.url(n)+"/api/sessions?user=bait&limit=1000", "", "Cookie", admin)
		if a.StatusCode != http.StatusOK {
			t.Fatalf("list: %d %s", a.StatusCode, a.text)
		}
		if strings.Count(a.text, `"handle"`) > 20 { // logins that a proxy has seen as such
			if a := s.do(client, http.MethodDelete, s.url(n)+"/api/sessions?user=bait", "", "Cookie", admin); a.StatusCode >= 300 {
				t.Fatalf("end: %d %s", a.StatusCode, a.text)
			}
		}
		return "a session from " + address, strings.Contains(a.text, `"`+address+`"`)
	}
	ways := []*smuggler{
		{way: "direct", front: n.http, prefix: "100.64", alone: true},
		{way: "HAProxy", front: smuggledThroughHAProxy(t, n.http), prefix: "100.65"},
		{way: "nginx", front: s.smuggledThroughNginx(n.http), prefix: "100.66"},
	}
	var all sync.WaitGroup
	for _, w := range ways {
		w.t, w.tokens, w.seen = t, tokens, seen
		s.until(w.way, func() bool { name, err := w.ask("victim"); return err == nil && name == "victim" })
		if !w.alone {
			w.named()
		}
		all.Go(w.run)
	}
	all.Wait()
	for _, w := range ways {
		t.Logf("%s: %d attacks", w.way, w.sent)
	}
}

// smuggledThroughHAProxy starts HAProxy in front of one node, with as few connections to it as can be.
func smuggledThroughHAProxy(t *testing.T, node string) (front string) {
	t.Helper()
	shipped, err := os.ReadFile("../scripts/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(shipped)) {
		switch text := strings.TrimSpace(line); {
		case text == "global":
			line += "    nbthread 1\n"
		case text == "backend nodes":
			line += "    http-reuse always\n"
		case strings.HasPrefix(text, "server n2"), strings.HasPrefix(text, "server n3"):
			continue
		}
		lines = append(lines, line)
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := ln.File() // HAProxy inherits it
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, need(t, "haproxy"), "-db", "-f", file)
	cmd.ExtraFiles = append(cmd.ExtraFiles, socket)
	cmd.Env = append(cmd.Environ(), "CLOAKROOM_FRONT=fd@3", "CLOAKROOM_N1="+node)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		_ = socket.Close()
		_ = ln.Close()
	})
	return ln.Addr().String()
}

// smuggledThroughNginx starts nginx in front of one node, with one worker, which keeps its connections for everybody.
func (s *suite) smuggledThroughNginx(node string) (front string) {
	s.t.Helper()
	shipped, err := os.ReadFile("../scripts/nginx.conf")
	if err != nil {
		s.t.Fatal(err)
	}
	front = freePorts(s.t, 1)[0]
	config := strings.NewReplacer("worker_processes auto", "worker_processes 1", "127.0.0.1:8090", front,
		"127.0.0.1:8180", node, "127.0.0.1:8280", node, "127.0.0.1:8380", node, "max_fails=1", "max_fails=0").Replace(string(shipped))
	dir := s.t.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	nginx := exec.Command(need(s.t, "nginx"), "-p", dir, "-c", file)
	if err := nginx.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := nginx.Process.Signal(os.Interrupt); err != nil {
			s.t.Errorf("stop nginx: %v", err)
		}
		_ = nginx.Wait() // it was told to go
	})
	return front
}

// gullible is a server that knows no chunks: what they hold are requests to it.
type gullible struct {
	ln        net.Listener
	addresses sync.Map // that requests claimed to come from
	answered  atomic.Int64
}

func (g *gullible) serve() {
	for {
		c, err := g.ln.Accept()
		if err != nil {
			return
		}
		go g.converse(c)
	}
}

func (g *gullible) converse(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if !strings.HasSuffix(strings.TrimSpace(line), "HTTP/1.1") {
			continue // a chunk's size, to others
		}
		who, length := "", 0
		for line != "\r\n" {
			if line, err = r.ReadString('\n'); err != nil {
				return
			}
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			switch value = strings.TrimSpace(value); strings.ToLower(name) {
			case "cookie":
				who = strings.TrimPrefix(value, "id=")
			case "content-length":
				length, _ = strconv.Atoi(value)
			case "x-forwarded-for":
				g.addresses.Store(value, true)
			}
		}
		if _, err := io.CopyN(io.Discard, r, int64(length)); err != nil {
			return
		}
		g.answered.Add(1)
		body := `{"user":{"username":"` + who + `"}}`
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			return
		}
	}
}

// The test above would see a request that came through: behind the same proxy, a server that knows no chunks is lost.
func TestSmugglingIsSeen(t *testing.T) {
	need(t, "haproxy")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	g := &gullible{ln: ln}
	go g.serve()
	report := &recorder{TB: t}
	w := &smuggler{
		t: report, way: "HAProxy", front: smuggledThroughHAProxy(t, ln.Addr().String()), prefix: "100.65",
		tokens: map[string]string{"mallory": "mallory", "canary": "canary", "victim": "victim"},
		seen:   func(address string) (string, bool) { _, yes := g.addresses.Load(address); return "seen", yes },
	}
	for deadline := time.Now().Add(patience); ; {
		if name, err := w.ask("victim"); err == nil && name == "victim" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("HAProxy does not answer")
		}
		<-time.After(20 * time.Millisecond)
	}
	w.try("chunks", "GET /api/session HTTP/1.1", "Transfer-Encoding: chunked\r\n", "{N}\r\n{inner}\r\n0\r\n\r\n")
	if len(report.errors) == 0 {
		t.Error("a hidden request came through, and nobody noticed")
	}
	t.Logf("%q", report.errors)
}

// recorder keeps the errors of a test that is meant to fail.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}
