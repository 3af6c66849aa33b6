package gossip

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"cloakroom/cluster/clustertest"
)

func TestOpenRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, c := range map[string]struct {
		change func(*Config)
		want   error // nil: any
	}{
		"no id":                  {func(c *Config) { c.NodeID, c.Meta.ID = "", "" }, nil},
		"different ids":          {func(c *Config) { c.Meta.ID = "n2" }, nil},
		"no key":                 {func(c *Config) { c.Keys = nil }, nil},
		"no logger":              {func(c *Config) { c.Logger = nil }, nil},
		"seed without a port":    {func(c *Config) { c.Seeds = []string{"n1"} }, nil},
		"too many seeds":         {func(c *Config) { c.Seeds = make([]string, maxSeeds+1) }, nil},
		"large metadata":         {func(c *Config) { c.Meta.HTTP = strings.Repeat("x", MaxMeta) }, ErrMetaTooLarge},
		"all addresses":          {func(c *Config) { c.Bind = "0.0.0.0:0" }, ErrNoAdvertise},
		"all addresses, short":   {func(c *Config) { c.Bind = ":0" }, ErrNoAdvertise},
		"all addresses, IPv6":    {func(c *Config) { c.Bind = "[::]:0" }, ErrNoAdvertise},
		"advertised: all":        {func(c *Config) { c.Bind, c.Advertise = ":0", "0.0.0.0:7946" }, ErrNoAdvertise},
		"advertised: no port":    {func(c *Config) { c.Advertise = "127.0.0.1" }, nil},
		"bind without a port":    {func(c *Config) { c.Bind = "127.0.0.1" }, nil},
		"bind with a large port": {func(c *Config) { c.Bind = "127.0.0.1:65536" }, nil},
		"port in use":            {func(c *Config) { c.Bind = taken.Addr().String() }, syscall.EADDRINUSE},
	} {
		cfg := realConfig(t, "n1")
		c.change(&cfg)
		g, err := Open(cfg)
		if err == nil {
			_ = g.Close()
		}
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAdvertise(t *testing.T) {
	cfg := realConfig(t, "n1")
	cfg.Bind, cfg.Advertise = ":0", "192.0.2.7:0"
	g, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = g.Close() }()
	host, port, err := splitAddr(g.Addr())
	if err != nil || host != "192.0.2.7" || port == 0 {
		t.Errorf("advertises %s", g.Addr())
	}

	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1 := start(t, n, "n1", func(c *Config) { c.Advertise = "n1:7946" })
		if want := n.Host("n1").IP().String() + ":7946"; n1.Addr() != want {
			t.Errorf("a name is advertised as %s, want %s", n1.Addr(), want)
		}
	})
}
