package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/session"
)

// Each of many concurrent calls gets its own answer, though handlers end in any order, and the handler sees who asks.
func TestCallConcurrent(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		b.Handle(kindBlock, func(ctx context.Context, from Peer, body []byte) ([]byte, error) {
			select {
			case <-time.After(time.Duration(rand.IntN(3)) * time.Millisecond):
			case <-ctx.Done():
			}
			return []byte(from.ID + " " + string(body)), nil
		})
		ctx := l.ctx()
		var group sync.WaitGroup
		for i := range 64 {
			group.Go(func() {
				for j := range 20 {
					want := fmt.Sprintf("a %d.%d", i, j)
					got, err := a.Call(ctx, Node{Addr: b.Addr()}, kindBlock, []byte(strings.TrimPrefix(want, "a ")))
					if err != nil || string(got) != want {
						t.Errorf("got %q, %v; want %q", got, err, want)
						return
					}
				}
			})
		}
		group.Wait()
		if s := a.Stats(); s.StreamsOut != 1 || s.Calls != 64*20 {
			t.Errorf("one connection should do for all: %+v", s)
		}
		if s := b.Stats(); s.StreamsIn != 1 || s.Served != 64*20 {
			t.Errorf("peer: %+v", s)
		}
	})
}

func TestBothWaysAndToItself(t *testing.T) {
	onBoth(t, func(_ *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		l.mustEcho(a, b.Addr())
		l.mustEcho(b, a.Addr())
		l.mustEcho(a, a.Addr())
	})
}

func TestSizes(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		b.Handle(kindBlock, func(context.Context, Peer, []byte) ([]byte, error) { return make([]byte, MaxBody+1), nil })
		body := make([]byte, MaxBody)
		for i := range body {
			body[i] = byte(i * i >> 8)
		}
		for _, n := range []int{0, 1, 127, 128, 65535, 65536, MaxBody} {
			got, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindEcho, body[:n])
			if err != nil || !bytes.Equal(got, body[:n]) {
				t.Fatalf("%d bytes: got %d, %v", n, len(got), err)
			}
		}
		if _, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindEcho, make([]byte, MaxBody+1)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("request too large: %v", err)
		}
		if _, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindBlock, nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("answer too large: %v", err)
		}
		l.mustEcho(a, b.Addr())
		if s := a.Stats(); s.StreamsOut != 1 || s.Lost != 0 {
			t.Errorf("the connection should have lasted: %+v", s)
		}
	})
}

func TestErrorsTravel(t *testing.T) {
	var log logBuffer
	custom := &session.Error{Code: "no-leader", Message: "the cluster has no leader"}
	cases := []struct {
		name     string
		returned error
		want     *session.Error
		logged   bool
	}{
		{"sentinel", session.ErrConflict, session.ErrConflict, false},
		{"wrapped", fmt.Errorf("put: %w", session.ErrLimitRoles), session.ErrLimitRoles, false},
		{"of another package", custom, custom, false},
		{"without a code", errors.New("open /secret/path"), ErrInternal, true},
		{"code too long", &session.Error{Code: strings.Repeat("x", maxErrorCode+1), Message: "m"}, ErrInternal, true},
		{"its own call did not get out", fmt.Errorf("forward: %w", ErrUnreachable), ErrLost, false},
		{"its own call was lost", fmt.Errorf("forward: %w", ErrLost), ErrLost, false},
		{"gave up", context.Canceled, ErrLost, false},
		{"long message", &session.Error{Code: "long", Message: strings.Repeat("é", 600)}, &session.Error{Code: "long", Message: strings.Repeat("é", maxErrorText/2)}, false},
	}
	inMemory(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b", logTo(&log))
		b.Handle(kindFail, func(_ context.Context, _ Peer, body []byte) ([]byte, error) {
			return []byte("not to be seen"), cases[body[0]].returned
		})
		for i, c := range cases {
			before := log.String()
			body, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindFail, []byte{byte(i)})
			var got *session.Error
			if !errors.As(err, &got) || got.Code != c.want.Code || got.Message != c.want.Message || body != nil {
				t.Errorf("%s: got %v (%q)", c.name, err, body)
			}
			if !errors.Is(err, c.want) || errors.Is(err, ErrUnreachable) {
				t.Errorf("%s: %v is the wrong sentinel", c.name, err)
			}
			if logged := log.String() != before; logged != c.logged {
				t.Errorf("%s: logged %t", c.name, logged)
			}
		}
		if _, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, 200, nil); !errors.Is(err, ErrUnknownRequest) {
			t.Errorf("unknown kind: %v", err)
		}
	})
}

