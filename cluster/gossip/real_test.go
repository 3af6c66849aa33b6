package gossip

import (
	"log/slog"
	"net"
	"strconv"
	"testing"
	"time"

	"cloakroom/cluster/wire"
)

// realConfig is for UDP and TCP on loopback, at a free port.
func realConfig(t *testing.T, id string) Config {
	return Config{
		NodeID: id,
		Bind:   "127.0.0.1:0",
		Keys:   ring(wire.ClusterKey{4, 5, 6}),
		Meta:   Meta{ID: id, Name: id},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)).With("node", id),
	}
}

// waitFor reads the signal until the condition holds; the limit only ends a test that would hang.
func waitFor(t *testing.T, g *Gossip, what string, ok func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	for !ok() {
		select {
		case <-g.Changed():
		case <-limit:
			t.Fatalf("%s: not yet; members are %+v", what, g.Members())
		}
	}
}

func TestRealNetwork(t *testing.T) {
	open := func(id string, seeds ...string) *node {
		cfg := realConfig(t, id)
		cfg.Seeds = seeds
		g, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = g.Close() })
		g.patience = time.Minute // a machine may stand still for seconds
		return &node{g, id}
	}
	a := open("a")
	_, port, err := splitAddr(a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	b := open("b", net.JoinHostPort("localhost", strconv.Itoa(int(port)))) // by name
	for _, g := range []*node{a, b} {
		waitFor(t, g.Gossip, "both are alive", func() bool { return states(g) == "a=alive b=alive" })
	}
	m := Meta{ID: "b", Name: "b", ClusterID: "c", HasState: true}
	if err := b.SetMeta(m); err != nil {
		t.Fatal(err)
	}
	waitFor(t, a.Gossip, "the change", func() bool { return member(a, "b").Meta == m })
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, a.Gossip, "b has left", func() bool { return states(a) == "a=alive b=left" })
}
