package gossip

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/wire"
)

// The key is exchanged on three nodes, one after the other. Nobody is taken for dead and nothing is refused; afterwards all
// that comes is under the new key, and who has the old one only is a stranger.
func TestKeysAreExchanged(t *testing.T) {
	before, after := wire.ClusterKey{1}, wire.ClusterKey{2}
	clustertest.Run(t, 1, func(t *testing.T, n *clustertest.Network) {
		n.SetDelay(time.Millisecond)
		var nodes []*node
		rings := map[string]*wire.KeyRing{}
		for _, id := range []string{"n1", "n2", "n3"} {
			rings[id] = ring(before)
			nodes = append(nodes, start(t, n, id, func(c *Config) { c.Keys = rings[id] }))
		}
		awaitStates(t, 5*time.Second, allAlive, nodes...)
		for _, step := range [][]wire.ClusterKey{{before, after}, {after, before}, {after}} {
			for _, g := range nodes {
				if err := rings[g.id].Replace(step); err != nil {
					t.Fatal(err)
				}
				time.Sleep(pushPullInterval + 5*time.Second)
			}
		}
		for _, g := range nodes {
			s := g.Stats()
			if s.Failures != 0 || s.RefusedPackets != 0 || s.RefusedStreams != 0 || s.Alive != 3 {
				t.Errorf("%s: %+v", g.id, s)
			}
			if len(s.Keys) != 1 || s.Keys[0].ID != after.ID() || s.Keys[0].Received == 0 {
				t.Errorf("%s: %+v", g.id, s.Keys)
			}
		}
		late := start(t, n, "late", func(c *Config) { c.Keys = ring(before) })
		time.Sleep(time.Minute)
		awaitStates(t, 0, allAlive, nodes...)
		awaitStates(t, 0, "late=alive", late)
		if s := nodes[0].Stats(); s.RefusedStreams == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// memberlist's ring ends up with the keys in their order, whatever it held, and each key that stays is there all the time.
func TestSettle(t *testing.T) {
	key := func(i int) []byte { return append(make([]byte, 31), byte(i)) }
	sets := [][]int{{1}, {1, 2}, {2, 1}, {2}, {3, 2, 1}, {1, 3}, {4, 1, 3, 2}, {2, 4}, {5}}
	for _, from := range sets {
		for _, to := range sets {
			list, err := memberlist.NewKeyring(nil, key(from[0]))
			if err != nil {
				t.Fatal(err)
			}
			var want [][]byte
			for _, k := range append(slices.Clone(from), to...) {
				if err := list.AddKey(key(k)); err != nil {
					t.Fatal(err)
				}
			}
			for _, k := range to {
				want = append(want, key(k))
			}
			if err := settle(list, want); err != nil {
				t.Fatal(err)
			}
			if got := list.GetKeys(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%v to %v: %v", from, to, got)
			}
		}
	}
}

// Packets are checked while the keys change, which the race detector watches; those under a key that stays always pass.
func TestExchangeWhileChecking(t *testing.T) {
	g, network := fakeNode(t, goodKey)
	stays := ring(wire.ClusterKey{9}, goodKey)
	list, err := memberlist.NewKeyring(nil, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for i := range 200 {
			keys := []wire.ClusterKey{{byte(10 + i%7)}, goodKey}
			if i%2 == 0 {
				slices.Reverse(keys)
			}
			if err := stays.Replace(keys); err != nil {
				t.Error(err)
			}
			if err := g.gate.exchange(stays, list); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 300 {
		network.send(packetOf(packMap(pingMsg, map[string]any{"SeqNo": i, "Node": "n1"})))
	}
	group.Wait()
	if s := g.Stats(); s.RefusedPackets != 0 {
		t.Errorf("%+v", s)
	}
}
