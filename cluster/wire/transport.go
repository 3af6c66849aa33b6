package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Kind is the kind of a request. The packages that make the requests own the numbers: propose from 1, lookup from 16,
// roster from 32, idle from 48.
type Kind uint8

// Peer is the node at the other end, as its certificate says.
type Peer struct{ ID string }

// Node is a node to be reached. With an ID, whoever answers at the address must prove to be that node: otherwise a
// node that took over another one's address could vote in its place.
type Node struct{ ID, Addr string }

func (n Node) check(peer string) error {
	if n.ID != "" && n.ID != peer {
		return fmt.Errorf("node %s answers there: %w", peer, ErrIdentity)
	}
	return nil
}

// Handler carries out one request. It owns body, and must return soon after ctx ends: that is when the caller has
// gone, its time is over, the connection is lost, or this node closes. A *session.Error that it returns or wraps
// arrives at the caller; other errors are logged here and arrive as ErrInternal.
type Handler func(ctx context.Context, from Peer, body []byte) ([]byte, error)

// Config is what a Transport needs. Zero values stand for the defaults given.
type Config struct {
	NodeID    string
	Bind      string        // host:port to listen on
	Advertise string        // host:port told to others; by default that of the listener
	Keys      *KeyRing      // may change while the port is open
	Network   Network       // TCP{}
	Logger    *slog.Logger  // discards
	DeadAfter time.Duration // silence after which a stream connection is given up; DeadAfter

	// HandshakeTimeout is from accept or dial to the end of the hellos; HandshakeTimeout. A longer one lets strangers hold
	// their places longer.
	HandshakeTimeout time.Duration

	MinVersion, MaxVersion uint8 // protocol versions to speak; MinProtocol and MaxProtocol
}

// Transport is a node's peer port: the server for its peers, and the way to theirs.
type Transport struct {
	cfg      Config
	addr     string
	log      *slog.Logger
	quiet    *throttle
	identity atomic.Pointer[identity]
	using    sync.Mutex // of useKeys
	unwatch  func()     // the ring
	listener net.Listener
	handlers [256]atomic.Pointer[Handler] // by Kind
	table    *table
	links    *links
	raft     *raftLayer
	counters counters

	ctx    context.Context // of handlers and dials
	cancel context.CancelFunc

	mu       sync.Mutex
	closed   bool
	group    sync.WaitGroup // all goroutines; added to with mu held, so that Close can wait
	closing  chan struct{}  // closed when Close begins
	finished chan struct{}  // closed when Close is done
}

// Open listens, and serves peers from then on. With the development key it listens on loopback only.
func Open(cfg Config) (*Transport, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("open peer port: %w", err)
	}
	listener, err := cfg.Network.Listen(cfg.Bind)
	if err != nil {
		return nil, fmt.Errorf("open peer port: %w", err)
	}
	addr, err := advertised(cfg, listener)
	if err != nil {
		return nil, fmt.Errorf("open peer port: %w", errors.Join(err, listener.Close()))
	}
	t := &Transport{
		cfg:      cfg,
		addr:     addr,
		log:      cfg.Logger,
		quiet:    newThrottle(logEvery),
		listener: listener,
		table:    newTable(),
		closing:  make(chan struct{}),
		finished: make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.raft = newRaftLayer(t)
	t.links = &links{dial: t.dialStream, run: t.runClient, own: t.own, byAddr: make(map[string]*link)}
	t.unwatch = cfg.Keys.Watch(t.useKeys)
	if err := t.useKeys(); err != nil {
		t.unwatch()
		return nil, fmt.Errorf("open peer port: %w", errors.Join(err, listener.Close()))
	}
	t.own(t.accept)
	return t, nil
}

