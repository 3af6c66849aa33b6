package consensus

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

// told is what the hooks of a node were told, in order.
type told struct {
	stored   []uint64 // terms
	applied  []at
	restores []string // "restoring", "restored"
}

// teller is given what the hooks of a node are told, by the node's goroutines.
type teller struct {
	mu   sync.Mutex
	told told
}

type at struct{ index, term uint64 }

func (r *teller) note(change func(*told)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.told)
}

// soFar returns what was told until now: the node may go on telling.
func (r *teller) soFar() told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return told{stored: slices.Clone(r.told.stored), applied: slices.Clone(r.told.applied), restores: slices.Clone(r.told.restores)}
}

func (r *teller) lastApplied() at {
	applied := r.soFar().applied
	return applied[len(applied)-1]
}

// highestStored returns the highest term in a log.
func highestStored(t *testing.T, s *storage.Stores) uint64 {
	t.Helper()
	last, err := s.Log.LastIndex()
	if err != nil || last == 0 {
		t.Errorf("end of the log: %d, %v", last, err)
		return 0
	}
	var log raft.Log
	if err := s.Log.GetLog(last, &log); err != nil {
		t.Error(err)
	}
	return log.Term
}

// Over elections, a restart, and with entries of several terms at once: what is told of is in the log, and all terms are.
func TestStoredIsTold(t *testing.T) {
	records := map[string]*teller{}
	hooks := func(id string, cfg *Config) {
		r := &teller{}
		records[id] = r
		stores := cfg.Stores
		cfg.OnStored = func(term uint64) {
			if got := highestStored(t, stores); got != term {
				t.Errorf("%s: told of term %d, the log ends with %d", id, term, got)
			}
			r.note(func(t *told) { t.stored = append(t.stored, term) })
		}
	}
	inFakeTimeWith(t, Config{}, hooks, func(t *testing.T, c *trio) {
		if first := records["n1"].soFar().stored[0]; first != 1 {
			t.Errorf("the first configuration was stored with term 1, told of %d", first)
		}
		lagging := without(c.leader().cfg.NodeID)[0]
		c.net.Partition([]string{lagging}, without(lagging))
		for range 3 {
			c.mustAt(c.leader(without(lagging)...), c.role(1))
			if err := c.leader(without(lagging)...).Transfer(t.Context(), other(c, lagging)); err != nil {
				t.Fatal(err)
			}
		}
		before := len(records[lagging].soFar().stored)
		c.net.Heal()
		c.equal()
		if len(records[lagging].soFar().stored) == before {
			t.Error("not told of what it caught up with")
		}
		for id, r := range records {
			if s := r.soFar().stored; len(s) == 0 || !slices.IsSorted(s) || s[len(s)-1] != c.nodes[id].Term() {
				t.Errorf("%s was told of %v, and is in term %d", id, s, c.nodes[id].Term())
			}
		}
		// What a former process has written is not told of.
		c.stop(lagging)
		term := highestStored(t, c.stores[lagging])
		c.start(lagging)
		if s := records[lagging].soFar().stored; len(s) > 0 && s[0] < term {
			t.Errorf("told of %v after a restart, the log ended with %d", s, term)
		}
		c.equal()
	})
}

// other returns a running node that does not lead, and is not this one.
func other(c *trio, id string) string {
	leader := c.leader(without(id)...)
	return without(leader.cfg.NodeID)[slices.IndexFunc(without(leader.cfg.NodeID), func(o string) bool { return o != id })]
}

// The first entry of a cluster is told of when this process has written it, and only then.
func TestFirstIsTold(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, network *clustertest.Network) {
		c := newTrio(t, network, Config{})
		var terms []uint64
		c.hooks = func(_ string, cfg *Config) {
			terms = nil
			cfg.OnStored = func(term uint64) { terms = append(terms, term) }
		}
		c.cfg.First = []Server{{ID: "n1", Addr: "n1:7000", Voter: true}, {ID: "n2", Addr: "n2:7000", Voter: true}}
		for _, want := range [][]uint64{{1}, nil} {
			c.start("n1")
			if !slices.Equal(terms, want) {
				t.Errorf("told of %v, want %v", terms, want)
			}
			c.stop("n1")
		}
	})
}

