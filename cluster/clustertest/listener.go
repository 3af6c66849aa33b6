package clustertest

import (
	"net"
	"sync"
)

var _ net.Listener = (*listener)(nil)

type listener struct {
	host     *Host
	addr     *net.TCPAddr
	loopback bool // only its own host may dial it
	backlog  chan *conn
	done     chan struct{}
	once     sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done: // first: a closed listener accepts nothing, however full its backlog
		return nil, l.closedError()
	default:
	}
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.done:
		return nil, l.closedError()
	}
}

// Close stops listening and resets the connections that nobody has accepted.
func (l *listener) Close() error {
	n := l.host.net
	n.mu.Lock()
	if port := uint16(l.addr.Port); l.host.listeners[port] == l {
		delete(l.host.listeners, port)
	}
	n.mu.Unlock()
	if !l.stop() {
		return l.closedError()
	}
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// stop must come after the host has forgotten the listener: then no more connection can enter the backlog. It
// reports whether it was the first.
func (l *listener) stop() bool {
	first := false
	l.once.Do(func() {
		first = true
		close(l.done)
		for {
			select {
			case c := <-l.backlog:
				c.forget()
				c.reset()
			default:
				return
			}
		}
	})
	return first
}

func (l *listener) closedError() error {
	return &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
}
