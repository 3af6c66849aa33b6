package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/support"
)

type serveCmd struct {
	Flags configFlags `embed:""`
}

// configFlags is Config without its methods: kong would call Validate by itself, before the defaults are complete.
type configFlags Config

// Run implements the command serve. It returns when the node has stopped.
func (s *serveCmd) Run(ctx context.Context, a *app) error {
	// From here on a signal is an order to stop in good order, not the end of the process.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	err := s.serve(ctx, a, signals)
	if errors.Is(err, errNotBegun) {
		return nil
	}
	return err
}

func (s *serveCmd) serve(ctx context.Context, a *app, signals chan os.Signal) error {
	cfg := Config(s.Flags)
	if err := cfg.complete(); err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	var password adminPassword
	var secrets secrets
	err := unlessSignalled(signals, func() (err error) {
		if password, err = a.adminPassword(); err != nil {
			return err
		}
		secrets, err = a.secrets(&cfg)
		return err
	})
	if err != nil {
		return err
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	log, level, lines := a.logger(&cfg)
	if cfg.ClusterKeyFile == "" {
		log.Warn("no --cluster-key-file: using the public development key, so other nodes are heard on loopback only")
	}
	for restarts := 0; ; restarts++ {
		begun := time.Now()
		var node *Node
		err := unlessCutShort(signals, func() (err error) {
			node, err = Open(cfg, log, level, lines, secrets)
			return err
		})
		if err != nil {
			return err
		}
		err = a.finish(node, node.log, a.attend(ctx, node, password, signals, hangups))
		if time.Since(begun) > StableAfter {
			restarts = 0
		}
		if !errors.Is(err, cluster.ErrOpenAgain) || restarts == MaxRestarts {
			return err
		}
		node.log.Warn("the node is opened again", "reason", err)
	}
}

// Why a process ends that was told to stop before its node was open.
var (
	errNotBegun = errors.New("stopped before anything was begun")
	errCutShort = errors.New("stopped while the node was being opened, by a second signal: as if it had been killed")
)

// unlessSignalled does what comes before a node. That may never end, as a file may be a pipe that nobody writes to. Nothing
// was begun yet, so at a signal the process may end as it is.
func unlessSignalled(signals <-chan os.Signal, part func() error) error {
	done := make(chan error, 1)
	go func() { done <- part() }()
	select {
	case err := <-done:
		return err
	case <-signals:
		return errNotBegun
	}
}

// unlessCutShort opens a node. That leaves traces in its directory, which only a stop in good order takes back: so a signal
// is left for what comes after. But a disk may hang, so a second one ends the process; it counts as drain's do.
func unlessCutShort(signals chan os.Signal, open func() error) error {
	done := make(chan error, 1)
	go func() { done <- open() }()
	var first os.Signal
	var heard time.Time
	for {
		select {
		case err := <-done:
			if first != nil {
				select {
				case signals <- first:
				default: // there is another one
				}
			}
			return err
		case s := <-signals:
			switch {
			case first == nil:
				first, heard = s, time.Now()
			case time.Since(heard) >= SecondSignal:
				return errCutShort
			}
		}
	}
}

// attend announces the node once it is ready, and stops it in good order at the first signal. A second one ends the
// process at once.
func (a *app) attend(ctx context.Context, node *Node, password adminPassword, signals, hangups <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	var announcing sync.WaitGroup
	failed := make(chan error, 1)
	announcing.Go(func() {
		if err := a.announce(ctx, node, password); err != nil {
			failed <- err
		}
	})
	defer announcing.Wait()
	defer cancel()
	go a.reloads(ctx, node, hangups) // not waited for: see there
	select {
	case err := <-failed:
		return err
	case <-node.Done():
		return node.Err()
	case <-signals:
		cancel()
		announcing.Wait()
		return a.drain(node, node.log, signals)
	}
}

// drain gives a stop in good order DrainTimeout. A stop that took longer, or found nobody to hand over to, is still the
// stop that was asked for; one in which the node failed is not.
func (a *app) drain(node stoppable, log *slog.Logger, signals <-chan os.Signal) error {
	log.Info("stopping: requests under way are finished", "within", DrainTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), DrainTimeout)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- node.Drain(ctx) }()
	for begun := time.Now(); ; {
		select {
		case err := <-drained:
			if err != nil {
				log.Warn("the stop was not as orderly as it should be", "error", err)
			}
			return failure(node)
		case <-node.Done():
			// It has nothing to hand over any more. What Drain still does ends with its context, beside Close.
			return node.Err()
		case <-signals:
			// A terminal's Ctrl-C reaches a runner and its processes, and the runner then signals them once more: that
			// is one wish. Whoever signals again later does not want to wait for anything.
			if time.Since(begun) >= SecondSignal {
				a.exit(exitFailed)
				return nil
			}
		}
	}
}

// finish closes a node that is to run no longer, whatever the reason, and returns how the process ends. A disk that
// does not answer would hold Close up for ever; a process that lingers is not started again by whoever watches it.
func (a *app) finish(node stoppable, log *slog.Logger, reason error) error {
	closed := make(chan error, 1)
	go func() { closed <- node.Close() }()
	limit := time.NewTimer(CloseTimeout)
	defer limit.Stop()
	select {
	case err := <-closed:
		if reason == nil {
			reason = failure(node)
		}
		return errors.Join(reason, err)
	case <-limit.C:
		if reason == nil {
			reason = failure(node)
		}
		log.Error("the node can't be closed, perhaps for a disk that does not answer: ending the process", "waited", CloseTimeout, "reason", reason)
		a.exit(exitFailed)
		return errors.Join(reason, errNotClosed)
	}
}

// errNotClosed is for an exit that returns.
var errNotClosed = errors.New("the node could not be closed in time")

// failure returns why the node can't go on; nil: it could.
func failure(node stoppable) error {
	select {
	case <-node.Done():
		return node.Err()
	default:
		return nil
	}
}

// stoppable is what a stop needs of a Node.
type stoppable interface {
	Drain(ctx context.Context) error
	Done() <-chan struct{}
	Err() error
	Close() error
}

var _ stoppable = (*Node)(nil)

// logger makes the node's log, whose level can be changed, and what keeps its last lines. Level and format were checked with
// the flags.
func (a *app) logger(cfg *Config) (*slog.Logger, *slog.LevelVar, *support.Ring) {
	level := new(slog.LevelVar)
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		panic("BUG: log level " + cfg.LogLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(a.stderr, options)
	if cfg.LogFormat == "json" {
		handler = slog.NewJSONHandler(a.stderr, options)
	}
	lines := new(support.Ring)
	return slog.New(slog.NewMultiHandler(handler, lines.Handler(level))), level, lines
}

// announce waits until the node is ready, makes the first user if this node has begun the cluster, and prints what to
// do next. A node that is stopped before it is ready has nothing to announce.
func (a *app) announce(ctx context.Context, node *Node, password adminPassword) error {
	err := node.WaitReady(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	founder := &founder{state: node.cluster, hasher: node.hasher, log: node.log}
	users, err := founder.hasUsers(ctx)
	var made session.Secret
	switch {
	case err != nil || users:
	case node.cluster.Bootstrapper():
		made, err = founder.firstUser(ctx, password)
		users = err == nil
	default:
		users, err = founder.awaitUsers(ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	greeting := &greeting{cfg: &node.cfg, api: node.Addr(), operator: node.OperatorAddr(), made: made, given: password, users: users}
	if _, err := fmt.Fprint(a.stdout, greeting.text()); err != nil {
		node.log.Warn("could not print how to begin", "error", err)
	}
	return nil
}