// A node does not stand for election before it was told of each entry that helps it to win.
func TestStoredBeforeOffice(t *testing.T) {
	var mu sync.Mutex
	hold := map[string]chan struct{}{}
	hooks := func(id string, cfg *Config) {
		cfg.OnStored = func(uint64) {
			mu.Lock()
			wait := hold[id]
			mu.Unlock()
			if wait != nil {
				<-wait // which a hook must not do; but whatever it does is over first
			}
		}
	}
	inFakeTimeWith(t, Config{}, hooks, func(t *testing.T, c *trio) {
		c.equal()
		old := c.leader()
		a, b := without(old.cfg.NodeID)[0], without(old.cfg.NodeID)[1]
		c.net.Partition([]string{b}, without(b))
		release := make(chan struct{})
		mu.Lock()
		hold[a] = release
		mu.Unlock()
		future := old.Propose(t.Context(), encode(t, c.role(1)))
		synctest.Wait()
		c.net.Partition([]string{old.cfg.NodeID}, []string{a, b}) // only with the entry an election can be won
		for range 100 {
			time.Sleep(50 * time.Millisecond)
			if c.nodes[a].raft.State() != raft.Follower || c.nodes[b].IsLeader() {
				t.Fatal("an election before the hook was done")
			}
		}
		mu.Lock()
		delete(hold, a)
		mu.Unlock()
		close(release)
		if next := c.leader(a, b).cfg.NodeID; next != a {
			t.Errorf("%s leads, without the entry", next)
		}
		if _, err := future.Wait(t.Context()); !errors.Is(err, ErrLeadershipLost) {
			t.Errorf("the former leader's future: %v", err)
		}
		c.net.Heal()
		c.equal()
	})
}

