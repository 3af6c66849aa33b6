package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

var _ memberlist.NodeAwareTransport = (*network)(nil)

// network is UDP and TCP on one address and port. memberlist has one of its own, which takes 64 KiB of new memory for each
// packet, and writes a line for each empty one: a stranger needs no key for either.
type network struct {
	tcp     *net.TCPListener
	udp     *net.UDPConn
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	once    sync.Once
	group   sync.WaitGroup
}

// listenOn opens both at the address. Port 0 takes one that is free for both.
func listenOn(ip netip.Addr, port uint16) (*network, error) {
	var err error
	for range portTries {
		var n *network
		if n, err = listenBoth(ip, port); err == nil || port != 0 {
			return n, err
		}
	}
	return nil, err
}

func listenBoth(ip netip.Addr, port uint16) (*network, error) {
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, port)))
	if err != nil {
		return nil, err
	}
	taken := uint16(tcp.Addr().(*net.TCPAddr).Port)
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, taken)))
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	for size := udpBuffer; size > 0 && udp.SetReadBuffer(size) != nil; size /= 2 {
		continue // the system allows less: packets are lost earlier in a burst
	}
	n := &network{
		tcp: tcp, udp: udp,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), done: make(chan struct{}),
	}
	n.group.Go(n.accept)
	n.group.Go(n.read)
	return n, nil
}

// port returns the port of both.
func (n *network) port() int { return n.tcp.Addr().(*net.TCPAddr).Port }

// FinalAdvertiseAddr returns what was configured, or where this node listens.
func (n *network) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	if ip == "" {
		return n.tcp.Addr().(*net.TCPAddr).IP, n.port(), nil
	}
	parsed := net.ParseIP(ip)
	if parsed == nil {
		return nil, 0, fmt.Errorf("advertised address %q is no IP address", ip)
	}
	if four := parsed.To4(); four != nil {
		parsed = four
	}
	return parsed, port, nil
}

// WriteTo is WriteToAddress without a name.
func (n *network) WriteTo(b []byte, addr string) (time.Time, error) {
	return n.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress sends a packet.
func (n *network) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	to, err := net.ResolveUDPAddr("udp", a.Addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = n.udp.WriteTo(b, to)
	return time.Now(), err
}

// DialTimeout is DialAddressTimeout without a name.
func (n *network) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return n.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout connects by TCP.
func (n *network) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", a.Addr, timeout)
}

func (n *network) PacketCh() <-chan *memberlist.Packet { return n.packets }
func (n *network) StreamCh() <-chan net.Conn           { return n.streams }

// Shutdown closes both and waits.
func (n *network) Shutdown() error {
	n.once.Do(func() { close(n.done) })
	err := errors.Join(n.tcp.Close(), n.udp.Close())
	n.group.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// accept hands connections over until the listener is closed.
func (n *network) accept() {
	for {
		c, err := n.tcp.AcceptTCP()
		if err != nil {
			if n.pause() { // too many open files, mostly
				continue
			}
			return
		}
		select {
		case n.streams <- c:
		case <-n.done:
			_ = c.Close() // nobody has seen it yet
			return
		}
	}
}

// read hands packets over until the socket is closed. What is longer than a packet of a member is cut, and so refused.
func (n *network) read() {
	buf := make([]byte, maxPacket+1)
	for {
		size, from, err := n.udp.ReadFrom(buf)
		if err != nil {
			if n.pause() {
				continue
			}
			return
		}
		p := &memberlist.Packet{Buf: bytes.Clone(buf[:size]), From: from, Timestamp: time.Now()}
		select {
		case n.packets <- p:
		case <-n.done:
			return
		}
	}
}

// pause waits after an error; false if the network is closed.
func (n *network) pause() bool {
	timer := time.NewTimer(networkRetry)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-n.done:
		return false
	}
}
