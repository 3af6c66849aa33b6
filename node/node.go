package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/lookup"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
	"cloakroom/cluster/wire"
	"cloakroom/httpapi"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/audit"
	"cloakroom/httpapi/realm"
	"cloakroom/httpapi/recheck"
	"cloakroom/httpapi/support"
)

// Node is one running node: a data directory, a member of a cluster, and the listeners in front of it.
type Node struct {
	cfg     Config
	log     *slog.Logger
	level   *slog.LevelVar // of log
	lines   *support.Ring  // the last of log
	begun   time.Time
	lock    *dirLock
	api     net.Listener
	control net.Listener
	cluster *cluster.Cluster
	hasher  *realm.Hasher
	audit   *audit.Log
	diary   *diary
	secrets secrets
	recheck *recheck.Loop
	server  *httpapi.Server
	serving sync.WaitGroup
	closers []func() error // in the order of opening; Close goes backwards
	done    chan struct{}  // closed by fatal
	err     error          // why; set before done is closed
}

// Open starts a node: everything that can be wrong with the configuration is found before it speaks to another node.
// It returns before the node is ready; until then the API answers that it is joining.
func Open(cfg Config, log *slog.Logger, level *slog.LevelVar, lines *support.Ring, secrets secrets) (*Node, error) {
	n := &Node{
		cfg: cfg, log: log.With("node", cfg.Name), level: level, lines: lines, secrets: secrets, done: make(chan struct{}), begun: time.Now(),
	}
	if err := n.open(log); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) open(log *slog.Logger) error {
	operator, err := n.listen()
	if err != nil {
		return err
	}
	if err := n.openAudit(); err != nil {
		return err
	}
	if err := n.openCluster(log); err != nil {
		return err
	}
	return n.openServer(operator)
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

// openAudit opens the audit log before anything can happen that belongs into it.
func (n *Node) openAudit() (err error) {
	n.audit, err = audit.Open(audit.Config{Path: n.cfg.auditFile(), Node: n.cfg.Name, Logger: n.log})
	if err != nil {
		return flagErrorf("audit-log", "%v", err)
	}
	n.closers = append(n.closers, n.audit.Close)
	n.diary = newDiary(n.audit, n.cfg.AuditExpiries)
	n.closers = append(n.closers, n.diary.Close)
	return nil
}

func (n *Node) openCluster(log *slog.Logger) (err error) {
	cfg := n.cfg.cluster()
	cfg.HTTP = n.cfg.reachable(n.api.Addr().String())
	cfg.Keys, cfg.DataKeys = n.secrets.cluster, n.secrets.data
	cfg.Logger = log // it adds the node's name itself
	cfg.OnFatal = n.fatal
	cfg.OnEnd, cfg.OnMember, cfg.OnOrigin = n.diary.ended, n.diary.member, n.diary.origin
	n.cluster, err = cluster.Open(cfg)
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
	case errors.Is(err, storage.ErrNoDataKeys), errors.Is(err, storage.ErrWrongDataKeys):
		return flagErrorf("data-key-file", "%v", err)
	case errors.Is(err, cluster.ErrForeignData), errors.Is(err, cluster.ErrUnfinished), errors.Is(err, session.ErrOtherCluster), errors.Is(err, roster.ErrDismissed):
		return flagErrorf("data-dir", "%s: %v", n.cfg.DataDir, err)
	case ok && listening.Op == "listen" && errors.Is(err, os.ErrPermission): // else see listenError
		return &usageError{err}
	}
	return err
}

