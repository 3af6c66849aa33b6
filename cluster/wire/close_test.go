package wire

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/session"
)

// Close ends handlers by their context, still sends what they return, and waits for them. What comes later is refused.
func TestClose(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		stopping := &session.Error{Code: "draining", Message: "this node stops"}
		started := make(chan struct{})
		finished := false
		b.Handle(kindBlock, func(ctx context.Context, _ Peer, _ []byte) ([]byte, error) {
			close(started)
			<-ctx.Done()
			finished = true // the race detector sees if Close does not wait
			return nil, stopping
		})
		result := make(chan error)
		go func() {
			_, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindBlock, nil)
			result <- err
		}()
		<-started
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				if !finished {
					t.Error("closed while a handler ran")
				}
			})
		}
		if err := <-result; !errors.Is(err, stopping) {
			t.Errorf("the handler's answer became %v", err)
		}
		group.Wait()
		if _, err := b.Call(l.ctx(), Node{Addr: a.Addr()}, kindEcho, nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("call from a closed transport: %v", err)
		}
		if _, err := b.Raft().Dial(raftAddr(a), time.Minute); !errors.Is(err, ErrUnreachable) {
			t.Errorf("raft from a closed transport: %v", err)
		}
		if _, err := b.Raft().Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
		if s := b.Stats(); s.StreamsIn+s.StreamsOut+s.Raft+s.Handshakes != 0 {
			t.Errorf("left over: %+v", s)
		}
	})
}

// Close while everything happens: calls, dials, handshakes, raft. The bubble fails the test if a goroutine is left.
func TestCloseInTheMiddle(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond} {
		inMemory(t, func(t *testing.T, l *lab) {
			l.memory.SetDelay(300 * time.Microsecond)
			a, b := l.open("a"), l.open("b")
			l.memory.Host("c")
			var group sync.WaitGroup
			for range 4 {
				group.Go(func() {
					for {
						_, err := a.Call(t.Context(), Node{Addr: b.Addr()}, kindEcho, []byte("x"))
						if err != nil && !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrLost) {
							t.Error(err)
						}
						if errors.Is(err, errClosed) {
							return
						}
						_, _ = a.Call(t.Context(), Node{Addr: "c:1"}, kindEcho, nil)
						if conn, err := a.Raft().Dial(raftAddr(b), time.Second); err == nil {
							_ = conn.Close()
						}
						time.Sleep(100 * time.Microsecond)
					}
				})
			}
			l.raw("stranger", a.Addr())
			time.Sleep(wait)
			start := time.Now()
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if d := time.Since(start); d > 10*time.Millisecond {
				t.Errorf("it took %v", d)
			}
			group.Wait()
		})
	}
}

// A peer that does not read can't keep Close from ending.
func TestCloseWithStuckPeer(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		b := l.open("b")
		b.Handle(kindBlock, func(context.Context, Peer, []byte) ([]byte, error) { return make([]byte, MaxBody), nil })
		p := l.puppet("a", b.Addr()).stream("a")
		for id := range uint64(20) {
			p.send(frame{typ: frameRequest, id: id, kind: kindBlock})
		}
		synctest.Wait()
		start := time.Now()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > DeadAfter {
			t.Errorf("it took %v", d)
		}
	})
}

func TestHandleTwice(t *testing.T) {
	tr := (&lab{t: t}).open("a")
	defer func() {
		if text, ok := recover().(string); !ok || !strings.HasPrefix(text, "BUG:") {
			t.Error("accepted")
		}
	}()
	tr.Handle(kindEcho, func(context.Context, Peer, []byte) ([]byte, error) { return nil, nil })
}

// The port that is in use is named in the error.
func TestPortInUse(t *testing.T) {
	a := (&lab{t: t}).open("a")
	_, err := Open(Config{NodeID: "b", Bind: a.Addr(), Keys: ring(testKey)})
	if err == nil || !strings.Contains(err.Error(), a.Addr()) {
		t.Errorf("%v", err)
	}
}

func TestThrottle(t *testing.T) {
	th, now := newThrottle(time.Second), time.Unix(0, 0)
	steps := []struct {
		sort  string
		after time.Duration
		kept  int
		ok    bool
	}{
		{"a", 0, 0, true},
		{"a", 0, 0, false},
		{"b", 0, 0, true},
		{"a", 999 * time.Millisecond, 0, false},
		{"a", time.Millisecond, 2, true},
		{"a", time.Second, 0, true},
	}
	for i, s := range steps {
		now = now.Add(s.after)
		if kept, ok := th.allow(s.sort, now); kept != s.kept || ok != s.ok {
			t.Errorf("step %d: %d, %t", i, kept, ok)
		}
	}
}
