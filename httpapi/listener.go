package httpapi

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster"
)

func listen(given net.Listener, address string) (net.Listener, error) {
	if given != nil {
		return given, nil
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return ln, nil
}

// listeners knows every listener and connection of a server, so that Close can end those that would not end by
// themselves: fasthttp's shutdown waits for them.
type listeners struct {
	api      net.Addr
	operator net.Addr

	mu     sync.Mutex
	closed bool
	open   map[io.Closer]struct{}
}

// add takes charge of a listener or connection. It reports false after closeAll: the caller must close it itself.
func (l *listeners) add(c io.Closer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.open == nil {
		l.open = map[io.Closer]struct{}{}
	}
	l.open[c] = struct{}{}
	return true
}

func (l *listeners) remove(c io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

func (l *listeners) closeAll() {
	l.mu.Lock()
	l.closed = true
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for c := range open {
		if own, ok := c.(*conn); ok {
			own.linger.Store(false)
		}
		_ = c.Close() // it is to be gone, whatever it says
	}
}

// listener bounds the connections that are open and lets trusted proxies name the client (PROXY protocol).
type listener struct {
	net.Listener
	trusted proxies
	plain   bool // not under TLS: a refusal can be said in HTTP
	all     *listeners
	slots   chan struct{}
	stop    sync.Once
}

func newListener(ln net.Listener, connections int, trusted proxies, all *listeners, plain bool) *listener {
	return &listener{Listener: ln, trusted: trusted, plain: plain, all: all, slots: make(chan struct{}, connections)}
}

// refusal is the whole answer to a connection over the limit.
func refusal() []byte {
	const text = "this node has too many connections open: try again"
	body := `{"code":"` + cluster.ErrOverloaded.Code + `","error":"` + text + `","message":"` + text + `"}`
	return fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"+
		"Retry-After: 1\r\n%s: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		headerRequestID, appendRequestID(nil), len(body), body)
}

// Accept returns the next connection within the limit. One over it is told so and closed: it does not wait.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
		default:
			if l.plain && c.SetWriteDeadline(time.Now().Add(time.Second)) == nil {
				_, _ = c.Write(refusal()) // as far as it gets: it is closed next
			}
			_ = c.Close()
			continue
		}
		conn := &conn{Conn: c, all: l.all, release: sync.OnceFunc(func() { <-l.slots })}
		if l.trusted.contain(addrOf(c.RemoteAddr())) {
			conn.proxy = &proxyHeader{}
		}
		if !l.all.add(conn) {
			_ = conn.Close()
			continue
		}
		return conn, nil
	}
}

// Close stops listening. Closing again is no error: drain, Close and fasthttp each do it.
func (l *listener) Close() error {
	l.all.remove(l)
	var err error
	l.stop.Do(func() { err = l.Listener.Close() })
	return err
}

// conn is a connection that gives its slot back when it is closed.
type conn struct {
	net.Conn
	all     *listeners
	release func()
	proxy   *proxyHeader // nil: the peer is no trusted proxy
	linger  atomic.Bool  // there may be more to read, and the client is to get the last answer nevertheless
}

// Read returns what the client sent. What a trusted proxy put in front of it is read first and kept.
func (c *conn) Read(b []byte) (int, error) {
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
	return c.Conn.Read(b)
}

// RemoteAddr returns the client's address as the proxy says, once something was read, or the peer's.
func (c *conn) RemoteAddr() net.Addr {
	if c.proxy != nil && c.proxy.source != nil {
		return c.proxy.source
	}
	return c.Conn.RemoteAddr()
}

// lingerOn makes a connection's Close wait for the client to read the last answer.
func lingerOn(c net.Conn) {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	if own, ok := c.(*conn); ok {
		own.linger.Store(true)
	}
}

// discard reads what the client still sends, within bounds, until it has seen that nothing is answered any more. To
// close over unread bytes would reset the connection, and the client's system might throw the answer away (RFC 9112,
// 9.6).
func (c *conn) discard() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes) // as far as it gets: it is closed next
}

// Close gives the slot back.
func (c *conn) Close() error {
	if c.linger.Swap(false) {
		c.discard()
	}
	c.all.remove(c)
	c.release()
	return c.Conn.Close()
}