func (n *Node) openServer(operator net.Listener) (err error) {
	hashing := n.cfg.hasher()
	hashing.Logger = n.log
	if hashing.Worker, err = hashWorkerCommand(); err != nil {
		return err
	}
	if n.hasher, err = realm.NewHasher(hashing); err != nil {
		return err
	}
	n.closers = append(n.closers, n.hasher.Close)
	authenticator, err := realm.New(realm.Config{
		Directory: directory{n.cluster},
		Hasher:    n.hasher,
		KeySetDir: n.cfg.JWKSDir,
		SealKeys:  n.secrets.cluster.Deriver(wire.PurposeSeal),
		Logger:    n.log,
	})
	if err != nil {
		return err
	}
	n.closers = append(n.closers, authenticator.Close)
	n.recheck, err = recheck.New(recheck.Config{
		Cluster: rechecked{n.cluster, n.audit}, Realms: authenticator, Node: n.cfg.Name, Interval: n.cfg.RecheckInterval, Logger: n.log,
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
		Backups:          backups{n.cluster},
		Support:          support.New(support.About{Node: n.cfg.Name, Program: buildVersion(), Personal: personalOnline}, n.bundleParts()).Make,
		Authenticator:    authenticator,
		Hasher:           n.hasher,
		Sealer:           authenticator,
		Logger:           n.log,
		LogLevel:         n.level,
		Audit:            n.audit,
		Recheck:          n.recheck,
		Version:          buildVersion(),
		Level:            level,
		AllowLocalReads:  n.cfg.AllowLocalReads,
		IdleTimeout:      n.cfg.IdleTimeout,
		MaxLifetime:      n.cfg.MaxLifetime,
		CookieDomain:     n.cfg.CookieDomain,
		CookieSecure:     access.CookieSecure(n.cfg.CookieSecure),
		TrustedProxies:   trusted,
		AllowedOrigins:   n.cfg.AllowedOrigins,
		LoginURL:         n.cfg.LoginURL,
		ReturnOrigins:    n.cfg.ReturnOrigins,
		AnonymousKeys:    n.secrets.cluster.Deriver(wire.PurposeAnonymous),
		MMonitRotate:     n.cfg.MMonitRotate,
		CookieHostPrefix: n.cfg.CookieHostPrefix,
		HSTS:             n.cfg.HSTS,
		CertificateCheck: n.cfg.TLSCheck,
	})
	if err != nil {
		return err
	}
	if err := n.server.Open(); err != nil {
		return err
	}
	n.closers = append(n.closers, n.closeServer)
	if err := n.recheck.Open(); err != nil {
		return err
	}
	n.closers = append(n.closers, n.recheck.Close)
	ctx, cancel := context.WithCancel(context.Background())
	n.serving.Go(func() { n.reseal(ctx, authenticator) })
	n.closers = append(n.closers, func() error { cancel(); return nil })
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
	notice := time.NewTimer(WaitNotice)
	defer notice.Stop()
	for !n.ready(ctx) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-n.done:
			return n.err
		case <-notice.C:
			n.tellWaiting()
			notice.Reset(WaitAgain)
		case <-ticker.C:
		}
	}
	return nil
}

// tellWaiting says what a node that is not ready waits for: most often the other ones, which somebody has yet to start.
func (n *Node) tellWaiting() {
	why, s := n.cluster.Ready(), n.cluster.Stats()
	if why == nil {
		why = cluster.ErrNoLeader // its word that the cluster has begun is to come
	}
	n.log.Info("not ready yet", "reason", why, "nodes_seen", s.GossipAlive, "bootstrap_expect", n.cfg.BootstrapExpect, "join", n.cfg.Join)
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

// Drain stops gracefully: load balancers are told to look elsewhere and get DrainNotice to hear it, or as long as they
// go on sending requests, leadership is handed over, the requests under way are answered, and the node leaves. What is
// still under way LeaveTime before ctx ends, such as a backup that is read slowly, is cut off. Close is to follow.
func (n *Node) Drain(ctx context.Context) error {
	serving, cancel := beforeLeaving(ctx)
	defer cancel()
	n.server.Retire()
	alone := n.cluster.Stats().GossipAlive <= 1 // then there is nobody else to look to
	retired := n.cluster.Retire(serving)
	if !alone {
		n.server.Quiet(serving, httpapi.DrainTimes{Notice: DrainNotice, Quiet: DrainQuiet, Most: DrainMost})
	}
	answered := n.server.Drain(serving)
	if answered != nil { // a use that comes after the last ones were replicated would be lost, and the next start vouch for it
		answered = errors.Join(answered, n.server.Close())
	}
	return errors.Join(retired, answered, n.cluster.Leave(ctx))
}

// beforeLeaving returns a context that ends LeaveTime before the other one does.
func beforeLeaving(ctx context.Context) (context.Context, context.CancelFunc) {
	if end, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, end.Add(-LeaveTime))
	}
	return context.WithCancel(ctx)
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
