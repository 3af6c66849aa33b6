package consensus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// TestHeartbeatsFillSilence: heartbeats come as long as nothing else does, and no others.
func TestHeartbeatsFillSilence(t *testing.T) {
	inFakeTime(t, Config{Commit: time.Minute}, func(t *testing.T, c *trio) {
		c.equal()
		leader := c.leader()
		const span = 10 * time.Second
		patience := leader.calm.patience()
		sent := func(during func()) uint64 {
			before := leader.Stats().Heartbeats
			during()
			return leader.Stats().Heartbeats - before
		}
		silence := sent(func() {
			for range int(span / time.Second) {
				time.Sleep(time.Second)
				for _, id := range without(leader.cfg.NodeID) {
					if heard := c.nodes[id].Stats().LastContact; heard > patience+10*time.Millisecond {
						t.Errorf("%s heard of the leader %v ago", id, heard)
					}
				}
			}
		})
		if least := uint64(2 * span / (patience + 10*time.Millisecond)); silence < least {
			t.Errorf("%d heartbeats to two followers in %v, not %d", silence, span, least)
		}
		time.Sleep(patience)
		if sent := sent(func() {
			for range int(span / (100 * time.Millisecond)) {
				c.must(c.role(10))
				time.Sleep(100 * time.Millisecond)
			}
		}); sent > 2 { // one may be on its way to each
			t.Errorf("%d heartbeats between entries", sent)
		}
		if now := c.leader(); now != leader || leader.Stats().Elections != 1 {
			t.Errorf("another leader, %s", now.cfg.NodeID)
		}
	})
}

// TestHeartbeatEndsWithOffice: one that was put off goes to nobody when its sender leads no more.
func TestHeartbeatEndsWithOffice(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		c.equal()
		leader := c.leader()
		term := leader.Term()
		others := without(leader.cfg.NodeID)
		for name, asked := range map[string]struct {
			node *Node
			term uint64
			want bool
		}{
			"the leader":       {leader, term, true},
			"an earlier term":  {leader, term - 1, false},
			"one that follows": {c.nodes[others[0]], term, false},
		} {
			calm := newCalmTransport(nil, asked.node)
			calm.heard("n9")
			began := time.Now()
			if got := calm.await("n9", asked.term); got != asked.want || time.Since(began) != calm.patience() {
				t.Errorf("%s: %t after %v", name, got, time.Since(began))
			}
		}
		calm := newCalmTransport(nil, leader)
		calm.heard("n9")
		c.stop(leader.cfg.NodeID)
		began := time.Now()
		if calm.await("n9", term) || time.Since(began) > 0 {
			t.Errorf("after the end of the node: not given up for %v", time.Since(began))
		}
	})
}

// A leader is given as long as its followers give it: else a longer heartbeat would not keep it in office.
func TestLeaseIsAsLongAsTheHeartbeat(t *testing.T) {
	for _, heartbeat := range []time.Duration{0, 100 * time.Millisecond, 4 * time.Second} {
		if c := (Config{Heartbeat: heartbeat}).withDefaults(); c.Lease != c.Heartbeat || c.Heartbeat > c.Election {
			t.Errorf("lease %v, heartbeat %v, election %v", c.Lease, c.Heartbeat, c.Election)
		}
	}
}

// TestTermNeverFalls: a heartbeat would depose a leader whose disk is slow, and another one asks for its vote in a later
// term. It votes when its disk is done, and does not fall back behind the term of its vote.
func TestTermNeverFalls(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		c.equal()
		leader := c.leader()
		id := leader.cfg.NodeID
		other, addr := without(id)[0], raft.ServerAddress(c.addrs[id])
		from := c.nodes[other].transport
		header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(other), Addr: []byte(c.addrs[other])}
		term, index := leader.Term(), leader.raft.LastIndex()+1
		c.disks[id].breaks(slowDisk, logPart)
		leader.Propose(t.Context(), encode(t, c.role(1)))
		synctest.Wait()
		ask := func(what string, do func() error) {
			go func() {
				if err := do(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}()
			synctest.Wait()
		}
		ask("heartbeat", func() error {
			request := raft.AppendEntriesRequest{RPCHeader: header, Term: term + 1}
			return from.AppendEntries(raft.ServerID(id), addr, &request, &raft.AppendEntriesResponse{})
		})
		ask("vote", func() error {
			request := raft.RequestVoteRequest{
				RPCHeader: header, Term: term + 2, LastLogTerm: term + 1, LastLogIndex: index, LeadershipTransfer: true,
			}
			var response raft.RequestVoteResponse
			err := from.RequestVote(raft.ServerID(id), addr, &request, &response)
			if !response.Granted || !stored(t, c.stores[id], index) {
				t.Errorf("granted: %v, before its disk was done: %v", response.Granted, !stored(t, c.stores[id], index))
			}
			return err
		})
		for range 50 {
			time.Sleep(100 * time.Millisecond) // fake
			now := leader.Term()
			if now < term {
				t.Errorf("term %d after %d", now, term)
			}
			term = now
		}
		c.equal()
	})
}
