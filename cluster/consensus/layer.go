package consensus

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// layer knows all open connections, so that the end of a node need not wait for members that don't answer: the
// library closes neither the connections that it keeps nor those that it serves.
type layer struct {
	raft.StreamLayer

	done chan struct{} // closed by Close

	mu     sync.Mutex
	closed bool
	conns  map[*layerConn]struct{}
}

type layerConn struct {
	net.Conn
	layer *layer
}

func newLayer(inner raft.StreamLayer) *layer {
	return &layer{StreamLayer: inner, done: make(chan struct{}), conns: map[*layerConn]struct{}{}}
}

// Accept returns the next connection that another member has made.
func (l *layer) Accept() (net.Conn, error) { return l.track(l.StreamLayer.Accept()) }

// errDial says that a member could not be reached by a new connection.
var errDial = errors.New("dial")

// Dial connects to another member, until Close. A member that does not answer then holds up a goroutine for the rest
// of the timeout, or until whoever owns the network ends it, but not the node.
func (l *layer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	type outcome struct {
		conn net.Conn
		err  error
	}
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	dialled := make(chan outcome, 1)
	go func() {
		c, err := l.track(l.StreamLayer.Dial(address, timeout))
		dialled <- outcome{c, err}
	}()
	select {
	case o := <-dialled:
		if o.err != nil {
			return nil, fmt.Errorf("%w: %w", errDial, o.err)
		}
		return o.conn, nil
	case <-l.done: // a late connection is closed by track, or was known to Close
		return nil, net.ErrClosed
	}
}

func (l *layer) track(c net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	tracked := &layerConn{Conn: c, layer: l}
	l.conns[tracked] = struct{}{}
	return tracked, nil
}

// Close closes the listener and all connections.
func (l *layer) Close() error {
	l.mu.Lock()
	if !l.closed {
		close(l.done)
	}
	l.closed = true
	conns := l.conns
	l.conns = map[*layerConn]struct{}{}
	l.mu.Unlock()
	err := l.StreamLayer.Close()
	for c := range conns {
		_ = c.Conn.Close() // broken or not, it is gone
	}
	return err
}

// Close closes the connection and forgets it.
func (c *layerConn) Close() error {
	c.layer.mu.Lock()
	delete(c.layer.conns, c)
	c.layer.mu.Unlock()
	return c.Conn.Close()
}

// ServerAddr tells the library where to find a member.
func (n *Node) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if string(id) == n.cfg.NodeID {
		return n.transport.LocalAddr(), nil
	}
	if n.cfg.Resolve != nil {
		if addr, ok := n.cfg.Resolve(string(id)); ok {
			return raft.ServerAddress(addr), nil
		}
	}
	<-n.ready
	for _, s := range n.raft.GetConfiguration().Configuration().Servers {
		if s.ID == id {
			return s.Address, nil
		}
	}
	return "", errors.New("not in the configuration")
}
