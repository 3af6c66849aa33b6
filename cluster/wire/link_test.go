package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
)

// A request that has left is lost with its node; one that comes after is not sent.
func TestLostAndUnreachable(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		if _, err := a.Call(l.ctx(), Node{Addr: "nobody:1"}, kindEcho, nil); !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrLost) {
			t.Errorf("no such host: %v", err)
		}
		if _, err := a.Call(l.ctx(), Node{Addr: "b:1"}, kindEcho, nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("nobody listens: %v", err)
		}
		started, _ := blockUntilDone(b)
		go func() { <-started; l.memory.Host("b").Down() }()
		if _, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindBlock, nil); !errors.Is(err, ErrLost) || errors.Is(err, ErrUnreachable) {
			t.Errorf("lost its power meanwhile: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Call(ctx, Node{Addr: b.Addr()}, kindEcho, nil); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without power: %v", err)
		}
		if s := a.Stats(); s.Lost != 1 || s.Unreachable != 3 {
			t.Errorf("counted %+v", s)
		}
	})
}

// Of two requests on a connection that takes no bytes, the one that the writer has begun may have been sent, the one
// behind it was not. A caller who leaves learns the same.
func TestNotSent(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		near, far := net.Pipe() // unbuffered: the first write waits
		c := newClient(newStream(near, near, time.Minute, &counters{}), "b")
		var group sync.WaitGroup
		group.Go(c.run)
		errs := make([]error, 4)
		ctx, cancel := context.WithCancel(t.Context())
		for i := range errs {
			group.Go(func() {
				ctx := ctx
				if i < 2 {
					ctx = t.Context()
				}
				_, errs[i] = c.call(ctx, kindEcho, make([]byte, ioBuffer)) // too long to wait in the buffer
			})
			synctest.Wait() // in this order
		}
		cancel()
		synctest.Wait()
		if !errors.Is(errs[2], ErrUnreachable) || !errors.Is(errs[3], ErrUnreachable) || !errors.Is(errs[3], context.Canceled) {
			t.Errorf("left before they were sent: %v, %v", errs[2], errs[3])
		}
		if err := far.Close(); err != nil {
			t.Error(err)
		}
		group.Wait()
		if !errors.Is(errs[0], ErrLost) || isEnded(errs[0]) {
			t.Errorf("begun: %v", errs[0])
		}
		if !isEnded(errs[1]) || errors.Is(errs[1], ErrLost) {
			t.Errorf("not begun: %v", errs[1])
		}
		if _, err := c.call(t.Context(), kindEcho, nil); !isEnded(err) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// What the caller left before the writer came to it is never written.
func TestDroppedIsNotWritten(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := newClient(newStream(near, near, time.Minute, &counters{}), "b")
		var group sync.WaitGroup
		group.Go(c.run)
		ctx, cancel := context.WithCancel(t.Context())
		for id := range 3 {
			group.Go(func() {
				ctx := ctx
				if id != 1 {
					ctx = t.Context()
				}
				_, _ = c.call(ctx, Kind(id), make([]byte, ioBuffer))
			})
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		var kinds []Kind
		for range 2 {
			block, err := readBlock(far, MaxFrame)
			if err != nil {
				t.Fatal(err)
			}
			f, err := decodeFrame(block)
			if err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, f.kind)
		}
		if kinds[0] != 0 || kinds[1] != 2 {
			t.Errorf("written: %v", kinds)
		}
		if err := far.Close(); err != nil {
			t.Error(err)
		}
		group.Wait()
	})
}

// The queue of a connection that takes no bytes is bounded as well: callers who come and go can't fill it for ever.
func TestFullQueue(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := newClient(newStream(near, near, time.Minute, &counters{}), "b")
		var group sync.WaitGroup
		group.Go(c.run)
		group.Go(func() { _, _ = c.call(t.Context(), kindEcho, make([]byte, ioBuffer)) }) // keeps the writer
		synctest.Wait()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for i := range queueFrames {
			if _, err := c.call(gone, kindEcho, nil); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnreachable) {
				t.Fatalf("call %d: %v", i, err)
			}
		}
		start := time.Now()
		if _, err := c.call(t.Context(), kindEcho, nil); !errors.Is(err, ErrOverloaded) || time.Since(start) != 0 {
			t.Errorf("one more: %v after %v", err, time.Since(start))
		}
		if n := pendingOf(c); n != 1 {
			t.Errorf("%d calls pending", n)
		}
		if err := far.Close(); err != nil {
			t.Error(err)
		}
		group.Wait()
	})
}

