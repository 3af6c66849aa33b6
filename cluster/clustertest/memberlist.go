package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// Memberlist opens a transport for memberlist at "name:port" or ":port", with packets and connections on the same
// port. It also resolves names of hosts by LookupNetIP. A port in use is a mistake of the test.
func (h *Host) Memberlist(addr string) memberlist.NodeAwareTransport {
	l, err := h.Listen(addr)
	if err != nil {
		panic(fmt.Sprintf("BUG: clustertest: listen for memberlist: %v", err))
	}
	t := &transport{
		host:    h,
		inner:   l,
		port:    uint16(l.Addr().(*net.TCPAddr).Port),
		packets: make(chan *memberlist.Packet, maxPackets),
		streams: make(chan net.Conn),
		done:    make(chan struct{}),
	}
	h.net.mu.Lock()
	h.gossips[t.port] = t
	h.net.mu.Unlock()
	t.group.Go(t.accept)
	return t
}

// transport never blocks a sender: memberlist sends while it holds its locks, and a member that died does not read.
type transport struct {
	host    *Host
	inner   net.Listener
	port    uint16
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	once    sync.Once
	group   sync.WaitGroup
}

func (t *transport) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	if ip == "" {
		return t.host.ip.AsSlice(), int(t.port), nil
	}
	parsed := net.ParseIP(ip)
	if parsed == nil {
		return nil, 0, fmt.Errorf("advertised address %q is no IP address", ip)
	}
	return parsed, port, nil
}

func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress sends a packet or loses it; the sender does not learn which. Only a closed transport is an error.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	now := time.Now()
	select {
	case <-t.done:
		return now, net.ErrClosed
	default:
	}
	to, port, _, err := t.host.net.resolve(t.host, a.Addr)
	if err != nil {
		return now, fmt.Errorf("send packet to %s: %w", a.Addr, err)
	}
	n := t.host.net
	n.mu.Lock()
	lost := !n.reachesLocked(t.host, to)
	if !lost && t.host != to && n.loss > 0 && n.random.Float64() < n.loss {
		lost = true
		n.lost++
	}
	delay := n.delayLocked(t.host, to)
	n.mu.Unlock()
	if lost {
		return now, nil
	}
	buf := bytes.Clone(b) // memberlist may use its buffer again
	if delay == 0 {
		t.deliver(to, port, buf)
	} else {
		time.AfterFunc(delay, func() { t.deliver(to, port, buf) })
	}
	return now, nil
}

// deliver drops the packet when the way was cut meanwhile, nobody listens or the queue is full.
func (t *transport) deliver(to *Host, port uint16, buf []byte) {
	n := t.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	far := to.gossips[port]
	if far == nil || !n.reachesLocked(t.host, to) {
		return
	}
	from := net.UDPAddrFromAddrPort(netip.AddrPortFrom(t.host.ip, t.port))
	select {
	case far.packets <- &memberlist.Packet{Buf: buf, From: from, Timestamp: time.Now()}:
	default:
	}
}

func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return t.host.Dial(ctx, a.Addr)
}

func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }
func (t *transport) StreamCh() <-chan net.Conn           { return t.streams }

// LookupNetIP resolves names of hosts, as net.Resolver does.
func (t *transport) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return t.host.LookupNetIP(ctx, network, host)
}

// LookupSRV finds what SetService has set, as net.Resolver does.
func (t *transport) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	return t.host.net.LookupSRV(ctx, service, proto, name)
}

// Shutdown stops the transport and waits. Memberlist's own connections run on to their time limits.
func (t *transport) Shutdown() error {
	n := t.host.net
	n.mu.Lock()
	if t.host.gossips[t.port] == t {
		delete(t.host.gossips, t.port)
	}
	n.mu.Unlock()
	err := t.inner.Close()
	t.stop()
	t.group.Wait()
	if errors.Is(err, net.ErrClosed) { // a host without power has closed it before
		return nil
	}
	return err
}

func (t *transport) stop() {
	t.once.Do(func() { close(t.done) })
}

// accept hands connections over until the listener is closed.
func (t *transport) accept() {
	for {
		c, err := t.inner.Accept()
		if err != nil {
			return
		}
		select {
		case t.streams <- c:
		case <-t.done:
			_ = c.Close() // nobody has seen it yet
			return
		}
	}
}
