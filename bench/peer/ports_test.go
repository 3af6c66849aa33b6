package peer

import (
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"testing"
)

// A server that does not run keeps its port: no connection gets it, and the server may listen on it again.
func TestPortsAreHeld(t *testing.T) {
	p, err := takePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(p.addrs)
	if n := len(slices.Compact(p.addrs)); n != 20 {
		t.Errorf("%d ports", n)
	}
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	from, err := net.ResolveTCPAddr("tcp", p.addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l, err := net.Listen("tcp", p.addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		conn, err := (&net.Dialer{LocalAddr: from}).Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			continue
		}
		_ = conn.Close() // it was not to be
		if runtime.GOOS == "linux" {
			t.Error("a connection has got the port")
		}
	}
	if err := p.release(); err != nil {
		t.Error(err)
	}
}
