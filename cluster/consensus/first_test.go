package consensus

import (
	"bytes"
	"errors"
	"testing"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

// leave puts into stores what a node has left that had come to a term, and had voted in it for a member.
func leave(t *testing.T, stable raft.StableStore, term uint64, vote string) {
	t.Helper()
	err := stable.SetUint64(keyTerm, term)
	if vote != "" {
		err = errors.Join(err, stable.SetUint64(keyVoteTerm, term), stable.Set(keyVoteCandidate, []byte(vote)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestHalfBootstrapped: a crash between term and entry of a bootstrap does not end the node for ever.
func TestHalfBootstrapped(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, network *clustertest.Network) {
		c := newTrio(t, network, Config{})
		c.stores["n1"] = storage.NewMemoryStores()
		leave(t, c.stores["n1"].Stable, 1, "")
		n := c.start("n1")
		if err := n.Bootstrap(c.servers("n1")); !errors.Is(err, ErrHalfBootstrapped) || errors.Is(err, ErrBootstrapped) {
			t.Fatalf("bootstrap: %v", err)
		}
		c.stop("n1")

		c.cfg.First = c.servers("n1")
		n = c.start("n1")
		c.must(c.role(1))
		if err := n.Bootstrap(c.servers("n1")); !errors.Is(err, ErrBootstrapped) || errors.Is(err, ErrHalfBootstrapped) {
			t.Errorf("bootstrap of a node with a configuration: %v", err)
		}
		c.stop("n1")
		c.start("n1") // with First and a log
		c.must(c.role(1))
	})
}

// TestFirstEntryIsTheLibrarys: whoever begins a cluster, the entry is the same.
func TestFirstEntryIsTheLibrarys(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, network *clustertest.Network) {
		c := newTrio(t, network, Config{})
		n1 := c.start("n1")
		first := append(c.servers("n1"), Server{ID: "n2", Addr: "n2:7000", Voter: true}, Server{ID: "n3", Addr: "n3:7000"})
		if err := n1.Bootstrap(first); err != nil {
			t.Fatal(err)
		}
		c.cfg.First = first
		n2 := c.start("n2")
		var want, got raft.Log
		if err := errors.Join(n1.log.GetLog(1, &want), n2.log.GetLog(1, &got)); err != nil {
			t.Fatal(err)
		}
		if got.Index != 1 || got.Term != 1 || got.Type != want.Type || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if since := n2.log.meter.since(); n2.Term() != 1 || since != storage.EntrySize(&got) {
			t.Errorf("term %d, %d bytes of log", n2.Term(), since)
		}
		c.must(&session.Genesis{ClusterID: "c", RealmID: "r", AdminID: "a", ServiceID: "s"})
		c.equal()
	})
}

// TestFirstAfterVote: nodes that have terms and votes complete a bootstrap together, and lower no term.
func TestFirstAfterVote(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, network *clustertest.Network) {
		c := newTrio(t, network, Config{})
		for _, id := range []string{"n1", "n2", "n3"} {
			c.addrs[id], c.stores[id] = id+":7000", storage.NewMemoryStores()
		}
		c.cfg.First = c.servers("n1", "n2", "n3")
		leave(t, c.stores["n1"].Stable, 5, "n2:7000")
		leave(t, c.stores["n2"].Stable, 3, "")
		n := c.start("n1")
		if term := n.Term(); term != 5 {
			t.Errorf("started in term %d", term)
		}
		vote, err := c.stores["n1"].Stable.Get(keyVoteCandidate)
		if voted, termErr := c.stores["n1"].Stable.GetUint64(keyVoteTerm); err != nil || termErr != nil || voted != 5 || string(vote) != "n2:7000" {
			t.Errorf("vote for %q in term %d, %v, %v", vote, voted, err, termErr)
		}
		c.start("n2")
		c.start("n3")
		c.must(&session.Genesis{ClusterID: "c", RealmID: "r", AdminID: "a", ServiceID: "s"})
		c.equal()
		// In term 5 itself n1 has given its vote to n2 and to nobody else.
		if leader := c.leader(); leader.Term() < 5 || leader.Term() == 5 && leader.cfg.NodeID == "n1" {
			t.Errorf("%s is the leader of term %d", leader.cfg.NodeID, leader.Term())
		}
	})
}