// A request that was still in the queue when its connection ended is sent on a new one, without the caller's help.
func TestUnsentIsRepeated(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		l.mustEcho(a, b.Addr())
		c, err := a.links.get(l.ctx(), b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		l.memory.Cut("a", "b")
		var group sync.WaitGroup
		for range 3 { // more than the network takes: the writer is stuck
			group.Go(func() { _, _ = a.Call(l.ctx(), Node{Addr: b.Addr()}, kindEcho, make([]byte, MaxBody)) })
		}
		synctest.Wait()
		group.Go(func() { l.mustEcho(a, b.Addr()) })
		synctest.Wait()
		c.stream.end(errReplaced) // before the way is open: all might get through otherwise
		l.memory.Heal()
		group.Wait()
		if s := a.Stats(); s.Lost == 0 || s.Lost > 2 || s.Unreachable != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}

// A node that starts again at the same address is found again; in between calls fail as not sent.
func TestPeerRestarts(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b", func(c *Config) {
			if l.memory == nil {
				c.Bind = net.JoinHostPort(ownLoopback(), "0")
			}
		})
		for range 3 {
			l.mustEcho(a, b.Addr())
			addr := b.Addr()
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			l.eventually("the end is noticed", func() bool { return a.Stats().StreamsOut == 0 })
			if _, err := a.Call(l.ctx(), Node{Addr: addr}, kindEcho, nil); !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrLost) {
				t.Errorf("while it is down: %v", err)
			}
			b = l.open("b", func(c *Config) { c.Bind = addr })
			l.eventually("it answers again", func() bool {
				_, err := a.Call(l.ctx(), Node{Addr: addr}, kindEcho, nil)
				if err != nil && !errors.Is(err, ErrUnreachable) {
					t.Fatal(err)
				}
				return err == nil
			})
		}
	})
}

// ownLoopback is an address of this process alone, where loopback has more than one: nobody else takes a port of it that
// is free for a moment.
func ownLoopback() string {
	pid := os.Getpid()
	own := fmt.Sprintf("127.%d.%d.%d", 1+pid>>16&63, pid>>8&255, pid&255)
	listener, err := net.Listen("tcp", net.JoinHostPort(own, "0"))
	if err != nil {
		return "127.0.0.1"
	}
	_ = listener.Close() // it was only tried
	return own
}

// countingNetwork counts dials.
type countingNetwork struct {
	Network
	dials atomic.Int64
}

func (n *countingNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	n.dials.Add(1)
	return n.Network.Dial(ctx, addr)
}

// Calls share an attempt and its failure; attempts become rarer, but not rare.
func TestBackoff(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		n := &countingNetwork{Network: l.memory.Host("a")}
		a := l.open("a", func(c *Config) { c.Network = n })
		l.memory.Host("b")
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				if _, err := a.Call(l.ctx(), Node{Addr: "b:7000"}, kindEcho, nil); !errors.Is(err, ErrUnreachable) {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if d := n.dials.Load(); d != 1 {
			t.Errorf("%d dials for calls at one moment", d)
		}
		for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(time.Millisecond) {
			if _, err := a.Call(l.ctx(), Node{Addr: "b:7000"}, kindEcho, nil); !errors.Is(err, ErrUnreachable) {
				t.Fatal(err)
			}
		}
		if d := n.dials.Load(); d < 20 || d > 28 {
			t.Errorf("%d dials in 10 s", d)
		}
		b := l.open("b")
		time.Sleep(backoffMax)
		l.mustEcho(a, b.Addr())
	})
}

// Addresses are bounded, and those that are gone make room.
func TestLinksAreBounded(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		a := l.open("a")
		addr := func(i int) string { return fmt.Sprintf("a:%d", 10000+i) }
		for i := range MaxLinks {
			if _, err := a.Call(l.ctx(), Node{Addr: addr(i)}, kindEcho, nil); errors.Is(err, ErrOverloaded) {
				t.Fatalf("address %d: %v", i, err)
			}
		}
		if _, err := a.Call(l.ctx(), Node{Addr: addr(MaxLinks)}, kindEcho, nil); !errors.Is(err, ErrOverloaded) || !errors.Is(err, ErrUnreachable) {
			t.Errorf("one too many: %v", err)
		}
		time.Sleep(backoffMin)
		l.mustEcho(a, a.Addr())
	})
}

// A node that dials again and again without its old connections ending gets the oldest closed.
func TestOldStreamsAreClosed(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		b := l.open("b")
		var all []*puppet
		for range MaxStreamsPerPeer + 2 {
			all = append(all, l.puppet("a", b.Addr()).stream("a"))
			synctest.Wait()
		}
		other := l.puppet("c", b.Addr()).stream("c")
		for i, p := range append(all, other) {
			_, err := p.Write((&frame{typ: frameRequest, id: 1, kind: kindEcho}).encode())
			if err == nil {
				_, err = p.next()
			}
			if closed := err != nil; closed != (i < 2) {
				t.Errorf("connection %d: %v", i, err)
			}
		}
	})
}

func TestInboundIsBounded(t *testing.T) {
	table := newTable()
	table.setKeys([]KeyID{""})
	var last *entry
	for i := range MaxInbound {
		last = &entry{inbound: true, peer: fmt.Sprint(i)}
		if _, err := table.admit(last); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := table.admit(&entry{inbound: true}); !errors.Is(err, ErrOverloaded) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := table.admit(&entry{}); err != nil {
		t.Errorf("its own: %v", err)
	}
	table.remove(last)
	table.remove(last)
	if _, err := table.admit(&entry{inbound: true}); err != nil {
		t.Errorf("after one has gone: %v", err)
	}
	if _, err := table.admit(&entry{inbound: true}); !errors.Is(err, ErrOverloaded) {
		t.Errorf("one place is one: %v", err)
	}
}
