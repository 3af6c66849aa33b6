package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"github.com/valyala/fasthttp"

	"cloakroom/bench/load"
)

// ServeBare answers every request that has a cookie id with ValueBytes bytes of JSON, until ctx ends: the least that
// an HTTP lookup can cost with the server library that the product uses.
func ServeBare(ctx context.Context, addr string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	body := []byte(`{"user":"bench","roles":["` + value(ValueBytes-29) + `"]}`)
	server := &fasthttp.Server{
		Logger:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo), // clients that leave are no news
		CloseOnShutdown: true,
		Handler: func(ctx *fasthttp.RequestCtx) {
			if len(ctx.Request.Header.Cookie("id")) == 0 {
				ctx.SetStatusCode(fasthttp.StatusUnauthorized)
				return
			}
			ctx.SetContentType("application/json")
			ctx.SetBody(body)
		},
	}
	stop := context.AfterFunc(ctx, func() {
		l.Close() // Serve returns either way, and the process ends
	})
	defer stop()
	if err := server.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// Bare is that server in a process of its own.
type Bare struct {
	argv     []string
	ports    *ports
	addr     string
	process  *process
	sessions *Sessions
}

var _ Peer = (*Bare)(nil)

// NewBare returns the server; argv, to which an address is appended, starts a process that calls ServeBare.
func NewBare(argv ...string) *Bare { return &Bare{argv: argv} }

// Name implements Peer.
func (b *Bare) Name() string { return "fasthttp" }

// Note implements Peer.
func (b *Bare) Note() string {
	return "a bare handler that reads a cookie and answers 66 bytes; looks nothing up"
}

// Start implements Peer.
func (b *Bare) Start(ctx context.Context, dir string) error {
	var err error
	if b.ports, err = takePorts(1); err != nil {
		return err
	}
	b.addr = b.ports.addrs[0]
	if b.process, err = startProcess(dir, "bare", nil, append(slices.Clip(b.argv), b.addr)...); err != nil {
		return err
	}
	return b.process.waitReady(ctx, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", b.addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// Fill implements Peer: there is nothing to fill, but requests are to be as long as those to the others.
func (b *Bare) Fill(_ context.Context, n int) error {
	var err error
	b.sessions, err = madeUpSessions(n)
	return err
}

// Lookup implements Peer.
func (b *Bare) Lookup(level Level) (load.Open, error) {
	if level == Quorum {
		return nil, ErrNotOffered
	}
	return func(_ context.Context, worker int) (load.Caller, error) {
		return &tokenCaller{
			conn:     NewConn(Target{Host: b.addr}, CallTimeout),
			sessions: b.sessions,
			rng:      newRand(worker),
			head:     "GET /auth/verify HTTP/1.1\r\nHost: " + b.addr + "\r\nCookie: id=",
			tail:     "\r\n\r\n",
		}, nil
	}, nil
}

// Put implements Peer.
func (b *Bare) Put() (load.Open, error) { return nil, ErrNotOffered }

// PIDs implements Peer.
func (b *Bare) PIDs() []int { return pidsOf([]*process{b.process}) }

// Stop implements Peer.
func (b *Bare) Stop() error {
	return errors.Join(stopAll([]*process{b.process}), b.ports.release())
}
