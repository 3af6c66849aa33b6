package consensus

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/storage"
)

func TestReplicates(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		for range 20 {
			c.must(c.role(10))
		}
		c.equal()
		leader := c.leader()
		id, addr := leader.Leader()
		if id != leader.cfg.NodeID || addr != c.addrs[id] {
			t.Errorf("leader %q at %q", id, addr)
		}
		for _, n := range c.nodes {
			if got, _ := n.Leader(); got != id {
				t.Errorf("%s takes %q for the leader", n.cfg.NodeID, got)
			}
			if n.Term() != leader.Term() || !n.HasState() {
				t.Errorf("%s: term %d, state %v", n.cfg.NodeID, n.Term(), n.HasState())
			}
			if e := n.Stats().Elections; e != 1 {
				t.Errorf("%s has seen %d elections", n.cfg.NodeID, e)
			}
		}
	})
}

func TestLeaderLoss(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		old := c.leader().cfg.NodeID
		kept := c.role(10)
		c.must(kept)
		changed := map[string]<-chan struct{}{}
		for id, n := range c.nodes {
			changed[id] = n.Changed()
		}
		c.net.Host(old).Down()
		c.stop(old)
		c.must(c.role(10))
		for id := range c.nodes {
			select {
			case <-changed[id]:
			default:
				t.Errorf("%s has not said that the leader changed", id)
			}
		}
		c.net.Host(old).Up()
		c.start(old)
		c.equal()
		if !hasRole(c.nodes[old], kept.Name) {
			t.Error("an acknowledged command is gone")
		}
	})
}

// TestPartition cuts the leader off. What it was asked meanwhile has an unknown outcome, never "not the leader", and
// does not come back when the partition heals.
func TestPartition(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		old := c.leader()
		id := old.cfg.NodeID
		others := without(id)
		c.net.Partition([]string{id}, others)
		lost := c.role(10)
		_, err := old.Propose(t.Context(), encode(t, lost)).Wait(t.Context())
		if !errors.Is(err, ErrLeadershipLost) || errors.Is(err, ErrNotLeader) {
			t.Errorf("a proposal of a leader that was cut off: %v", err)
		}
		if _, err := old.Propose(t.Context(), encode(t, lost)).Wait(t.Context()); !errors.Is(err, ErrNotLeader) {
			t.Errorf("a proposal after it stepped down: %v", err)
		}
		next := c.leader(others...)
		c.mustAt(next, c.role(10))
		term := next.Term()
		time.Sleep(time.Minute)
		c.net.Heal()
		c.equal()
		if next.Term() != term || !next.IsLeader() {
			t.Errorf("the node that came back has disturbed the leader: term %d, was %d", next.Term(), term)
		}
		for _, n := range c.nodes {
			if hasRole(n, lost.Name) {
				t.Errorf("%s has the entry that was never committed", n.cfg.NodeID)
			}
		}
	})
}

// TestDivergentTail gives the former leader an end of log that nobody else has. The nudges of the new one come before
// its entries do; they must not commit that end.
func TestDivergentTail(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		old := c.leader()
		id := old.cfg.NodeID
		others := without(id)
		c.net.Partition([]string{id}, others)
		var futures []Future
		for range 40 {
			futures = append(futures, old.Propose(t.Context(), encode(t, c.role(10))))
		}
		for _, f := range futures {
			if _, err := f.Wait(t.Context()); !errors.Is(err, ErrLeadershipLost) {
				t.Fatalf("a proposal of a leader that was cut off: %v", err)
			}
		}
		next := c.leader(others...)
		c.slow.set(c.addrs[id], 300*time.Millisecond)
		c.mustAt(next, c.role(10))
		c.net.Heal()
		for range 30 {
			if _, err := next.Propose(t.Context(), c.bigEntry()).Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		c.slow.set(c.addrs[id], 0)
		c.equal()
		if err := c.fatal.of(id); err != nil {
			t.Error(err)
		}
	})
}

func TestLaggingNodeGetsSnapshot(t *testing.T) {
	inFakeTime(t, Config{TrailingLogs: 4}, func(t *testing.T, c *trio) {
		leader := c.leader()
		others := without(leader.cfg.NodeID)
		lagging := c.nodes[others[0]]
		c.net.Partition([]string{others[0]}, []string{leader.cfg.NodeID, others[1]})
		for range 100 {
			c.mustAt(leader, c.role(100))
		}
		if err := leader.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		if first, err := leader.log.FirstIndex(); err != nil || first < 90 {
			t.Fatalf("the log begins at %d, %v", first, err)
		}
		c.net.Heal()
		c.equal()
		if s := lagging.Stats(); s.Restores != 1 || s.SnapshotIndex != leader.Stats().SnapshotIndex {
			t.Errorf("restores %d, snapshot %d", s.Restores, s.SnapshotIndex)
		}
		// It goes on from there, also after a restart, and its log has no entries from before the snapshot.
		if first, err := lagging.log.FirstIndex(); err != nil || first <= lagging.Stats().SnapshotIndex {
			t.Errorf("the log begins at %d, %v", first, err)
		}
		c.stop(others[0])
		lagging = c.start(others[0])
		c.equal()
		// A leader that missed an answer asks for the entry that the snapshot ends with, though the log goes on.
		c.probe(leader, lagging, leader.Stats().SnapshotIndex, leader.Term(), true)
		c.probe(leader, lagging, leader.Stats().SnapshotIndex, leader.Term()-1, false)
		c.probe(leader, lagging, leader.Stats().SnapshotIndex-1, leader.Term(), false)
	})
}

