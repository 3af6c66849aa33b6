package httpapi

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// proxies are the addresses whose word about the client counts. None by default: whoever may name the client's
// address can get around the throttle, and whoever may name the scheme decides about Secure.
type proxies []netip.Prefix

func (p proxies) contain(addr netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// addrOf returns the address of a TCP peer; the zero address for anything else.
func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// peerTrusted reports whether the other end of the connection is a trusted proxy. Where the proxy has named a client
// by the PROXY protocol, the client is the other end: it, not the proxy, wrote the headers.
func (s *Server) peerTrusted(rc *request) bool {
	return len(s.trusted) > 0 && s.trusted.contain(addrOf(rc.ctx.RemoteAddr()))
}

// clientAddr returns the client's address: the peer's or, as long as the address is that of a trusted proxy, the one
// before it in X-Forwarded-For, read from the right, where each proxy has added the peer that it saw.
func (s *Server) clientAddr(rc *request) netip.Addr {
	if rc.client.IsValid() {
		return rc.client
	}
	addr := addrOf(rc.ctx.RemoteAddr())
	if s.trusted.contain(addr) {
		addr = s.forwardedFor(rc, addr)
	}
	rc.client = addr
	return addr
}

func (s *Server) forwardedFor(rc *request, addr netip.Addr) netip.Addr {
	lines := rc.ctx.Request.Header.PeekAll(fasthttp.HeaderXForwardedFor)
	for seen, i := 0, len(lines)-1; i >= 0; i-- {
		hops := splitList(lines[i])
		for _, hop := range slices.Backward(hops) {
			next, ok := parseForwarded(hop)
			if seen++; !ok || seen > maxForwardedFor {
				return addr
			}
			if addr = next; !s.trusted.contain(addr) {
				return addr
			}
		}
	}
	return addr
}

// parseForwarded reads an address with or without a port: some proxies add it.
func parseForwarded(text string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return addr.Unmap().WithZone(""), true
	}
	if both, err := netip.ParseAddrPort(text); err == nil {
		return both.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// isHTTPS reports whether the client speaks TLS, to this node or to a trusted proxy in front of it. Of several schemes
// the last counts: the nearest proxy wrote it.
func (s *Server) isHTTPS(rc *request) bool {
	if rc.ctx.IsTLS() {
		return true
	}
	if !s.peerTrusted(rc) {
		return false
	}
	lines := rc.ctx.Request.Header.PeekAll(fasthttp.HeaderXForwardedProto)
	if len(lines) == 0 {
		return false
	}
	last := lines[len(lines)-1]
	last = last[bytes.LastIndexByte(last, ',')+1:]
	return bytes.EqualFold(bytes.TrimSpace(last), []byte("https"))
}

// splitList splits a header's list of values.
func splitList(header []byte) []string {
	parts := strings.Split(string(header), ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
