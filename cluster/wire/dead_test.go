package wire

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
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
				limit += limit / ticksPerDeadline // the last sign of life may be that old when the link is cut

				started, ended := blockUntilDone(b)
				result := make(chan error)
				go func() {
					_, err := a.Call(t.Context(), Node{Addr: b.Addr()}, kindBlock, nil)
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
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := a.Call(ctx, Node{Addr: b.Addr()}, kindEcho, nil); !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrLost) {
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
		time.Sleep(DeadAfter + DeadAfter/ticksPerDeadline)
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
		if _, err := a.Call(t.Context(), Node{Addr: b.Addr()}, kindBlock, nil); err != nil {
			t.Errorf("a connection with a request is in use: %v", err)
		}
	})
}

// Only ticks count: a process that was held up for an hour gets one, and what has come meanwhile is read before the
// fourth.
func TestPulse(t *testing.T) {
	var p pulse
	for i, s := range []struct {
		heard  uint64
		silent int
	}{{0, 1}, {0, 2}, {7, 0}, {14, 0}, {14, 1}, {14, 2}, {14, 3}, {14, 4}, {15, 0}} {
		if got := p.tick(s.heard); got != s.silent {
			t.Errorf("tick %d: silent for %d", i, got)
		}
	}
}

// A reader that is held up gives up nothing that has arrived: reads have no time limit that could have passed.
func TestReadsHaveNoLimit(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		near, far := net.Pipe()
		limits := &limitCounter{Conn: near}
		s := newStream(limits, near, DeadAfter, &counters{})
		var group sync.WaitGroup
		group.Go(func() { s.end(s.read(func(frame) error { return nil })) })
		for range 10 {
			time.Sleep(DeadAfter)
			if _, err := far.Write((&frame{typ: framePong}).encode()); err != nil {
				t.Fatal(err)
			}
		}
		if err := far.Close(); err != nil {
			t.Error(err)
		}
		group.Wait()
		if n := limits.n.Load(); n != 0 {
			t.Errorf("%d limits set", n)
		}
	})
}

// limitCounter counts time limits of reads.
type limitCounter struct {
	net.Conn
	n atomic.Int64
}

func (c *limitCounter) SetReadDeadline(t time.Time) error {
	c.n.Add(1)
	return c.Conn.SetReadDeadline(t)
}