// TestFirstIsIgnored: a node with a log, or with nothing but a snapshot, has its configuration from there.
func TestFirstIsIgnored(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		c.equal()
		if err := c.nodes["n2"].Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.stop("n1")
		c.stop("n2")
		last := lastIndex(t, c.stores["n1"])
		if err := c.stores["n2"].Log.DeleteRange(1, lastIndex(t, c.stores["n2"])); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]uint64{"n1": last, "n2": 0} {
			c.cfg.First = []Server{{ID: id, Addr: c.addrs[id], Voter: true}} // it would lead alone
			n := c.start(id)
			if got, err := n.Servers(); err != nil || len(got) != 3 {
				t.Errorf("%s: %v, %v", id, got, err)
			}
			if got := lastIndex(t, c.stores[id]); got != want {
				t.Errorf("%s: the log ends at %d, not at %d", id, got, want)
			}
			c.stop(id)
		}
		c.start("n1")
		c.start("n2")
		c.equal()
	})
}

func lastIndex(t *testing.T, s *storage.Stores) uint64 {
	t.Helper()
	last, err := s.Log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// TestFirstRefuses: servers that make no sense are refused before anything is written.
func TestFirstRefuses(t *testing.T) {
	for name, first := range map[string][]Server{
		"without this node": {{ID: "n2", Addr: "n2:7000", Voter: true}},
		"non-voter":         {{ID: "n1", Addr: "n1:7000"}, {ID: "n2", Addr: "n2:7000", Voter: true}},
		"twice":             {{ID: "n1", Addr: "n1:7000", Voter: true}, {ID: "n1", Addr: "n2:7000", Voter: true}},
		"no address":        {{ID: "n1", Voter: true}},
	} {
		stores := storage.NewMemoryStores()
		if n, err := Open(Config{NodeID: "n1", Stores: stores, Layer: listen(t), First: first}); err == nil {
			t.Errorf("%s: opened", name)
			closeNode(t, n)
		}
		if has, err := raft.HasExistingState(stores.Log, stores.Stable, stores.Snapshots); has || err != nil {
			t.Errorf("%s: left state, %v", name, err)
		}
	}
}

// TestFirstOnDisk: as after a kill between the two writes of a bootstrap, on files.
func TestFirstOnDisk(t *testing.T) {
	for name, left := range map[string]struct {
		term uint64
		vote string
	}{"new": {}, "half bootstrapped": {term: 1}, "voted": {term: 5, vote: "n2:7000"}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if left.term > 0 {
				d := reopen(t, dir)
				leave(t, d.Stable, left.term, left.vote)
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
			}
			cfg := Config{First: []Server{{ID: "n1", Addr: "n1:7000", Voter: true}}}
			n := onDisk(t, "n1", dir, cfg)
			untilLeader(t, n)
			put(t, n, role("r", 1))
			var log raft.Log
			if err := n.log.GetLog(1, &log); err != nil || log.Term != 1 || log.Type != raft.LogConfiguration {
				t.Errorf("first entry %+v, %v", log, err)
			}
			if term := n.Term(); term <= max(left.term, 1) {
				t.Errorf("leader of term %d", term)
			}
			closeNode(t, n)

			n = onDisk(t, "n1", dir, cfg) // again
			untilLeader(t, n)
			put(t, n, role("s", 1))
			if !hasRole(n, "r") {
				t.Error("the log was begun anew")
			}
		})
	}
}

// TestFirstCutShort: the second of the two writes fails; the next start completes them.
func TestFirstCutShort(t *testing.T) {
	stores := storage.NewMemoryStores()
	first := []Server{{ID: "n1", Addr: "n1:7000", Voter: true}}
	cut := &storage.Stores{Log: noLog{stores.Log}, Stable: stores.Stable, Snapshots: stores.Snapshots}
	if n, err := Open(Config{NodeID: "n1", Stores: cut, Layer: listen(t), First: first}); err == nil {
		t.Error("opened without a log")
		closeNode(t, n)
	}
	if term, err := stores.Stable.GetUint64(keyTerm); err != nil || term != 1 {
		t.Errorf("term %d, %v", term, err)
	}
	n, err := Open(Config{NodeID: "n1", Stores: stores, Layer: listen(t), First: first, Heartbeat: quick, Election: quick})
	if err != nil {
		t.Fatal(err)
	}
	untilLeader(t, n)
	closeNode(t, n)
}

var errNoLog = errors.New("the disk is full")

// noLog takes no entry.
type noLog struct{ raft.LogStore }

func (noLog) StoreLog(*raft.Log) error    { return errNoLog }
func (noLog) StoreLogs([]*raft.Log) error { return errNoLog }
