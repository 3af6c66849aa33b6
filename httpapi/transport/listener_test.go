package transport

import (
	"net"
	"testing"
)

// Each connection has another number: what is counted by it is spread.
func TestTurns(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all Listeners
	l := NewListener(inner, &all, Options{Connections: 3})
	if !all.Add(l) {
		t.Fatal("closed")
	}
	defer all.CloseAll()
	turns := map[uint32]bool{}
	for range 3 {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		turns[c.(*Conn).Turn()] = true
	}
	if len(turns) != 3 || all.Held() != 4 {
		t.Errorf("turns %v, %d held", turns, all.Held())
	}
}
