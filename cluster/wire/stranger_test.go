package wire

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Garbage is closed soon, logged once, and does not disturb others.
func TestGarbageToPort(t *testing.T) {
	onBoth(t, func(t *testing.T, l *lab) {
		var log logBuffer
		begin := time.Now()
		a, b := l.open("a"), l.open("b", logTo(&log))
		noise := make([]byte, 4096)
		if _, err := rand.Read(noise); err != nil {
			t.Fatal(err)
		}
		junk := []string{
			string(noise), "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\xff\xff", strings.Repeat("\x00", 100000), "R\x00\x00\x00\x01\x01",
		}
		if l.memory != nil { // those that wait for more, until the time is over
			junk = append(junk, "S", "\x16\x03\x01\x02\x00\x01\xff\xff\xff")
		}
		for _, j := range junk {
			c := l.raw("stranger", b.Addr())
			_, _ = c.Write([]byte(j)) // the node may close before it has read all
			mustEnd(t, c)
		}
		l.eventually("all are counted", func() bool { return b.Stats().Refused == uint64(len(junk)) && b.Stats().Handshakes == 0 })
		notServed(t, b)
		l.mustEcho(a, b.Addr())
		l.logsOnce(&log, "refused", begin)
	})
}

// A connection that stops anywhere in its handshake is closed when the time for it is over, not before and not after.
func TestHalfHandshake(t *testing.T) {
	for name, begin := range map[string]func(l *lab, addr string) net.Conn{
		"nothing": func(l *lab, addr string) net.Conn { return l.raw("n9", addr) },
		"half a record": func(l *lab, addr string) net.Conn {
			c := l.raw("n9", addr)
			_, _ = c.Write([]byte("\x16\x03\x01\x02\x00\x01"))
			return c
		},
		"no kind": func(l *lab, addr string) net.Conn {
			p := l.puppet("n9", addr)
			_ = p.Handshake()
			return p
		},
		"no hello": func(l *lab, addr string) net.Conn {
			p := l.puppet("n9", addr)
			_, _ = p.Write([]byte{kindStream, 0, 0})
			return p
		},
		"half a hello": func(l *lab, addr string) net.Conn {
			p := l.puppet("n9", addr)
			_, _ = p.Write(append([]byte{kindStream}, hello{nodeID: "n9", min: 1, max: 1}.encode()[:9]...))
			return p
		},
		"drops of bytes": func(l *lab, addr string) net.Conn {
			c := l.raw("n9", addr)
			go func() {
				for range 100 { // each in time, all together not
					if _, err := c.Write([]byte{0x16}); err != nil {
						return
					}
					time.Sleep(100 * time.Millisecond)
				}
			}()
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, func(t *testing.T, l *lab) {
				b := l.open("b")
				start := time.Now()
				mustEnd(t, begin(l, b.Addr()))
				d := time.Since(start)
				if name == "drops of bytes" { // the first five make a record's header that TLS refuses
					if d > HandshakeTimeout {
						t.Errorf("closed after %v", d)
					}
				} else if d != HandshakeTimeout {
					t.Errorf("closed after %v", d)
				}
				synctest.Wait()
				notServed(t, b)
				if n := b.Stats().Handshakes; n != 0 {
					t.Errorf("%d handshakes left", n)
				}
			})
		})
	}
}

// Strangers who do not finish are bounded, each host by itself and all together. They keep nobody out: the oldest of them
// goes when another one comes.
func TestHandshakesAreBounded(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		a, b := l.open("a"), l.open("b")
		first := l.raw("s0", b.Addr())
		second := l.raw("s0", b.Addr())
		for range MaxHandshakesPerHost - 2 {
			l.raw("s0", b.Addr())
		}
		synctest.Wait()
		if s := b.Stats(); s.Handshakes != MaxHandshakesPerHost || s.Crowded != 0 {
			t.Fatalf("%+v", s)
		}
		start := time.Now()
		late := l.raw("s0", b.Addr())
		mustEnd(t, first)
		synctest.Wait() // it is counted after it was closed
		if s := b.Stats(); s.Handshakes != MaxHandshakesPerHost || s.Crowded != 1 {
			t.Errorf("one too many from a host: %+v", s)
		}
		l.mustEcho(a, b.Addr())               // from another host
		l.puppet("s0", b.Addr()).stream("s0") // from the same: it turned the oldest out
		mustEnd(t, second)
		for i := range MaxHandshakes/MaxHandshakesPerHost - 1 {
			for range MaxHandshakesPerHost {
				l.raw(fmt.Sprintf("s%d", i+1), b.Addr())
			}
		}
		synctest.Wait()
		if n := b.Stats().Handshakes; n != MaxHandshakes-1 { // the place of the one that got in
			t.Fatalf("%d in handshake", n)
		}
		for range 3 * MaxHandshakes {
			l.raw("s9", b.Addr())
			l.raw("s10", b.Addr())
			l.raw("s11", b.Addr())
			l.raw("s12", b.Addr())
			l.raw("s13", b.Addr())
			synctest.Wait()
			if n := b.Stats().Handshakes; n > MaxHandshakes {
				t.Fatalf("%d in handshake", n)
			}
		}
		mustEnd(t, late)
		l.puppet("late", b.Addr()).stream("late")
		l.mustEcho(b, a.Addr()) // its own dials are not kept back
		if d := time.Since(start); d != 0 {
			t.Errorf("it took %v", d)
		}
		time.Sleep(HandshakeTimeout)
		synctest.Wait()
		if n := b.Stats().Handshakes; n != 0 {
			t.Errorf("%d still in handshake", n)
		}
	})
}

// A dialer gives up as well when the other side does not go on.
func TestDialTimesOut(t *testing.T) {
	inMemory(t, func(t *testing.T, l *lab) {
		a := l.open("a")
		listener, err := l.network("mute").Listen("mute:1")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		start := time.Now()
		if _, err := a.Call(t.Context(), Node{Addr: "mute:1"}, kindEcho, nil); !errors.Is(err, ErrUnreachable) {
			t.Error(err)
		}
		if d := time.Since(start); d != HandshakeTimeout {
			t.Errorf("it took %v", d)
		}
		start = time.Now()
		if _, err := a.Raft().Dial("mute:1", 200*time.Millisecond); !errors.Is(err, ErrUnreachable) {
			t.Error(err)
		}
		if d := time.Since(start); d != 200*time.Millisecond {
			t.Errorf("raft's dial took %v", d)
		}
	})
}
