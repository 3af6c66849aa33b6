package main

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// standIn answers in a node's place, and keeps what reached it.
type standIn struct {
	server  *httptest.Server
	unready atomic.Bool
	silent  atomic.Bool // a request ends its connection without an answer, as one does when a node is killed
	reached atomic.Int64
	header  atomic.Pointer[http.Header]
}

func newStandIn(t *testing.T, ready bool) *standIn {
	t.Helper()
	s := &standIn{}
	s.unready.Store(!ready)
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			if s.unready.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return
		}
		s.reached.Add(1)
		header := r.Header.Clone()
		s.header.Store(&header)
		if s.silent.Load() {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(s.server.Close)
	return s
}

func (s *standIn) addr() string { return s.server.Listener.Addr().String() }

// startHAProxy runs scripts/haproxy.cfg in front of nodes and returns its address and the lines that it logs.
func startHAProxy(t *testing.T, nodes [3]string) (front string, lines *bufio.Scanner) {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	file, err := ln.File() // HAProxy inherits the open socket: no other process can take the port in between
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	cmd := exec.CommandContext(ctx, need(t, "haproxy"), "-db", "-f", "../scripts/haproxy.cfg")
	cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	cmd.Env = append(cmd.Environ(), "CLOAKROOM_FRONT=fd@3",
		"CLOAKROOM_N1="+nodes[0], "CLOAKROOM_N2="+nodes[1], "CLOAKROOM_N3="+nodes[2])
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		_ = file.Close()
		_ = ln.Close()
	})
	return ln.Addr().String(), bufio.NewScanner(stderr)
}

// TestHAProxyConfiguration: requests go to nodes that say that they are ready, headers that speak of identity do not
// come from clients, and a node that is gone costs no request.
func TestHAProxyConfiguration(t *testing.T) {
	nodes := [3]*standIn{newStandIn(t, false), newStandIn(t, true), newStandIn(t, true)}
	front, lines := startHAProxy(t, [3]string{nodes[0].addr(), nodes[1].addr(), nodes[2].addr()})
	var said []string
	for down := false; !down; {
		if !lines.Scan() {
			t.Fatalf("HAProxy never took n1 out:\n%s", strings.Join(said, "\n"))
		}
		said = append(said, lines.Text())
		down = strings.Contains(lines.Text(), "nodes/n1 is DOWN")
	}
	// Each request comes by a connection of its own: a request that follows another one may find that the node has
	// gone away with the connection, and HAProxy rightly does not repeat it.
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	send := func(method string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+front+"/api/session", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Remote-User", "remote-groups", "Remote-Anything", "X-Session-Handle", "X-Forwarded-For", "X-Forwarded-Proto"} {
			request.Header.Set(name, "forged")
		}
		request.Header.Set("Cookie", "id=1")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", method, response.StatusCode)
		}
	}
	for range 10 {
		send(http.MethodGet)
	}
	if nodes[0].reached.Load() != 0 || nodes[1].reached.Load() == 0 || nodes[2].reached.Load() == 0 {
		t.Errorf("requests to the nodes: %d, %d, %d", nodes[0].reached.Load(), nodes[1].reached.Load(), nodes[2].reached.Load())
	}
	header := *nodes[1].header.Load()
	for name, values := range header {
		if strings.Contains(strings.Join(values, ","), "forged") {
			t.Errorf("a client's %s came through", name)
		}
	}
	if header.Get("X-Forwarded-For") != "127.0.0.1" || header.Get("X-Forwarded-Proto") != "http" || header.Get("Cookie") != "id=1" {
		t.Errorf("headers: %v", header)
	}
	nodes[1].server.Close()
	before := nodes[2].reached.Load()
	for range 10 {
		send(http.MethodPost)
	}
	if got := nodes[2].reached.Load() - before; got != 10 {
		t.Errorf("%d of 10 requests reached the one node that is left", got)
	}
}
