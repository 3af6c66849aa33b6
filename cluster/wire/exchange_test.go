package wire

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// withRing gives a transport a ring that the test changes later.
func withRing(r *KeyRing) func(*Config) { return func(c *Config) { c.Keys = r } }

func replace(t *testing.T, r *KeyRing, keys ...ClusterKey) {
	t.Helper()
	if err := r.Replace(keys); err != nil {
		t.Fatal(err)
	}
}

// under returns what is in use under a key.
func under(tr *Transport, k ClusterKey) (s KeyStats) {
	for _, one := range tr.Stats().Keys {
		if one.ID == k.ID() {
			return one
		}
	}
	return s
}

// Nodes that are one step of the exchange apart speak both ways, also when the connection is made between the steps; those
// that are two apart don't.
func TestAdjacentSteps(t *testing.T) {
	k := newKeys(t, 2)
	steps := [][]ClusterKey{{k[0]}, {k[0], k[1]}, {k[1], k[0]}, {k[1]}}
	onBoth(t, func(t *testing.T, l *lab) {
		for i := range steps {
			for j := range steps {
				a, b := l.open("a", withRing(ring(steps[i]...))), l.open("b", withRing(ring(steps[j]...)))
				apart := i - j
				if apart < 0 {
					apart = -apart
				}
				_, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindEcho, nil)
				conn, raftErr := a.Raft().Dial(raftAddr(b), time.Minute)
				switch {
				case apart <= 1:
					if err != nil || raftErr != nil {
						t.Errorf("steps %d and %d: %v, %v", i, j, err, raftErr)
					}
				case !errors.Is(err, ErrUnreachable) || !errors.Is(raftErr, ErrUnreachable):
					t.Errorf("steps %d and %d: %v, %v", i, j, err, raftErr)
				}
				if conn != nil {
					_ = conn.Close()
				}
				_, _ = a.Close(), b.Close()
			}
		}
	})
}

// A key that goes takes the connections with it whose peer had nothing better to show, streams and raft's, in and out.
func TestRemovedKeyClosesConnections(t *testing.T) {
	k := newKeys(t, 2)
	inMemory(t, func(t *testing.T, l *lab) {
		ours := ring(k[0], k[1])
		a := l.open("a", withRing(ours))
		old, good := l.open("old", withRing(ring(k[0]))), l.open("good", withRing(ring(k[1], k[0])))
		started, _ := blockUntilDone(old)
		var ends []net.Conn // a's of raft's connections, to old and to good in turn
		for _, peer := range []*Transport{old, good} {
			l.mustEcho(a, peer.Addr())
			l.mustEcho(peer, a.Addr())
			out, _ := raftPair(t, a, peer)
			_, in := raftPair(t, peer, a)
			ends = append(ends, out, in)
		}
		if s := a.Stats(); s.Raft != 4 || s.StreamsIn != 2 || s.StreamsOut != 2 {
			t.Fatalf("%+v", s)
		}
		if s := under(a, k[0]); s.Streams != 4 || s.Raft != 4 { // its own certificate, or the peer's
			t.Errorf("under the old key: %+v", s)
		}
		lost := make(chan error, 1)
		go func() {
			_, err := a.Call(l.ctx(), Node{Addr: old.Addr()}, kindBlock, nil)
			lost <- err
		}()
		<-started
		start := time.Now()
		replace(t, ours, k[1])
		if err := <-lost; !errors.Is(err, ErrLost) {
			t.Errorf("under way to the node with the old key: %v", err)
		}
		for i, conn := range ends {
			if err := conn.SetReadDeadline(time.Now().Add(time.Second)); (err == nil) != (i >= 2) {
				t.Errorf("raft's connection %d: %v", i, err)
			}
			if i < 2 {
				_ = conn.Close() // as raft does
			}
		}
		synctest.Wait()
		if s := a.Stats(); s.Raft != 2 || s.StreamsIn != 1 || s.StreamsOut != 1 || time.Since(start) > time.Second {
			t.Errorf("%+v", s)
		}
		if _, err := a.Call(l.ctx(), Node{Addr: old.Addr()}, kindEcho, nil); !errors.Is(err, ErrOtherKey) || !errors.Is(err, ErrUnreachable) {
			t.Errorf("%v", err)
		}
		if _, err := old.Call(l.ctx(), Node{Addr: a.Addr()}, kindEcho, nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%v", err)
		}
		l.mustEcho(a, good.Addr())
		l.mustEcho(good, a.Addr())
	})
}

