package wire

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

func raftAddr(t *Transport) raft.ServerAddress { return raft.ServerAddress(t.Addr()) }

// Raft's own transport works over the port, in both directions, beside calls.
func TestRaftTransport(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		newTransport := func(tr *Transport) *raft.NetworkTransport {
			n := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
				Stream: tr.Raft(), MaxPool: 2, MaxRPCsInFlight: 1, Timeout: testLimit, Logger: hclog.NewNullLogger(),
			})
			t.Cleanup(func() {
				if err := n.Close(); err != nil {
					t.Error(err)
				}
			})
			return n
		}
		na, nb := newTransport(a), newTransport(b)
		if na.LocalAddr() != raftAddr(a) {
			t.Errorf("raft believes that it is at %s", na.LocalAddr())
		}
		done := make(chan struct{})
		defer func() { <-done }()
		go func() {
			defer close(done)
			for range 40 {
				rpc := <-nb.Consumer()
				req := rpc.Command.(*raft.AppendEntriesRequest)
				rpc.Respond(&raft.AppendEntriesResponse{Term: req.Term, LastLog: req.PrevLogEntry, Success: true}, nil)
			}
		}()
		for i := range uint64(40) {
			req := &raft.AppendEntriesRequest{Term: 7, PrevLogEntry: i, Entries: []*raft.Log{{Index: i + 1, Data: make([]byte, 1000*i)}}}
			var resp raft.AppendEntriesResponse
			if err := na.AppendEntries("b", raftAddr(b), req, &resp); err != nil || resp.LastLog != i || resp.Term != 7 {
				t.Fatalf("%+v, %v", resp, err)
			}
			l.mustEcho(a, b.Addr())
		}
		if n := b.Stats().Raft; n != 1 {
			t.Errorf("%d raft connections", n)
		}
	})
}

// raftPair makes a raft connection and returns both ends.
func raftPair(t *testing.T, a, b *Transport) (near, far net.Conn) {
	t.Helper()
	near, err := a.Raft().Dial(raftAddr(b), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	far, err = b.Raft().Accept()
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

// The bytes are raft's alone (these begin a request), no time limit stays from the handshake, and Close ends both ends and is counted.
func TestRaftConn(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		near, far := raftPair(t, a, b)
		time.Sleep(10 * time.Minute)
		if _, err := near.Write([]byte("S\x81\xa3")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 3)
		if _, err := io.ReadFull(far, got); err != nil || string(got) != "S\x81\xa3" {
			t.Errorf("%q, %v", got, err)
		}
		if a.Stats().Raft != 1 || b.Stats().Raft != 1 {
			t.Errorf("%+v %+v", a.Stats(), b.Stats())
		}
		if err := near.Close(); err != nil {
			t.Error(err)
		}
		if _, err := far.Read(got); err == nil {
			t.Error("the other end is open")
		}
		if err := far.Close(); err != nil {
			t.Error(err)
		}
		if a.Stats().Raft != 0 || b.Stats().Raft != 0 {
			t.Errorf("%+v %+v", a.Stats(), b.Stats())
		}
	})
}

// What raft does not accept is bounded, and refused at once with a code.
func TestRaftBacklog(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		for i := range MaxRaftBacklog {
			if _, err := a.Raft().Dial(raftAddr(b), time.Second); err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
		}
		start := time.Now()
		for range 3 { // refused ones leave no place taken
			if _, err := a.Raft().Dial(raftAddr(b), time.Second); !errors.Is(err, ErrOverloaded) || !errors.Is(err, ErrUnreachable) {
				t.Errorf("one too many: %v", err)
			}
		}
		if time.Since(start) != 0 {
			t.Error("the refusal took time")
		}
		for range 2 {
			if _, err := b.Raft().Accept(); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		for range 2 {
			if _, err := a.Raft().Dial(raftAddr(b), time.Second); err != nil {
				t.Errorf("after two were accepted: %v", err)
			}
		}
		if _, err := a.Raft().Dial(raftAddr(b), time.Second); !errors.Is(err, ErrOverloaded) {
			t.Errorf("two places are two: %v", err)
		}
	})
}

// A connection that is refused after a place was kept for it gives the place back.
func TestRaftPlaceIsGivenBack(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		b := l.open("b")
		b.SetCluster("one")
		for range MaxRaftBacklog + 1 {
			if _, err := b.take(&entry{kind: kindRaft, inbound: true, cluster: "two"}); !errors.Is(err, ErrOtherCluster) {
				t.Fatal(err)
			}
		}
	})
}

// Raft can stop while the stream goes on.
func TestRaftClose(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		near, far := raftPair(t, a, b)
		accepted := make(chan error)
		go func() {
			_, err := b.Raft().Accept()
			accepted <- err
		}()
		for range 2 {
			if err := b.Raft().Close(); err != nil {
				t.Error(err)
			}
		}
		if err := <-accepted; !errors.Is(err, net.ErrClosed) {
			t.Errorf("waiting accept: %v", err)
		}
		if _, err := b.Raft().Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("later accept: %v", err)
		}
		for _, c := range []net.Conn{near, far} {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("a connection is open")
			}
		}
		if _, err := b.Raft().Dial(raftAddr(a), time.Minute); !errors.Is(err, ErrUnreachable) {
			t.Errorf("dial: %v", err)
		}
		if _, err := a.Raft().Dial(raftAddr(b), time.Minute); !errors.Is(err, ErrUnreachable) {
			t.Errorf("dial from outside: %v", err)
		}
		l.mustEcho(a, b.Addr())
		l.mustEcho(b, a.Addr())
	})
}
