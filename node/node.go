package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/lookup"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
	"cloakroom/httpapi"
	"cloakroom/httpapi/realm"
)

// Node is one running node: a data directory, a member of a cluster, and the listeners in front of it.
type Node struct {
	cfg     Config
	log     *slog.Logger
	lock    *dirLock
	api     net.Listener
	control net.Listener
	cluster *cluster.Cluster
	hasher  *realm.Hasher
	server  *httpapi.Server
	serving sync.WaitGroup
	closers []func() error // in the order of opening; Close goes backwards
	done    chan struct{}  // closed by fatal
	err     error          // why; set before done is closed
}

// Open starts a node: everything that can be wrong with the configuration is found before it speaks to another node.
// It returns before the node is ready; until then the API answers that it is joining.
func Open(cfg Config, log *slog.Logger, key wire.ClusterKey) (*Node, error) {
	n := &Node{cfg: cfg, log: log.With("node", cfg.Name), done: make(chan struct{})}
	if err := n.open(log, key); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) open(log *slog.Logger, key wire.ClusterKey) error {
	operator, err := n.listen()
	if err != nil {
		return err
	}
	if err := n.openCluster(log, key); err != nil {
		return err
	}
	return n.openServer(key, operator)
}

// listen takes the data directory and the ports of this node, so that a second node on either is refused at once.
func (n *Node) listen() (operator net.Listener, err error) {
	if n.cfg.TLSCert != "" {
		if _, err := tls.LoadX509KeyPair(n.cfg.TLSCert, n.cfg.TLSKey); err != nil {
			return nil, flagErrorf("tls-cert", "%v", err)
		}
	}
	if n.lock, err = lockDir(n.cfg.DataDir); err != nil {
		return nil, err
	}
	n.closers = append(n.closers, n.lock.Close)
	if n.api, err = listenTCP("http", n.cfg.HTTP); err != nil {
		return nil, err
	}
	n.closers = append(n.closers, closeOnce(n.api))
	if operator, err = listenTCP("operator", n.cfg.Operator); err != nil {
		return nil, err
	}
	n.closers = append(n.closers, closeOnce(operator))
	if n.control, err = listenControl(n.cfg.controlSocket()); err != nil {
		return nil, err
	}
	n.closers = append(n.closers, closeOnce(n.control))
	return operator, nil
}

// closeOnce closes a listener that its server may have closed before.
func closeOnce(ln net.Listener) func() error {
	return func() error {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("close listener: %w", err)
		}
		return nil
	}
}

func (n *Node) openCluster(log *slog.Logger, key wire.ClusterKey) (err error) {
	n.cluster, err = cluster.Open(cluster.Config{
		Name:        n.cfg.Name,
		DataDir:     n.cfg.DataDir,
		Ephemeral:   n.cfg.Ephemeral,
		Peer:        n.cfg.Peer,
		Gossip:      n.cfg.Gossip,
		Advertise:   n.cfg.Advertise,
		HTTP:        n.cfg.reachable(n.api.Addr().String()),
		Join:        n.cfg.Join,
		Expect:      n.cfg.BootstrapExpect,
		ReadReplica: n.cfg.ReadReplica,
		Idle:        n.cfg.IdleTimeout,
		Heartbeat:   n.cfg.Heartbeat,
		RemoveAfter: n.cfg.RemoveDeadAfter,
		DiskReserve: int64(n.cfg.DiskReserve),
		MemoryLimit: int64(n.cfg.MemoryLimit),
		Key:         key,
		Logger:      log, // it adds the node's name itself
		OnFatal:     n.fatal,
	})
	if err != nil {
		return n.clusterError(err)
	}
	n.closers = append(n.closers, n.cluster.Close)
	return nil
}

// clusterError tells wrong use from failure among the reasons why a cluster could not be opened or went down.
func (n *Node) clusterError(err error) error {
	listening, ok := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, cluster.ErrForeignData), errors.Is(err, session.ErrOtherCluster), errors.Is(err, roster.ErrDismissed):
		return flagErrorf("data-dir", "%s: %v", n.cfg.DataDir, err)
	case ok && listening.Op == "listen", errors.Is(err, syscall.EADDRINUSE):
		return &usageError{err}
	}
	return err
}

