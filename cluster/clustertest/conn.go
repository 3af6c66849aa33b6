package clustertest

import (
	"errors"
	"io"
	"net"
	"time"
)

var _ net.Conn = (*conn)(nil)

// conn is one end of a connection: it writes into one pipe and reads from another, which the other end has reversed.
type conn struct {
	host, peer    *Host
	local, remote net.Addr
	in, out       *pipe
	twin          *conn // the other end
}

func pair(a, b *Host, aAddr, bAddr net.Addr) (near, far *conn) {
	there, back := newPipe(), newPipe()
	near = &conn{host: a, peer: b, local: aAddr, remote: bAddr, in: back, out: there}
	far = &conn{host: b, peer: a, local: bAddr, remote: aAddr, in: there, out: back}
	near.twin, far.twin = far, near
	return near, far
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	return n, c.wrap("read", err)
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	return n, c.wrap("write", err)
}

// Close ends both directions. What was written is still delivered.
func (c *conn) Close() error {
	c.in.closeRead()
	if !c.out.closeWrite() {
		return c.wrap("close", net.ErrClosed)
	}
	// The end stays known to the network until the other end is closed too: its last bytes may be stalled by a cut.
	if c.in.finished() {
		c.forget()
	}
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	return c.wrap("set", c.in.setReadDeadline(t))
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.wrap("set", c.out.setWriteDeadline(t))
}

// reset breaks the connection for both ends at once.
func (c *conn) reset() {
	c.in.reset()
	c.out.reset()
}

// forget takes both ends from the network.
func (c *conn) forget() {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
	delete(n.conns, c.twin)
}

func (c *conn) wrap(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}
