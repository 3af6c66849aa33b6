package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
	"cloakroom/cluster/wire"
)

// filtered is a host that can't dial some addresses.
type filtered struct {
	wire.Network
	blocked func(addr string) bool
}

func (f filtered) Dial(ctx context.Context, addr string) (net.Conn, error) {
	if f.blocked(addr) {
		return nil, errors.New("filtered")
	}
	return f.Network.Dial(ctx, addr)
}

func blocking(n *clustertest.Network, host string, blocked func(addr string) bool) option {
	return func(c *cluster.Config) { c.Network = filtered{n.Host(host), blocked} }
}

// A node that nobody can reach must not get a vote: it would take the quorum with it.
func TestUnreachableNodeGetsNoVote(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 1, "n1")
		h.start("n1", blocking(n, "n1", func(addr string) bool { return addr == "n2:7000" }))
		h.ready("n1")
		h.host["n2"] = "n2"
		h.start("n2", joinOnly, func(c *cluster.Config) { c.Join = []string{"n1:7001"} })
		time.Sleep(30 * time.Second)
		if role := roles(t, h.nodes["n1"])["n2"]; role != "non-voter" {
			t.Fatalf("the node is a %s", role)
		}
		h.close("n2")
		time.Sleep(30 * time.Second)
		h.do(h.nodes["n1"], &session.Tick{})
	})
}

// A node that was seen and is lost before it promised does not keep the others from forming a cluster.
func TestFormationWithoutALostNode(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		var lost atomic.Bool
		for _, name := range h.names {
			h.start(name, ephemeral, blocking(n, name, func(addr string) bool { return !lost.Load() && (addr == "n3:7000" || name == "n3") }))
		}
		time.Sleep(5 * time.Second)
		for _, c := range h.nodes {
			wantErr(t, c.Ready(), cluster.ErrJoining)
		}
		h.crash("n3")
		lost.Store(true)
		h.start("n3", ephemeral) // another id
		h.ready(h.names...)
		h.one()
	})
}

// A voter that gossip has lost, and that answers, keeps its place: the one that comes under its name is not let in.
func TestLiveVoterIsNotReplaced(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		leader := h.leader()
		victim := h.others(leader)[0]
		id := h.nodes[victim].Stats().NodeID
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := h.nodes[victim].Leave(ctx); err != nil { // gossip only: it stays a voter
			t.Fatal(err)
		}
		h.host["x"] = "x"
		h.start("x", joinOnly, func(c *cluster.Config) { c.Name = victim })
		time.Sleep(10 * time.Second)
		for _, m := range h.nodes[leader].Members(t.Context()) {
			if m.ID == id && m.Role == "voter" {
				wantErr(t, h.nodes["x"].Ready(), cluster.ErrJoining)
				return
			}
		}
		t.Fatal("the voter was removed")
	})
}

// A node whose admission was never committed, as its leader was cut off with it, is not told that it was removed.
func TestHalfAdmittedNodeJoins(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.tune = func(c *consensus.Config) {
			c.Heartbeat, c.Election, c.Lease = 5*time.Second, 5*time.Second, 5*time.Second
		}
		h.startAll()
		leader := h.leader()
		n.Partition([]string{leader, "x"}, h.others(leader))
		h.host["x"] = "x"
		h.start("x", joinOnly, func(c *cluster.Config) { c.Join = []string{leader + ":7001"} })
		time.Sleep(15 * time.Second)
		wantErr(t, h.nodes["x"].Ready(), cluster.ErrJoining)
		n.Heal()
		h.ready("x")
		h.converged()
	})
}

// A node whose place was taken while it was away wants to join anew, and has to wait for as long as the other one has its
// name.
func TestRemovedNodeEnds(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		h.startAll()
		away := h.others(h.leader())[0]
		h.crash(away)
		h.host["x"] = "x" // empty, under the same name: it takes the lost one's place
		h.start("x", joinOnly, func(c *cluster.Config) { c.Name = away })
		h.ready("x")
		h.start(away)
		h.openAgain(away)
		time.Sleep(2 * roster.AnnounceInterval)
		wantErr(t, h.nodes[away].Ready(), cluster.ErrJoining)
		if c := h.nodes["x"]; c.Ready() != nil || len(roles(t, c)) != 3 {
			t.Fatalf("the node in its place: %v, members %v", c.Ready(), roles(t, c))
		}
	})
}

// A node that was killed in the middle of its bootstrap completes it when it is started again.
func TestBootstrapThatWasCutShort(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 1, "n1")
		h.startAll()
		h.crash("n1")
		// The decision is on disk, and of what raft stores only the term, which it stores first.
		file := filepath.Join(h.dir, "n1", "node.json")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var identity map[string]any
		if err := json.Unmarshal(data, &identity); err != nil {
			t.Fatal(err)
		}
		delete(identity, "clusterId")
		delete(identity, "admitted")
		if data, err = json.Marshal(identity); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		h.stores["n1"] = storage.NewMemoryStores()
		if err := h.stores["n1"].Stable.SetUint64([]byte("CurrentTerm"), 1); err != nil {
			t.Fatal(err)
		}
		h.startAll()
		h.user(h.nodes["n1"])
	})
}

// A member whose log is gone must not start: it has forgotten what it voted for.
func TestLostLogIsRefused(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 1, "n1")
		h.startAll()
		h.crash("n1")
		gossip := n.Host("n1").Memberlist("n1:7001")
		for _, term := range []uint64{0, 5} { // which others may have sent it since
			h.stores["n1"] = storage.NewMemoryStores()
			if err := h.stores["n1"].Stable.SetUint64([]byte("CurrentTerm"), term); err != nil {
				t.Fatal(err)
			}
			cfg := h.config("n1")
			cfg.GossipTransport = gossip
			c, err := cluster.Open(cfg)
			if err == nil {
				t.Error(c.Close())
			}
			wantErr(t, err, consensus.ErrLogLost)
		}
	})
}

// The proposer gets one of two promises and is lost: whether it has bootstrapped, nobody knows. The other two complete
// its configuration, and it finds its place when it comes back.
func TestTakeover(t *testing.T) {
	run(t, func(t *testing.T, n *clustertest.Network) {
		h := newHarness(t, n, 3, "n1", "n2", "n3")
		var open atomic.Pointer[string] // "FROM TO", "*": all ways are open; nothing: none
		for _, name := range h.names {
			h.start(name, blocking(n, name, func(addr string) bool {
				way := open.Load()
				return way == nil || *way != "*" && *way != name+" "+addr
			}))
		}
		order := slices.SortedFunc(slices.Values(h.names), func(a, b string) int {
			return strings.Compare(h.nodes[a].Stats().NodeID, h.nodes[b].Stats().NodeID)
		})
		proposer, promiser := order[0], order[1]
		open.Store(new(proposer + " " + promiser + ":7000"))
		time.Sleep(10 * time.Second)
		h.crash(proposer)
		open.Store(new("*"))
		h.ready(order[1:]...)
		if !h.nodes[order[1]].Bootstrapper() && !h.nodes[order[2]].Bootstrapper() {
			t.Fatal("nobody took over: the test shows nothing")
		}
		h.user(h.nodes[promiser])
		h.start(proposer)
		h.ready(proposer)
		h.converged()
	})
}
