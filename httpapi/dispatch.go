package httpapi

import (
	"bytes"
	"log/slog"
	"math"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
)

// Handler returns the handler of the public surface, for servers and tests that bring their own connections.
func (s *Server) Handler() fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) { s.serve(ctx, false) }
}

// serve takes one request from its arrival to its answer, whatever happens in between.
func (s *Server) serve(ctx *fasthttp.RequestCtx, control bool) {
	start := time.Now()
	rc, _ := s.requests.Get().(*request)
	if rc == nil {
		rc = &request{}
	}
	rc.reset(ctx, control)
	defer s.finish(rc, start)
	if err := s.dispatch(rc); err != nil {
		s.fail(rc, err)
	}
}

// finish ends a request. It contains panics: fasthttp does not, and one would end the process with every session that
// is being served.
func (s *Server) finish(rc *request, start time.Time) {
	if p := recover(); p != nil {
		s.log.Error("handler panicked", "path", rc.routePath(), "request", string(rc.requestID()), "panic", p, "stack", string(debug.Stack()))
		s.metrics.panics.Add(1)
		rc.ctx.Response.Reset()
		rc.ctx.Response.Header.SetNoDefaultContentType(true) // Reset forgets it
		noStore(rc.ctx)
		s.fail(rc, errInternal)
	}
	if rc.inFlight {
		s.inFlight.Add(-1)
	}
	if rc.cancel != nil {
		rc.cancel()
	}
	if rc.route != nil {
		rc.route.meter.observe(rc.ctx.Response.StatusCode(), time.Since(start))
	}
	rc.reset(nil, false)
	s.requests.Put(rc)
}

func (rc *request) routePath() string {
	if rc.route == nil {
		return ""
	}
	return rc.route.path
}

// dispatch does what every request needs and calls the route's handler.
func (s *Server) dispatch(rc *request) error {
	ctx := rc.ctx
	noStore(ctx)
	rc.route = s.router.unknown
	if plainPath(ctx.URI().PathOriginal()) {
		rc.route, rc.rest = s.router.find(ctx.Path(), rc.control)
	}
	if err := checkFraming(ctx); err != nil {
		return err
	}
	if !rc.route.vital {
		rc.inFlight = true
		if s.inFlight.Add(1) > maxInFlight {
			return cluster.ErrOverloaded
		}
	}
	s.acceptRequestID(rc)
	if !rc.control {
		s.allowOrigin(rc)
	}
	if rc.route == s.router.unknown {
		return errNotFound
	}
	if ctx.IsOptions() {
		return s.options(rc)
	}
	m := rc.route.method(ctx.Method())
	if m == nil {
		ctx.Response.Header.Set(fasthttp.HeaderAllow, rc.route.allow)
		return errMethod
	}
	if m.changing && !rc.control {
		if err := s.checkOrigin(rc); err != nil {
			return err
		}
	}
	if isEncoded(ctx) {
		ctx.Response.Header.Set(fasthttp.HeaderAcceptEncoding, "identity")
		return errEncoding
	}
	return m.handle(s, rc)
}

func noStore(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, headerNoStore)
}

// isEncoded reports whether a request's body is compressed. None is taken apart here: a few KiB may hold gigabytes, and
// what is not taken apart must not be taken for the data.
func isEncoded(ctx *fasthttp.RequestCtx) bool {
	if len(ctx.Request.Body()) == 0 {
		return false
	}
	for _, encoding := range ctx.Request.Header.PeekAll(fasthttp.HeaderContentEncoding) {
		if len(encoding) > 0 && !bytes.EqualFold(encoding, []byte("identity")) {
			return true
		}
	}
	return false
}

// fail answers an error. Nothing that a handler has written before stays, but for headers set by dispatch.
func (s *Server) fail(rc *request, err error) {
	status, e, known := answerOf(err)
	if !known {
		s.log.Error("request failed", "path", rc.routePath(), "request", string(rc.requestID()), "error", err)
	}
	writeError(rc.ctx, status, e, rc.requestID(), waitOf(err))
}

// writeError writes the one form that every error has. error and message say the same: clients of one product read
// the first, those of the other the second.
func writeError(ctx *fasthttp.RequestCtx, status int, e *session.Error, id []byte, wait time.Duration) {
	h := &ctx.Response.Header
	if status == fasthttp.StatusServiceUnavailable || status == fasthttp.StatusTooManyRequests {
		h.Set(headerRetryAfter, strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	h.SetBytesV(headerRequestID, id)
	h.SetContentType(typeJSON)
	ctx.SetStatusCode(status)
	ctx.Response.ResetBody()
	b := appendString([]byte(`{"code":`), e.Code)
	b = appendString(append(b, `,"error":`...), e.Message)
	b = appendString(append(b, `,"message":`...), e.Message)
	ctx.SetBody(append(b, '}'))
}

// badRequest answers what fasthttp could not read as a request. The connection is closed after it.
func (s *Server) badRequest(ctx *fasthttp.RequestCtx, err error) {
	e := refusedRead(err)
	s.log.LogAttrs(s.base, slog.LevelDebug, "request refused", slog.String("code", e.Code), slog.Any("error", err))
	allowWrite(ctx)
	if e != errSlowRequest { // that client had its time
		lingerOn(ctx.Conn())
	}
	s.refuse(ctx, e)
}

// refuse answers what is not read to its end, or can't be. The connection is closed after it.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, e *session.Error) {
	status, _, _ := answerOf(e)
	noStore(ctx)
	rc := request{ctx: ctx}
	writeError(ctx, status, e, rc.requestID(), 0)
	ctx.SetConnectionClose()
	s.router.unknown.meter.observe(status, 0)
}
