package httpapi

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"strconv"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
)

// request is one request on its way through the handlers. It is reused: nothing of it, and no bytes of ctx, may be
// kept after the handler has returned. A handler that starts a goroutine waits for it.
type request struct {
	ctx     *fasthttp.RequestCtx
	route   *route
	rest    string // what follows a route's path, for one that ends in "/": an id
	control bool   // came by the control socket: an admin without a cookie

	buf []byte // scratch for what a handler appends

	id       [maxRequestID]byte
	idLen    int
	client   netip.Addr // cached by clientAddr
	waiting  context.Context
	cancel   context.CancelFunc
	inFlight bool
}

// reset forgets everything but the scratch buffer.
func (rc *request) reset(ctx *fasthttp.RequestCtx, control bool) {
	*rc = request{ctx: ctx, control: control, buf: rc.buf[:0]}
}

// context returns the context of everything that the request waits for. It ends with the handler, after
// requestTimeout, or when the server closes.
func (s *Server) context(rc *request) context.Context {
	if rc.waiting == nil {
		rc.waiting, rc.cancel = context.WithTimeout(s.base, requestTimeout)
	}
	return rc.waiting
}

// requestID returns the request's id: the one that a trusted proxy gave, or one that is made when it is first asked
// for. It needs to be unique, not secret.
func (rc *request) requestID() []byte {
	if rc.idLen == 0 {
		rc.idLen = len(appendRequestID(rc.id[:0]))
	}
	return rc.id[:rc.idLen]
}

// appendRequestID appends a fresh request id.
func appendRequestID(dst []byte) []byte {
	var raw [8]byte
	binary.LittleEndian.PutUint64(raw[:], rand.Uint64())
	return hex.AppendEncode(dst, raw[:])
}

// acceptRequestID takes over a trusted proxy's request id, if it is sane, and echoes it.
func (s *Server) acceptRequestID(rc *request) {
	id := rc.ctx.Request.Header.Peek(headerRequestID)
	if len(id) == 0 || len(id) > maxRequestID || !s.peerTrusted(rc) {
		return
	}
	for _, c := range id {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return
		}
	}
	rc.idLen = copy(rc.id[:], id)
	rc.ctx.Response.Header.SetBytesV(headerRequestID, id)
}

// Headers that are read or written in more than one place.
const (
	headerRequestID   = "X-Request-Id"
	headerNoTouch     = "X-No-Touch"
	headerConsistency = "Consistency"
	headerRetryAfter  = "Retry-After"
	headerNoStore     = "no-store"
	typeJSON          = "application/json"
)

// level returns how fresh the request's reads must be: what is configured, or more when the header Consistency asks
// for more. It asks for less in vain, unless the server allows local reads by request. Lease is answered by quorum,
// which promises the same.
func (s *Server) level(rc *request) (cluster.Level, error) {
	switch string(rc.ctx.Request.Header.Peek(headerConsistency)) {
	case "":
		return s.cfg.Level, nil
	case "quorum", "lease":
		return max(s.cfg.Level, cluster.Quorum), nil
	case "local":
		if s.cfg.AllowLocalReads {
			return cluster.Local, nil
		}
	}
	return 0, errConsistency
}

// do makes a command take effect. When the request runs out of time first, nobody can say whether it did.
func (s *Server) do(rc *request, cmd session.Command) (session.Result, error) {
	result, err := s.cluster.Do(s.context(rc), cmd)
	if err != nil && isUnknown(err) {
		err = cluster.ErrOutcomeUnknown
	}
	return result, err
}

// lookup answers for a session by its key, and counts as use of it unless the client says that it must not.
func (s *Server) lookup(rc *request, key session.Key, level cluster.Level) (session.View, error) {
	ctx := s.base
	if level != cluster.Local {
		ctx = s.context(rc) // only what may wait pays for a timer
	}
	if string(rc.ctx.Request.Header.Peek(headerNoTouch)) == "1" {
		return s.cluster.Lookup(ctx, key, level)
	}
	return s.cluster.Use(ctx, key, level)
}

// session returns the session that the request's cookies name, looked up at the request's level. The cookie is the
// one that was gone by. Errors: ErrSessionInvalid, ErrSessionIdle, or why no lookup is possible.
func (s *Server) session(rc *request, own surface) (session.View, cookieValue, error) {
	level, err := s.level(rc)
	if err != nil {
		return session.View{}, cookieValue{}, err
	}
	c := scanCookies(&rc.ctx.Request.Header)
	v, err := c.of(own)
	if err != nil {
		return session.View{}, cookieValue{}, err
	}
	view, err := s.lookup(rc, v.key, level)
	return view, v, err
}

// etag sends a session's revision: that of its attributes, which no touch moves.
func etag(rc *request, sess *session.Session) {
	rc.buf = append(rc.buf[:0], '"')
	rc.buf = strconv.AppendUint(rc.buf, sess.Rev, 10)
	rc.buf = append(rc.buf, '"')
	rc.ctx.Response.Header.SetBytesV(fasthttp.HeaderETag, rc.buf)
}

// ifMatch returns the revision that a change must find, 0 for any. Only strong tags match (RFC 9110, 13.1.1). Of
// several tags the one of current counts, the revision that this node saw; the machine has the last word anyway. The
// error is ErrConflict.
func ifMatch(rc *request, current uint64) (uint64, error) {
	lines := rc.ctx.Request.Header.PeekAll(fasthttp.HeaderIfMatch)
	if len(lines) == 0 {
		return 0, nil // an empty one is another matter: its sender did not mean "whatever is there"
	}
	var revs []uint64
	for _, tag := range splitList(bytes.Join(lines, []byte(","))) {
		if tag == "*" {
			return 0, nil
		}
		if n := len(tag); n > 2 && tag[0] == '"' && tag[n-1] == '"' {
			if rev, err := strconv.ParseUint(tag[1:n-1], 10, 64); err == nil && rev != 0 {
				revs = append(revs, rev)
			}
		}
	}
	for _, rev := range revs {
		if len(revs) == 1 || rev == current {
			return rev, nil
		}
	}
	return 0, session.ErrConflict
}
