package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/metrics"
	"cloakroom/httpapi/recheck"
	"cloakroom/httpapi/transport"
)

// Rechecker looks users up again who have sessions: *recheck.Loop.
type Rechecker interface{ Stats() recheck.Stats }

// Server serves one node's API, its operator's listener and its control socket.
type Server struct {
	parts

	cfg      Config
	log      *slog.Logger
	router   *exchange.Router
	metrics  http.Handler
	armour   *armour
	lane     *lane     // nil: there is none
	requests sync.Pool // of *request
	bodies   *exchange.Bodies
	inFlight atomic.Int64
	panics   atomic.Uint64
	cancel   context.CancelFunc
	api      *fasthttp.Server
	control  *fasthttp.Server
	operator *operator
	served   sync.WaitGroup

	listeners   transport.Listeners
	public      *transport.Listener    // of the API; nil before Open
	console     net.Addr               // of the operator's listener; nil: there is none
	certificate *transport.Certificate // nil: the API has no TLS
	handshakes  *transport.Handshakes
}

// New checks the configuration and makes a server that listens to nothing yet.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger, armour: newArmour(cfg.HSTS),
		bodies: exchange.NewBodies(), handshakes: transport.NewHandshakes(cfg.TrustedProxies),
	}
	if cfg.TLSCert != "" {
		s.certificate = transport.NewCertificate(cfg.TLSCert, cfg.TLSKey, cfg.Logger)
	}
	base, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.parts = newParts(base, &cfg, &s.served, &s.panics)
	s.router = exchange.NewRouter(s.routes(openAPIOf(cfg.Version)))
	s.metrics = metrics.New(s.source()).Handler(cfg.Logger)
	s.lane = newLane(s)
	s.api = s.fastServer(s.Handler(), maxConnections)
	s.control = s.fastServer(func(ctx *fasthttp.RequestCtx) { s.serve(ctx, true) }, maxControlConnections)
	s.operator = newOperator(s.metrics, s.health, s.supports, cfg.Logger)
	return s, nil
}

// fastServer returns a server with the limits that every connection has. Concurrency has room above that of the
// listener, which refuses in the API's own words.
//
// What is not set has been looked at. ReduceMemoryUsage would give back the read buffer of a connection that waits, 8 KiB,
// but reads the first byte of each request by itself then: one system call more, and nothing for the lane. NoDefaultDate
// has no effect, as the armour is laid on after it, and is not wanted: a server with a clock sends Date (RFC 9110, 6.6.1),
// which is made once a second.
func (s *Server) fastServer(h fasthttp.RequestHandler, connections int) *fasthttp.Server {
	fasthttp.SetBodySizePoolLimit(exchange.MaxBody, -1) // for all servers of a process; also of requests whose end nobody is told of
	return &fasthttp.Server{
		Handler:                      h,
		ErrorHandler:                 s.badRequest,
		HeaderReceived:               s.bodies.HeaderReceived,
		ExpectHandler:                s.expected,
		ConnState:                    transport.ConnState,
		ReadTimeout:                  transport.ReadTimeout,
		WriteTimeout:                 transport.WriteTimeout,
		IdleTimeout:                  transport.IdleTimeout,
		ReadBufferSize:               exchange.MaxHeader,
		MaxRequestBodySize:           exchange.MaxBody,
		Concurrency:                  connections + connections/8,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		SecureErrorLogMessage:        true,
		Logger:                       quiet{s.log},
	}
}

// quiet takes fasthttp's log lines. They are about single connections and repeat what a client sent.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, args ...any) {
	if q.log.Enabled(context.Background(), slog.LevelDebug) {
		q.log.Debug("connection", "event", withoutQuotes(fmt.Sprintf(format, args...)))
	}
}

