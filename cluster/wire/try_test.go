package wire

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// Try says of every pair of steps of an exchange what the connection under these keys would come to, and changes nothing:
// neither the ring nor the connections that there are.
func TestTry(t *testing.T) {
	k := newKeys(t, 2)
	steps := [][]ClusterKey{{k[0]}, {k[0], k[1]}, {k[1], k[0]}, {k[1]}}
	want := [][]error{ // by the step that is tried, and the one that the peer is at
		{nil, nil, ErrOtherKey, ErrOtherKey},
		{nil, nil, nil, ErrKeyRefused},
		{ErrKeyRefused, nil, nil, nil},
		{ErrOtherKey, ErrOtherKey, nil, nil},
	}
	onBoth(t, func(t *testing.T, l *lab) {
		a := l.open("a", withRing(ring(k[0])))
		for j := range steps {
			b := l.open("b", withRing(ring(steps[j]...)))
			for i := range steps {
				err := a.Try(l.ctx(), Node{ID: "b", Addr: b.Addr()}, steps[i])
				if !errors.Is(err, want[i][j]) || err != nil && !errors.Is(err, ErrUnreachable) {
					t.Errorf("step %d, the peer at %d: %v, want %v", i, j, err, want[i][j])
				}
			}
			if err := a.Try(l.ctx(), Node{ID: "c", Addr: b.Addr()}, steps[j]); !errors.Is(err, ErrIdentity) {
				t.Errorf("another node answers: %v", err)
			}
			if err := a.Try(l.ctx(), Node{Addr: b.Addr()}, []ClusterKey{k[0], k[0]}); !errors.Is(err, ErrBadRing) {
				t.Errorf("keys that are no ring: %v", err)
			}
			addr := b.Addr()
			_ = b.Close()
			if err := a.Try(l.ctx(), Node{Addr: addr}, steps[j]); !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrOtherKey) || errors.Is(err, ErrKeyRefused) {
				t.Errorf("nobody answers: %v", err)
			}
		}
		if ids := a.cfg.Keys.IDs(); len(ids) != 1 || ids[0] != k[0].ID() {
			t.Errorf("the ring is %v", ids)
		}
	})
}

// slow is a network on whose connections each write takes a moment.
type slow struct{ Network }

type slowConn struct{ net.Conn }

func (s slow) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := s.Network.Dial(ctx, addr)
	return slowConn{c}, err
}

func (c slowConn) Write(b []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return c.Conn.Write(b)
}

// A node that comes to its hello only when the peer has refused its certificate and closed learns why all the same.
func TestSlowDialerLearnsWhy(t *testing.T) {
	k := newKeys(t, 2)
	inMemory(t, func(t *testing.T, l *lab) {
		a := l.open("a", withRing(ring(k[0], k[1])), func(c *Config) { c.Network = slow{c.Network} })
		b := l.open("b", withRing(ring(k[1])))
		if err := a.Try(l.ctx(), Node{ID: "b", Addr: b.Addr()}, k); !errors.Is(err, ErrKeyRefused) {
			t.Errorf("%v", err)
		}
		if _, err := a.Call(l.ctx(), Node{Addr: b.Addr()}, kindEcho, nil); !errors.Is(err, ErrKeyRefused) || !errors.Is(err, ErrUnreachable) {
			t.Errorf("%v", err)
		}
	})
}

// Strangers names the peers of streams that have shown a key which would go.
func TestStrangers(t *testing.T) {
	k := newKeys(t, 2)
	inMemory(t, func(t *testing.T, l *lab) {
		a := l.open("a", withRing(ring(k[0], k[1])))
		old, good := l.open("old", withRing(ring(k[0]))), l.open("good", withRing(ring(k[1], k[0])))
		l.mustEcho(a, old.Addr())
		l.mustEcho(a, good.Addr())
		l.mustEcho(good, a.Addr())
		for want, keys := range map[string][]ClusterKey{"": {k[1], k[0]}, "old": {k[1]}, "good good": {k[0]}} {
			if got := strings.Join(a.Strangers(keys), " "); got != want {
				t.Errorf("with %v: %q, want %q", ring(keys...), got, want)
			}
		}
	})
}
