package httpapi

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/transport"
)

// A node that is to stop closes each connection by an answer, so that no request is sent on one that is just closed; but
// not the control socket's, and before it is to stop it keeps them.
func TestRetiredServerClosesConnectionsPolitely(t *testing.T) {
	f := newFixture(t).opened()
	tok := f.create(session.Create{Username: "ann"})
	request := "GET /auth/verify HTTP/1.1\r\nHost: x\r\nCookie: id=" + tok.Text + "\r\n\r\n"
	kept, idle := f.dial(), f.dial()
	for range 2 { // the first by fasthttp, the second by the lane
		kept.write(request)
		if a := kept.read(); a.status != 200 || a.get("Connection") != "" {
			t.Fatalf("before: %d %v", a.status, a.header)
		}
	}
	f.Retire()
	kept.write(request)
	if a := kept.read(); a.status != 200 || a.get("Connection") != "close" {
		t.Errorf("a lookup: %d %v", a.status, a.header)
	}
	kept.closed()
	idle.write("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
	if a := idle.read(); a.status != 404 || a.get("Connection") != "close" {
		t.Errorf("an error: %d %v", a.status, a.header)
	}
	idle.closed()
}

// What the system has accepted when a server stops listening is answered: a request that somebody has sent there would
// be lost otherwise, and could not be repeated.
func TestBacklogIsServed(t *testing.T) {
	f := newFixture(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	waiting := make([]net.Conn, 20)
	for i := range waiting { // nobody accepts yet
		if waiting[i], err = net.Dial("tcp", ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = waiting[i].Close() }()
		if _, err := waiting[i].Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	l := transport.NewListener(ln, &f.listeners, transport.Options{Connections: 100})
	if !l.Retire() {
		t.Fatal("it does not retire")
	}
	served := make(chan error, 1)
	go func() { served <- f.api.Serve(l) }()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("still listening: %v", err)
	}
	answer := make([]byte, 15)
	for i, c := range waiting {
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(answer); err != nil || string(answer[:n]) != "HTTP/1.1 200 OK" {
			t.Errorf("connection %d: %q, %v", i, answer[:n], err)
		}
	}
}

// A server that is to stop waits until it is not asked any more: a load balancer that looks seldom still sends requests
// after the notice. It waits not for ever.
func TestQuiet(t *testing.T) {
	times := DrainTimes{Notice: time.Second, Quiet: 300 * time.Millisecond, Most: 7 * time.Second}
	for name, c := range map[string]struct {
		asked time.Duration // how long requests go on, one each 100 ms
		want  time.Duration
	}{
		"nobody asks":       {0, time.Second},
		"all look at once":  {500 * time.Millisecond, time.Second},
		"one looks seldom":  {4 * time.Second, 4*time.Second + 300*time.Millisecond},
		"one does not look": {time.Minute, 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			clustertest.Bubble(t, func(t *testing.T) {
				var v visits
				v.begin()
				ctx, cancel := context.WithCancel(t.Context())
				begun := time.Now()
				var asking sync.WaitGroup
				asking.Go(func() {
					for ctx.Err() == nil && time.Since(begun) < c.asked {
						time.Sleep(100 * time.Millisecond)
						v.note()
					}
				})
				defer asking.Wait()
				defer cancel()
				v.begin() // again: nothing begins anew
				v.await(ctx, times)
				if took := time.Since(begun); took != c.want {
					t.Errorf("waited %v, not %v", took, c.want)
				}
			})
		})
	}
	clustertest.Bubble(t, func(t *testing.T) {
		var v visits
		v.begin()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		begun := time.Now()
		v.await(ctx, times)
		if took := time.Since(begun); took != 200*time.Millisecond {
			t.Errorf("waited %v for a context that ended", took)
		}
	})
}

// Who never asks whether a server is ready is not told, and not waited for: clients that come directly go on until there is
// nobody to come to.
func TestQuietIsForWhoLooks(t *testing.T) {
	times := DrainTimes{Notice: time.Second, Quiet: 300 * time.Millisecond, Most: 7 * time.Second}
	for name, c := range map[string]struct {
		looked time.Duration // before the end begins; negative: after that
		want   time.Duration
	}{
		"never":         {0, times.Notice},
		"long ago":      {checkMost, times.Notice},
		"lately":        {checkMost - time.Second, times.Most},
		"only just now": {-500 * time.Millisecond, times.Most},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			look := func() { f.send("GET", "/readyz") }
			clustertest.Bubble(t, func(t *testing.T) {
				if c.looked > 0 {
					look()
					time.Sleep(c.looked)
				}
				f.Retire()
				begun := time.Now()
				if c.looked < 0 {
					time.Sleep(-c.looked)
					look()
				}
				ctx, cancel := context.WithCancel(t.Context())
				var asking sync.WaitGroup
				asking.Go(func() {
					for ctx.Err() == nil {
						time.Sleep(100 * time.Millisecond)
						f.health.visits.note()
					}
				})
				f.Quiet(ctx, times)
				if took := time.Since(begun); took != c.want {
					t.Errorf("waited %v, not %v", took, c.want)
				}
				cancel()
				asking.Wait()
			})
		})
	}
}

// Health checks are no requests that somebody would miss.
func TestHealthChecksAreNoVisits(t *testing.T) {
	f := newFixture(t)
	f.Retire()
	f.send("GET", "/readyz")
	f.send("GET", "/healthz")
	if f.health.visits.checked.IsZero() {
		t.Error("nobody has looked")
	}
	if !f.health.visits.last.IsZero() {
		t.Error("a health check counts")
	}
	f.send("GET", "/auth/verify")
	if f.health.visits.last.IsZero() {
		t.Error("a lookup does not count")
	}
}