// withoutQuotes takes out what a text about a bad request quotes of it, but for addresses: a token or a password may be in
// any part of what could not be read.
func withoutQuotes(text string) string {
	var b strings.Builder
	for {
		before, _, found := strings.Cut(text, `"`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		quoted, err := strconv.QuotedPrefix(text[len(before):])
		if err != nil {
			b.WriteString("…")
			return b.String()
		}
		inner, _ := strconv.Unquote(quoted) // QuotedPrefix has seen that it is one
		if _, err := netip.ParseAddrPort(inner); err == nil {
			b.WriteString(inner)
		} else {
			b.WriteString("…")
		}
		text = text[len(before)+len(quoted):]
	}
}

// Open listens on the API's and the operator's address and serves them.
func (s *Server) Open() error {
	if s.certificate != nil {
		if err := s.certificate.Open(); err != nil {
			return fmt.Errorf("load TLS certificate: %w", err)
		}
	}
	inner, err := listen(s.cfg.Listener, s.cfg.Address)
	if err != nil {
		return fmt.Errorf("open API listener: %w", err)
	}
	options := transport.Options{Connections: maxConnections, Trusted: s.clients.Trusted}
	if s.certificate == nil {
		options.Refusal = refusal
		if s.lane != nil {
			options.Lane = s.lane
		}
	}
	api := transport.NewListener(inner, &s.listeners, options)
	if !s.listeners.Add(api) {
		return errors.Join(errClosed, api.Close())
	}
	if s.cfg.Operator != "" || s.cfg.OperatorListener != nil {
		operator, err := listen(s.cfg.OperatorListener, s.cfg.Operator)
		if err != nil {
			return errors.Join(fmt.Errorf("open operator listener: %w", err), api.Close())
		}
		s.console = operator.Addr()
		s.served.Go(func() { s.serving("operator", s.operator.server.Serve(operator)) })
	}
	s.public = api
	serving := net.Listener(api)
	if s.certificate != nil {
		serving = transport.Secure(api, s.certificate, s.handshakes)
		s.served.Go(func() { s.certificate.Watch(s.state.Base, s.cfg.CertificateCheck) })
	}
	s.served.Go(func() { s.serving("API", s.api.Serve(serving)) })
	return nil
}

func listen(given net.Listener, address string) (net.Listener, error) {
	if given != nil {
		return given, nil
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return ln, nil
}

// refusal is the whole answer to a connection over the limit.
func refusal() []byte {
	const text = "this node has too many connections open: try again"
	body := `{"code":"` + cluster.ErrOverloaded.Code + `","error":"` + text + `","message":"` + text + `"}`
	return fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"+
		"Retry-After: 1\r\n%s: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		exchange.HeaderRequestID, exchange.AppendRequestID(nil), len(body), body)
}

// errClosed refuses to serve what is given to a server that is over.
var errClosed = errors.New("HTTP server is closed")

// ServeControl serves a control socket: the same routes, and GET /cluster, with an admin's rights and without cookies,
// so whoever may open the socket is an admin. The server owns the listener from here on. It returns when the server
// closes.
func (s *Server) ServeControl(ln net.Listener) error {
	control := transport.NewListener(ln, &s.listeners, transport.Options{Connections: maxControlConnections, Refusal: refusal})
	if !s.listeners.Add(control) {
		return errors.Join(errClosed, control.Close())
	}
	if err := s.control.Serve(control); err != nil {
		return fmt.Errorf("serve control socket: %w", err)
	}
	return nil
}

func (s *Server) serving(what string, err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("listener stopped", "listener", what, "error", err)
	}
}

// Addr returns the address that the API listens on, nil before Open.
func (s *Server) Addr() net.Addr {
	if s.public == nil {
		return nil
	}
	return s.public.Addr()
}

// OperatorAddr returns the address that the operator's listener is on, nil where there is none.
func (s *Server) OperatorAddr() net.Addr { return s.console }

// Close stops at once what Drain left over, and waits until nothing of the server runs any more.
func (s *Server) Close() error {
	s.Retire()
	s.cancel()
	s.listeners.CloseAll()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := errors.Join(closeFast(ctx, s.api), closeFast(ctx, s.control), s.operator.close())
	s.logins.Orphans.Close()
	s.served.Wait()
	s.diary.Close()
	if err != nil {
		return fmt.Errorf("close HTTP server: %w", err)
	}
	return nil
}

// closeFast shuts a server down and waits until no handler of it runs. Its own shutdown does not wait when there was
// one before that gave up. The count is that of connections less one for a listener, which there is none any more.
func closeFast(ctx context.Context, server *fasthttp.Server) error {
	if err := server.ShutdownWithContext(ctx); err != nil {
		return err
	}
	poll := time.NewTicker(closePoll)
	defer poll.Stop()
	for server.GetOpenConnectionsCount() >= 0 {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