// A handshake that began under a key which goes meanwhile does not end well.
func TestKeyGoesDuringHandshake(t *testing.T) {
	k := newKeys(t, 2)
	inMemory(t, func(t *testing.T, l *lab) {
		ours := ring(k[0], k[1])
		b := l.open("b", withRing(ours))
		p := l.puppetUnder(k[0], "n9", b.Addr())
		if err := p.Handshake(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // b waits for the hello
		replace(t, ours, k[1])
		block, err := p.greet(kindStream, hello{nodeID: "n9", min: 1, max: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, refusal, err := decodeHello(block); err != nil || !errors.Is(refusal, ErrOtherKey) {
			t.Errorf("%v, %v", refusal, err)
		}
		mustEnd(t, p)
		synctest.Wait()
		notServed(t, b)
	})
}

// When the first key changes, calls go on: those that wait on the old connection get their answers there, new ones go by
// the new one, and the old one ends with the last answer.
func TestRenewalKeepsCalls(t *testing.T) {
	k := newKeys(t, 2)
	inMemory(t, func(t *testing.T, l *lab) {
		l.memory.SetDelay(3 * time.Millisecond)
		as, bs := ring(k...), ring(k...)
		a, b := l.open("a", withRing(as)), l.open("b", withRing(bs))
		release := make(chan struct{})
		b.Handle(kindBlock, func(_ context.Context, _ Peer, body []byte) ([]byte, error) { <-release; return body, nil })
		long := make(chan error, 1)
		go func() {
			_, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindBlock, nil)
			long <- err
		}()
		var group sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 8 {
			group.Go(func() {
				for ctx.Err() == nil {
					if _, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindEcho, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		time.Sleep(time.Second)
		replace(t, as, k[1], k[0])
		time.Sleep(time.Second)
		if s := a.Stats(); s.StreamsOut != 2 { // the old one owes an answer
			t.Errorf("%+v", s)
		}
		close(release)
		if err := <-long; err != nil {
			t.Errorf("the call that was under way: %v", err)
		}
		time.Sleep(time.Second)
		if s := a.Stats(); s.StreamsOut != 1 || under(a, k[0]).Streams != 1 { // b's certificate is an old one
			t.Errorf("%+v", s)
		}
		replace(t, bs, k[1], k[0])
		time.Sleep(RenewEvery + 2*DeadAfter)
		if s := under(a, k[0]); s.Streams != 0 {
			t.Errorf("b came later, and a has not renewed: %+v", s)
		}
		replace(t, as, k[1])
		replace(t, bs, k[1])
		time.Sleep(time.Second)
		cancel()
		group.Wait()
		if s := a.Stats(); s.Lost != 0 || s.Unreachable != 0 || s.NotRenewed != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A renewal that fails costs nothing but a line in the log: the old connection works on. So it is with a peer that has not
// been told of the new key. It succeeds when the peer has.
func TestRenewalThatFails(t *testing.T) {
	k := newKeys(t, 2)
	inMemory(t, func(t *testing.T, l *lab) {
		var log logBuffer
		as, bs := ring(k[0]), ring(k[0])
		a, b := l.open("a", withRing(as), logTo(&log)), l.open("b", withRing(bs))
		l.mustEcho(a, b.Addr())
		replace(t, as, k[1], k[0]) // a step was left out
		for range 60 {
			time.Sleep(time.Second)
			l.mustEcho(a, b.Addr())
		}
		s := a.Stats()
		if s.NotRenewed < 4 || s.NotRenewed > 8 || s.StreamsOut != 1 || s.Calls != 61 {
			t.Errorf("%+v", s)
		}
		replace(t, bs, k[0], k[1])
		time.Sleep(RenewEvery + DeadAfter)
		l.mustEcho(a, b.Addr())
		if under(a, k[1]).Streams != 1 {
			t.Errorf("%+v", a.Stats())
		}
		// A connection that is renewed again and again, as long as the peer's first key is another, is still closed when
		// nobody uses it.
		time.Sleep(IdleAfter + DeadAfter)
		synctest.Wait()
		if n := a.Stats().StreamsOut; n != 0 {
			t.Errorf("%d streams", n)
		}
	})
}

// A call that waits for ever does not keep a retired connection for ever.
func TestRetiredConnectionEnds(t *testing.T) {
	k := newKeys(t, 2)
	inMemory(t, func(t *testing.T, l *lab) {
		as := ring(k...)
		a, b := l.open("a", withRing(as)), l.open("b", withRing(ring(k...)))
		started, _ := blockUntilDone(b)
		lost := make(chan error, 1)
		go func() {
			_, err := a.Call(context.Background(), Node{Addr: b.Addr()}, kindBlock, nil)
			lost <- err
		}()
		<-started
		start := time.Now()
		replace(t, as, k[1], k[0])
		if err := <-lost; !errors.Is(err, ErrLost) || time.Since(start) < RetiredFor {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}
