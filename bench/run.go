package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// lookupCmd is `bench lookup`.
type lookupCmd struct {
	nodeFlags   `embed:""`
	loadFlags   `embed:""`
	outputFlags `embed:""`
	Route       string `default:"verify" enum:"verify,session" placeholder:"ROUTE" help:"verify: GET /auth/verify, as a proxy asks; session: GET /api/session, as an application does (${default})."`
	Consistency string `default:"" enum:",lease,local,quorum" placeholder:"LEVEL" help:"Level to ask for by header: lease, local or quorum (default: none). With --route session only, as forward auth keeps to the nodes' level."`
}

// Validate is called by the command line's parser.
func (c *lookupCmd) Validate() error {
	if err := validateAll(&c.nodeFlags, &c.loadFlags); err != nil {
		return err
	}
	if c.Consistency != "" && c.Route != string(peer.Session) {
		return errors.New("--consistency: forward auth ignores what a request asks for: use --route session, or configure the nodes")
	}
	return nil
}

// Run implements the command.
func (c *lookupCmd) Run(ctx context.Context, a *app) error {
	route, err := peer.ParseRoute(c.Route)
	if err != nil {
		return usageError{err}
	}
	level, err := peer.ParseLevel(c.Consistency)
	if err != nil {
		return usageError{err}
	}
	what := "lookup, route " + c.Route
	if level != "" {
		what += ", " + c.Consistency
	}
	return a.runOnNodes(ctx, &nodeRun{
		what: what, nodes: &c.nodeFlags, load: &c.loadFlags, output: c.outputFlags,
		open: func(s *peer.Service, all *peer.Sessions) load.Open { return s.Lookup(all, route, level) },
	})
}

// putCmd is `bench put`.
type putCmd struct {
	nodeFlags   `embed:""`
	loadFlags   `embed:""`
	outputFlags `embed:""`
	Bytes       int `default:"66" placeholder:"N" help:"Size of the value (${default})."`
}

// Validate is called by the command line's parser.
func (c *putCmd) Validate() error {
	if c.Bytes < 1 || c.Bytes > peer.MaxValue {
		return fmt.Errorf("--bytes %d: need 1 to %d", c.Bytes, peer.MaxValue)
	}
	return validateAll(&c.nodeFlags, &c.loadFlags)
}

// Run implements the command.
func (c *putCmd) Run(ctx context.Context, a *app) error {
	return a.runOnNodes(ctx, &nodeRun{
		what: fmt.Sprintf("put of %d bytes", c.Bytes), nodes: &c.nodeFlags, load: &c.loadFlags, output: c.outputFlags,
		open: func(s *peer.Service, all *peer.Sessions) load.Open { return s.Put(all, c.Bytes) },
	})
}

// createCmd is `bench create`.
type createCmd struct {
	nodeFlags   `embed:""`
	loadFlags   `embed:""`
	outputFlags `embed:""`
	Batch       int `default:"1" placeholder:"N" help:"Sessions that one request makes (${default})."`
}

// Validate is called by the command line's parser.
func (c *createCmd) Validate() error {
	if c.Batch < 1 || c.Batch > peer.MaxBatch {
		return fmt.Errorf("--batch %d: need 1 to %d", c.Batch, peer.MaxBatch)
	}
	return validateAll(&c.nodeFlags, &c.loadFlags)
}

// Run implements the command.
func (c *createCmd) Run(ctx context.Context, a *app) error {
	return a.runOnNodes(ctx, &nodeRun{
		what: fmt.Sprintf("create of %d a request", c.Batch), nodes: &c.nodeFlags, load: &c.loadFlags, output: c.outputFlags,
		open: func(s *peer.Service, all *peer.Sessions) load.Open { return s.Create(all, c.Batch) },
	})
}

// bareCmd is `bench bare`.
type bareCmd struct {
	Addr string `arg:"" default:"127.0.0.1:8090" placeholder:"ADDR" help:"Address to listen on (${default})."`
}

// Run implements the command.
func (c *bareCmd) Run(ctx context.Context) error {
	return peer.ServeBare(ctx, c.Addr)
}

// hogCmd is `bench hog`.
type hogCmd struct{}

// Run implements the command.
func (c *hogCmd) Run(ctx context.Context) error {
	peer.Hog(ctx)
	return nil
}

// nodeRun is one run on nodes that somebody else started.
type nodeRun struct {
	what   string
	nodes  *nodeFlags
	load   *loadFlags
	output outputFlags
	open   func(*peer.Service, *peer.Sessions) load.Open
}

// runOnNodes fills sessions in, sends the requests and prints what came of it.
func (a *app) runOnNodes(ctx context.Context, r *nodeRun) (err error) {
	s, err := r.nodes.service(a)
	if err != nil {
		return err
	}
	if err := s.Open(ctx); err != nil {
		return errors.Join(err, s.Close())
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	sessions, err := s.Fill(ctx, r.nodes.Sessions, a.fillProgress(r.nodes.Sessions))
	if err != nil {
		return err
	}
	cfg := r.load.config(r.open(s, sessions))
	cfg.Progress = a.progress
	res, err := load.Run(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(a.report(r, res), judge(res, r.output.AllowErrors))
}

// judge says what is wrong with a result. Failed requests are nothing wrong where they are allowed.
func judge(res *load.Result, allowErrors bool) error {
	err := res.Err()
	if allowErrors && errors.Is(err, load.ErrFailures) {
		return nil
	}
	return err
}

// fillProgress returns a function that says from time to time how far a fill is.
func (a *app) fillProgress(n int) func(done int) {
	next := 0
	return func(done int) {
		if done >= next || done == n {
			a.progressf("%d of %d sessions", done, n)
			next = done + n/fillReports
		}
	}
}

// progress says what happened in the last second.
func (a *app) progress(p load.Progress) {
	note := ""
	if p.Warming {
		note = " (warming up)"
	}
	a.progressf("%4.0fs %10.0f/s %6d failed  p50 %v  p99 %v%s", p.Elapsed.Seconds(), float64(p.Good)/p.Seconds, p.Failed,
		p.P50.Round(time.Microsecond), p.P99.Round(time.Microsecond), note)
}
