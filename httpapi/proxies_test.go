package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"cloakroom/httpapi/access"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
)

// proxySignature begins a PROXY header of version 2.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

func TestProxyProtocol(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	v2 := func(command, family byte, body ...byte) string {
		return proxySignature + string([]byte{0x20 | command, family, byte(len(body) >> 8), byte(len(body))}) + string(body)
	}
	v4 := []byte{203, 0, 113, 7, 127, 0, 0, 1, 0x12, 0x34, 0, 80}
	v6 := bytes.Join([][]byte{netip.MustParseAddr("2001:db8::7").AsSlice(), make([]byte, 16), {0x12, 0x34, 0, 80}}, nil)
	for _, c := range []struct {
		name, header, xff string
		trusted           []netip.Prefix
		want              string // "" for a refused connection
	}{
		{"none", "", "", trusted, "127.0.0.1"},
		{"version 1", "PROXY TCP4 203.0.113.7 127.0.0.1 4660 80\r\n", "", trusted, "203.0.113.7"},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::7 ::1 4660 80\r\n", "", trusted, "2001:db8::7"},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", "", trusted, "127.0.0.1"},
		{"version 2", v2(1, 0x11, v4...), "", trusted, "203.0.113.7"},
		{"version 2, IPv6", v2(1, 0x21, v6...), "", trusted, "2001:db8::7"},
		{"version 2 with more", v2(1, 0x11, append(v4[:12:12], 3, 0, 4, 1, 2, 3, 4)...), "", trusted, "203.0.113.7"},
		{"version 2, local", v2(0, 0), "", trusted, "127.0.0.1"},
		{"version 2, unix", v2(1, 0x31, make([]byte, 216)...), "", trusted, "127.0.0.1"},
		{"not trusted", "PROXY TCP4 203.0.113.7 127.0.0.1 4660 80\r\n", "", nil, ""},
		{"version 2, not trusted", v2(1, 0x11, v4...), "", nil, ""},
		{"the client's own header does not count", "PROXY TCP4 203.0.113.7 127.0.0.1 1 80\r\n", "198.51.100.1", trusted, "203.0.113.7"},
		{"header of the proxy", "", "198.51.100.1", trusted, "198.51.100.1"},
		{"wrong family", "PROXY TCP6 203.0.113.7 127.0.0.1 4660 80\r\n", "", trusted, ""},
		{"bad address", "PROXY TCP4 203.0.113 127.0.0.1 4660 80\r\n", "", trusted, ""},
		{"bad port", "PROXY TCP4 203.0.113.7 127.0.0.1 66000 80\r\n", "", trusted, ""},
		{"too long", "PROXY " + strings.Repeat("x", 200) + "\r\n", "", trusted, ""},
		{"version 3", proxySignature + "\x31\x11\x00\x00", "", trusted, ""},
		{"version 2, short", v2(1, 0x11, 1, 2, 3), "", trusted, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, func(cfg *Config) { cfg.TrustedProxies = c.trusted }).opened()
			w := f.dial()
			w.t = t
			body := `{"username":"ann","password":"correct horse"}`
			request := fmt.Sprintf("POST /api/session HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", c.xff, len(body), body)
			if c.want == "" {
				// The server may close before it has read everything, and then its answer may be lost.
				_, _ = io.WriteString(w.c, c.header+request)
				res, err := http.ReadResponse(w.r, nil)
				if err == nil && res.StatusCode != 400 || f.fake.stats().Sessions != 0 {
					t.Fatalf("answer is %v", res)
				}
				return
			}
			for i := range len(c.header) { // however it comes in
				w.write(c.header[i : i+1])
			}
			w.write(request)
			a := w.read()
			f.expect(a, 201, "")
			text, _, _ := strings.Cut(strings.TrimPrefix(a.get("Set-Cookie"), "id="), ";")
			key, _ := credential.Parse([]byte(text))
			if sess, ok := f.fake.machine.Session(key); !ok || sess.Address != c.want {
				t.Errorf("session is %+v, not from %q", sess, c.want)
			}
		})
	}
}

func TestClientAddress(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		peer string
		xff  []string
		want string
	}{
		{"192.0.2.1:1", nil, "192.0.2.1"},
		{"192.0.2.1:1", []string{"203.0.113.1"}, "192.0.2.1"},
		{"10.0.0.1:1", nil, "10.0.0.1"},
		{"10.0.0.1:1", []string{"203.0.113.1"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"1.1.1.1, 203.0.113.1"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"1.1.1.1, 203.0.113.1, 10.0.0.2"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"1.1.1.1", "203.0.113.1", "10.0.0.2"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"203.0.113.1:5000"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"[2001:db8::1]:5000"}, "2001:db8::1"},
		{"10.0.0.1:1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"10.0.0.1:1", []string{"::ffff:203.0.113.1"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"203.0.113.1, unknown"}, "10.0.0.1"},
		{"10.0.0.1:1", []string{"unknown, 10.0.0.9"}, "10.0.0.9"},
		{"10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"10.0.0.1:1", []string{"203.0.113.1" + strings.Repeat(", 10.0.0.2", access.MaxForwardedFor)}, "10.0.0.2"},
		{"[::ffff:10.0.0.1]:1", []string{"203.0.113.1"}, "203.0.113.1"},
		{"[fd00::1]:1", []string{"203.0.113.1"}, "203.0.113.1"},
	} {
		f := newFixture(t, func(cfg *Config) { cfg.TrustedProxies = proxies })
		o := []option{from(c.peer)}
		for _, line := range c.xff {
			o = append(o, header("X-Forwarded-For", line))
		}
		rc := &exchange.Request{Ctx: bareRequest("GET", "/", o...)}
		if got := f.clients.ClientAddr(rc).String(); got != c.want {
			t.Errorf("%s, %q: %s, not %s", c.peer, c.xff, got, c.want)
		}
	}
}

func TestRequestID(t *testing.T) {
	f := newFixture(t, func(cfg *Config) { cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	const given = "Ab-1._z"
	for _, c := range []struct {
		peer, id string
		taken    bool
	}{
		{"10.0.0.1:1", given, true},
		{"192.0.2.1:1", given, false},
		{"10.0.0.1:1", "", false},
		{"10.0.0.1:1", "a b", false},
		{"10.0.0.1:1", `a"b`, false},
		{"10.0.0.1:1", strings.Repeat("x", exchange.MaxRequestID), true},
		{"10.0.0.1:1", strings.Repeat("x", exchange.MaxRequestID+1), false},
	} {
		a := f.send("GET", "/nowhere", from(c.peer), header("X-Request-Id", c.id))
		f.expect(a, 404, "not-found")
		if got := a.get("X-Request-Id"); (got == c.id) != c.taken || len(a.header["X-Request-Id"]) != 1 {
			t.Errorf("%+v: id is %q", c, a.header["X-Request-Id"])
		}
		if b := f.send("GET", "/healthz", from(c.peer), header("X-Request-Id", c.id)); (b.get("X-Request-Id") == c.id && c.id != "") != c.taken {
			t.Errorf("%+v: id of a success is %q", c, b.get("X-Request-Id"))
		}
	}
	if a, b := f.send("GET", "/x").get("X-Request-Id"), f.send("GET", "/x").get("X-Request-Id"); a == b || len(a) != 16 {
		t.Errorf("ids are %q and %q", a, b)
	}
}
