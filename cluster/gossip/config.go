package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"

	"github.com/hashicorp/memberlist"

	"cloakroom/cluster/seed"
	"cloakroom/cluster/wire"
)

// ErrNoAdvertise says that others can't be told where this node is.
var ErrNoAdvertise = errors.New("gossip listens on all addresses: say which one others shall use")

// label marks packets and connections of this protocol, so that a stray program's are refused early. It is no
// authentication: that is the key's task.
const label = "cloakroom/gossip/1"

// Config is what a node's gossip needs. NodeID, Bind (or Transport), Keys and Logger are required.
type Config struct {
	NodeID    string        // must be Meta.ID
	Bind      string        // host:port for UDP and TCP; port 0 takes a free one
	Advertise string        // host:port that others use; without it Bind, which must then be a single address. A port of 0 stands for Bind's
	Keys      *wire.KeyRing // encrypt and authenticate all gossip; they may be replaced while it runs
	Meta      Meta
	Seeds     []string // where to look for nodes, as seed.Parse takes it. May mean this node itself
	Logger    *slog.Logger
	News      News // travels with the gossip; nil: none

	// Transport replaces UDP and TCP; Bind is then not used. If it is a seed.Resolver, it also resolves all names.
	Transport memberlist.NodeAwareTransport
}

func (c Config) validate() error {
	switch {
	case c.NodeID == "" || c.NodeID != c.Meta.ID:
		return fmt.Errorf("node id %q and the metadata's id %q must be the same", c.NodeID, c.Meta.ID)
	case c.Keys == nil:
		return errors.New("no gossip keys")
	case c.Logger == nil:
		return errors.New("no logger")
	case len(c.Seeds) > maxSeeds:
		return fmt.Errorf("%d seeds: at most %d", len(c.Seeds), maxSeeds)
	}
	_, err := c.seeds()
	return err
}

func (c Config) seeds() ([]seed.Seed, error) {
	seeds := make([]seed.Seed, 0, len(c.Seeds))
	for _, text := range c.Seeds {
		s, err := seed.Parse(text)
		if err != nil {
			return nil, err
		}
		seeds = append(seeds, s)
	}
	return seeds, nil
}

func (c Config) resolver() seed.Resolver {
	if r, ok := c.Transport.(seed.Resolver); ok {
		return r
	}
	return net.DefaultResolver
}

// memberlist translates c into the library's configuration. It does not listen yet.
func (c Config) memberlist(ctx context.Context) (*memberlist.Config, error) {
	m := memberlist.DefaultLANConfig()
	m.Name = c.NodeID
	m.Label = label
	first := c.Keys.First().Derive(wire.PurposeGossip)
	ring, err := memberlist.NewKeyring(nil, first[:])
	if err != nil {
		return nil, fmt.Errorf("make gossip keys: %w", err)
	}
	m.Keyring = ring // the others are added by the gate
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
		ips, err := seed.Lookup(ctx, c.resolver(), host) // memberlist would take a name for "all addresses"
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
	ips, err := seed.Lookup(ctx, c.resolver(), host)
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
	ip, err := netip.ParseAddr(m.BindAddr)
	if err != nil {
		panic("BUG: gossip address was not resolved: " + err.Error())
	}
	t, err := listenOn(ip, uint16(m.BindPort))
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", c.Bind, err)
	}
	m.BindPort = t.port()
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
