package transport

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a listener is made of.
type Options struct {
	Connections int           // that may be open at once
	Trusted     Proxies       // may name the client (PROXY protocol)
	Lane        Lane          // nil: there is none
	Refusal     func() []byte // makes the whole answer to a connection over the limit; nil: it is closed without a word
}

// Listener bounds the connections that are open and lets trusted proxies name the client.
type Listener struct {
	net.Listener
	options Options
	turns   atomic.Uint32
	all     *Listeners
	slots   chan struct{}
	leaving atomic.Bool // takes what the backlog holds, and closes
	rounds  int         // of that, since the last connection; of Accept alone
	stop    sync.Once
}

// NewListener returns a listener whose connections all takes charge of. So the caller must have it do of the listener.
func NewListener(ln net.Listener, all *Listeners, o Options) *Listener {
	return &Listener{Listener: ln, options: o, all: all, slots: make(chan struct{}, o.Connections)}
}

// Accept returns the next connection within the limit. One over it is told so and closed: it does not wait.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			if err = l.leave(err); err == nil {
				continue
			}
			return nil, err
		}
		l.rounds = 0
		select {
		case l.slots <- struct{}{}:
		default:
			if l.options.Refusal != nil && c.SetWriteDeadline(time.Now().Add(time.Second)) == nil {
				_, _ = c.Write(l.options.Refusal()) // as far as it gets: it is closed next
			}
			_ = c.Close()
			continue
		}
		conn := NewConn(c, l.all, l.options.Lane)
		conn.release = sync.OnceFunc(func() { <-l.slots })
		if l.options.Trusted.Contain(AddrOf(c.RemoteAddr())) {
			conn.proxy = &proxyHeader{}
		}
		conn.turn = l.turns.Add(1)
		if !l.all.Add(conn) {
			_ = conn.Close()
			continue
		}
		return conn, nil
	}
}

// Close stops listening. Closing again is no error: drain, Close and fasthttp each do it.
func (l *Listener) Close() error {
	l.all.remove(l)
	var err error
	l.stop.Do(func() { err = l.Listener.Close() })
	return err
}
