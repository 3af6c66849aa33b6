package wire

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A node that took over another one's address is not spoken to in its place, neither by requests nor by raft.
func TestAnotherNodeAtTheAddress(t *testing.T) {
	open := func(id string) *Transport {
		tr, err := Open(Config{NodeID: id, Bind: "127.0.0.1:0", Key: DevelopmentKey()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
		})
		return tr
	}
	a, b := open("a"), open("b")
	b.Handle(1, func(context.Context, Peer, []byte) ([]byte, error) { return []byte("yes"), nil })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()

	if answer, err := a.Call(ctx, Node{ID: "b", Addr: b.Addr()}, 1, nil); err != nil || string(answer) != "yes" {
		t.Fatalf("the right node: %q, %v", answer, err)
	}
	_, err := a.Call(ctx, Node{ID: "c", Addr: b.Addr()}, 1, nil)
	if !errors.Is(err, ErrIdentity) || !errors.Is(err, ErrUnreachable) {
		t.Fatalf("a request to the wrong node: %v", err)
	}
	if conn, err := a.DialRaft(Node{ID: "b", Addr: b.Addr()}, time.Second*5); err != nil {
		t.Fatalf("raft, the right node: %v", err)
	} else if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.DialRaft(Node{ID: "c", Addr: b.Addr()}, time.Second*5); !errors.Is(err, ErrIdentity) {
		t.Fatalf("raft, the wrong node: %v", err)
	}
}
