package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// balancers are the proxies that scripts has a configuration for. Each starts one in front of three nodes and an
// application, and returns its address. replace is pairs of what stands in the configuration and what is to stand there.
var balancers = map[string]func(t *testing.T, nodes [3]string, application string, replace ...string) (front string){
	"HAProxy": func(t *testing.T, nodes [3]string, _ string, _ ...string) string {
		front, lines := startHAProxy(t, nodes)
		go func() {
			for lines.Scan() { // read, or it would stop at a full pipe
			}
		}()
		return front
	},
	"nginx": startNginx,
	"Caddy": startCaddy,
}

// shipped returns a configuration of scripts with other addresses than its own, and whatever else is to be replaced.
func shipped(t testing.TB, name string, replace ...string) (file string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../scripts", name))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(text), replace[i]) {
			t.Fatalf("%s has no %s", name, replace[i])
		}
	}
	file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(strings.NewReplacer(replace...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func startNginx(t *testing.T, nodes [3]string, application string, replace ...string) (front string) {
	t.Helper()
	front = freePorts(t, 1)[0]
	file := shipped(t, "nginx.conf", append(replace, "127.0.0.1:8090", front, "127.0.0.1:9000", application,
		"127.0.0.1:8180", nodes[0], "127.0.0.1:8280", nodes[1], "127.0.0.1:8380", nodes[2])...)
	startProxy(t, exec.Command(need(t, "nginx"), "-p", filepath.Dir(file), "-c", file), front)
	return front
}

func startCaddy(t *testing.T, nodes [3]string, application string, replace ...string) (front string) {
	t.Helper()
	front = freePorts(t, 1)[0]
	file := shipped(t, "Caddyfile", append(replace, ":8070", front[strings.LastIndexByte(front, ':'):], "127.0.0.1:9000", application,
		"127.0.0.1:8180", nodes[0], "127.0.0.1:8280", nodes[1], "127.0.0.1:8380", nodes[2])...)
	cmd := exec.Command(need(t, "caddy"), "run", "--config", file, "--adapter", "caddyfile")
	cmd.Env = append(cmd.Environ(), "HOME="+filepath.Dir(file)) // it keeps files there
	startProxy(t, cmd, front)
	return front
}

// startProxy starts a proxy, waits until it listens, and stops it in the end.
func startProxy(t *testing.T, cmd *exec.Cmd, front string) {
	t.Helper()
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is told to go
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended
		<-ended
		if t.Failed() {
			text := said.String()
			t.Logf("%s: %s", cmd.Path, text[max(0, len(text)-1000):])
		}
	})
	for deadline := time.Now().Add(patience); ; {
		if res, err := http.Get("http://" + front + "/healthz"); err == nil {
			_ = res.Body.Close() // it is there
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s has ended: %s", cmd.Path, said.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen", cmd.Path)
		}
	}
}

// trial is a proxy in front of stand-ins, and a client that keeps its connection.
type trial struct {
	t      *testing.T
	front  string
	nodes  [3]*standIn
	client *http.Client
}

func newTrial(t *testing.T, proxy string, replace ...string) *trial {
	t.Helper()
	tr := &trial{t: t, client: &http.Client{Timeout: patience, Transport: &http.Transport{}}}
	t.Cleanup(tr.client.CloseIdleConnections)
	var addresses [3]string
	for i := range tr.nodes {
		tr.nodes[i] = newStandIn(t, true)
		addresses[i] = tr.nodes[i].addr()
	}
	tr.front = balancers[proxy](t, addresses, "127.0.0.1:1", replace...)
	for _, n := range tr.nodes {
		n.header.Store(nil) // of what asked whether the proxy was there
	}
	return tr
}

