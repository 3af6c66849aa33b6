package clustertest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

func send(t *testing.T, from memberlist.NodeAwareTransport, addr, text string) {
	t.Helper()
	if _, err := from.WriteToAddress([]byte(text), memberlist.Address{Addr: addr, Name: "any"}); err != nil {
		t.Fatal(err)
	}
}

// received empties the queue.
func received(t memberlist.NodeAwareTransport) []string {
	var got []string
	for {
		select {
		case p := <-t.PacketCh():
			got = append(got, string(p.Buf))
		default:
			return got
		}
	}
}

func TestPackets(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		a, b := n.Host("a").Memberlist(":7946"), n.Host("b").Memberlist("b:7946")
		n.SetDelay(time.Second)
		send(t, a, "b:7946", "hello")
		send(t, a, "b:7", "nobody listens")
		start := time.Now()
		p := <-b.PacketCh()
		if string(p.Buf) != "hello" || time.Since(start) != time.Second || p.From.String() != "10.0.0.1:7946" {
			t.Errorf("%q from %v after %v", p.Buf, p.From, time.Since(start))
		}

		send(t, a, "b:7946", "lost under way")
		n.Cut("a", "b")
		send(t, a, "b:7946", "lost at once")
		send(t, b, "a:7946", "the other way")
		time.Sleep(2 * time.Second)
		n.Heal()
		time.Sleep(2 * time.Second)
		if got := received(b); len(got) != 0 {
			t.Errorf("%q came through a cut", got)
		}
		if got := received(a); len(got) != 1 {
			t.Errorf("the way back: %q", got)
		}
	})
}

func TestPacketsAreDroppedOnAFullQueue(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		a, b := n.Host("a").Memberlist(":1"), n.Host("b").Memberlist(":1")
		for range maxPackets + 10 {
			send(t, a, "b:1", "x") // never blocks
		}
		if got := len(received(b)); got != maxPackets {
			t.Errorf("%d packets", got)
		}
	})
}

func TestLossFollowsTheSeed(t *testing.T) {
	counts := map[int64]int{}
	for _, seed := range []int64{1, 2, 1} {
		Run(t, seed, func(t *testing.T, n *Network) {
			a, b := n.Host("a").Memberlist(":1"), n.Host("b").Memberlist(":1")
			n.SetLoss(0.3)
			for range 1000 {
				send(t, a, "b:1", "x")
			}
			got := len(received(b))
			if got < 600 || got > 800 {
				t.Errorf("%d of 1000 packets arrived at a loss of 30 %%", got)
			}
			if got+n.Lost() != 1000 {
				t.Errorf("%d packets arrived and %d were lost", got, n.Lost())
			}
			if before, ok := counts[seed]; ok && before != got {
				t.Errorf("seed %d: %d, then %d packets", seed, before, got)
			}
			counts[seed] = got
		})
	}
}

func TestStreamsAndShutdown(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		hostB := n.Host("b")
		a, b := n.Host("a").Memberlist(":1"), hostB.Memberlist(":1")
		near, err := a.DialAddressTimeout(memberlist.Address{Addr: "b:1"}, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, near, "state")
		mustRead(t, <-b.StreamCh(), "state")

		if _, err := a.DialTimeout("b:1", time.Second); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the transport holds a connection that nobody takes
		if err := b.Shutdown(); err != nil {
			t.Fatal(err)
		}
		if _, err := b.WriteTo([]byte("x"), "a:1"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after shutdown: %v", err)
		}
		b = hostB.Memberlist(":1") // the port is free again
		hostB.Down()
		send(t, a, "b:1", "to nobody")
		if err := b.Shutdown(); err != nil {
			t.Errorf("shutdown without power: %v", err)
		}
	})
}

func TestFinalAdvertiseAddr(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		h := n.Host("a")
		tr := h.Memberlist(":7946")
		if ip, port, err := tr.FinalAdvertiseAddr("", 0); err != nil || ip.String() != h.IP().String() || port != 7946 {
			t.Errorf("%v %d %v", ip, port, err)
		}
		if ip, port, err := tr.FinalAdvertiseAddr("192.0.2.1", 5); err != nil || ip.String() != "192.0.2.1" || port != 5 {
			t.Errorf("%v %d %v", ip, port, err)
		}
		if _, _, err := tr.FinalAdvertiseAddr("a", 5); err == nil {
			t.Error("a name is no address")
		}
		r := tr.(interface {
			LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
		})
		if ips, err := r.LookupNetIP(t.Context(), "ip", "a"); err != nil || len(ips) != 1 || ips[0] != h.IP() {
			t.Errorf("%v %v", ips, err)
		}
	})
}

// TestMemberlistOnTheNetwork is the reason for all this: the library's own mock deadlocks when a member dies.
func TestMemberlistOnTheNetwork(t *testing.T) {
	Run(t, 1, func(t *testing.T, n *Network) {
		n.SetDelay(time.Millisecond)
		var lists []*memberlist.Memberlist
		for _, name := range []string{"a", "b", "c"} {
			cfg := memberlist.DefaultLANConfig()
			cfg.Name, cfg.Transport, cfg.LogOutput = name, n.Host(name).Memberlist(":7946"), t.Output()
			m, err := memberlist.Create(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = m.Shutdown() })
			if _, err := m.Join([]string{netip.AddrPortFrom(n.Host("a").IP(), 7946).String()}); err != nil {
				t.Fatal(err)
			}
			lists = append(lists, m)
		}
		time.Sleep(5 * time.Second)
		for _, m := range lists {
			if got := m.NumMembers(); got != 3 {
				t.Errorf("%d members", got)
			}
		}
		n.Host("c").Down()
		time.Sleep(time.Minute)
		for _, m := range lists[:2] {
			if got := m.NumMembers(); got != 2 {
				t.Errorf("%d members after one died", got)
			}
		}
	})
}
