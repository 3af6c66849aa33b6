package consensus

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/storage"
)

// forgetfulLog once does not find an entry that it is told to forget.
type forgetfulLog struct {
	raft.LogStore
	forgotten atomic.Uint64
}

func (s *forgetfulLog) GetLog(index uint64, log *raft.Log) error {
	if s.forgotten.CompareAndSwap(index, 0) {
		return raft.ErrLogNotFound
	}
	return s.LogStore.GetLog(index, log)
}

// TestRefusalIsNoWedge: a follower that refuses entries, and is sent a snapshot for it, goes on after that. With
// pipelining the library's leader may never send it an entry again, while heartbeats keep the follower content (its issue
// 612). A refusal comes about as here: entries came twice, and the log no longer has the one before them.
func TestRefusalIsNoWedge(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, network *clustertest.Network) {
		c := newTrio(t, network, Config{TrailingLogs: 1})
		forgetful := map[string]*forgetfulLog{}
		for _, id := range []string{"n1", "n2", "n3"} {
			c.stores[id] = storage.NewMemoryStores()
			forgetful[id] = &forgetfulLog{LogStore: c.stores[id].Log}
			c.stores[id].Log = forgetful[id]
			c.start(id)
		}
		if err := c.nodes["n1"].Bootstrap(c.servers("n1", "n2", "n3")); err != nil {
			t.Fatal(err)
		}
		c.must(c.role(1))
		if _, err := c.leader().transport.AppendEntriesPipeline("n2", "n2:7000"); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
			t.Fatalf("the library pipelines (%v): what follows would hang", err)
		}
		for round := range 8 { // a wedge is a race
			leader := c.leader()
			others := without(leader.cfg.NodeID)
			follower, helper := c.nodes[others[0]], c.nodes[others[1]]
			c.equal()
			before := follower.Applied()
			if err := leader.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}

			// The next entry is on its way for long, and is there by another way when it arrives.
			c.slow.set(c.addrs[others[0]], 300*time.Millisecond)
			future := leader.Propose(t.Context(), c.bigEntry())
			time.Sleep(10 * time.Millisecond)
			c.slow.set(c.addrs[others[0]], 0)
			c.forward(leader, helper, follower, before+1)
			forgetful[others[0]].forgotten.Store(before)
			stop := c.keepBusy(leader)
			time.Sleep(time.Second)
			stop()
			if _, err := future.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s := follower.Stats(); s.Restores != uint64(round+1) {
				t.Fatalf("round %d: %d restores: nothing was refused, or it was sent no snapshot for it", round, s.Restores)
			}
			c.equal()
		}
	})
}

// forward sends a follower an entry of the leader's by the hand of another node.
func (c *trio) forward(leader, by, follower *Node, index uint64) {
	c.t.Helper()
	var previous, entry raft.Log
	for i, log := range map[uint64]*raft.Log{index - 1: &previous, index: &entry} {
		if err := leader.log.GetLog(i, log); err != nil {
			c.t.Fatal(err)
		}
	}
	id, addr := raft.ServerID(follower.cfg.NodeID), follower.transport.LocalAddr()
	request := raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte(leader.cfg.NodeID), Addr: []byte(leader.transport.LocalAddr())},
		Term:      leader.Term(), PrevLogEntry: previous.Index, PrevLogTerm: previous.Term, Entries: []*raft.Log{&entry},
	}
	var response raft.AppendEntriesResponse
	if err := by.transport.AppendEntries(id, addr, &request, &response); err != nil || !response.Success {
		c.t.Fatalf("entry %d: %+v, %v", index, response, err)
	}
}

// keepBusy has the leader always have something to send, until the function that it returns is called.
func (c *trio) keepBusy(leader *Node) (stop func()) {
	enough, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-enough:
				return
			case <-time.After(time.Millisecond):
				leader.Propose(c.t.Context(), encode(c.t, role("busy", 1)))
			}
		}
	}()
	return func() { close(enough); <-ended }
}
