//go:build unix

package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// pair is a socket whose other end is peer. Where a read of the runtime's would wait, wait is called, which may send
// something, or end the read by an error.
type pair struct {
	fd, peer int
	wait     func() error
}

func newPair(t *testing.T) *pair {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		t.Cleanup(func() { _ = syscall.Close(fd) }) // the test may have closed it
		if err := syscall.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	return &pair{fd: fds[0], peer: fds[1]}
}

func (p *pair) send(t *testing.T, text string) {
	t.Helper()
	if n, err := syscall.Write(p.peer, []byte(text)); err != nil || n != len(text) {
		t.Fatal(n, err)
	}
}

func (p *pair) Control(func(uintptr)) error    { return nil }
func (p *pair) Write(func(uintptr) bool) error { return nil }

func (p *pair) Read(f func(uintptr) bool) error {
	for {
		if f(uintptr(p.fd)) {
			return nil
		}
		if err := p.wait(); err != nil {
			return err
		}
	}
}

// pairConn is a connection over a pair, whose answers are kept.
type pairConn struct {
	net.Conn
	pair    *pair
	pieces  [][]byte // of ordinary reads
	written strings.Builder
	reads   []time.Time // deadlines that were set
	closed  int
	onWrite func()
}

func (c *pairConn) Read(b []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.pieces[0])
	c.pieces = c.pieces[1:]
	return n, nil
}

func (c *pairConn) Write(b []byte) (int, error) {
	if c.onWrite != nil {
		c.onWrite()
	}
	return c.written.Write(b)
}

func (c *pairConn) Close() error                      { c.closed++; return nil }
func (c *pairConn) SetReadDeadline(t time.Time) error { c.reads = append(c.reads, t); return nil }
func (c *pairConn) SetWriteDeadline(time.Time) error  { return nil }

// oneAnswer is a lane that knows one request.
type oneAnswer struct{}

const (
	hit      = "GET /hit HTTP/1.1\r\nHost: cloak.example\r\nUser-Agent: test\r\n\r\n"
	plainGet = "GET /healthz HTTP/1.1\r\nHost: cloak.example\r\n\r\n"
	said     = "HTTP/1.1 204 No Content\r\n\r\n"
	bufSize  = 4 << 10
)

func (oneAnswer) Answer(c *Conn, b []byte, n int) (bool, error) {
	if string(b[:n]) != hit {
		return false, nil
	}
	if err := c.Extend(time.Now()); err != nil {
		return true, err
	}
	_, err := c.Write([]byte(said))
	return true, err
}

func (c *pairConn) SyscallConn() (syscall.RawConn, error) { return c.pair, nil }

// onPair returns the server's side of a connection that has had its first answer.
func onPair(p *pair) (*Conn, *pairConn) {
	c := &pairConn{pair: p}
	own := NewConn(c, &Listeners{}, oneAnswer{})
	ConnState(own, fasthttp.StateIdle)
	return own, c
}

// Each request is read by one system call: none of them asks for what can't be there yet.
func TestIntakeReadsOnce(t *testing.T) {
	p := newPair(t)
	own, c := onPair(p)
	const requests = 10
	sent, reads := 0, 0
	own.intake.ask = func(fd uintptr, b []byte) (int, error) { reads++; return readSocket(fd, b) }
	p.wait = func() error {
		if sent++; sent > requests {
			return io.ErrUnexpectedEOF
		}
		p.send(t, hit)
		return nil
	}
	if n, err := own.Read(make([]byte, bufSize)); n != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(n, err)
	}
	if got := strings.Count(c.written.String(), said); got != requests || reads != requests+1 { // and the one that finds nothing at the beginning
		t.Errorf("%d answers, %d reads", got, reads)
	}
}

// What an intake reads is what came: it stops at the end, at an error, and at a request that is not for the lane, and goes
// on reading where there may be more.
func TestIntakeEnds(t *testing.T) {
	for _, c := range []struct {
		name    string
		sent    []string // one after another, when the one before is answered
		size    int      // of the buffer
		then    func(p *pair)
		read    string
		err     error
		answers int
	}{
		{name: "end", sent: []string{hit}, then: func(p *pair) { _ = syscall.Shutdown(p.peer, syscall.SHUT_WR) }, err: io.EOF, answers: 1},
		{name: "for the handlers", sent: []string{hit, plainGet}, read: plainGet, answers: 1},
		{name: "half", sent: []string{hit, hit[:9]}, read: hit[:9], answers: 1},
		{name: "two at once", sent: []string{hit + hit}, read: hit + hit},
		{name: "full buffer", sent: []string{hit, hit + plainGet}, size: len(hit), read: plainGet, answers: 2},
		{name: "too small a buffer", sent: []string{hit}, size: len(hit) - 1, read: hit[:len(hit)-1]},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t)
			own, sent := onPair(p)
			p.wait = func() error {
				switch {
				case len(c.sent) > 0:
					p.send(t, c.sent[0])
					c.sent = c.sent[1:]
				case c.then != nil:
					c.then(p)
					c.then = nil
				default:
					t.Error("waits for more")
					return io.ErrNoProgress
				}
				return nil
			}
			if c.size == 0 {
				c.size = bufSize
			}
			room := make([]byte, c.size, bufSize) // the lane answers in what is behind
			n, err := own.Read(room)
			if string(room[:n]) != c.read || !errors.Is(err, c.err) {
				t.Errorf("%q, %v", room[:n], err)
			}
			if got := strings.Count(sent.written.String(), said); got != c.answers {
				t.Errorf("%d answers", got)
			}
		})
	}
}

// A connection that is closed while a request of it is answered is closed after that, when the read is over: Close would wait
// for the read, and the read for Close.
func TestIntakeIsClosedOutside(t *testing.T) {
	p := newPair(t)
	own, c := onPair(p)
	reading, during := false, 0
	p.wait = func() error { p.send(t, hit); return nil }
	c.onWrite = func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	}
	try := own.intake.try
	own.intake.try = func(fd uintptr) bool {
		reading = true
		defer func() { reading, during = false, c.closed }()
		return try(fd)
	}
	if n, err := own.Read(make([]byte, bufSize)); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Error(n, err)
	}
	if reading || during != 0 || c.closed != 1 || !strings.Contains(c.written.String(), said) {
		t.Errorf("closed %d times in the read, %d in all: %q", during, c.closed, c.written.String())
	}
}

// A connection on which nothing comes for a while waits in the ordinary way, for as long as any other.
func TestIntakeLulls(t *testing.T) {
	p := newPair(t)
	own, c := onPair(p)
	begun := time.Now()
	p.wait = func() error {
		if len(c.reads) > 0 {
			return os.ErrDeadlineExceeded
		}
		p.send(t, hit)
		return nil
	}
	c.pieces = [][]byte{[]byte(plainGet)} // of the ordinary read
	b := make([]byte, bufSize)
	if n, err := own.Read(b); err != nil || string(b[:n]) != plainGet {
		t.Fatalf("%q, %v", b[:n], err)
	}
	if len(c.reads) != 2 || c.reads[0].Before(begun.Add(lull)) || c.reads[0].After(time.Now().Add(lull+Step)) || c.reads[1].Before(begun.Add(IdleTimeout)) {
		t.Errorf("deadlines after %v", c.reads)
	}
	own.idle, own.extended = true, time.Time{} // fasthttp has set the deadline itself
	p.wait = func() error { return os.ErrDeadlineExceeded }
	if _, err := own.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
}
