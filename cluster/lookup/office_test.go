package lookup

import (
	"context"
	"errors"
	"testing"
	"time"

	"cloakroom/cluster/lease"
	"cloakroom/cluster/wire"
)

// While there is no leader, and while a new one waits, lookups go on from the leases that the old one has granted; a
// write is proposed when none of these can be out any more.
func TestChangeOfLeader(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.mustWrite("b", "k")
		time.Sleep(soon)
		w.isolate("a", true)
		stop := w.lookups(t, "k", "a", "b", "c")
		time.Sleep(300 * time.Millisecond)
		w.elect("b")
		begun := time.Now()
		w.within(soon, "node b has taken office", func() bool { return w.office("b").Taken })
		if !w.office("b").Frozen {
			t.Error("the new leader does not wait")
		}
		w.mustWrite("c", "k")
		if took := time.Since(begun); took < leaseDuration/2 || took > outlast+soon {
			t.Errorf("the first write took %v", took)
		}
		time.Sleep(soon)
		stop()
		for _, id := range []string{"b", "c"} {
			if s := w.nodes[id].reader.Stats(); s.ByLease.Refused > 0 || s.ByLease.Own < s.ByLease.Answered()*9/10 {
				t.Errorf("%s: %+v", id, s.ByLease)
			}
		}
		w.isolate("a", false)
		w.within(outlast, "the former leader has a lease", func() bool { return w.leased("a") })
		w.mustLookup("a", Lease, "k")
	})
}

// Commands wait at a new leader until no lease of a former one can be out, and at one that has lost its office not at all.
func TestEnter(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		if err := w.nodes["b"].reader.Enter(t.Context()); !errors.Is(err, wire.ErrNoLeader) {
			t.Errorf("at a follower: %v", err)
		}
		w.isolate("a", true)
		w.elect("b")
		w.within(soon, "node b knows of its office", func() bool { return w.office("b").Term > 0 })
		if err := w.nodes["b"].reader.Enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		if o := w.office("b"); o.Frozen || !o.Taken {
			t.Errorf("let in at %+v", o)
		}
		w.isolate("a", false)
		if err := w.nodes["b"].reader.HandOver(t.Context()); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		time.AfterFunc(soon, w.nodes["b"].reader.Resume)
		if err := w.nodes["b"].reader.Enter(t.Context()); err != nil || time.Since(begun) < soon {
			t.Errorf("in a hand-over, after %v: %v", time.Since(begun), err)
		}
		w.mustWrite("b", "k") // the hand-over is not the last command any more
		w.within(soon, "node c has all that node b has", func() (has bool) {
			w.nodes["c"].locked(func() { has = len(w.nodes["c"].log) == len(w.nodes["b"].log) })
			return has
		})
		w.isolate("b", true)
		w.elect("c")
		entered := make(chan error)
		go func() { entered <- w.nodes["c"].reader.Enter(t.Context()) }()
		time.Sleep(soon)
		w.isolate("b", false)
		w.isolate("c", true)
		w.elect("a")
		w.within(soon, "node a knows of its office", func() bool { return w.office("a").Term > 0 })
		if err := <-entered; !errors.Is(err, wire.ErrNoLeader) {
			t.Errorf("at a leader that has lost its office: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		if err := w.nodes["a"].reader.Enter(ctx); !errors.Is(err, wire.ErrTimeout) {
			t.Errorf("in time: %v", err)
		}
	})
}

