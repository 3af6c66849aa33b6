package clustertest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// Host is one machine on the network. It can listen, dial and lose its power.
type Host struct {
	net  *Network
	name string
	ip   netip.Addr

	// Guarded by net.mu.
	down      bool
	nextPort  uint16
	listeners map[uint16]*listener
	gossips   map[uint16]*transport
}

// Name returns the host's name, which is its address.
func (h *Host) Name() string { return h.name }

// IP returns the host's address as a number.
func (h *Host) IP() netip.Addr { return h.ip }

// Listen accepts connections at "name:port", ":port" or, from this host only, "127.0.0.1:port". Port 0 takes a free
// one. A port in use is an error.
func (h *Host) Listen(addr string) (net.Listener, error) {
	owner, port, loopback, err := h.net.resolve(h, addr)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	refuse := func(errno syscall.Errno) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: h.addr(port), Err: os.NewSyscallError("bind", errno)}
	}
	switch {
	case owner != h:
		return refuse(syscall.EADDRNOTAVAIL)
	case h.down || h.net.closed:
		return refuse(syscall.ENETDOWN)
	case port == 0:
		port = h.freePortLocked()
	case h.listeners[port] != nil:
		return refuse(syscall.EADDRINUSE)
	}
	l := &listener{host: h, addr: h.addr(port), loopback: loopback, backlog: make(chan *conn, maxBacklog), done: make(chan struct{})}
	h.listeners[port] = l
	return l, nil
}

// Dial connects to "name:port" or "IP:port". A host that is up refuses a port where nobody listens; a host that is
// down or cut off, in either direction, does not answer, and Dial waits for it as long as its context allows.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	to, port, _, err := h.net.resolve(h, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	c, err := h.dial(ctx, to, port)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: to.addr(port), Err: err}
	}
	return c, nil
}

func (h *Host) dial(ctx context.Context, to *Host, port uint16) (net.Conn, error) {
	limit := time.NewTimer(dialLimit)
	defer limit.Stop()
	for travelled := false; ; {
		if ctx.Err() != nil {
			return nil, dialError(ctx)
		}
		h.net.mu.Lock()
		if h.net.closed {
			h.net.mu.Unlock()
			return nil, net.ErrClosed
		}
		changed, trip := h.net.changed, h.net.delayLocked(h, to)+h.net.delayLocked(to, h)
		reached := h.net.reachesLocked(h, to) && h.net.reachesLocked(to, h)
		if reached && (travelled || trip == 0) {
			c, err := h.connectLocked(to, port)
			h.net.mu.Unlock()
			return c, err
		}
		h.net.mu.Unlock()

		var arrival <-chan time.Time
		if reached {
			arrival = time.After(trip)
		}
		select {
		case <-arrival:
			travelled = true
		case <-changed:
		case <-limit.C:
			return nil, os.ErrDeadlineExceeded
		case <-ctx.Done():
		}
	}
}

// dialError translates a context's end into what the net package returns: a deadline is a net.Error with Timeout.
func dialError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	return ctx.Err()
}

// connectLocked makes both ends of a connection and puts the far one into the listener's backlog.
func (h *Host) connectLocked(to *Host, port uint16) (net.Conn, error) {
	refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
	l := to.listeners[port]
	if l == nil || l.loopback && to != h || len(l.backlog) == cap(l.backlog) {
		return nil, refused
	}
	near, far := pair(h, to, h.addr(h.freePortLocked()), l.addr)
	for _, c := range []*conn{near, far} {
		h.net.conns[c] = struct{}{}
		h.net.tuneLocked(c)
	}
	l.backlog <- far // has room: only this line sends, and it holds the lock
	return near, nil
}

// Down takes the power away: connections are reset at both ends at once (a stand-in for the keep-alive of the peers,
// which would take longer), listeners and transports are closed for good, and the host answers nothing until Up.
// Whoever still runs on it reaches nobody.
func (h *Host) Down() {
	var listeners []*listener
	var gossips []*transport
	var conns []*conn
	h.net.change(func() {
		h.down = true
		for _, l := range h.listeners {
			listeners = append(listeners, l)
		}
		for _, t := range h.gossips {
			gossips = append(gossips, t)
		}
		for c := range h.net.conns {
			if c.host == h || c.peer == h {
				conns = append(conns, c)
				delete(h.net.conns, c)
			}
		}
		clear(h.listeners)
		clear(h.gossips)
	})
	for _, c := range conns {
		c.reset()
	}
	for _, l := range listeners {
		l.stop()
	}
	for _, t := range gossips {
		t.stop()
	}
}

// Up gives the power back. Nothing listens: what ran on the host must be started again.
func (h *Host) Up() {
	h.net.change(func() { h.down = false })
}

// LookupNetIP resolves names of hosts, as net.Resolver does.
func (h *Host) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return h.net.LookupNetIP(ctx, network, host)
}

func (h *Host) addr(port uint16) *net.TCPAddr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(h.ip, port))
}

// freePortLocked goes through the ports from firstDialled up. Numbers come back after a round; a connection is found
// by its ends, never by its number, so only listeners must differ.
func (h *Host) freePortLocked() uint16 {
	for {
		p := h.nextPort
		h.nextPort++
		if h.nextPort == 0 {
			h.nextPort = firstDialled
		}
		if h.listeners[p] == nil && h.gossips[p] == nil {
			return p
		}
	}
}
