package httpapi

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"runtime/debug"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/transport"
)

// A lane answers the two requests that nearly all are, GET /auth/verify and GET /api/session with a good session's
// cookie, before fasthttp sees them: the bytes are read once, the answer is put together in the buffer that they came
// in, and nothing is allocated. What it does not know for certain it leaves to fasthttp and the handlers as it came:
// another method or target, a header that is not on its list, two cookies, credentials of another kind, half a request
// or more than one, a session that is not good, a lookup that would have to wait, a node that is overloaded, cut off or
// leaving. So each refusal is made in one place, the ordinary one, and an answer here is the ordinary answer, byte for
// byte: the tests send everything both ways.
//
// It works between two requests of a connection only (conn.idle), where the next byte is the first of a request: a body
// may look like one too.
type lane struct {
	cluster  access.Cluster
	level    cluster.Level
	jar      *access.Jar
	health   *health
	inFlight *atomic.Int64 // requests in handlers
	panics   *atomic.Uint64
	log      *slog.Logger
	verify   *exchange.Route
	session  *exchange.Route
	names    *[maxLaneName + 1][]string // of headers that change nothing, by their length
	common   []byte                     // headers that every answer has
	begun    atomic.Pointer[laneHead]
}

// laneHead is how the answers of one second begin.
type laneHead struct {
	second   int64
	verified []byte // of GET /auth/verify, up to the first header that depends on the session
	shown    []byte // of GET /api/session, up to the length
}

// tick returns how an answer begins, with the date in it.
func (l *lane) tick(now time.Time) *laneHead {
	second := now.Unix()
	h := l.begun.Load()
	if h == nil || h.second != second {
		status := fasthttp.AppendHTTPDate([]byte("HTTP/1.1 200 OK\r\nDate: "), now)
		h = &laneHead{
			second:   second,
			verified: slices.Concat(status, []byte("\r\nContent-Length: 0\r\n"), l.common, []byte("Remote-User: ")),
			shown:    slices.Concat(status, []byte("\r\nContent-Type: "+exchange.TypeJSON+"\r\nContent-Length: ")),
		}
		l.begun.Store(h)
	}
	return h
}

// maxLaneName is the length of the longest name of a header that a lane knows.
const maxLaneName = len("Upgrade-Insecure-Requests")

// The headers that change nothing about either answer. Whoever makes a handler of the two look at another one must see
// to it that it is not here.
func laneNames() []string {
	return []string{
		"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Cache-Control", "Device-Memory", "DNT", "Downlink", "ECT",
		"Forwarded", "From", "If-Modified-Since", "If-None-Match", "Pragma", "Priority", "Referer", "RTT", "Save-Data",
		"Sec-CH-UA", "Sec-CH-UA-Mobile", "Sec-CH-UA-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Sec-GPC",
		"traceparent", "tracestate", "Upgrade-Insecure-Requests", "User-Agent", "Via",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Method", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Uri",
		"X-Original-Method", "X-Original-URI", "X-Original-URL", "X-Real-IP", "X-Requested-With",
	}
}

const (
	laneVerify  = "GET /auth/verify HTTP/1.1\r\n"
	laneSession = "GET /api/session HTTP/1.1\r\n"
)

// newLane returns nil where no request can be answered so: at a level that takes a round.
func newLane(s *Server) *lane {
	if s.state.Standard == cluster.Quorum {
		return nil
	}
	l := &lane{
		cluster: s.state.Cluster, level: s.state.Standard, jar: s.jar, health: s.health, inFlight: &s.inFlight, panics: &s.panics, log: s.log,
		verify: s.router.Exact["/auth/verify"], session: s.router.Exact["/api/session"], names: &[maxLaneName + 1][]string{},
	}
	l.verify.Meter.Stripe()
	l.session.Meter.Stripe()
	names := laneNames()
	if len(s.clients.Trusted) == 0 { // otherwise they may count
		names = append(names, fasthttp.HeaderXForwardedProto, exchange.HeaderRequestID)
	}
	if len(s.clients.Origins) == 0 {
		names = append(names, fasthttp.HeaderOrigin)
	}
	for _, name := range names {
		l.names[len(name)] = append(l.names[len(name)], name)
	}
	var h fasthttp.ResponseHeader
	s.armour.plain.CopyTo(&h)
	if len(s.clients.Origins) > 0 {
		h.Add(fasthttp.HeaderVary, fasthttp.HeaderOrigin)
	}
	for key, value := range h.All() {
		l.common = append(append(append(append(l.common, key...), ": "...), value...), "\r\n"...)
	}
	l.tick(time.Now())
	return l
}

