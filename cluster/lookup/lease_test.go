package lookup

import (
	"errors"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster/wire"
)

// When a leader is there, all nodes come to leases, and answer lookups without asking anybody.
func TestLeases(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.mustWrite("b", "k")
		time.Sleep(soon)
		for range 100 {
			for _, n := range w.nodes {
				w.mustLookup(n.id, Lease, "k")
			}
			time.Sleep(50 * time.Millisecond)
		}
		for id, n := range w.nodes {
			s := n.reader.Stats()
			if s.ByLease != (Outcomes{Own: 100}) || n.asked(KindPoint)+n.asked(KindReadIndex) > 0 {
				t.Errorf("%s: %+v", id, s)
			}
			const lag = 2 // a tick that is not told of by itself, and one that just comes
			if !s.Held || s.Remaining <= 0 || s.Remaining > leaseDuration || s.Frozen || s.Lag > lag || len(s.GivenBack) > 0 {
				t.Errorf("%s: %+v", id, s)
			}
		}
		if s := w.nodes["a"].reader.Stats(); s.Out != 2 || s.Grants == 0 {
			t.Errorf("the leader: %+v", s)
		}
	})
}

// A write is acknowledged when every node with a lease has applied it, and not before.
func TestAcknowledgedWhenAllHaveIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const stall = 100 * time.Millisecond
		w.stall("c", true)
		time.AfterFunc(stall, func() { w.stall("c", false) })
		begun := time.Now()
		w.mustWrite("b", "k")
		if took := time.Since(begun); took < stall || took > stall+soon {
			t.Errorf("acknowledged after %v: node c had it after %v", took, stall)
		}
		w.mustLookup("c", Lease, "k")
	})
}

// A node that has died holds up writes once, until its lease is over.
func TestDeadMember(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kill("c")
		begun := time.Now()
		w.mustWrite("b", "k")
		if took := time.Since(begun); took < leaseDuration/2 || took > leaseDuration+soon {
			t.Errorf("the first write took %v", took)
		}
		begun = time.Now()
		w.mustWrite("b", "k")
		if took := time.Since(begun); took > soon {
			t.Errorf("the second write took %v", took)
		}
		if ago, ok := w.nodes["a"].reader.Served("c"); !ok || ago > soon {
			t.Errorf("node c served %v ago, %v", ago, ok)
		}
	})
}

// A node that is far behind is asked for its lease, so that writes don't wait for it, and gets one when it has caught up.
func TestLaggard(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.stall("c", true)
		begun := time.Now()
		var writes sync.WaitGroup
		for range leaseLag + 2 {
			writes.Go(func() {
				if err := w.nodes["b"].write(t.Context(), "k"); err != nil {
					t.Error(err)
				}
			})
		}
		writes.Wait()
		if took := time.Since(begun); took > soon {
			t.Errorf("acknowledged after %v", took)
		}
		if s := w.nodes["c"].reader.Stats(); s.Held || s.GivenBack[GivenBackAtRecall] == 0 {
			t.Errorf("node c: %+v", s)
		}
		w.stall("c", false)
		w.within(soon, "node c has a lease again", func() bool { return w.leased("c") })
		w.mustLookup("c", Lease, "k")
	})
}

// A leader that takes reports and never answers holds up neither the reports to the next one nor anything else.
func TestSilentLeader(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.isolate("a", true)
		time.Sleep(leaseDuration)
		w.elect("b")
		w.within(soon, "node c has a lease of the new leader", func() bool { return w.nodes["c"].reader.run.state.Load().Term == 2 })
		c, most := w.nodes["c"], 0
		if c.locked(func() { most = c.most }); most != MaxReports {
			t.Errorf("%d reports under way to one node, want %d", most, MaxReports)
		}
	})
}

// A node that stops gives its lease back, so that writes don't wait for it.
func TestCloseGivesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.nodes["c"]
		c.reader.Close()
		w.kill("c")
		begun := time.Now()
		w.mustWrite("b", "k")
		if took := time.Since(begun); took > soon {
			t.Errorf("the write took %v", took)
		}
		if s := c.reader.Stats(); s.Held || s.GivenBack[GivenBackAtStop] != 1 {
			t.Errorf("%+v", s)
		}
		if _, err := c.lookup(t.Context(), Lease, "k"); !errors.Is(err, wire.ErrNoLeader) {
			t.Errorf("a lookup on it: %v", err)
		}
	})
}

// A leader that does not answer holds up the end of a node for a bounded time.
func TestCloseIsBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.isolate("c", true)
		time.Sleep(50 * time.Millisecond)
		begun := time.Now()
		w.nodes["c"].reader.Close()
		if took := time.Since(begun); took > FarewellTimeout+10*hop {
			t.Errorf("closed after %v", took)
		}
	})
}

// What is granted and what is given back is counted.
func TestCounts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.nodes["c"].reader
		c.GiveBack("uses stuck")
		if w.leased("c") {
			t.Error("it has a lease all the same")
		}
		w.within(soon/2, "it has a lease again", func() bool { return w.leased("c") })
		c.GiveBack("uses stuck")
		c.GiveBack("uses stuck") // there is nothing to give back
		if s := c.Stats(); s.GivenBack["uses stuck"] != 2 || len(s.GivenBack) != 1 {
			t.Errorf("%+v", s)
		}
		c.Want(false)
		w.nodes["b"].reader.Want(false)
		time.Sleep(soon)
		before := w.nodes["a"].reader.Stats().Grants
		time.Sleep(outlast)
		if s := w.nodes["a"].reader.Stats(); s.Grants != before || s.Out != 0 {
			t.Errorf("%d grants to those that want none: %+v", s.Grants-before, s)
		}
	})
}
