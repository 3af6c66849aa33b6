package clustertest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// connect opens a connection from a to b: the dialled and the accepted end.
func connect(t *testing.T, a, b *Host) (near, far net.Conn) {
	t.Helper()
	l, err := b.Listen(":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Errorf("accept: %v", err)
		}
		accepted <- c
	}()
	near, err = a.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return near, <-accepted
}

func mustWrite(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if n, err := c.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("write: %d of %d bytes, %v", n, len(text), err)
	}
}

func mustRead(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func TestBytesArriveInOrder(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		n.SetDelay(3 * time.Millisecond)
		near, far := connect(t, n.Host("a"), n.Host("b"))
		random := rand.New(rand.NewPCG(7, 7))
		sent := make([]byte, 5<<20) // several times what the buffers hold
		for i := range sent {
			sent[i] = byte(random.Uint32())
		}
		go func() {
			for rest := sent; len(rest) > 0; {
				k := min(len(rest), 1+random.IntN(100_000))
				if _, err := near.Write(rest[:k]); err != nil {
					t.Errorf("write: %v", err)
				}
				rest = rest[k:]
				if random.IntN(4) == 0 {
					n.SetDelay(time.Duration(random.IntN(5)) * time.Millisecond)
				}
			}
			_ = near.Close()
		}()
		got, err := io.ReadAll(far)
		if err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d of %d bytes, equal: %v, %v", len(got), len(sent), bytes.Equal(got, sent), err)
		}
		if _, err := far.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write to a closed peer: %v", err)
		}
		if err := far.Close(); err != nil {
			t.Error(err)
		}
		if len(n.conns) != 0 {
			t.Errorf("%d ends are still known after both were closed", len(n.conns))
		}
	})
}

func TestFullBufferBlocksTheWriter(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		near, far := connect(t, n.Host("a"), n.Host("b"))
		if err := near.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		k, err := near.Write(make([]byte, maxBuffered+1))
		if k != maxBuffered || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("wrote %d bytes, %v", k, err)
		}
		_ = near.SetWriteDeadline(time.Time{})
		mustRead(t, far, string(make([]byte, 10)))
		mustWrite(t, near, "0123456789")
	})
}

func TestDelay(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		const delay = 40 * time.Millisecond
		n.SetDelay(delay)
		start := time.Now()
		near, far := connect(t, n.Host("a"), n.Host("b"))
		if took := time.Since(start); took != 2*delay {
			t.Errorf("dialling took %v", took)
		}
		start = time.Now()
		mustWrite(t, near, "hello")
		if took := time.Since(start); took != 0 {
			t.Errorf("writing took %v", took)
		}
		mustRead(t, far, "hello")
		if took := time.Since(start); took != delay {
			t.Errorf("arrived after %v", took)
		}
	})
}

func TestLagIsOfOneDirection(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		const delay, lag = time.Millisecond, 40 * time.Millisecond
		n.SetDelay(delay)
		n.SetLag("a", "b", lag)
		start := time.Now()
		near, far := connect(t, n.Host("a"), n.Host("b"))
		if took := time.Since(start); took != 2*delay+lag {
			t.Errorf("dialling took %v", took)
		}
		for _, c := range []struct {
			from, to net.Conn
			want     time.Duration
		}{{near, far, delay + lag}, {far, near, delay}} {
			start = time.Now()
			mustWrite(t, c.from, "hello")
			mustRead(t, c.to, "hello")
			if took := time.Since(start); took != c.want {
				t.Errorf("arrived after %v, want %v", took, c.want)
			}
		}
		n.SetLag("a", "b", 0)
		start = time.Now()
		mustWrite(t, near, "hello")
		mustRead(t, far, "hello")
		if took := time.Since(start); took != delay {
			t.Errorf("without the lag arrived after %v", took)
		}
	})
}

func TestCutStallsOneDirectionUntilHeal(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		n.SetDelay(time.Millisecond)
		near, far := connect(t, n.Host("a"), n.Host("b"))
		mustWrite(t, near, "before ")
		time.Sleep(time.Millisecond)
		mustWrite(t, near, "under way ")
		n.Cut("a", "b")
		mustWrite(t, near, "after")
		mustRead(t, far, "before ") // had arrived, though nobody had read it
		_ = far.SetReadDeadline(time.Now().Add(time.Minute))
		if k, err := far.Read(make([]byte, 9)); k != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read %d bytes through a cut, %v", k, err)
		}
		mustWrite(t, far, "back")
		mustRead(t, near, "back")

		n.Heal()
		_ = far.SetReadDeadline(time.Time{})
		mustRead(t, far, "under way after")
	})
}

func TestCutHidesTheEndOfTheStream(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		near, far := connect(t, n.Host("a"), n.Host("b"))
		n.Partition([]string{"a"}, []string{"b"})
		mustWrite(t, near, "last words")
		_ = near.Close()
		_ = far.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read through a partition: %v", err)
		}
		_ = far.SetReadDeadline(time.Time{})
		n.Heal()
		if got, err := io.ReadAll(far); string(got) != "last words" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	})
}