// Answer answers the request in b[:n], if it is one of those, and reports whether it did. The rest of b is scratch. An
// error is that of the connection.
func (l *lane) Answer(c *transport.Conn, b []byte, n int) (answered bool, err error) {
	defer l.contain()
	start := time.Now()
	r, ok := l.parse(b[:n])
	if !ok || l.health.draining.Load() || l.inFlight.Load() >= maxInFlight {
		return false, nil
	}
	view, ok := l.cluster.Glance(r.key, l.level)
	if !ok || view.Session.Surface == session.SurfaceBearer {
		return false, nil
	}
	var out []byte
	if r.route == l.session {
		out = l.appendShown(b[n:n], l.tick(start), view)
	} else {
		out = l.appendVerified(b[n:n], l.tick(start), view)
	}
	if err := c.Extend(start); err != nil {
		return true, err
	}
	_, err = c.Write(out)
	r.route.Meter.Passed(c.Turn(), start)
	return true, err
}

// contain leaves a request on which something panicked to the handlers: nothing of the answer has been sent.
func (l *lane) contain() {
	if p := recover(); p != nil {
		l.log.Error("lane panicked", "panic", p, "stack", string(debug.Stack()))
		l.panics.Add(1)
	}
}

func (l *lane) appendVerified(b []byte, h *laneHead, view session.View) []byte {
	b = append(append(b, h.verified...), view.Session.Username...)
	b = append(append(b, "\r\nRemote-Realm: "...), view.Session.Realm...)
	b = exchange.AppendRoles(append(b, "\r\nRemote-Groups: "...), view)
	b = exchange.AppendHandle(append(b, "\r\nX-Session-Handle: "...), view.Session.Key)
	return append(b, "\r\n\r\n"...)
}

func (l *lane) appendShown(b []byte, h *laneHead, view session.View) []byte {
	body := exchange.AppendSession(b, view, l.cluster.LastUse(view.Session.Key, view.Session.LastUse))
	b = strconv.AppendInt(append(body[len(body):], h.shown...), int64(len(body)), 10)
	return append(append(append(append(b, "\r\n"...), l.common...), "\r\n"...), body...)
}

// laneRequest is what a request says that is answered here.
type laneRequest struct {
	route *exchange.Route
	key   session.Key
}

// parse reads a whole request, and nothing behind it. It takes less than fasthttp and framingOf do, never more.
func (l *lane) parse(text []byte) (r laneRequest, ok bool) {
	switch {
	case bytes.HasPrefix(text, []byte(laneVerify)):
		r.route, text = l.verify, text[len(laneVerify):]
	case bytes.HasPrefix(text, []byte(laneSession)):
		r.route, text = l.session, text[len(laneSession):]
	default:
		return r, false
	}
	var c credential.Cookies
	host, cookie := false, false
	for {
		end := bytes.IndexByte(text, '\r')
		if end < 0 || end+1 >= len(text) || text[end+1] != '\n' {
			return r, false
		}
		line := text[:end]
		text = text[end+2:]
		if len(line) == 0 {
			break
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 || !printable(line) {
			return r, false
		}
		name, value := line[:colon], credential.Trim(line[colon+1:])
		switch {
		case isName(name, fasthttp.HeaderCookie):
			if cookie {
				return r, false
			}
			cookie = true
			c = l.jar.Names.ScanLines(value)
		case isName(name, fasthttp.HeaderHost):
			if host || !plainHost(value) {
				return r, false
			}
			host = true
		case isName(name, fasthttp.HeaderConnection):
			if !isName(value, "keep-alive") {
				return r, false
			}
		case !l.inert(name):
			return r, false
		}
	}
	v, err := c.Of(credential.Fusion)
	r.key = v.Key
	return r, host && err == nil && len(text) == 0
}

// inert reports whether a header of that name changes nothing.
func (l *lane) inert(name []byte) bool {
	if len(name) > maxLaneName {
		return false
	}
	for _, known := range l.names[len(name)] {
		if isName(name, known) {
			return true
		}
	}
	return false
}

// isName is bytes.EqualFold for ASCII, where most differ in their length.
func isName(name []byte, known string) bool {
	if len(name) != len(known) {
		return false
	}
	for i := range name {
		c, d := name[i], known[i]
		if c == d {
			continue
		}
		if c |= 0x20; c != d|0x20 || c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// plainHost reports whether a host is a name or an IPv4 address, perhaps with a port.
func plainHost(host []byte) bool {
	name, port, found := bytes.Cut(host, []byte(":"))
	if len(name) == 0 || found && (len(port) == 0 || len(port) > 5) {
		return false
	}
	for _, c := range name {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	for _, c := range port {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// printable reports whether all bytes are of ASCII, and none is a control character. It looks at eight at a time.
func printable(b []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(b) >= 8; b = b[8:] {
		x := binary.LittleEndian.Uint64(b)
		if (x|(x-' '*ones)|(x+ones))&tops != 0 {
			return false
		}
	}
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
