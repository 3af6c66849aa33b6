package httpapi

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// leisure is a listener whose connections have all the time that a busy machine may take: what the server sets for a limit
// is over patience later. Those that a test hurries have none: theirs is over soon.
type leisure struct {
	*net.TCPListener
	mu    sync.Mutex
	conns map[string]*leisured // by the client's address; nil: closed
	early map[string]bool      // hurried before they were accepted
}

func newLeisure(t testing.TB) *leisure {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return &leisure{TCPListener: ln, conns: map[string]*leisured{}, early: map[string]bool{}}
}

func (l *leisure) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	client := c.RemoteAddr().String()
	l.mu.Lock()
	defer l.mu.Unlock()
	own := &leisured{TCPConn: c, all: l, hurried: l.early[client]}
	l.conns[client] = own
	delete(l.early, client)
	return own, nil
}

// hurry has limits be over soon: that which a client's connection is under, and those that follow. It makes none where
// the server has set none.
func (l *leisure) hurry(client net.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := client.LocalAddr().String()
	c, accepted := l.conns[name]
	switch {
	case !accepted:
		l.early[name] = true
	case c != nil:
		return c.hurry()
	}
	return nil
}

// got returns how much of what a client has sent is read.
func (l *leisure) got(client net.Conn) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.conns[client.LocalAddr().String()]; c != nil {
		return int(c.got.Load())
	}
	return 0
}

// pause has the limit of the last write be over, as it is on a connection that was silent since then.
func (l *leisure) pause(client net.Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[client.LocalAddr().String()].TCPConn.SetWriteDeadline(time.Now())
}

// leisured is the server's side of a connection.
type leisured struct {
	*net.TCPConn
	all *leisure

	got atomic.Int64 // bytes that the server has read, but for those that came into an intake

	mu          sync.Mutex
	hurried     bool
	read, write time.Time // the limits that the server has set
}

func (c *leisured) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.got.Add(int64(n))
	return n, err
}

func (c *leisured) hurry() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hurried = true
	return errors.Join(c.TCPConn.SetReadDeadline(c.limitLocked(c.read)), c.TCPConn.SetWriteDeadline(c.limitLocked(c.write)))
}

func (c *leisured) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *leisured) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = t
	return c.TCPConn.SetReadDeadline(c.limitLocked(t))
}

func (c *leisured) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write = t
	return c.TCPConn.SetWriteDeadline(c.limitLocked(t))
}

func (c *leisured) limitLocked(t time.Time) time.Time {
	switch {
	case t.IsZero():
		return t
	case c.hurried:
		return time.Now().Add(soon)
	}
	return t.Add(patience)
}

func (c *leisured) Close() error {
	c.all.mu.Lock()
	c.all.conns[c.RemoteAddr().String()] = nil
	c.all.mu.Unlock()
	return c.TCPConn.Close()
}