func TestPartitionGroups(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		names := []string{"a", "b", "c", "d", "e"}
		for _, name := range names {
			l, err := n.Host(name).Listen(name + ":1")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
		}
		n.Partition([]string{"a", "b"}, []string{"c"})
		group := map[string]int{"a": 1, "b": 1, "c": 2}
		for _, from := range names {
			for _, to := range names {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				c, err := n.Host(from).Dial(ctx, to+":1")
				if want := group[from] == group[to]; (err == nil) != want {
					t.Errorf("%s reaches %s: %v, %v", from, to, !want, err)
				}
				if err == nil {
					_ = c.Close()
				}
				cancel()
			}
		}
	})
}

func TestDialGoesOnAfterHeal(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		a, b := n.Host("a"), n.Host("b")
		l, err := b.Listen("b:7000")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		n.Cut("b", "a") // the answer's way
		start := time.Now()
		time.AfterFunc(5*time.Second, n.Heal)
		c, err := a.Dial(t.Context(), "b:7000")
		if err != nil || time.Since(start) != 5*time.Second {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
		_ = c.Close()

		n.Cut("a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var timeout net.Error
		if _, err := a.Dial(ctx, "b:7000"); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("dial through a cut: %v", err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		near, far := connect(t, n.Host("a"), n.Host("b"))
		start := time.Now()
		_ = far.SetReadDeadline(start.Add(time.Second))
		_ = far.SetReadDeadline(start.Add(3 * time.Second)) // replaces the first
		_, err := far.Read(make([]byte, 1))
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) != 3*time.Second {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
		// A deadline in the past wakes a reader that waits already.
		_ = far.SetReadDeadline(time.Time{})
		woken := make(chan error)
		go func() {
			_, err := far.Read(make([]byte, 1))
			woken <- err
		}()
		synctest.Wait()
		_ = far.SetReadDeadline(time.Unix(1, 0))
		if err := <-woken; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		_ = far.SetReadDeadline(time.Time{})
		mustWrite(t, near, "x")
		mustRead(t, far, "x")
	})
}

func TestCloseWakesReaderAndWriter(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		near, _ := connect(t, n.Host("a"), n.Host("b"))
		errs := make(chan error, 2)
		go func() {
			_, err := near.Read(make([]byte, 1))
			errs <- err
		}()
		go func() {
			_, err := near.Write(make([]byte, 2*maxBuffered))
			errs <- err
		}()
		synctest.Wait()
		_ = near.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		}
	})
}

func TestDownResetsAndUpStartsEmpty(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		a, b := n.Host("a"), n.Host("b")
		l, err := b.Listen("b:7000")
		if err != nil {
			t.Fatal(err)
		}
		near, far := connect(t, a, b)
		mustWrite(t, far, "unread")
		errs := make(chan error, 1)
		go func() {
			_, err := l.Accept()
			errs <- err
		}()
		synctest.Wait()
		b.Down()
		if err := <-errs; !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
		for _, c := range []net.Conn{near, far} {
			if _, err := c.Read(make([]byte, 9)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read: %v", err)
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("write: %v", err)
			}
		}
		start := time.Now()
		if _, err := a.Dial(t.Context(), "b:7000"); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != dialLimit {
			t.Errorf("dial a host without power: after %v, %v", time.Since(start), err)
		}
		if _, err := b.Listen("b:7000"); !errors.Is(err, syscall.ENETDOWN) {
			t.Errorf("listen without power: %v", err)
		}

		b.Up()
		if _, err := a.Dial(t.Context(), "b:7000"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial after the power is back: %v", err)
		}
		l, err = b.Listen("b:7000")
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.Dial(t.Context(), "b:7000")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close() // resets what nobody accepted
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v", err)
		}
	})
}

func TestAddresses(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		a, b := n.Host("a"), n.Host("b")
		open := func(h *Host, addr string) net.Listener {
			l, err := h.Listen(addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			return l
		}
		open(b, "b:1")
		open(b, "127.0.0.1:2")
		open(b, "0.0.0.0:3")
		if _, err := b.Listen("b:1"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second listener: %v", err)
		}
		if _, err := a.Listen("b:9"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("another host's address: %v", err)
		}
		for _, c := range []struct {
			from *Host
			addr string
			want error
		}{
			{a, "b:1", nil},
			{a, b.IP().String() + ":1", nil},
			{b, "127.0.0.1:2", nil},
			{a, "b:2", syscall.ECONNREFUSED},
			{a, "127.0.0.1:2", syscall.ECONNREFUSED},
			{a, "b:3", nil},
			{a, "b:4", syscall.ECONNREFUSED},
		} {
			conn, err := c.from.Dial(t.Context(), c.addr)
			if !errors.Is(err, c.want) {
				t.Errorf("%s dials %s: %v", c.from.Name(), c.addr, err)
			}
			if err == nil {
				if host, _, _ := net.SplitHostPort(conn.RemoteAddr().String()); host != b.IP().String() {
					t.Errorf("remote address %v", conn.RemoteAddr())
				}
				_ = conn.Close()
			}
		}
		var dns *net.DNSError
		if _, err := a.Dial(t.Context(), "nobody:1"); !errors.As(err, &dns) {
			t.Errorf("dial an unknown name: %v", err)
		}
	})
}
