package httpapi

import (
	"bytes"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/transport"
)

// Handler returns the handler of the public surface, for servers and tests that bring their own connections.
func (s *Server) Handler() fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) { s.serve(ctx, false) }
}

// serve takes one request from its arrival to its answer, whatever happens in between.
func (s *Server) serve(ctx *fasthttp.RequestCtx, control bool) {
	start := time.Now()
	rc, _ := s.requests.Get().(*exchange.Request)
	if rc == nil {
		rc = &exchange.Request{}
	}
	rc.Reset(ctx, control, start)
	s.bodies.Hold(&ctx.Request)
	defer s.finish(rc, start)
	if err := s.dispatch(rc); err != nil {
		s.fail(rc, err)
	}
}

// finish ends a request. It contains panics: fasthttp does not, and one would end the process with every session that
// is being served.
func (s *Server) finish(rc *exchange.Request, start time.Time) {
	if p := recover(); p != nil {
		s.log.Error("handler panicked", "path", rc.RoutePath(), "request", string(rc.RequestID()), "panic", p, "stack", string(debug.Stack()))
		s.panics.Add(1)
		rc.Ctx.Response.Reset()
		s.armour.put(rc.Ctx, s.clients.IsSecure(rc))
		s.fail(rc, exchange.ErrInternal)
	}
	if s.health.draining.Load() {
		s.farewell(rc)
	}
	if rc.InFlight {
		s.inFlight.Add(-1)
	}
	if rc.Cancel != nil {
		rc.Cancel()
	}
	s.bodies.Release(&rc.Ctx.Request)
	if rc.Route != nil {
		rc.Route.Meter.Observe(rc.Ctx.Response.StatusCode(), time.Since(start))
	}
	rc.Reset(nil, false, time.Time{})
	s.requests.Put(rc)
}

// dispatch does what every request needs and calls the route's handler.
func (s *Server) dispatch(rc *exchange.Request) error {
	ctx := rc.Ctx
	s.armour.put(ctx, s.clients.IsSecure(rc))
	rc.Route = s.router.Unknown
	if exchange.PlainPath(ctx.URI().PathOriginal()) {
		rc.Route, rc.Rest = s.router.Find(ctx.Path(), rc.Control)
	}
	if err := exchange.CheckFraming(rc); err != nil {
		return err
	}
	s.putBehindProxy(rc)
	if !rc.Route.Vital {
		rc.InFlight = true
		if s.inFlight.Add(1) > maxInFlight {
			return cluster.ErrOverloaded
		}
	}
	s.clients.AcceptRequestID(rc)
	if !rc.Control {
		s.clients.AllowOrigin(rc)
	}
	if rc.Route == s.router.Unknown {
		return exchange.ErrNotFound
	}
	if ctx.IsOptions() {
		return s.options(rc)
	}
	m := rc.Route.Method(ctx.Method())
	if m == nil {
		ctx.Response.Header.Set(fasthttp.HeaderAllow, rc.Route.Allow)
		return exchange.ErrMethod
	}
	if m.Changing && !rc.Control {
		if err := s.clients.CheckOrigin(rc); err != nil {
			return err
		}
	}
	if isEncoded(ctx) {
		ctx.Response.Header.Set(fasthttp.HeaderAcceptEncoding, "identity")
		return exchange.ErrEncoding
	}
	return m.Handle(rc)
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
func (s *Server) fail(rc *exchange.Request, err error) {
	status, e, known := exchange.AnswerOf(err)
	if !known {
		s.log.Error("request failed", "path", rc.RoutePath(), "request", string(rc.RequestID()), "error", err)
	}
	if status >= fasthttp.StatusInternalServerError {
		rc.Ctx.Response.Header.Del(exchange.HeaderConsistency) // of a lookup on the way; this answer has no level
	}
	exchange.WriteError(rc.Ctx, status, e, rc.RequestID(), exchange.WaitOf(err))
}

// badRequest answers what fasthttp could not read as a request. The connection is closed after it.
func (s *Server) badRequest(ctx *fasthttp.RequestCtx, err error) {
	e := exchange.RefusedRead(err)
	if s.log.Enabled(s.state.Base, slog.LevelDebug) {
		s.log.LogAttrs(s.state.Base, slog.LevelDebug, "request refused", slog.String("code", e.Code), slog.String("error", withoutQuotes(err.Error())))
	}
	exchange.AllowWrite(ctx)
	if e != exchange.ErrSlowRequest { // that client had its time
		transport.Linger(ctx.Conn())
	}
	s.refuse(ctx, e)
}

// refuse answers what is not read to its end, or can't be. The connection is closed after it.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, e *session.Error) {
	s.bodies.Release(&ctx.Request)
	status, _, _ := exchange.AnswerOf(e)
	s.armour.put(ctx, ctx.IsTLS())
	rc := exchange.Request{Ctx: ctx}
	exchange.WriteError(ctx, status, e, rc.RequestID(), exchange.WaitOf(e))
	ctx.SetConnectionClose()
	s.router.Unknown.Meter.Observe(status, 0)
}

// expected answers a client that waits for leave to send a body: 100, or the status of the refusal that it has written.
func (s *Server) expected(ctx *fasthttp.RequestCtx) int {
	exchange.AllowWrite(ctx)
	h := &ctx.Request.Header
	f := exchange.FramingOf(h)
	refused := f.Check()
	switch {
	case refused != nil:
	case h.ContentLength() > exchange.BodyLimit(h):
		refused = exchange.ErrBodyLimit
	case !s.bodies.Fits(h):
		refused = cluster.ErrOverloaded
	}
	if refused == nil {
		return fasthttp.StatusContinue
	}
	transport.Linger(ctx.Conn())
	s.refuse(ctx, refused)
	return ctx.Response.StatusCode()
}

// options answers OPTIONS, a preflight among them. It is answered without a login: browsers send none with it.
func (s *Server) options(rc *exchange.Request) error {
	h := &rc.Ctx.Response.Header
	h.Set(fasthttp.HeaderAllow, rc.Route.Allow)
	if len(h.Peek(fasthttp.HeaderAccessControlAllowOrigin)) > 0 {
		h.Set(fasthttp.HeaderAccessControlAllowMethods, rc.Route.Allow)
		h.Set(fasthttp.HeaderAccessControlAllowHeaders, "Authorization, Content-Type, CSRFToken, Consistency, If-Match, X-No-Touch, X-Request-Id")
		h.Set(fasthttp.HeaderAccessControlMaxAge, strconv.Itoa(int(corsMaxAge.Seconds())))
	}
	return exchange.NoContent(rc)
}
