package wire

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// raftLayer is the part of the port that raft sees: connections as raw bytes, which raft frames itself.
type raftLayer struct {
	t        *Transport
	places   chan struct{} // one token for each connection that is promised to raft and not yet accepted by it
	accepted chan net.Conn // as long as places: whoever holds a token can send
	closed   chan struct{}
	once     sync.Once
}

var _ raft.StreamLayer = (*raftLayer)(nil)

func newRaftLayer(t *Transport) *raftLayer {
	return &raftLayer{
		t:        t,
		places:   make(chan struct{}, MaxRaftBacklog),
		accepted: make(chan net.Conn, MaxRaftBacklog),
		closed:   make(chan struct{}),
	}
}

// Accept returns the next connection of a peer's raft.
func (l *raftLayer) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.accepted:
		l.release()
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close closes raft's connections, which hashicorp/raft leaves open, and refuses further ones. The port stays.
func (l *raftLayer) Close() error {
	l.once.Do(func() { close(l.closed) })
	l.t.table.endRaft()
	return nil
}

// Addr returns the address that peers know.
func (l *raftLayer) Addr() net.Addr { return address(l.t.addr) }

// Dial connects to a peer's raft. timeout 0 stands for Config.HandshakeTimeout, which is the longest as well.
func (l *raftLayer) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return l.dial(Node{Addr: string(to)}, timeout)
}

// DialRaft connects to the raft of a certain node; another one that answers at its address is not connected to.
func (t *Transport) DialRaft(node Node, timeout time.Duration) (net.Conn, error) {
	return t.raft.dial(node, timeout)
}

func (l *raftLayer) dial(to Node, timeout time.Duration) (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, unreachable(to.Addr, net.ErrClosed)
	default:
	}
	if timeout <= 0 {
		timeout = l.t.cfg.HandshakeTimeout
	}
	ctx, cancel := context.WithTimeout(l.t.ctx, timeout)
	defer cancel()
	s, err := l.t.dial(ctx, to.Addr, kindRaft)
	if err != nil {
		return nil, unreachable(to.Addr, err)
	}
	c := l.conn(s)
	err = to.check(s.entry.peer)
	if err == nil && l.over() { // closed meanwhile: Close may not have seen this one
		err = net.ErrClosed
	}
	if err != nil {
		_ = c.Close() // the error says more
		return nil, unreachable(to.Addr, err)
	}
	return c, nil
}

// reserve takes a place for a connection; false when there is none, or raft has gone.
func (l *raftLayer) reserve() bool {
	if l.over() {
		return false
	}
	select {
	case l.places <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l *raftLayer) release() { <-l.places }

// offer hands a connection to raft, in the place that was reserved for it.
func (l *raftLayer) offer(s *secured) {
	l.accepted <- l.conn(s)
	if l.over() { // nobody will accept it
		s.entry.end(errClosed)
		l.t.table.remove(s.entry)
	}
}

func (l *raftLayer) over() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// conn wraps an authenticated connection. What comes in are requests on those that were accepted, answers on the others.
func (l *raftLayer) conn(s *secured) *raftConn {
	return &raftConn{Conn: s.Conn, t: l.t, entry: s.entry, scanner: newScanner(s.entry.inbound)}
}

// raftConn is one of raft's connections. One goroutine at a time reads from it.
type raftConn struct {
	net.Conn // TLS
	t        *Transport
	entry    *entry
	scanner  *scanner
}

// Read returns what the peer has sent, if raft may see it. Otherwise it closes the connection.
func (c *raftConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if wrong := c.scanner.scan(p[:n]); wrong != nil {
		_ = c.Close() // the reason is wrong
		c.t.counters.malformed.Add(1)
		c.t.quiet.warn(c.t.log, "raft", "a raft connection is closed for what the peer sent", "peer", c.entry.peer, "err", wrong)
		return 0, wrong
	}
	return n, err
}

// Close closes below TLS: TLS would first send an alert, and wait for a peer that may be gone. Raft's messages say
// their lengths, so a cut can't be taken for an end.
func (c *raftConn) Close() error {
	c.t.table.remove(c.entry)
	return c.entry.raw.Close()
}

// address is a host:port.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }
