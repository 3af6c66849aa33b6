package transport

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// Conn is a connection that gives its slot back when it is closed.
type Conn struct {
	net.Conn
	all     *Listeners
	release func()
	proxy   *proxyHeader // nil: the peer is no trusted proxy
	turn    uint32       // its number
	linger  atomic.Bool  // there may be more to read, and the client is to get the last answer nevertheless

	lane     Lane         // nil: there is none
	intake   *intake      // nil: without a lane, or of no socket
	idle     bool         // the last request is answered, and of the next one nothing is read; of the connection's goroutine alone
	extended time.Time    // when the lane has last set the deadlines, zero when fasthttp has since; likewise
	use      atomic.Int32 // laneFree, laneBusy or laneClosed
}

// Lane answers requests before the HTTP server sees them, where it can.
type Lane interface {
	// Answer answers the request in b[:n], if it is one of those, and reports whether it did. The rest of b is scratch. An
	// error is that of the connection. It is called between two requests of a connection only, where the next byte is the
	// first of a request.
	Answer(c *Conn, b []byte, n int) (answered bool, err error)
}

// NewConn returns a connection that all is to take charge of.
func NewConn(c net.Conn, all *Listeners, l Lane) *Conn {
	own := &Conn{Conn: c, all: all, lane: l, release: func() {}}
	if l != nil {
		own.intake = newIntake(own)
	}
	return own
}

// Turn returns the connection's number: connections one after another have different ones.
func (c *Conn) Turn() uint32 { return c.turn }

// What a connection is used for, so that a server that drains does not close it over a request that is being answered:
// to fasthttp, a connection whose requests the lane answers is idle.
const (
	laneFree = iota
	laneBusy
	laneClosed // by Close, or will be when the answer is sent
)

// ConnState follows what fasthttp does with a connection.
func ConnState(c net.Conn, state fasthttp.ConnState) {
	if own, ok := c.(*Conn); ok && (state == fasthttp.StateIdle || state == fasthttp.StateActive) {
		own.idle, own.extended = state == fasthttp.StateIdle, time.Time{}
	}
}

// Read returns what the client sent and the lane has not answered. What a trusted proxy put in front of it is read first
// and kept.
func (c *Conn) Read(b []byte) (int, error) {
	if c.proxy != nil && !c.proxy.done {
		if err := c.proxy.read(c.Conn); err != nil {
			return 0, err
		}
	}
	if c.proxy != nil {
		if n := c.proxy.pending(b); n > 0 {
			return n, nil
		}
	}
	for {
		if c.intake != nil && c.idle {
			if n, err := c.intake.read(b); err == nil || !c.lulled(err) {
				return n, err
			}
		}
		n, err := c.Conn.Read(b)
		if err != nil || !c.idle || c.lane == nil {
			return n, err
		}
		answered, shut, err := c.offer(b, n)
		if shut {
			err = errors.Join(net.ErrClosed, c.close())
		}
		if err != nil {
			return 0, err
		}
		if !answered {
			return n, nil
		}
	}
}

// offer lets the lane answer what was read. Shut: Close was called meanwhile, and left it to the caller to close.
func (c *Conn) offer(b []byte, n int) (answered, shut bool, err error) {
	if !c.use.CompareAndSwap(laneFree, laneBusy) {
		return false, false, net.ErrClosed
	}
	answered, err = c.lane.Answer(c, b, n)
	return answered, !c.use.CompareAndSwap(laneBusy, laneFree), err
}

// Extend gives the connection time for an answer and for the request after it, as fasthttp does: Step more than that
// at most, and never less. With an intake the read ends sooner, and lulled gives it the rest.
func (c *Conn) Extend(now time.Time) error {
	if now.Sub(c.extended) < Step {
		return nil
	}
	c.extended = now
	wait := IdleTimeout
	if c.intake != nil {
		wait = lull
	}
	return errors.Join(c.SetReadDeadline(now.Add(wait+Step)), c.SetWriteDeadline(now.Add(WriteTimeout+Step)))
}

// lulled reports whether an intake has ended only because nothing came for a while.
func (c *Conn) lulled(err error) bool {
	return !c.extended.IsZero() && errors.Is(err, os.ErrDeadlineExceeded) && c.SetReadDeadline(c.extended.Add(IdleTimeout+Step)) == nil
}

// RemoteAddr returns the client's address as the proxy says, once something was read, or the peer's.
func (c *Conn) RemoteAddr() net.Addr {
	if c.proxy != nil && c.proxy.source != nil {
		return c.proxy.source
	}
	return c.Conn.RemoteAddr()
}

// Linger makes a connection's Close wait for the client to read the last answer.
func Linger(c net.Conn) {
	if secure, ok := c.(*secureConn); ok {
		c = secure.NetConn()
	}
	if own, ok := c.(*Conn); ok {
		own.linger.Store(true)
	}
}

// discard reads what the client still sends, within bounds, until it has seen that nothing is answered any more. To
// close over unread bytes would reset the connection, and the client's system might throw the answer away (RFC 9112,
// 9.6).
func (c *Conn) discard() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.Conn, LingerBytes) // as far as it gets: it is closed next
}

// Close closes the connection, when an answer that the lane is about to send has been sent.
func (c *Conn) Close() error {
	if c.use.Swap(laneClosed) == laneBusy {
		return nil
	}
	return c.close()
}

// close gives the slot back.
func (c *Conn) close() error {
	if c.linger.Swap(false) {
		c.discard()
	}
	c.all.remove(c)
	c.release()
	return c.Conn.Close()
}

// SocketAddr returns the address of a connection's own other end, zero where there is none that counts: a Unix socket,
// or a connection on which a proxy has named its client, who then wrote the headers.
func SocketAddr(c net.Conn) netip.Addr {
	if secure, ok := c.(*secureConn); ok {
		c = secure.NetConn()
	}
	if own, ok := c.(*Conn); ok {
		if own.proxy != nil && own.proxy.source != nil {
			return netip.Addr{}
		}
		c = own.Conn
	}
	if c == nil {
		return netip.Addr{}
	}
	return AddrOf(c.RemoteAddr())
}
