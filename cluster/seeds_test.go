package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
)

const gossipService = "_gossip._tcp.cloakroom"

// bySRV is a node that is told nothing but a name.
func bySRV(c *cluster.Config) { c.Join = []string{"dns+srv:" + gossipService} }

// joining waits for a while, and fails if a node finds its place meanwhile.
func (h *harness) joining(why string) {
	h.t.Helper()
	time.Sleep(20 * time.Second)
	for name, c := range h.nodes {
		if c.Ready() == nil {
			h.t.Fatalf("%s is ready %s", name, why)
		}
	}
}

// Nodes that know one name find each other as its records come, and form one cluster once all are there. One that comes
// later is found by the records of then, and so is one that has moved.
func TestNodesFindEachOtherByRecordsThatChange(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		for _, name := range h.names {
			h.start(name, bySRV)
		}
		h.joining("without records")
		n.SetService(gossipService, "n1:7001")
		h.crash("n1")
		h.joining("with a record of a node that is down")
		h.start("n1", bySRV)
		n.SetService(gossipService, "n1:7001", "n2:7001", "n4:7001") // there is no n4 yet; n3 is not there by name, but it asks the others
		h.ready(h.names...)
		h.one()

		h.host["n4"] = "n4"
		n.SetService(gossipService, "n3:7001", "n4:7001")
		h.start("n4", bySRV) // waits for three as well, and sees that there is a cluster
		h.ready("n4")
		h.one()

		h.crash("n2")
		h.host["n2"] = "elsewhere"
		n.SetService(gossipService, "n4:7001", "elsewhere:7001")
		h.start("n2", bySRV)
		h.ready("n2")
		h.one()
		h.converged()
	})
}

// More empty nodes than the first configuration takes start at once, while their records come one by one. They make one
// cluster: of two nodes the one that asks later is told of all that the other was told of.
func TestOneClusterWhileRecordsCome(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			run(t, func(t *testing.T, n *clustertest.Network) {
				random := rand.New(rand.NewPCG(seed, 0))
				h := newHarness(t, n, 3, "n1", "n2", "n3", "n4", "n5", "n6")
				for _, name := range h.names {
					h.start(name, bySRV)
				}
				var targets []string
				for _, i := range random.Perm(len(h.names)) {
					targets = append(targets, h.names[i]+":7001")
					n.SetService(gossipService, targets...)
					time.Sleep(time.Duration(random.Int64N(int64(2 * time.Second))))
				}
				h.ready(h.names...)
				h.one()
			})
		})
	}
}
