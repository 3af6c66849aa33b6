package gossip

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"cloakroom/cluster/wire"
)

var _ memberlist.NodeAwareTransport = (*gate)(nil)

// gate stands between the network and memberlist, and lets nothing through that is not a message of a member: encrypted
// under a key of the ring, not seen before, and made as members make them. memberlist decrypts it once more, with a ring of
// its own. It would keep strangers out by itself, but not their number and what they make it keep: it reads any number of
// connections at once, 20 MiB from each, before it looks at the key. And what does come from a member, or from a program
// that has the key, it unpacks without bounds that matter, and panics at some of it.
type gate struct {
	memberlist.NodeAwareTransport // the network. What goes out passes, but for the answers that come back

	logger  *slog.Logger
	keys    atomic.Pointer[[]gateKey]
	seen    seen
	counts  gateCounts
	quiet   lineLimit
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{}
	once    sync.Once
	group   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	count   uint64              // of inbound streams, ever; orders them by age
	inbound map[*inbound]uint64 // those that are read by the gate, with their numbers
	perHost map[string]int      // of these
	passed  int                 // inbound streams that memberlist has
}

// gateCounts are Stats' about refusals.
type gateCounts struct {
	packets, streams, replayed, crowded atomic.Uint64
	mu                                  sync.Mutex
	byKey                               map[wire.KeyID]uint64
}

// Why something is refused, in the words of the log.
var (
	errLabel    = errors.New("no gossip of this program")
	errSealed   = errors.New("not encrypted under a key of this cluster")
	errReplayed = errors.New("the same message again")
	errContent  = errors.New("encrypted by a member, and no message that members send")
	errLong     = errors.New("too long")
	errBusy     = errors.New("too many connections at once")
)

func newGate(inner memberlist.NodeAwareTransport, logger *slog.Logger) *gate {
	g := &gate{
		NodeAwareTransport: inner,
		logger:             logger,
		packets:            make(chan *memberlist.Packet),
		streams:            make(chan net.Conn),
		done:               make(chan struct{}),
		inbound:            make(map[*inbound]uint64),
		perHost:            make(map[string]int),
	}
	g.counts.byKey = make(map[wire.KeyID]uint64)
	g.keys.Store(&[]gateKey{})
	g.group.Go(g.receivePackets)
	g.group.Go(g.receiveStreams)
	return g
}

// PacketCh returns the packets that have passed.
func (g *gate) PacketCh() <-chan *memberlist.Packet { return g.packets }

// StreamCh returns the connections on which a message has come that has passed.
func (g *gate) StreamCh() <-chan net.Conn { return g.streams }

// DialTimeout is DialAddressTimeout without a name.
func (g *gate) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return g.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout connects to another node, whose answer has to pass too.
func (g *gate) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	c, err := g.NodeAwareTransport.DialAddressTimeout(a, timeout)
	if err != nil {
		return nil, err
	}
	return &outbound{Conn: c, gate: g}, nil
}

// Shutdown closes the network below and waits for what the gate has started.
func (g *gate) Shutdown() error {
	err := g.NodeAwareTransport.Shutdown() // the gate reads on meanwhile: some networks wait until they are rid of what they have
	g.once.Do(func() { close(g.done) })
	g.mu.Lock()
	g.closed = true
	for c := range g.inbound {
		_ = c.Conn.Close() // it is a stranger's so far
	}
	g.mu.Unlock()
	g.group.Wait()
	return err
}

func (g *gate) receivePackets() {
	for {
		select {
		case p := <-g.NodeAwareTransport.PacketCh():
			if err := g.checkPacket(p.Buf); err != nil {
				g.counts.packets.Add(1)
				g.refused(err, "packet", p.From)
				continue
			}
			select {
			case g.packets <- p:
			case <-g.done:
				return
			}
		case <-g.done:
			return
		}
	}
}

// checkPacket says whether a packet may pass.
func (g *gate) checkPacket(b []byte) error {
	sealed, ok := cutLabel(b)
	if !ok {
		return errLabel
	}
	plain, err := g.open(sealed, []byte(label))
	if err != nil {
		return err
	}
	return checkPacketContent(plain)
}

func (g *gate) receiveStreams() {
	for {
		select {
		case c := <-g.NodeAwareTransport.StreamCh():
			g.take(c)
		case <-g.done:
			return
		}
	}
}

// refused counts and logs. Anyone who can send packets causes these lines, so they are few.
func (g *gate) refused(why error, what string, from net.Addr) {
	if errors.Is(why, errReplayed) {
		g.counts.replayed.Add(1)
	}
	select {
	case <-g.done:
		return
	default:
	}
	if errors.Is(why, io.EOF) { // a probe of a load balancer or an operator
		return
	}
	if kept, ok := g.quiet.allow(time.Now()); ok {
		g.logger.LogAttrs(context.Background(), slog.LevelWarn, "gossip refused",
			slog.String("what", what), slog.String("from", from.String()), slog.Any("error", why), slog.Int("suppressed", kept))
	}
}

// stats adds the gate's counters.
func (g *gate) stats(s *Stats) {
	s.RefusedPackets, s.RefusedStreams = g.counts.packets.Load(), g.counts.streams.Load()
	s.Replayed, s.Crowded = g.counts.replayed.Load(), g.counts.crowded.Load()
	g.counts.mu.Lock()
	defer g.counts.mu.Unlock()
	for _, k := range *g.keys.Load() {
		s.Keys = append(s.Keys, KeyStats{ID: k.id, Received: g.counts.byKey[k.id]})
	}
}

// lineLimit lets one line through in a while, with the number of those that it kept back before.
type lineLimit struct {
	mu   sync.Mutex
	last time.Time
	kept int
}

func (l *lineLimit) allow(now time.Time) (kept int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() && now.Sub(l.last) < refusedEvery {
		l.kept++
		return 0, false
	}
	kept = l.kept
	l.last, l.kept = now, 0
	return kept, true
}
