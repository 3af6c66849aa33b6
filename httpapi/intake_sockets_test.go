package httpapi

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/transport"
)

// Over real sockets: however a request is cut, it is answered; and who says that no other follows is heard.
func TestIntakeOnSockets(t *testing.T) {
	f := newFixture(t).opened()
	tok := f.create(session.Create{Username: "root"})
	hit := laneText("/auth/verify", "Cookie: id="+tok.Text)
	t.Run("pieces", func(t *testing.T) {
		w := f.dial()
		w.write(ordinary)
		w.read()
		for i := range hit {
			w.write(hit[:i])
			w.write(hit[i:] + hit)
			for range 2 {
				if a := w.read(); a.status != 200 || a.get("Remote-User") != "root" {
					t.Fatalf("cut at %d: %d %s", i, a.status, a.body)
				}
			}
		}
	})
	t.Run("last", func(t *testing.T) {
		t.Parallel()
		w := f.dial()
		w.write(ordinary)
		w.read()
		w.write(hit)
		w.read()
		w.write(hit)
		if err := w.c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if a := w.read(); a.get("Remote-User") != "root" {
			t.Errorf("%d %s", a.status, a.body)
		}
		if err := w.c.SetReadDeadline(time.Now().Add(transport.IdleTimeout / 2)); err != nil {
			t.Fatal(err)
		}
		if n, err := w.r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

// A server that drains ends connections that wait in an intake.
func TestIntakeDrains(t *testing.T) {
	f := newFixture(t).opened()
	w := f.dial()
	hit := laneText("/auth/verify", "Cookie: id="+f.create(session.Create{Username: "root"}).Text)
	for _, text := range []string{ordinary, hit, hit} {
		w.write(text)
		w.read()
	}
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := w.r.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