// complete sets the defaults and checks the rest.
func (c *Config) complete() error {
	if c.Network == nil {
		c.Network = TCP{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.DeadAfter == 0 {
		c.DeadAfter = DeadAfter
	}
	if c.HandshakeTimeout == 0 {
		c.HandshakeTimeout = HandshakeTimeout
	}
	if c.MinVersion == 0 {
		c.MinVersion = MinProtocol
	}
	if c.MaxVersion == 0 {
		c.MaxVersion = MaxProtocol
	}
	switch {
	case c.NodeID == "" || len(c.NodeID) > MaxNodeID:
		return fmt.Errorf("a node id is 1 to %d bytes long", MaxNodeID)
	case c.MinVersion > c.MaxVersion:
		return errors.New("the lowest protocol version is above the highest")
	case c.DeadAfter < time.Millisecond:
		return errors.New("DeadAfter is less than a millisecond")
	case c.HandshakeTimeout < time.Millisecond:
		return errors.New("HandshakeTimeout is less than a millisecond")
	case c.Keys == nil:
		return ErrBadKey
	}
	return c.Keys.CheckBind(c.Bind)
}

// advertised returns what peers are to dial. The listener knows the port if any would do, and the address that a name
// stood for.
func advertised(cfg Config, listener net.Listener) (string, error) {
	tcp, isTCP := listener.Addr().(*net.TCPAddr)
	if isTCP {
		if err := cfg.Keys.CheckBind(tcp.String()); err != nil {
			return "", err
		}
	}
	if cfg.Advertise != "" {
		if _, _, err := net.SplitHostPort(cfg.Advertise); err != nil {
			return "", fmt.Errorf("advertised address: %w", err)
		}
		return cfg.Advertise, nil
	}
	if isTCP && tcp.IP.IsUnspecified() {
		return "", fmt.Errorf("listening on %s says nothing to other nodes: give an address to advertise", tcp)
	}
	return listener.Addr().String(), nil
}

// Addr returns the host:port that peers dial.
func (t *Transport) Addr() string { return t.addr }

// Handle sets the handler of a kind of request, once. Until then such requests are answered with ErrUnknownRequest.
func (t *Transport) Handle(kind Kind, h Handler) {
	if h == nil || !t.handlers[kind].CompareAndSwap(nil, &h) {
		panic(fmt.Sprintf("BUG: handler of kind %d is nil or set twice", kind))
	}
}

// Call sends a request to the node and returns its answer, which the caller owns; body stays the caller's. It waits as
// long as ctx allows: without a deadline, until the handler answers or the connection is lost. If another node answers
// at the address, nothing is sent to it. The package doc says what the errors mean. Nothing is ever sent twice.
func (t *Transport) Call(ctx context.Context, node Node, kind Kind, body []byte) ([]byte, error) {
	t.counters.calls.Add(1)
	answer, err := t.call(ctx, node, kind, body)
	if err != nil {
		t.counters.failed(err)
	}
	return answer, err
}

func (t *Transport) call(ctx context.Context, node Node, kind Kind, body []byte) ([]byte, error) {
	addr := node.Addr
	if len(body) > MaxBody {
		return nil, fmt.Errorf("call %s: %d bytes: %w", addr, len(body), ErrTooLarge)
	}
	// A connection may end between get and call; then nothing was sent, and one more is tried.
	for range 2 {
		if err := ctx.Err(); err != nil {
			return nil, unreachable(addr, err)
		}
		c, err := t.links.get(ctx, addr)
		if err != nil {
			return nil, unreachable(addr, err)
		}
		if err := node.check(c.peer); err != nil {
			return nil, unreachable(addr, err)
		}
		answer, err := c.call(ctx, kind, body)
		if !isEnded(err) {
			return answer, err
		}
	}
	return nil, unreachable(addr, errEnded)
}

// SetCluster sets this node's cluster id, once it is known. From then on no connection leads to a node of another one.
func (t *Transport) SetCluster(id string) {
	if len(id) > MaxClusterID {
		panic("BUG: cluster id is too long")
	}
	t.table.setCluster(id)
}

// useKeys takes over the ring's keys: the node gets a certificate under the first, peers' certificates must be under any,
// and connections whose peer's is under another are closed, whatever is under way on them. Before that happens to a
// stream connection between nodes in order its dialer has renewed it.
func (t *Transport) useKeys() error {
	t.using.Lock()
	defer t.using.Unlock()
	keys := t.cfg.Keys.Keys()
	id, err := newIdentity(keys, t.cfg.NodeID)
	if err != nil {
		return fmt.Errorf("exchange the keys of the peer port: %w", err)
	}
	accepted := make([]KeyID, len(keys))
	for i, k := range keys {
		accepted[i] = k.ID()
	}
	t.identity.Store(id)
	t.table.setKeys(accepted)
	return nil
}

// Raft returns raft's share of the port, always the same.
func (t *Transport) Raft() raft.StreamLayer { return t.raft }

// Close stops listening and calling, gives running handlers the end of their context, sends what they return, and
// waits for all that.
func (t *Transport) Close() error {
	if !t.beginClose() {
		<-t.finished
		return nil
	}
	defer close(t.finished)
	t.unwatch()
	err := t.listener.Close()
	t.cancel()
	t.table.close()
	_ = t.raft.Close() // always nil
	t.group.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) { // closed before: the network has gone
		return fmt.Errorf("close peer port: %w", err)
	}
	return nil
}

func (t *Transport) beginClose() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.closed = true
	close(t.closing)
	return true
}

// own runs f in a goroutine that Close waits for; false if Close has begun.
func (t *Transport) own(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.group.Go(f)
	return true
}