// probe has the leader ask a follower whether it has an entry.
func (c *trio) probe(leader, follower *Node, index, term uint64, want bool) {
	c.t.Helper()
	id, addr := raft.ServerID(follower.cfg.NodeID), follower.transport.LocalAddr()
	request := raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte(leader.cfg.NodeID), Addr: []byte(leader.transport.LocalAddr())},
		Term:      leader.Term(), PrevLogEntry: index, PrevLogTerm: term,
	}
	var response raft.AppendEntriesResponse
	if err := leader.transport.AppendEntries(id, addr, &request, &response); err != nil || response.Success != want {
		c.t.Errorf("entry %d of term %d: %+v, %v", index, term, response, err)
	}
}

func TestRestartOfAll(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		r := c.role(10)
		c.must(r)
		if err := c.leader().Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.must(c.role(10))
		for _, id := range []string{"n1", "n2", "n3"} {
			c.stop(id)
		}
		for _, id := range []string{"n1", "n2", "n3"} {
			c.start(id)
		}
		c.equal()
		for id, n := range c.nodes {
			if !hasRole(n, r.Name) {
				t.Errorf("%s has lost a command", id)
			}
			if err := n.Bootstrap(c.servers(id)); !errors.Is(err, ErrBootstrapped) {
				t.Errorf("bootstrap of a node with state: %v", err)
			}
		}
	})
}

// TestDivergedBehindSnapshot is the library's issue 697: a former leader's end of log is longer than the snapshot that
// it is sent, and differs. It must clear its log, say so, and be well after a restart on the same data, with its vote as
// it was; also if it does not get as far as to clear the log.
func TestDivergedBehindSnapshot(t *testing.T) {
	for name, test := range map[string]struct {
		fault diskFault
		want  error
	}{
		"cleared":   {diskFault{}, ErrDiverged},
		"cut short": {diskFault{err: full}, storage.ErrDiskFull},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, Config{TrailingLogs: 1}, func(t *testing.T, c *trio) {
				old := c.leader()
				id := old.cfg.NodeID
				others := without(id)
				c.net.Partition([]string{id}, others)
				for range 100 {
					old.Propose(t.Context(), encode(t, c.role(10)))
				}
				next := c.leader(others...)
				for range 30 {
					c.mustAt(next, c.role(10))
				}
				if err := next.Snapshot(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute) // until no request with the entries themselves is on its way any more
				if test.fault.err != nil {
					c.disks[id].breaks(test.fault, logPart)
				}
				c.net.Heal()
				for range 100 {
					if c.fatal.of(id) != nil {
						break
					}
					c.mustAt(next, c.role(10))
					time.Sleep(100 * time.Millisecond)
				}
				if err := c.fatal.of(id); !errors.Is(err, test.want) {
					t.Fatalf("the node says %v", err)
				}
				c.stop(id)
				c.disks[id].isRepaired()
				vote, term := c.voteOf(id)
				c.start(id)
				if again, same := c.voteOf(id); again != vote || same != term || term == 0 {
					t.Errorf("it had voted for %q in term %d, now for %q in term %d", vote, term, again, same)
				}
				c.equal()
				c.stop(others[0]) // from now on it takes this node for a majority
				c.stop(others[1])
				c.start(others[1])
				c.equal()
			})
		})
	}
}

// voteOf returns a node's last vote on disk.
func (c *trio) voteOf(id string) (candidate string, term uint64) {
	c.t.Helper()
	b, err := c.stores[id].Stable.Get(keyVoteCandidate)
	if err != nil {
		c.t.Fatal(err)
	}
	if term, err = c.stores[id].Stable.GetUint64(keyVoteTerm); err != nil {
		c.t.Fatal(err)
	}
	return string(b), term
}

func TestWaitApplied(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		n := c.leader()
		index := n.Applied()
		if err := n.WaitApplied(t.Context(), index); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.WaitApplied(ctx, index+100); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait for what does not come: %v", err)
		}
		order := make(chan uint64, 20)
		for i := uint64(20); i > 0; i-- {
			go func() {
				if err := n.WaitApplied(t.Context(), index+i); err != nil {
					t.Error(err)
				}
				order <- i
			}()
		}
		for i := uint64(1); i <= 20; i++ {
			c.mustAt(n, c.role(1))
			if got := <-order; got != i {
				t.Fatalf("index %d woke the wait for %d", i, got)
			}
		}
		ended := make(chan error)
		go func() { ended <- n.WaitApplied(context.Background(), 1<<40) }()
		time.Sleep(time.Second)
		c.stop(n.cfg.NodeID)
		if err := <-ended; !errors.Is(err, ErrShutdown) {
			t.Errorf("wait on a node that was closed: %v", err)
		}
	})
}

// TestCloseCutOff: a node does not wait for answers of members that give none.
func TestCloseCutOff(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		n := c.leader()
		id := n.cfg.NodeID
		c.net.Partition([]string{id}, without(id))
		time.Sleep(200 * time.Millisecond) // heartbeats are on their way
		if !n.IsLeader() {
			t.Fatal("it has stepped down already")
		}
		start := time.Now()
		c.stop(id)
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func without(id string) []string {
	var others []string
	for _, other := range []string{"n1", "n2", "n3"} {
		if other != id {
			others = append(others, other)
		}
	}
	return others
}
