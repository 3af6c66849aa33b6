package gossip

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/seed"
)

// recorder keeps what a node sends, as a stranger on the way can.
type recorder struct {
	memberlist.NodeAwareTransport
	mu      sync.Mutex
	packets [][]byte
	streams []*recordedConn
}

func (r *recorder) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	r.mu.Lock()
	r.packets = append(r.packets, bytes.Clone(b))
	r.mu.Unlock()
	return r.NodeAwareTransport.WriteToAddress(b, a)
}

func (r *recorder) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	c, err := r.NodeAwareTransport.DialAddressTimeout(a, timeout)
	if err != nil {
		return nil, err
	}
	rc := &recordedConn{Conn: c, by: r}
	r.mu.Lock()
	r.streams = append(r.streams, rc)
	r.mu.Unlock()
	return rc, nil
}

func (r *recorder) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return r.NodeAwareTransport.(seed.Resolver).LookupNetIP(ctx, network, host)
}

func (r *recorder) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	return r.NodeAwareTransport.(seed.Resolver).LookupSRV(ctx, service, proto, name)
}

type recordedConn struct {
	net.Conn
	by   *recorder
	sent []byte
}

func (c *recordedConn) Write(b []byte) (int, error) {
	c.by.mu.Lock()
	c.sent = append(c.sent, b...)
	c.by.mu.Unlock()
	return c.Conn.Write(b)
}

// What a node has sent over minutes, in which it changed, failed, came back and left, is sent again by a stranger: soon
// afterwards, which is refused, and to nodes that have been restarted, which can't know it. Nobody is taken for dead or
// alive by it, or not for long.
func TestReplayedGossip(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n.SetDelay(time.Millisecond)
		var tapes []*recorder
		taped := func(c *Config) {
			r := &recorder{NodeAwareTransport: c.Transport}
			tapes = append(tapes, r)
			c.Transport = r
		}
		n1, n2, n3 := start(t, n, "n1", taped), start(t, n, "n2", taped), start(t, n, "n3", taped)
		awaitStates(t, 5*time.Second, allAlive, n1, n2, n3)
		n.Host("n3").Down()
		awaitStates(t, time.Minute, "n1=alive n2=alive n3=failed", n1, n2)
		if err := n3.Close(); err != nil {
			t.Fatal(err)
		}
		n.Host("n3").Up()
		n3 = start(t, n, "n3", taped)
		awaitStates(t, time.Minute, allAlive, n1, n2, n3)

		stranger := n.Host("stranger").Memberlist(":7946")
		defer func() { _ = stranger.Shutdown() }()
		was := n1.Stats()
		packets, streams := replay(t, n, stranger, tapes, n1)
		s := n1.Stats()
		t.Logf("%d packets and %d streams: %d known, %d refused", packets, streams, s.Replayed-was.Replayed, s.RefusedPackets+s.RefusedStreams)
		if s.Replayed == was.Replayed {
			t.Error("nothing was known")
		}
		awaitStates(t, 0, allAlive, n1, n2, n3)

		// All nodes are restarted: what they knew is gone, and their numbers begin anew.
		for _, g := range []*node{n1, n2, n3} {
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
		}
		n1, n2, n3 = restarted(t, n, "n1"), restarted(t, n, "n2"), restarted(t, n, "n3")
		awaitStates(t, 5*time.Second, allAlive, n1, n2, n3)
		for _, g := range []*node{n1, n2, n3} {
			replay(t, n, stranger, tapes, g)
		}
		took := awaitStates(t, time.Minute, allAlive, n1, n2, n3)
		t.Logf("all is well again after %v", took)
		time.Sleep(time.Minute)
		awaitStates(t, 0, allAlive, n1, n2, n3)
	})
}

// restarted starts a node on a host that has had one.
func restarted(t *testing.T, n *clustertest.Network, id string) *node { return start(t, n, id) }

// replay sends all that was recorded to a node.
func replay(t *testing.T, n *clustertest.Network, stranger memberlist.NodeAwareTransport, tapes []*recorder, to *node) (packets, streams int) {
	t.Helper()
	for _, r := range tapes {
		r.mu.Lock()
		sent, conns := r.packets, r.streams
		r.mu.Unlock()
		for _, b := range sent {
			if _, err := stranger.WriteTo(b, to.Addr()); err != nil {
				t.Fatal(err)
			}
			packets++
			time.Sleep(time.Millisecond)
		}
		for _, c := range conns {
			r.mu.Lock()
			b := bytes.Clone(c.sent) // it may go on
			r.mu.Unlock()
			speak(t, n.Host("stranger"), to.Addr(), b, false)
			streams++
		}
	}
	return packets, streams
}