// A caller that goes frees its place at once, its handler learns of it, and the late answer reaches nobody.
func TestCancel(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		started, told, proceed := make(chan struct{}), make(chan struct{}), make(chan struct{})
		b.Handle(kindBlock, func(ctx context.Context, _ Peer, _ []byte) ([]byte, error) {
			close(started)
			<-ctx.Done()
			close(told)
			<-proceed
			return []byte("late"), nil
		})
		ctx, cancel := context.WithCancel(t.Context()) // only the cancel can end the handler's context
		go func() { <-started; cancel() }()
		_, err := a.Call(ctx, Node{Addr: b.Addr()}, kindBlock, nil)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrLost) || errors.Is(err, ErrUnreachable) {
			t.Errorf("cancelled call: %v", err)
		}
		<-told
		c, err := a.links.get(l.ctx(), b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if n := pendingOf(c); n != 0 {
			t.Errorf("%d calls pending", n)
		}
		close(proceed)
		for range 10 { // the late answer passes between these
			l.mustEcho(a, b.Addr())
		}
		if _, err := a.Call(ctx, Node{Addr: b.Addr()}, kindEcho, nil); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnreachable) {
			t.Errorf("call with a context that had ended: %v", err)
		}
	})
}

func pendingOf(c *client) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending)
}

// The handler's time ends with its caller's.
func TestDeadlineTravels(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		var left time.Duration
		var limited bool
		b.Handle(kindBlock, func(ctx context.Context, _ Peer, _ []byte) ([]byte, error) {
			var deadline time.Time
			deadline, limited = ctx.Deadline()
			left = time.Until(deadline)
			return nil, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if _, err := a.Call(ctx, Node{Addr: b.Addr()}, kindBlock, nil); err != nil || !limited || left != 1500*time.Millisecond {
			t.Errorf("%v left, %t, %v", left, limited, err)
		}
		if _, err := a.Call(t.Context(), Node{Addr: b.Addr()}, kindBlock, nil); err != nil || limited {
			t.Errorf("limited without a deadline: %v", err)
		}
		start := time.Now()
		b.Handle(kindFail, func(ctx context.Context, _ Peer, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() })
		ctx, cancel = context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		if _, err := a.Call(ctx, Node{Addr: b.Addr()}, kindFail, nil); !errors.Is(err, ErrLost) {
			t.Errorf("call that ran out of time: %v", err)
		}
		if d := time.Since(start); d != 700*time.Millisecond {
			t.Errorf("it took %v", d)
		}
	})
}

// The dialer refuses what is above its bound at once, and takes calls again when others have ended.
func TestOverloadAtDialer(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		proceed := make(chan struct{})
		b.Handle(kindBlock, func(_ context.Context, _ Peer, body []byte) ([]byte, error) { <-proceed; return body, nil })
		ctx := l.ctx()
		var group sync.WaitGroup
		for range MaxInFlight {
			group.Go(func() {
				if _, err := a.Call(ctx, Node{Addr: b.Addr()}, kindBlock, nil); err != nil {
					t.Error(err)
				}
			})
		}
		l.eventually("all handlers run", func() bool { return b.Stats().Served == MaxInFlight })
		start := time.Now()
		if _, err := a.Call(ctx, Node{Addr: b.Addr()}, kindEcho, nil); !errors.Is(err, ErrOverloaded) || errors.Is(err, ErrLost) {
			t.Errorf("one call too many: %v", err)
		}
		if time.Since(start) != 0 {
			t.Error("the refusal took time")
		}
		close(proceed)
		group.Wait()
		l.mustEcho(a, b.Addr())
		if n := a.Stats().Overloaded; n != 1 {
			t.Errorf("%d counted", n)
		}
	})
}

// The accepting side bounds handlers even if the dialer does not: those of cancelled calls may go on.
func TestOverloadAtHandlers(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		b := l.open("b")
		proceed := make(chan struct{})
		b.Handle(kindBlock, func(context.Context, Peer, []byte) ([]byte, error) { <-proceed; return nil, nil })
		p := l.puppet("a", b.Addr()).stream("a")
		for id := range uint64(MaxHandlers + 3) {
			p.send(frame{typ: frameRequest, id: id, kind: kindBlock})
		}
		for id := uint64(MaxHandlers); id < MaxHandlers+3; id++ {
			if f, err := p.next(); err != nil || f.typ != frameFailure || f.id != id || f.code != ErrOverloaded.Code {
				t.Fatalf("%+v, %v", f, err)
			}
		}
		close(proceed)
		for range MaxHandlers {
			if f, err := p.next(); err != nil || f.typ != frameAnswer {
				t.Fatalf("%+v, %v", f, err)
			}
		}
	})
}

// So many large bodies at a time are refused by their bytes.
func TestOverloadByBytes(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		b := l.open("b")
		proceed := make(chan struct{})
		b.Handle(kindBlock, func(context.Context, Peer, []byte) ([]byte, error) { <-proceed; return nil, nil })
		p := l.puppet("a", b.Addr()).stream("a")
		body := make([]byte, MaxBody)
		fit := uint64(MaxHandlerBytes / MaxBody)
		for id := range fit + 1 {
			p.send(frame{typ: frameRequest, id: id, kind: kindBlock, body: body})
		}
		if f, err := p.next(); err != nil || f.id != fit || f.code != ErrOverloaded.Code {
			t.Fatalf("%+v, %v", f, err)
		}
		close(proceed)
		for range fit {
			if _, err := p.next(); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // the places are given back after the answers are on their way
		p.send(frame{typ: frameRequest, id: 1000, kind: kindBlock, body: body})
		if f, err := p.next(); err != nil || f.typ != frameAnswer {
			t.Fatalf("after the others ended: %+v, %v", f, err)
		}
	})
}