// send sends a request. status 0: the proxy gave no answer.
func (tr *trial) send(method, uri string, header ...string) (status int) {
	tr.t.Helper()
	request, err := http.NewRequestWithContext(tr.t.Context(), method, "http://"+tr.front+uri, nil)
	if err != nil {
		tr.t.Fatal(err)
	}
	if method == http.MethodPost || method == http.MethodPut {
		request.Body, request.ContentLength = io.NopCloser(strings.NewReader("a=b")), 3
	}
	for i := 0; i < len(header); i += 2 {
		request.Header[header[i]] = []string{header[i+1]} // as it is spelt
	}
	// A connection of its own to the proxy: else this client would repeat a GET by itself.
	request.Close = true
	response, err := tr.client.Do(request)
	if err != nil {
		return 0
	}
	_ = response.Body.Close() // nothing of it matters
	return response.StatusCode
}

// reached is how many requests the nodes have been sent.
func (tr *trial) reached() (n int64) {
	for _, node := range tr.nodes {
		n += node.reached.Load()
	}
	return n
}

// The lookups, and requests of each kind that may change something.
var (
	lookups = []string{
		"GET /auth/verify", "HEAD /auth/verify", "GET /auth/forward", "GET /api/session", "GET /api/session?realmName=native",
		"GET /session/get?key=a", "GET /api/1/session/get", "GET /api/2/session/get?a=/session/put",
	}
	changes = []string{
		"GET /session/put?a=b", "GET /api/2/session/put?a=b", "GET /api/1/session/delete", "GET /session/invalidate", "GET /session/put?x=/session/get", "GET /session/put/../get",
		"GET /z_security_check?z_username=a", "GET /login/logout.csp", "GET /index.csp", "GET /anything", "POST /api/session", "POST /session/get", "DELETE /api/session",
		"PUT /api/users/1", "POST /oauth2/token", "POST /z_security_check",
	}
)

// A request whose node dies over it is repeated at another node if it is a lookup, and never if it may change something:
// also not by GET, and not on a connection that was used before, where HTTP clients repeat requests by themselves.
func TestBalancersRepeatOnlyLookups(t *testing.T) {
	t.Parallel()
	for name := range balancers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A node that gave no answer is asked again at once: all of them are to be silent again and again.
			tr := newTrial(t, name, map[string][]string{"nginx": {"max_fails=1", "max_fails=0"}, "Caddy": {"fail_duration 1s", "fail_duration 1ms"}}[name]...)
			tr.warm()
			for _, line := range changes {
				method, uri, _ := strings.Cut(line, " ")
				for _, n := range tr.nodes {
					n.silent.Store(true)
				}
				before := tr.reached()
				var status int
				tr.until(line+" reaches a node", func() bool { // a proxy may think for a moment that there is none
					status = tr.send(method, uri)
					return tr.reached() > before
				})
				if n := tr.reached() - before; n != 1 || status != 0 && status < 500 {
					t.Errorf("%s: sent %d times, answered %d", line, n, status)
				}
				for _, n := range tr.nodes {
					n.silent.Store(false)
				}
				tr.warm()
			}
			// With a password a lookup is a try that counts.
			for _, n := range tr.nodes {
				n.silent.Store(true)
			}
			before := tr.reached()
			tr.until("a lookup with a password reaches a node", func() bool {
				tr.send("GET", "/api/session", "Authorization", "bAsic YTpi")
				return tr.reached() > before
			})
			if n := tr.reached() - before; n != 1 {
				t.Errorf("a lookup with a password: sent %d times", n)
			}
			// Again soon, but not for the same lookup: the one node that is silent has fewer requests than the others.
			tr = newTrial(t, name, map[string][]string{"nginx": {"max_fails=1", "max_fails=0"}, "Caddy": {"fail_duration 1s", "fail_duration 300ms"}}[name]...)
			for _, line := range lookups {
				method, uri, _ := strings.Cut(line, " ")
				for i, n := range tr.nodes {
					n.silent.Store(i == 0)
				}
				tr.warm()
				before := tr.nodes[0].reached.Load()
				tr.until(line+" meets the node that gives no answer", func() bool {
					if status := tr.send(method, uri); status != http.StatusOK {
						t.Errorf("%s: %d", line, status)
						return true
					}
					return tr.nodes[0].reached.Load() > before
				})
			}
		})
	}
}

