package access

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/transport"
)

// Clients knows what a request says about who sent it, and how much of that counts: address, scheme, origin.
type Clients struct {
	Trusted transport.Proxies
	Origins map[string]bool // whose pages may call the API
	tls     bool            // the API is under TLS
}

// PeerTrusted reports whether the other end of the connection is a trusted proxy. Where the proxy has named a client
// by the PROXY protocol, the client is the other end: it, not the proxy, wrote the headers.
func (cl *Clients) PeerTrusted(rc *exchange.Request) bool {
	return len(cl.Trusted) > 0 && cl.Trusted.Contain(transport.AddrOf(rc.Ctx.RemoteAddr()))
}

// ClientAddr returns the client's address: the peer's or, as long as the address is that of a trusted proxy, the one
// before it in X-Forwarded-For, read from the right, where each proxy has added the peer that it saw.
func (cl *Clients) ClientAddr(rc *exchange.Request) netip.Addr {
	if rc.Client.IsValid() {
		return rc.Client
	}
	addr := transport.AddrOf(rc.Ctx.RemoteAddr())
	if cl.Trusted.Contain(addr) {
		addr = cl.forwardedFor(rc, addr)
	}
	rc.Client = addr
	return addr
}

func (cl *Clients) forwardedFor(rc *exchange.Request, addr netip.Addr) netip.Addr {
	lines := rc.Ctx.Request.Header.PeekAll(fasthttp.HeaderXForwardedFor)
	for seen, i := 0, len(lines)-1; i >= 0; i-- {
		hops := exchange.SplitList(lines[i])
		for _, hop := range slices.Backward(hops) {
			next, ok := parseForwarded(hop)
			if seen++; !ok || seen > MaxForwardedFor {
				return addr
			}
			if addr = next; !cl.Trusted.Contain(addr) {
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

// IsHTTPS reports whether the client speaks TLS, to this node or to a trusted proxy in front of it. Of several schemes
// the last counts: the nearest proxy wrote it.
func (cl *Clients) IsHTTPS(rc *exchange.Request) bool {
	if rc.Ctx.IsTLS() {
		return true
	}
	if len(rc.Scheme) == 0 || !cl.PeerTrusted(rc) {
		return false
	}
	last := rc.Scheme[bytes.LastIndexByte(rc.Scheme, ',')+1:]
	return bytes.EqualFold(bytes.TrimSpace(last), []byte("https"))
}

// AcceptRequestID takes over a trusted proxy's request id, if it is sane, and echoes it.
func (cl *Clients) AcceptRequestID(rc *exchange.Request) {
	id := rc.Ctx.Request.Header.Peek(exchange.HeaderRequestID)
	if len(id) == 0 || len(id) > exchange.MaxRequestID || !cl.PeerTrusted(rc) {
		return
	}
	for _, c := range id {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return
		}
	}
	rc.SetID(id)
	rc.Ctx.Response.Header.SetBytesV(exchange.HeaderRequestID, id)
}

// addressOf returns the client's address as a session keeps it.
func (cl *Clients) addressOf(rc *exchange.Request) string {
	if addr := cl.ClientAddr(rc); addr.IsValid() {
		return addr.String()
	}
	return ""
}

// IsSecure is ctx.IsTLS for a request that has got so far: all connections but the control socket's are under TLS, or
// none is. To ask the connection costs more than to put the armour on.
func (cl *Clients) IsSecure(rc *exchange.Request) bool { return cl.tls && !rc.Control }
