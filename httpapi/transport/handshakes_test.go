package transport

import (
	"net/netip"
	"testing"
)

func TestHandshakesOfOneAddress(t *testing.T) {
	h := NewHandshakes(Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::9/128")})
	h.InAll, h.OfOne = 7, 1
	begin := func(addr string, want bool) func() {
		t.Helper()
		leave, ok := h.begin(netip.MustParseAddr(addr))
		if ok != want {
			t.Errorf("%s: %v", addr, ok)
		}
		return leave
	}
	leave := begin("192.0.2.1", true)
	begin("192.0.2.1", false)
	begin("192.0.2.2", true)
	begin("2001:db8::1", true)
	begin("2001:db8::2", false) // of the same /64
	begin("2001:db8::9", true)  // comes for others
	begin("2001:db8:0:1::1", true)
	begin("10.0.0.1", true)
	begin("10.0.0.1", true)
	begin("10.0.0.1", false)
	leave()
	begin("192.0.2.1", true)
	if len(h.from) != 6 || h.Running() != 7 || h.refused.Load() != 3 {
		t.Errorf("%d addresses, %d under way, %d refused", len(h.from), h.Running(), h.refused.Load())
	}
}
