package transport

import (
	"net"
	"net/netip"
)

// Proxies are the addresses whose word about the client counts. None by default: whoever may name the client's
// address can get around the throttle, and whoever may name the scheme decides about Secure.
type Proxies []netip.Prefix

// Contain reports whether an address is one of theirs.
func (p Proxies) Contain(addr netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// AddrOf returns the address of a TCP peer; the zero address for anything else.
func AddrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
