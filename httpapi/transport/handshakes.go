package transport

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Handshakes bounds the TLS handshakes that are under way, in all and of one address. Whoever begins one and does not
// end it holds a connection, and costs a signature if he does.
type Handshakes struct {
	// Limits, to be changed before the first handshake only.
	InAll, OfOne int
	Patience     time.Duration // for one

	trusted Proxies // may do as many as there are places: they come for others
	refused atomic.Uint64

	mu   sync.Mutex
	all  int
	from map[netip.Addr]int
}

// NewHandshakes returns the bounds of one listener.
func NewHandshakes(trusted Proxies) *Handshakes {
	return &Handshakes{InAll: maxHandshakes, OfOne: maxHandshakesOfOne, Patience: handshakeTimeout, trusted: trusted, from: map[netip.Addr]int{}}
}

// Running returns how many are under way.
func (h *Handshakes) Running() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all
}

// Refused returns how many were refused.
func (h *Handshakes) Refused() uint64 { return h.refused.Load() }

// begin takes a place for a handshake. leave gives it back.
func (h *Handshakes) begin(from netip.Addr) (leave func(), ok bool) {
	trusted := h.trusted.Contain(from)
	if from.Is6() && !trusted {
		from = netip.PrefixFrom(from, 64).Masked().Addr() // a host has as many addresses as it wants within it
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all >= h.InAll || h.from[from] >= h.OfOne && !trusted {
		h.refused.Add(1)
		return nil, false
	}
	h.all++
	h.from[from]++
	return func() { h.end(from) }, true
}

func (h *Handshakes) end(from netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all--
	if h.from[from]--; h.from[from] == 0 {
		delete(h.from, from)
	}
}

// Secure returns a listener under TLS.
func Secure(ln net.Listener, c *Certificate, h *Handshakes) net.Listener {
	return &secureListener{ln, c.config(), h}
}

// secureListener is a listener under TLS.
type secureListener struct {
	net.Listener
	config     *tls.Config
	handshakes *Handshakes
}

func (l *secureListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &secureConn{Conn: tls.Server(c, l.config), handshakes: l.handshakes}, nil
}

// secureConn is a connection under TLS. fasthttp has it shake hands before it reads, in a goroutine of its own.
type secureConn struct {
	*tls.Conn
	handshakes *Handshakes
}

var errHandshakes = errors.New("too many TLS handshakes")

// Handshake shakes hands within the time limit, if there is a place for it. Else the connection is closed: there is
// nothing to be said before the handshake that the client would believe.
func (c *secureConn) Handshake() error {
	leave, ok := c.handshakes.begin(AddrOf(c.RemoteAddr()))
	if !ok {
		_ = c.NetConn().Close() // or to read from it would begin the handshake after all
		return errHandshakes
	}
	defer leave()
	if err := c.SetDeadline(time.Now().Add(c.handshakes.Patience)); err != nil {
		return err
	}
	if err := c.Conn.Handshake(); err != nil {
		return err
	}
	return c.SetDeadline(time.Time{}) // from here on the server sets its own
}
