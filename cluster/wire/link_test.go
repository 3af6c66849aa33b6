package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// blockUntilDone is a handler that says when it starts and when its context has ended.
func blockUntilDone(tr *Transport) (started, ended chan struct{}) {
	started, ended = make(chan struct{}), make(chan struct{})
	tr.Handle(kindBlock, func(ctx context.Context, _ Peer, _ []byte) ([]byte, error) {
		close(started)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	})
	return started, ended
}

// A link that goes dead without a word is noticed in time at both ends, whichever way it is cut, busy or idle.
func TestDeadLinkIsNoticed(t *testing.T) {
	for _, c := range []struct {
		name      string
		cut       [][2]string
		deadAfter time.Duration
	}{
		{"both ways", [][2]string{{"a", "b"}, {"b", "a"}}, 0},
		{"requests", [][2]string{{"a", "b"}}, 0},
		{"answers", [][2]string{{"b", "a"}}, 0},
		{"quicker", [][2]string{{"a", "b"}, {"b", "a"}}, 400 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			inMemory(t, func(t *testing.T, l *lab) {
				set := func(cfg *Config) { cfg.DeadAfter = c.deadAfter }
				a, b := l.open("a", set), l.open("b", set)
				limit := c.deadAfter
				if limit == 0 {
					limit = DeadAfter
				}
				limit += limit / pingsPerDeadline // the last sign of life may be that old when the link is cut

				started, ended := blockUntilDone(b)
				result := make(chan error)
				go func() {
					_, err := a.Call(context.Background(), b.Addr(), kindBlock, nil)
					result <- err
				}()
				<-started
				time.Sleep(time.Minute + 7*time.Millisecond) // quiet, but alive
				select {
				case err := <-result:
					t.Fatalf("given up though it was alive: %v", err)
				default:
				}
				for _, way := range c.cut {
					l.memory.Cut(way[0], way[1])
				}
				start := time.Now()
				if err := <-result; !errors.Is(err, ErrLost) || errors.Is(err, ErrUnreachable) {
					t.Errorf("the call that ran: %v", err)
				}
				if d := time.Since(start); d > limit {
					t.Errorf("the dialer noticed after %v", d)
				}
				<-ended
				if d := time.Since(start); d > 2*limit { // one after the other if only one direction is cut
					t.Errorf("the peer noticed after %v", d)
				}
				synctest.Wait()
				if s := a.Stats().StreamsOut + b.Stats().StreamsIn; s != 0 {
					t.Errorf("%d ends are open", s)
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if _, err := a.Call(ctx, b.Addr(), kindEcho, nil); !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrLost) {
					t.Errorf("a call over the cut: %v", err)
				}
				l.memory.Heal()
				time.Sleep(HandshakeTimeout + backoffMax)
				l.mustEcho(a, b.Addr())
			})
		})
	}
}

// An idle dead link goes without a call that runs into it.
func TestIdleDeadLink(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		l.mustEcho(a, b.Addr())
		time.Sleep(time.Second)
		l.memory.Partition([]string{"a"}, []string{"b"})
		time.Sleep(DeadAfter + DeadAfter/pingsPerDeadline)
		synctest.Wait()
		if s := a.Stats().StreamsOut + b.Stats().StreamsIn; s != 0 {
			t.Errorf("%d ends are open", s)
		}
	})
}

// Pings keep an unused connection, but not for ever.
func TestIdleConnection(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		// The peer is the more impatient one: each end cares for its own deadline.
		a, b := l.open("a", func(c *Config) { c.DeadAfter = time.Minute }), l.open("b")
		l.mustEcho(a, b.Addr())
		time.Sleep(IdleAfter)
		synctest.Wait()
		if a.Stats().StreamsOut != 1 || b.Stats().StreamsIn != 1 {
			t.Errorf("closed too early: %+v", a.Stats())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := a.Stats().StreamsOut + b.Stats().StreamsIn; s != 0 {
			t.Errorf("%d ends are open", s)
		}
		l.mustEcho(a, b.Addr())

		b.Handle(kindBlock, func(context.Context, Peer, []byte) ([]byte, error) { time.Sleep(3 * IdleAfter); return nil, nil })
		if _, err := a.Call(context.Background(), b.Addr(), kindBlock, nil); err != nil {
			t.Errorf("a connection with a request is in use: %v", err)
		}
	})
}

// A request that has left is lost with its node; one that comes after is not sent.
func TestLostAndUnreachable(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		if _, err := a.Call(l.ctx(), "nobody:1", kindEcho, nil); !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrLost) {
			t.Errorf("no such host: %v", err)
		}
		if _, err := a.Call(l.ctx(), "b:1", kindEcho, nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("nobody listens: %v", err)
		}
		started, _ := blockUntilDone(b)
		go func() { <-started; l.memory.Host("b").Down() }()
		if _, err := a.Call(l.ctx(), b.Addr(), kindBlock, nil); !errors.Is(err, ErrLost) || errors.Is(err, ErrUnreachable) {
			t.Errorf("lost its power meanwhile: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := a.Call(ctx, b.Addr(), kindEcho, nil); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
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
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
			group.Go(func() { _, _ = a.Call(l.ctx(), b.Addr(), kindEcho, make([]byte, MaxBody)) })
		}
		synctest.Wait()
		group.Go(func() { l.mustEcho(a, b.Addr()) })
		synctest.Wait()
		l.memory.Heal()
		c.stream.end(errReplaced)
		group.Wait()
		if s := a.Stats(); s.Lost == 0 || s.Lost > 2 || s.Unreachable != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}