// Each node is told of what anybody can see on it, with the term that the entry has, before the leader's callers know.
func TestAppliedIsTold(t *testing.T) {
	records := map[string]*teller{}
	nodes := map[string]*Node{}
	var mu sync.Mutex
	hooks := func(id string, cfg *Config) {
		r := &teller{}
		records[id] = r
		stores := cfg.Stores
		cfg.OnApplied = func(index, term uint64) {
			var log raft.Log
			if err := stores.Log.GetLog(index, &log); err != nil || log.Term != term {
				t.Errorf("%s: told of %d with term %d, it has %d, %v", id, index, term, log.Term, err)
			}
			mu.Lock()
			n := nodes[id]
			mu.Unlock()
			if n != nil {
				n.Read(func(m *session.Machine) {
					if m.Applied() != index || n.Applied() != index {
						t.Errorf("%s: told of %d, the machine is at %d, known %d", id, index, m.Applied(), n.Applied())
					}
				})
			}
			r.note(func(t *told) { t.applied = append(t.applied, at{index, term}) })
		}
	}
	inFakeTimeWith(t, Config{}, hooks, func(t *testing.T, c *trio) {
		mu.Lock()
		maps.Copy(nodes, c.nodes)
		mu.Unlock()
		for range 3 {
			leader := c.leader()
			var futures []Future
			for range 50 {
				futures = append(futures, leader.Propose(t.Context(), encode(t, c.role(1))))
			}
			for _, f := range futures {
				applied, err := f.Wait(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if now := records[leader.cfg.NodeID].lastApplied(); now.index < applied.Index || applied.Term != leader.Term() {
					t.Errorf("the outcome of %d in term %d is known, told of was %d; the leader is in %d", applied.Index, applied.Term, now.index, leader.Term())
				}
			}
			if err := leader.Transfer(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
		}
		c.equal()
		synctest.Wait()
		for id, r := range records {
			sorted := slices.IsSortedFunc(r.soFar().applied, func(a, b at) int { return int(a.index) - int(b.index) })
			if last := r.lastApplied(); !sorted || last.index != c.nodes[id].Applied() || last.term != c.nodes[id].Term() {
				t.Errorf("%s: told of %v at last, sorted %v; it is at %d in term %d", id, last, sorted, c.nodes[id].Applied(), c.nodes[id].Term())
			}
		}
	})
}

// An entry that is committed when its leader loses the office is applied later, in another term. Its own is told.
func TestTermOfTheEntry(t *testing.T) {
	var mu sync.Mutex
	hold := map[string]chan struct{}{}
	hooks := func(id string, cfg *Config) {
		cfg.OnApplied = func(uint64, uint64) {
			mu.Lock()
			wait := hold[id]
			mu.Unlock()
			if wait != nil {
				<-wait
			}
		}
	}
	inFakeTimeWith(t, Config{}, hooks, func(t *testing.T, c *trio) {
		c.equal()
		leader := c.leader()
		term := leader.Term()
		release := make(chan struct{})
		mu.Lock()
		hold[leader.cfg.NodeID] = release
		mu.Unlock()
		first := leader.Propose(t.Context(), encode(t, c.role(1))) // it holds up the machine
		synctest.Wait()
		second := leader.Propose(t.Context(), encode(t, c.role(1)))
		synctest.Wait()
		if err := leader.Transfer(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		next := c.leader()
		if next == leader || leader.Term() == term {
			t.Fatalf("the node is in term %d still", leader.Term())
		}
		mu.Lock()
		delete(hold, leader.cfg.NodeID)
		mu.Unlock()
		close(release)
		for _, f := range []Future{first, second} {
			applied, err := f.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if applied.Term != term {
				t.Errorf("entry %d: term %d, it has %d", applied.Index, applied.Term, term)
			}
		}
		c.equal()
	})
}

// A snapshot from the leader is told of before anybody can see it, and when all can. That of the start is not.
func TestRestoreIsTold(t *testing.T) {
	var c *trio
	var lagging string
	records := map[string]*teller{}
	seen := make(chan uint64, 1)
	hooks := func(id string, cfg *Config) {
		r := &teller{}
		records[id] = r
		cfg.OnRestoring = func() {
			r.note(func(t *told) { t.restores = append(t.restores, "restoring") })
			if id != lagging {
				return
			}
			time.Sleep(time.Second) // readers look meanwhile
			c.nodes[id].Read(func(m *session.Machine) { seen <- m.Applied() })
		}
		cfg.OnRestored = func(applied uint64) {
			r.note(func(t *told) { t.restores = append(t.restores, "restored") })
			c.nodes[id].Read(func(m *session.Machine) {
				if m.Applied() != applied || c.nodes[id].Applied() != applied {
					t.Errorf("told of %d, the machine is at %d, known %d", applied, m.Applied(), c.nodes[id].Applied())
				}
			})
		}
	}
	inFakeTimeWith(t, Config{TrailingLogs: 4}, hooks, func(t *testing.T, made *trio) {
		c = made
		c.equal()
		leader := c.leader()
		lagging = without(leader.cfg.NodeID)[0]
		c.net.Partition([]string{lagging}, without(lagging))
		before := c.nodes[lagging].Applied()
		for range 100 {
			c.mustAt(leader, c.role(100))
		}
		if err := leader.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.net.Heal()
		c.equal()
		if at := <-seen; at > before+10 { // more than what was on its way
			t.Errorf("the machine is at %d while the restore is announced, it was at %d", at, before)
		}
		want := []string{"restoring", "restored"}
		for id, r := range records {
			if got := r.soFar().restores; id == lagging && !slices.Equal(got, want) || id != lagging && len(got) > 0 {
				t.Errorf("%s was told %v", id, got)
			}
		}
		lagger := lagging
		lagging = ""
		c.stop(lagger)
		if n := c.start(lagger); n.Stats().Restores != 1 {
			t.Fatal("it did not start from a snapshot")
		}
		c.equal()
		if got := records[lagger].soFar().restores; len(got) > 0 {
			t.Errorf("told %v at the start", got)
		}
	})
}