func (n *Node) openServer(key wire.ClusterKey, operator net.Listener) (err error) {
	if n.hasher, err = realm.NewHasher(n.cfg.hasher()); err != nil {
		return err
	}
	authenticator, err := realm.New(realm.Config{
		Directory: directory{n.cluster},
		Hasher:    n.hasher,
		SealKey:   key.Derive(wire.PurposeSeal),
		Logger:    n.log,
	})
	if err != nil {
		return err
	}
	level, err := lookup.ParseLevel(n.cfg.Consistency)
	if err != nil {
		return flagErrorf("consistency", "%v", err)
	}
	trusted, err := parseNetworks(n.cfg.TrustedProxies)
	if err != nil {
		return flagErrorf("trusted-proxies", "%v", err)
	}
	n.server, err = httpapi.New(httpapi.Config{
		Listener:         n.api,
		OperatorListener: operator,
		TLSCert:          n.cfg.TLSCert,
		TLSKey:           n.cfg.TLSKey,
		Cluster:          served{n.cluster},
		Membership:       n.cluster,
		Authenticator:    authenticator,
		Hasher:           n.hasher,
		Sealer:           authenticator,
		Logger:           n.log,
		Version:          buildVersion(),
		Level:            level,
		AllowLocalReads:  n.cfg.AllowLocalReads,
		IdleTimeout:      n.cfg.IdleTimeout,
		MaxLifetime:      n.cfg.MaxLifetime,
		CookieDomain:     n.cfg.CookieDomain,
		CookieSecure:     httpapi.CookieSecure(n.cfg.CookieSecure),
		TrustedProxies:   trusted,
		AllowedOrigins:   n.cfg.AllowedOrigins,
		AnonymousKey:     key.Derive(wire.PurposeAnonymous),
		MMonitRotate:     n.cfg.MMonitRotate,
	})
	if err != nil {
		return err
	}
	if err := n.server.Open(); err != nil {
		return err
	}
	n.closers = append(n.closers, n.closeServer)
	n.serving.Go(func() {
		if err := n.server.ServeControl(n.control); err != nil {
			n.log.Error("the control socket is closed", "error", err)
		}
	})
	return nil
}

func (n *Node) closeServer() error {
	err := n.server.Close()
	n.serving.Wait()
	return err
}

// Addr returns the address of the session API.
func (n *Node) Addr() string { return n.api.Addr().String() }

// OperatorAddr returns the address of the operator's listener.
func (n *Node) OperatorAddr() string { return n.server.OperatorAddr().String() }

// WaitReady waits until the node is part of a cluster that has a leader and its first records.
func (n *Node) WaitReady(ctx context.Context) error {
	ticker := time.NewTicker(ReadyPoll)
	defer ticker.Stop()
	for !n.ready(ctx) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-n.done:
			return n.err
		case <-ticker.C:
		}
	}
	return nil
}

func (n *Node) ready(ctx context.Context) bool {
	if n.cluster.Ready() != nil {
		return false
	}
	named := false
	err := n.cluster.Read(ctx, cluster.Quorum, func(m *session.Machine) { named = m.ClusterID() != "" })
	return err == nil && named
}

// Done is closed when the node can't go on; Err says why.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err returns the reason after Done.
func (n *Node) Err() error { return n.err }

// fatal is called once by the cluster.
func (n *Node) fatal(err error) {
	n.err = n.clusterError(err)
	close(n.done)
}

// Drain stops gracefully: load balancers are told to look elsewhere and get DrainNotice to hear it, leadership is
// handed over, the requests under way are answered, and the node leaves. Close is to follow.
func (n *Node) Drain(ctx context.Context) error {
	n.server.Retire()
	notice := time.NewTimer(DrainNotice)
	defer notice.Stop()
	alone := n.cluster.Stats().GossipAlive <= 1 // then there is nobody else to look to
	retired := n.cluster.Retire(ctx)
	if !alone {
		select {
		case <-notice.C:
		case <-ctx.Done():
		}
	}
	answered := n.server.Drain(ctx)
	return errors.Join(retired, answered, n.cluster.Leave(ctx))
}

// Close stops at once whatever still runs, and waits until nothing does.
func (n *Node) Close() error {
	var errs []error
	for len(n.closers) > 0 {
		last := len(n.closers) - 1
		closer := n.closers[last]
		n.closers = n.closers[:last]
		errs = append(errs, closer())
	}
	return errors.Join(errs...)
}
