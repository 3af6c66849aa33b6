package gossip

import (
	"io"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/wire"
)

func TestForeignClusterIsRefused(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1, n2, n3 := trio(t, n, inCluster("c1"))
		foreign := start(t, n, "other", inCluster("c2"))
		time.Sleep(3 * time.Minute)
		awaitStates(t, 0, allAlive, n1, n2, n3)
		awaitStates(t, 0, "other=alive", foreign)
		if s := foreign.Stats(); s.JoinAttempts == 0 || s.JoinFailures != s.JoinAttempts {
			t.Errorf("the foreign node: %+v", s)
		}

		// A node without a cluster is let in, by members and by newcomers of the cluster.
		fresh := start(t, n, "new")
		awaitStates(t, 5*time.Second, "n1=alive n2=alive n3=alive new=alive", n1, n2, n3, fresh)
		n4 := start(t, n, "n4", inCluster("c1"))
		awaitStates(t, 5*time.Second, "n1=alive n2=alive n3=alive n4=alive new=alive", n1, n4, fresh)

		// When it then belongs to another cluster, it is no longer listed, though memberlist still probes it.
		m := member(fresh, "new").Meta
		m.ClusterID = "c2"
		if err := fresh.SetMeta(m); err != nil {
			t.Fatal(err)
		}
		// Those that refuse it don't pass the news on, so each must hear it from the node itself.
		awaitStates(t, 5*time.Minute, "n1=alive n2=alive n3=alive n4=alive", n1, n2, n3, n4)
		awaitStates(t, 0, "new=alive", fresh)
		time.Sleep(2 * time.Minute)
		awaitStates(t, 0, "n1=alive n2=alive n3=alive n4=alive", n1, n2, n3, n4)
		if s := n1.Stats(); s.RefusedForeign == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestForeignNodesBehindABridge has a node without a cluster that knows nodes of two.
func TestForeignNodesBehindABridge(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1 := start(t, n, "n1", inCluster("c1"))
		m1 := start(t, n, "m1", inCluster("c2"), func(c *Config) { c.Seeds = nil })
		start(t, n, "bridge", func(c *Config) { c.Seeds = []string{"n1:7946", "m1:7946"} })
		time.Sleep(5 * time.Minute)
		for _, g := range []*node{n1, m1} {
			for _, m := range g.Members() {
				if m.ID != g.id && m.ID != "bridge" {
					t.Errorf("%s has %s as a member", g.id, m.ID)
				}
			}
			if k := g.list.NumMembers(); k > 2 { // itself and perhaps the bridge
				t.Errorf("memberlist on %s has %d members", g.id, k)
			}
		}
	})
}

// rawDelegate announces whatever it is told to.
type rawDelegate struct {
	delegate
	meta []byte
}

func (d *rawDelegate) NodeMeta(int) []byte { return d.meta }

func TestUnreadableMetaIsRefused(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1, n2, n3 := trio(t, n)
		stolen, err := announcement{Meta: Meta{ID: "n9", MinVersion: 1, MaxVersion: 1}}.encode()
		if err != nil {
			t.Fatal(err)
		}
		for name, meta := range map[string][]byte{"garbage": []byte("garbage"), "empty": nil, "of-another-node": stolen} {
			cfg := config(t, n, name, name)
			conf, err := cfg.memberlist(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conf.Transport, conf.Delegate, conf.LogOutput = cfg.Transport, &rawDelegate{meta: meta}, io.Discard
			raw, err := memberlist.Create(conf)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = raw.Shutdown() })
			// It believes to have joined; what matters is what the others believe.
			if _, err := raw.Join([]string{n1.Addr(), n2.Addr()}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Minute)
		awaitStates(t, 0, allAlive, n1, n2, n3)
		if s := n1.Stats(); s.RefusedMeta < 3 {
			t.Errorf("%+v", s)
		}
		// The refusal of one is no harm to others.
		n4 := start(t, n, "n4")
		awaitStates(t, 5*time.Second, "n1=alive n2=alive n3=alive n4=alive", n1, n2, n3, n4)
	})
}

func TestWrongKeyIsRefused(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n1, n2, n3 := trio(t, n)
		stranger := start(t, n, "stranger", func(c *Config) { c.Keys = ring(wire.ClusterKey{2, 2, 3}) })
		time.Sleep(3 * time.Minute)
		awaitStates(t, 0, allAlive, n1, n2, n3)
		awaitStates(t, 0, "stranger=alive", stranger)
	})
}
