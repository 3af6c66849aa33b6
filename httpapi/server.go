package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// Cluster is what a node's HTTP surface needs of the cluster.
type Cluster interface {
	// Do makes a command take effect. An error means that it did not, but for ErrOutcomeUnknown.
	Do(ctx context.Context, cmd session.Command) (session.Result, error)
	// Lookup answers for a session; the timeouts have been looked at.
	Lookup(ctx context.Context, key session.Key, level cluster.Level) (session.View, error)
	// Use is Lookup, and counts as a use of the session.
	Use(ctx context.Context, key session.Key, level cluster.Level) (session.View, error)
	// Read runs fn on the state at a level. fn must not block, and the machine must not be kept.
	Read(ctx context.Context, level cluster.Level, fn func(*session.Machine)) error
	LastUse(s *session.Session) session.Time
	Now() session.Time
	Members() []cluster.Member
	Stats() cluster.Stats
	Ready() error
}

// Authenticator says whose a user name and a password are. Errors: realm.ErrInvalidCredentials, realm.ErrBusy,
// realm.ErrUnavailable, or those of a cluster that can't be read.
type Authenticator interface {
	Authenticate(ctx context.Context, realmName, username, password string) (realm.Identity, error)
}

// Hasher makes the stored form of a password.
type Hasher interface {
	HashPassword(ctx context.Context, password string) (session.Secret, error)
	Stats() realm.HasherStats
}

// Sealer checks a realm's configuration and seals the secrets in it.
type Sealer interface {
	SealConfig(realmType string, config []byte) ([]byte, error)
}

var (
	_ Authenticator = (*realm.Authenticator)(nil)
	_ Sealer        = (*realm.Authenticator)(nil)
	_ Hasher        = (*realm.Hasher)(nil)
)

// Server serves one node's API, its operator's listener and its control socket.
type Server struct {
	cfg       Config
	log       *slog.Logger
	cluster   Cluster
	router    *router
	metrics   *metrics
	throttle  *throttle
	orphans   *orphans
	trusted   proxies
	origins   map[string]bool
	requests  sync.Pool // of *request
	inFlight  atomic.Int64
	draining  atomic.Bool
	base      context.Context // ends when the server closes
	cancel    context.CancelFunc
	api       *fasthttp.Server
	control   *fasthttp.Server
	operator  *http.Server
	listeners listeners
	served    sync.WaitGroup
}

// New checks the configuration and makes a server that listens to nothing yet.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg:      cfg,
		log:      cfg.Logger,
		cluster:  cfg.Cluster,
		router:   newRouter(),
		throttle: newThrottle(),
		trusted:  proxies(cfg.TrustedProxies),
		origins:  map[string]bool{},
	}
	for _, origin := range cfg.AllowedOrigins {
		s.origins[origin] = true
	}
	s.base, s.cancel = context.WithCancel(context.Background())
	s.orphans = newOrphans(s.base, cfg.Cluster, cfg.Logger)
	s.metrics = newMetrics(s)
	s.api = s.fastServer(s.Handler(), maxConnections)
	s.control = s.fastServer(func(ctx *fasthttp.RequestCtx) { s.serve(ctx, true) }, maxControlConnections)
	s.operator = s.operatorServer()
	return s, nil
}

// fastServer returns a server with the limits that every connection has. Concurrency has room above that of the
// listener, which refuses in the API's own words.
func (s *Server) fastServer(h fasthttp.RequestHandler, connections int) *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      h,
		ErrorHandler:                 s.badRequest,
		HeaderReceived:               headerReceived,
		ExpectHandler:                s.expected,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		ReadBufferSize:               maxHeader,
		MaxRequestBodySize:           maxBody,
		Concurrency:                  connections + connections/8,
		NoDefaultServerHeader:        true,
		NoDefaultDate:                true,
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
		SecureErrorLogMessage:        true,
		Logger:                       quiet{s.log},
	}
}

// quiet takes fasthttp's log lines. They are about single connections and may repeat what a client sent.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, args ...any) {
	q.log.Debug("connection", "event", fmt.Sprintf(format, args...))
}

// Open listens on the API's and the operator's address and serves them.
func (s *Server) Open() error {
	var tlsConfig *tls.Config
	if s.cfg.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(s.cfg.TLSCert, s.cfg.TLSKey)
		if err != nil {
			return fmt.Errorf("load TLS certificate: %w", err)
		}
		tlsConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	}
	inner, err := listen(s.cfg.Listener, s.cfg.Address)
	if err != nil {
		return fmt.Errorf("open API listener: %w", err)
	}
	api := newListener(inner, maxConnections, s.trusted, &s.listeners, tlsConfig == nil)
	if !s.listeners.add(api) {
		return errors.Join(errClosed, api.Close())
	}
	if s.cfg.Operator != "" || s.cfg.OperatorListener != nil {
		operator, err := listen(s.cfg.OperatorListener, s.cfg.Operator)
		if err != nil {
			return errors.Join(fmt.Errorf("open operator listener: %w", err), api.Close())
		}
		s.listeners.operator = operator.Addr()
		s.served.Go(func() { s.serving("operator", s.operator.Serve(operator)) })
	}
	s.listeners.api = api.Addr()
	serving := net.Listener(api)
	if tlsConfig != nil {
		serving = tls.NewListener(api, tlsConfig)
	}
	s.served.Go(func() { s.serving("API", s.api.Serve(serving)) })
	return nil
}

// errClosed refuses to serve what is given to a server that is over.
var errClosed = errors.New("HTTP server is closed")

// ServeControl serves a control socket: the same routes, and GET /cluster, with an admin's rights and without cookies,
// so whoever may open the socket is an admin. The server owns the listener from here on. It returns when the server
// closes.
func (s *Server) ServeControl(ln net.Listener) error {
	control := newListener(ln, maxControlConnections, nil, &s.listeners, true)
	if !s.listeners.add(control) {
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
func (s *Server) Addr() net.Addr { return s.listeners.api }

// OperatorAddr returns the address that the operator's listener is on, nil where there is none.
func (s *Server) OperatorAddr() net.Addr { return s.listeners.operator }

// Retire makes /readyz answer 503 from now on, so that load balancers look elsewhere. Requests are served as before.
func (s *Server) Retire() { s.draining.Store(true) }

// Drain retires the server, stops listening for API requests, closes idle connections and waits until the requests
// under way are answered. The control socket and the operator's listener go on until Close.
func (s *Server) Drain(ctx context.Context) error {
	s.Retire()
	if err := s.api.ShutdownWithContext(ctx); err != nil {
		return fmt.Errorf("finish requests: %w", err)
	}
	return nil
}

// Close stops at once what Drain left over, and waits until nothing of the server runs any more.
func (s *Server) Close() error {
	s.Retire()
	s.cancel()
	s.listeners.closeAll()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := errors.Join(closeFast(ctx, s.api), closeFast(ctx, s.control), s.closeOperator())
	s.orphans.close()
	s.served.Wait()
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
