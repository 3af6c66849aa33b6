package exchange

import (
	"bufio"
	"bytes"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/transport"
)

// fasthttp is more lenient about where a request ends, and what it is for, than it is safe to be behind a proxy that
// may read it in another way: what one of them takes for the body is the next request to the other (RFC 9112, 11.2).
// This file refuses what it lets pass.

// What the length is, to fasthttp, of a body that has none.
const (
	chunkedBody = -1
	noBody      = -2 // there is neither a Content-Length nor chunks
)

// framing is what the fields of a request's head say about its beginning and its end. fasthttp forgets some of it, so
// it is read from the bytes as they came.
type framing struct {
	malformed     bool // a line ends in LF alone, goes on in the next line or has a blank in its name; two say different things
	length        bool
	encoding      bool
	unknown       bool   // the encoding is none that there is
	close         bool   // the client wants no further request to be answered
	contentType   []byte // of the request's bytes
	authorization []byte
	scheme        []byte // the last X-Forwarded-Proto: not of framing, but on the way
}

// FramingOf reads what a head says of its request.
func FramingOf(h *fasthttp.RequestHeader) (f framing) {
	for raw := h.RawHeaders(); len(raw) > 0; {
		end := bytes.IndexByte(raw, '\n')
		if end < 1 || raw[end-1] != '\r' {
			f.malformed = true
			return f
		}
		line := raw[:end-1]
		if raw = raw[end+1:]; len(line) == 0 {
			return f
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 1 || line[0] == ' ' || line[0] == '\t' || bytes.IndexByte(line[:colon], ' ') >= 0 {
			f.malformed = true
			return f
		}
		f.field(line[:colon], line[colon+1:])
	}
	return f
}

// field looks at one field. Most differ in the length of their name already from those that matter.
func (f *framing) field(name, value []byte) {
	switch len(name) {
	case len(fasthttp.HeaderConnection):
		if bytes.EqualFold(name, []byte(fasthttp.HeaderConnection)) {
			for option := range bytes.SplitSeq(value, []byte(",")) {
				f.close = f.close || bytes.EqualFold(bytes.TrimSpace(option), []byte("close"))
			}
		}
	case len(fasthttp.HeaderContentType):
		if bytes.EqualFold(name, []byte(fasthttp.HeaderContentType)) {
			f.once(&f.contentType, value)
		}
	case len(fasthttp.HeaderAuthorization):
		if bytes.EqualFold(name, []byte(fasthttp.HeaderAuthorization)) {
			f.once(&f.authorization, value)
		}
	case len(fasthttp.HeaderContentLength):
		f.length = f.length || bytes.EqualFold(name, []byte(fasthttp.HeaderContentLength))
	case len(fasthttp.HeaderTransferEncoding): // X-Forwarded-Proto is as long
		if bytes.EqualFold(name, []byte(fasthttp.HeaderTransferEncoding)) {
			f.encoding = true
			f.unknown = f.unknown || !bytes.EqualFold(bytes.TrimSpace(value), []byte("chunked"))
		} else if bytes.EqualFold(name, []byte(fasthttp.HeaderXForwardedProto)) {
			f.scheme = value
		}
	}
}

// once takes note of a field that counts once: fasthttp goes by the first of two in one case, by the last in the other.
func (f *framing) once(first *[]byte, value []byte) {
	value = bytes.TrimSpace(value)
	f.malformed = f.malformed || *first != nil && !bytes.Equal(*first, value)
	*first = value
}

// Check returns why a request with this framing is not to be answered.
func (f *framing) Check() *session.Error {
	switch {
	case f.malformed:
		return errBadRequest
	case f.unknown, f.length && f.encoding:
		return errFraming
	}
	return nil
}

// CheckFraming refuses a request whose end or purpose is in doubt, and the connection with it: nothing behind such a
// request may be taken for another.
//
// A connection ends with its first chunked body, even a good one: fasthttp takes a bare LF for the end of the trailer,
// which others pass over, and what it took can't be seen any more.
func CheckFraming(rc *Request) error {
	ctx := rc.Ctx
	h := &ctx.Request.Header
	f := FramingOf(h)
	rc.Scheme, rc.Authorization = f.scheme, f.authorization
	refused := f.Check()
	if refused == nil {
		refused = checkTarget(ctx)
	}
	if refused != nil {
		ctx.SetConnectionClose()
		transport.Linger(ctx.Conn())
		return refused
	}
	if f.close || f.encoding { // fasthttp knows "close" in lower case only, and only as the last of its lines
		ctx.SetConnectionClose()
	}
	if f.encoding {
		transport.Linger(ctx.Conn())
		return dropTrailer(h)
	}
	return nil
}

// checkTarget refuses a request line that others may read in another way. A target with a host must name the one that
// Host names: to fasthttp "//evil.example/x?://" is on evil.example, and a page from there would be one of ours. A
// target has no fragment; fasthttp would cut it off, and with it the half of a value.
func checkTarget(ctx *fasthttp.RequestCtx) *session.Error {
	h := &ctx.Request.Header
	switch {
	case !h.IsHTTP11() && !bytes.HasPrefix(h.Protocol(), []byte("HTTP/1.")):
		return errVersion
	case !bytes.EqualFold(ctx.Host(), h.Host()), bytes.IndexByte(h.RequestURI(), '#') >= 0:
		return errBadRequest
	}
	return nil
}

// dropTrailer takes out of the header what fasthttp has added to it from the end of a chunked body. What proxies check
// and remove stands before the body, so nothing behind it counts (RFC 9110, 6.5.1).
func dropTrailer(h *fasthttp.RequestHeader) error {
	text := make([]byte, 0, MaxHeader)
	text = append(append(append(text, h.Method()...), ' '), h.RequestURI()...)
	text = append(append(append(append(text, ' '), h.Protocol()...), "\r\n"...), h.RawHeaders()...)
	var fresh fasthttp.RequestHeader
	if err := fresh.Read(bufio.NewReaderSize(bytes.NewReader(text), len(text))); err != nil {
		return errBadRequest // it was read once
	}
	fresh.CopyTo(h)
	return nil
}

// PlainPath reports whether a path is written the way that paths are here. fasthttp takes escapes and dots out before
// a route is looked for, but a proxy that lets some paths pass and others not may have looked at it as it was.
func PlainPath(sent []byte) bool {
	if bytes.IndexByte(sent, '%') >= 0 {
		return false
	}
	if !bytes.Contains(sent, []byte("/.")) {
		return true
	}
	for segment := range bytes.SplitSeq(sent, []byte("/")) {
		if string(segment) == "." || string(segment) == ".." {
			return false
		}
	}
	return true
}

// BodyLimit gives bulk calls the larger bodies. It goes by the path as it was sent: whoever writes it in another way
// gets the smaller one.
func BodyLimit(h *fasthttp.RequestHeader) int {
	path, _, _ := bytes.Cut(h.RequestURI(), []byte("?"))
	switch {
	case h.IsPost() && string(path) == "/api/sessions":
		return MaxBulkBody
	case h.IsPost() && string(path) == "/api/sessions/verify":
		return MaxVerifyBody
	}
	return MaxBody
}

// AllowWrite gives an answer time that fasthttp writes by itself. It would do so within the time limit of the last
// answer, which is long over on a connection that was idle, and the client would see nothing but the end.
func AllowWrite(ctx *fasthttp.RequestCtx) {
	_ = ctx.Conn().SetWriteDeadline(time.Now().Add(transport.WriteTimeout)) // of a connection that is closed already: the write says so
}
