package wire

import (
	"errors"
	"testing"
)

// A node that took over another one's address is not spoken to in its place, neither by requests nor by raft.
func TestAnotherNodeAtTheAddress(t *testing.T) {
	l := &lab{t: t}
	a, b := l.open("a"), l.open("b")
	if answer, err := a.Call(l.ctx(), Node{ID: "b", Addr: b.Addr()}, kindEcho, []byte("yes")); err != nil || string(answer) != "yes" {
		t.Fatalf("the right node: %q, %v", answer, err)
	}
	_, err := a.Call(l.ctx(), Node{ID: "c", Addr: b.Addr()}, kindEcho, nil)
	if !errors.Is(err, ErrIdentity) || !errors.Is(err, ErrUnreachable) {
		t.Fatalf("a request to the wrong node: %v", err)
	}
	if conn, err := a.DialRaft(Node{ID: "b", Addr: b.Addr()}, testLimit); err != nil {
		t.Fatalf("raft, the right node: %v", err)
	} else if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.DialRaft(Node{ID: "c", Addr: b.Addr()}, testLimit); !errors.Is(err, ErrIdentity) {
		t.Fatalf("raft, the wrong node: %v", err)
	}
}
