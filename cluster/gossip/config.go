package gossip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/hashicorp/memberlist"
)

// ErrNoAdvertise says that others can't be told where this node is.
var ErrNoAdvertise = errors.New("gossip listens on all addresses: say which one others shall use")

// label marks packets and connections of this protocol, so that a stray program's are refused early. It is no
// authentication: that is the key's task.
const label = "cloakroom/gossip/1"

// Key encrypts and authenticates gossip by AES-256-GCM. A plain [32]byte may be assigned to it.
type Key [32]byte

// Format prints <secret>, whatever the verb.
func (Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "<secret>") }

// LogValue prints <secret>.
func (Key) LogValue() slog.Value { return slog.StringValue("<secret>") }

// MarshalText prints <secret>, for encoders that look into structures.
func (Key) MarshalText() ([]byte, error) { return []byte("<secret>"), nil }

// Config is what a node's gossip needs. NodeID, Bind (or Transport), Key and Logger are required.
type Config struct {
	NodeID    string // must be Meta.ID
	Bind      string // host:port for UDP and TCP; port 0 takes a free one
	Advertise string // host:port that others use; without it Bind, which must then be a single address. A port of 0 stands for Bind's
	Key       Key
	Meta      Meta
	Seeds     []string // host:port of nodes to look for; names may stand for several addresses. May hold this node's own
	Logger    *slog.Logger

	// Transport replaces UDP and TCP; Bind is then not used. If it is a Resolver, it also resolves all names.
	Transport memberlist.NodeAwareTransport
}

// Resolver finds the addresses of a host name, as *net.Resolver does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

var _ Resolver = (*net.Resolver)(nil)

func (c Config) validate() error {
	switch {
	case c.NodeID == "" || c.NodeID != c.Meta.ID:
		return fmt.Errorf("node id %q and the metadata's id %q must be the same", c.NodeID, c.Meta.ID)
	case c.Key == Key{}:
		return errors.New("no gossip key")
	case c.Logger == nil:
		return errors.New("no logger")
	case len(c.Seeds) > maxSeeds:
		return fmt.Errorf("%d seeds: at most %d", len(c.Seeds), maxSeeds)
	}
	for _, s := range c.Seeds {
		if _, _, err := splitAddr(s); err != nil {
			return fmt.Errorf("seed %q: %w", s, err)
		}
	}
	return nil
}

func (c Config) resolver() Resolver {
	if r, ok := c.Transport.(Resolver); ok {
		return r
	}
	return net.DefaultResolver
}

// memberlist translates c into the library's configuration. It does not listen yet.
func (c Config) memberlist(ctx context.Context) (*memberlist.Config, error) {
	m := memberlist.DefaultLANConfig()
	m.Name = c.NodeID
	m.Label = label
	m.SecretKey = c.Key[:]
	m.GossipVerifyIncoming, m.GossipVerifyOutgoing = true, true
	m.EnableCompression = false // a packet that unpacks into many is a gift to an attacker, and ours are small
	m.ProbeInterval, m.ProbeTimeout = probeInterval, probeTimeout
	m.SuspicionMult, m.SuspicionMaxTimeoutMult = suspicionMult, suspicionMaxMult
	m.AwarenessMaxMultiplier = awarenessMax
	m.GossipInterval, m.PushPullInterval = gossipInterval, pushPullInterval
	m.TCPTimeout = streamTimeout
	m.GossipToTheDeadTime = gossipToTheDead
	m.DeadNodeReclaimTime = reclaimTime
	m.AdvertiseAddr, m.AdvertisePort = "", 0
	if err := c.setBind(ctx, m); err != nil {
		return nil, err
	}
	if err := c.setAdvertise(ctx, m); err != nil {
		return nil, err
	}
	return m, nil
}

func (c Config) setBind(ctx context.Context, m *memberlist.Config) error {
	if c.Transport != nil {
		return nil
	}
	host, port, err := splitAddr(c.Bind)
	if err != nil {
		return fmt.Errorf("gossip address %q: %w", c.Bind, err)
	}
	bind := netip.IPv4Unspecified()
	if host != "" {
		ips, err := lookup(ctx, c.resolver(), host) // memberlist would take a name for "all addresses"
		if err != nil {
			return fmt.Errorf("gossip address %q: %w", c.Bind, err)
		}
		bind = ips[0]
	}
	if bind.IsUnspecified() && c.Advertise == "" {
		return ErrNoAdvertise
	}
	m.BindAddr, m.BindPort = bind.String(), int(port)
	return nil
}

func (c Config) setAdvertise(ctx context.Context, m *memberlist.Config) error {
	if c.Advertise == "" {
		return nil
	}
	host, port, err := splitAddr(c.Advertise)
	if err != nil {
		return fmt.Errorf("advertised gossip address %q: %w", c.Advertise, err)
	}
	ips, err := lookup(ctx, c.resolver(), host)
	if err != nil {
		return fmt.Errorf("advertised gossip address %q: %w", c.Advertise, err)
	}
	if ips[0].IsUnspecified() {
		return fmt.Errorf("advertised gossip address %q: %w", c.Advertise, ErrNoAdvertise)
	}
	m.AdvertiseAddr, m.AdvertisePort = ips[0].String(), int(port)
	return nil
}

// listen opens UDP and TCP, unless there is a transport already.
func (c Config) listen(m *memberlist.Config) (memberlist.NodeAwareTransport, error) {
	if c.Transport != nil {
		return c.Transport, nil
	}
	t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
		BindAddrs: []string{m.BindAddr},
		BindPort:  m.BindPort,
		Logger:    m.Logger,
	})
	if err != nil {
		// The library has flattened the error; the program must tell a port in use from other trouble.
		if strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
			err = syscall.EADDRINUSE
		}
		return nil, fmt.Errorf("listen on %s: %w", c.Bind, err)
	}
	m.BindPort = t.GetAutoBindPort()
	if m.AdvertisePort == 0 {
		m.AdvertisePort = m.BindPort
	}
	return t, nil
}

func splitAddr(s string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	p, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port: %w", err)
	}
	return host, uint16(p), nil
}

// lookup returns at least one address, IPv4 first: most networks have it.
func lookup(ctx context.Context, r Resolver, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	found, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var ips, six []netip.Addr
	for _, ip := range found {
		if ip = ip.Unmap(); ip.Is4() {
			ips = append(ips, ip)
		} else {
			six = append(six, ip)
		}
	}
	if ips = append(ips, six...); len(ips) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return ips, nil
}