// A node that starts again at the same address is found again; in between calls fail as not sent.
func TestPeerRestarts(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		for range 3 {
			l.mustEcho(a, b.Addr())
			addr := b.Addr()
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			l.eventually("the end is noticed", func() bool { return a.Stats().StreamsOut == 0 })
			if _, err := a.Call(l.ctx(), addr, kindEcho, nil); !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrLost) {
				t.Errorf("while it is down: %v", err)
			}
			b = l.open("b", func(c *Config) { c.Bind = addr })
			l.eventually("it answers again", func() bool {
				_, err := a.Call(l.ctx(), addr, kindEcho, nil)
				if err != nil && !errors.Is(err, ErrUnreachable) {
					t.Fatal(err)
				}
				return err == nil
			})
		}
	})
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
				if _, err := a.Call(l.ctx(), "b:7000", kindEcho, nil); !errors.Is(err, ErrUnreachable) {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if d := n.dials.Load(); d != 1 {
			t.Errorf("%d dials for calls at one moment", d)
		}
		for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(time.Millisecond) {
			if _, err := a.Call(l.ctx(), "b:7000", kindEcho, nil); !errors.Is(err, ErrUnreachable) {
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
			if _, err := a.Call(l.ctx(), addr(i), kindEcho, nil); errors.Is(err, ErrOverloaded) {
				t.Fatalf("address %d: %v", i, err)
			}
		}
		if _, err := a.Call(l.ctx(), addr(MaxLinks), kindEcho, nil); !errors.Is(err, ErrOverloaded) || !errors.Is(err, ErrUnreachable) {
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

// A peer with the key that breaks the rules of frames loses its connection, and nothing else happens.
func TestBrokenFrames(t *testing.T) {
	request := frame{typ: frameRequest, id: 1, kind: kindBlock}
	for name, bytes := range map[string][]byte{
		"too long":           lengthOf(MaxFrame + 1),
		"much too long":      lengthOf(1<<32 - 1),
		"empty":              lengthOf(0),
		"other version":      append(lengthOf(3), frameVersion+1, 0x91, byte(framePing)),
		"not an array":       append(lengthOf(3), frameVersion, 0xc0, 0xc0),
		"an answer":          (&frame{typ: frameAnswer, id: 1}).encode(),
		"the same id":        append(request.encode(), request.encode()...),
		"long cluster id":    append(lengthOf(70), append([]byte{frameVersion, 0x92, byte(frameCluster), 0xd9, 65}, make([]byte, 65)...)...),
		"unknown type":       append(lengthOf(3), frameVersion, 0x91, 99),
		"body out of bounds": append(lengthOf(9), frameVersion, 0x95, 1, 1, 1, 0, 0xc4, 200, 1),
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T, l *lab) {
				b := l.open("b")
				b.Handle(kindBlock, func(ctx context.Context, _ Peer, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() })
				p := l.puppet("a", b.Addr()).stream("a")
				start := time.Now()
				if _, err := p.Write(bytes); err != nil {
					t.Fatal(err)
				}
				mustEnd(t, p)
				if d := time.Since(start); d != 0 {
					t.Errorf("closed after %v", d)
				}
				synctest.Wait()
				if n := b.Stats().StreamsIn; n != 0 {
					t.Errorf("%d streams", n)
				}
			})
		})
	}
}

// Answers to requests that nobody made, and a peer that answers with requests.
func TestBrokenAnswers(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		a := l.open("a")
		serve := func(reply ...frame) func(*puppet) {
			return func(p *puppet) {
				f, err := p.next()
				if err != nil {
					t.Error(err)
					return
				}
				for _, r := range reply {
					if r.id == 0 {
						r.id = f.id
					}
					if _, err := p.Write(r.encode()); err != nil {
						return
					}
				}
				_, _ = p.next() // until the dialer closes
			}
		}
		for i, c := range []struct {
			name  string
			serve func(*puppet)
			want  error
		}{
			{"stray answers", serve(frame{typ: frameAnswer, id: 999, body: []byte("x")}, frame{typ: frameFailure, id: 998}, frame{typ: frameAnswer, body: []byte("mine")}, frame{typ: frameAnswer, body: []byte("again")}), nil},
			{"a request", serve(frame{typ: frameRequest, kind: kindEcho}), ErrLost},
			{"a cancel", serve(frame{typ: frameCancel}), ErrLost},
		} {
			addr := l.impostor(fmt.Sprintf("host%d", i), "n9", nil, puppetServer(l, "n9", c.serve))
			got, err := a.Call(l.ctx(), addr, kindEcho, nil)
			if !errors.Is(err, c.want) || c.want == nil && string(got) != "mine" {
				t.Errorf("%s: %q, %v", c.name, got, err)
			}
		}
		if err := a.Close(); err != nil { // before the impostors wait for their connections to end
			t.Error(err)
		}
	})
}