// warm leaves kept connections to the nodes.
func (tr *trial) warm() {
	for i, n := 0, 0; n < 12 && i < 1000; i++ {
		if tr.send([]string{"GET", "POST"}[i%2], []string{"/auth/verify", "/api/session"}[i%2]) == http.StatusOK {
			n++
		}
	}
}

func (tr *trial) until(what string, cond func() bool) {
	tr.t.Helper()
	for deadline := time.Now().Add(patience); !cond(); {
		if time.Now().After(deadline) {
			tr.t.Fatalf("%s: not within %v", what, patience)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// What a client says of who and where it is does not come through; what the proxy says does.
func TestBalancersSayWhoAsks(t *testing.T) {
	t.Parallel()
	forged := []string{
		"Remote-User", "remote-groups", "REMOTE-REALM", "Remote-Name", "Remote-Email", "Remote_User", "REMOTE_GROUPS", "X-Session-Handle", "x_session_handle",
		"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Uri", "X-Forwarded-Method", "X_Forwarded_For", "Forwarded", "X-Request-Id",
	}
	for name := range balancers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, name)
			for _, uri := range []string{"/auth/verify", "/auth/forward", "/api/session", "/session/put?a=b", "/index.csp"} {
				for _, method := range []string{"GET", "POST"} {
					header := []string{"Cookie", "id=1", "User-Agent", "test"}
					if name != "nginx" { // which knows no patterns of names
						header = append(header, "Remote-Anything", "forged")
					}
					for _, name := range forged {
						header = append(header, name, "forged")
					}
					if status := tr.send(method, uri, header...); status != http.StatusOK {
						t.Errorf("%s %s: %d", method, uri, status)
					}
				}
			}
			seen := 0
			for _, n := range tr.nodes {
				h := n.header.Load()
				if h == nil {
					continue
				}
				seen++
				for name, values := range *h {
					if strings.Contains(strings.Join(values, ","), "forged") {
						t.Errorf("a client's %s came through", name)
					}
				}
				if h.Get("X-Forwarded-For") != "127.0.0.1" || h.Get("X-Forwarded-Proto") != "http" || h.Get("Cookie") != "id=1" || h.Get("X-Request-Id") == "" {
					t.Errorf("headers: %v", *h)
				}
			}
			if seen == 0 {
				t.Error("no node was asked")
			}
		})
	}
}

// A node that is gone costs no login: it is sent to another one.
func TestBalancersPassOverTheDead(t *testing.T) {
	t.Parallel()
	for name := range balancers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, name)
			tr.nodes[1].server.Close()
			if name == "Caddy" { // it can't send a body twice, so POST waits for the check
				good := 0
				tr.until("Caddy leaves the dead node alone", func() bool {
					if good++; tr.send("POST", "/api/session") != http.StatusOK {
						good = 0
					}
					return good == 12
				})
			}
			for i := range 20 {
				for _, line := range []string{"POST /api/session", "GET /auth/verify", "POST /z_security_check"} {
					method, uri, _ := strings.Cut(line, " ")
					if status := tr.send(method, uri); status != http.StatusOK {
						t.Errorf("%s, %d: %d", line, i, status)
					}
				}
			}
		})
	}
}

// Who is not ready is sent nothing, by those proxies that look.
func TestBalancersLookAtReadiness(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"HAProxy", "Caddy"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t, name)
			tr.send("GET", "/auth/verify")
			tr.nodes[2].unready.Store(true)
			tr.until("a node that is not ready is left alone", func() bool {
				before := tr.nodes[2].reached.Load()
				for range 12 {
					if status := tr.send("POST", "/api/session"); status != http.StatusOK {
						t.Errorf("status %d", status)
					}
				}
				return tr.nodes[2].reached.Load() == before
			})
			tr.nodes[2].unready.Store(false)
			before := tr.nodes[2].reached.Load()
			tr.until("it is asked again", func() bool {
				tr.send("GET", fmt.Sprintf("/auth/verify?%d", before))
				return tr.nodes[2].reached.Load() > before
			})
		})
	}
}