// After a hand-over the next leader need not wait.
func TestHandOver(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.mustWrite("b", "k")
		stop := w.lookups(t, "k", "a", "b", "c")
		begun := time.Now()
		if err := w.nodes["a"].reader.HandOver(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > soon {
			t.Errorf("handed over after %v", took)
		}
		if w.leased("a") || w.leased("b") || w.leased("c") {
			t.Error("somebody has a lease")
		}
		time.Sleep(10 * hop) // the entry reaches the others
		w.elect("b")
		begun = time.Now()
		w.mustWrite("c", "k")
		if took := time.Since(begun); took > soon {
			t.Errorf("the first write took %v", took)
		}
		w.within(soon, "all nodes have a lease", func() bool { return w.leased("a", "b", "c") })
		time.Sleep(soon)
		stop()
		for id, n := range w.nodes {
			if s := n.reader.Stats(); s.ByLease.Refused > 0 {
				t.Errorf("%s: %+v", id, s.ByLease)
			}
		}
	})
}

// A hand-over waits for a node that can't be asked, but not for longer than its lease lasts. It fails at a node that does
// not lead, and can be undone.
func TestHandOverWaits(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		if err := w.nodes["b"].reader.HandOver(t.Context()); !errors.Is(err, ErrNotHanded) {
			t.Errorf("at a follower: %v", err)
		}
		w.isolate("c", true)
		begun := time.Now()
		if err := w.nodes["a"].reader.HandOver(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took < leaseDuration/2 || took > leaseDuration+soon {
			t.Errorf("handed over after %v", took)
		}
		w.nodes["a"].reader.Resume()
		w.isolate("c", false)
		w.mustWrite("b", "k")
		w.within(outlast, "all nodes have a lease", func() bool { return w.leased("a", "b", "c") })

		w.isolate("b", true)
		w.isolate("c", true) // nothing is committed any more
		if err := w.nodes["a"].reader.HandOver(t.Context()); !errors.Is(err, ErrNotHanded) {
			t.Errorf("without a majority: %v", err)
		}
	})
}

// A leader that waits for a former one's leases hands over when it may.
func TestHandOverWhileFrozen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.isolate("a", true)
		w.elect("b")
		w.within(soon, "node b has taken office", func() bool { return w.office("b").Taken })
		if err := w.nodes["b"].reader.HandOver(t.Context()); err != nil || w.office("b").Frozen {
			t.Errorf("%v, %+v", err, w.office("b"))
		}
	})
}

// The leader knows how long ago a node can have answered a lookup, whatever it was by.
func TestServed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, c := w.nodes["a"].reader, w.nodes["c"].reader
		if _, ok := c.Served("a"); ok {
			t.Error("a follower knows")
		}
		time.Sleep(2 * outlast) // since the election
		if ago, ok := a.Served("c"); !ok || ago > 0 {
			t.Errorf("while it has a lease: %v ago, %v", ago, ok)
		}
		c.Want(false)
		time.Sleep(soon)
		if ago, ok := a.Served("c"); !ok || ago < soon-10*hop || ago > soon+10*hop {
			t.Errorf("it has given its lease back: %v ago, %v", ago, ok)
		}
		for _, level := range []Level{Lease, Quorum} {
			w.mustLookup("c", level, "k")
			if ago, ok := a.Served("c"); !ok || ago > 0 {
				t.Errorf("it was told an index at level %v: %v ago, %v", level, ago, ok)
			}
			time.Sleep(leaseDuration + soon)
			if ago, ok := a.Served("c"); !ok || ago < soon-10*hop || ago > soon+10*hop {
				t.Errorf("it was told an index long ago at level %v: %v ago, %v", level, ago, ok)
			}
		}
	})
}

// A leader's lease counts from before its last command was proposed, however long that took to be applied.
func TestOwnLease(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.nodes["a"]
		for range 5 {
			w.stall("a", true)
			time.Sleep(leaseDuration * 2 / 5)
			w.stall("a", false)
			for range 20 {
				time.Sleep(hop)
				until := a.reader.run.state.Load().Until // first: it must not be of a later command
				var latest lease.Time
				a.locked(func() { latest = a.proposed })
				if until > latest.Add(leaseDuration-leaseMargin) {
					t.Fatalf("lease until %v of a command proposed at %v", until, latest)
				}
			}
		}
	})
}
