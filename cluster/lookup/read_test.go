package lookup

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster/wire"
)

// A lookup that has asked a leader which does not answer asks the next one when there is one.
func TestSilentLeaderIsLeft(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, level := range []Level{Lease, Quorum} {
			w.nodes["c"].reader.Want(false)
			time.Sleep(soon)
			w.isolate("a", true)
			time.AfterFunc(soon, func() { w.elect("b") })
			begun := time.Now()
			w.mustLookup("c", level, "k")
			if took := time.Since(begun); took < soon || took > 2*soon {
				t.Errorf("%v: answered after %v", level, took)
			}
			w.isolate("a", false)
			time.Sleep(soon)
			w.elect("a")
			time.Sleep(outlast)
		}
	})
}

// What is read and not stable yet is not told before it is.
func TestConfirmWaits(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const stall = 100 * time.Millisecond
		w.stall("c", true)
		written := make(chan error, 1)
		go func() { written <- w.nodes["b"].write(t.Context(), "k") }()
		time.Sleep(10 * hop) // all but c have applied it
		begun := time.Now()
		time.AfterFunc(stall, func() { w.stall("c", false) })
		if version := w.mustLookup("b", Lease, "k"); version == 0 {
			t.Error("not found")
		}
		if took := time.Since(begun); took < stall {
			t.Errorf("told after %v, when not all had it", took)
		}
		if err := <-written; err != nil {
			t.Fatal(err)
		}

		w.stall("c", true)
		go func() { written <- w.nodes["b"].write(t.Context(), "k") }()
		time.Sleep(10 * hop)
		ctx, cancel := context.WithTimeout(t.Context(), stall)
		defer cancel()
		if _, err := w.nodes["b"].lookup(ctx, Lease, "k"); !errors.Is(err, wire.ErrTimeout) {
			t.Errorf("in time: %v", err)
		}
		if _, err := w.nodes["b"].lookup(ctx, Quorum, "k"); !errors.Is(err, wire.ErrTimeout) {
			t.Errorf("quorum, in time: %v", err)
		}
		if s := w.nodes["b"].reader.Stats(); s.ByLease.Refused != 1 {
			t.Errorf("%+v", s.ByLease)
		}
		w.stall("c", false)
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	})
}

// When the word that an index is stable gets lost, the leader is asked, soon.
func TestLostWord(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		b := w.nodes["b"]
		b.locked(func() { b.lost[KindStable] = true })
		w.stall("c", true)
		written := make(chan error, 1)
		go func() { written <- w.nodes["a"].write(t.Context(), "k") }()
		time.Sleep(10 * hop)
		w.stall("c", false)
		if err := <-written; err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		w.mustLookup("b", Lease, "k")
		if took := time.Since(begun); took > 2*StableWait {
			t.Errorf("told after %v", took)
		}
		if s := b.reader.Stats(); s.ByLease != (Outcomes{Asked: 1}) {
			t.Errorf("%+v", s.ByLease)
		}
	})
}

// A node without a lease asks the leader, and waits until its own table is as far.
func TestWithoutLease(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const stall = 100 * time.Millisecond
		c := w.nodes["c"]
		c.reader.Want(false)
		time.Sleep(soon)
		for range 10 {
			w.stall("c", true)
			w.mustWrite("b", "k")
			time.AfterFunc(stall, func() { w.stall("c", false) })
			begun := time.Now()
			w.mustLookup("c", Lease, "k")
			if took := time.Since(begun); took < stall/2 {
				t.Errorf("told after %v, when node c had nothing", took)
			}
			w.mustLookup("c", Quorum, "k")
		}
		s := c.reader.Stats()
		if s.ByLease != (Outcomes{Asked: 10}) || s.ByQuorum != (Outcomes{Asked: 10}) || s.GivenBack[GivenBackUnwanted] != 1 {
			t.Errorf("%+v", s)
		}
		if n := w.nodes["a"].reader.Stats().Rounds; n != 10 {
			t.Errorf("%d rounds to the voters for 10 reads at level quorum", n)
		}
		c.reader.Want(true)
		w.within(soon, "node c has a lease again", func() bool { return w.leased("c") })
	})
}

// Lookups that wait share a question to the leader.
func TestPointsAreShared(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.nodes["c"]
		c.reader.Want(false)
		time.Sleep(soon)
		var lookups sync.WaitGroup
		for range 50 {
			lookups.Go(func() { w.mustLookup("c", Lease, "k") })
		}
		lookups.Wait()
		if n := c.asked(KindPoint); n > 2 {
			t.Errorf("50 lookups at a time asked the leader %d times", n)
		}
	})
}

// A lease counts only when the table has what was shown elsewhere without it.
func TestLeaseOfOneBehind(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.isolate("c", true)
		time.Sleep(outlast)
		for range leaseLag / 2 {
			w.mustWrite("b", "k")
		}
		w.stall("c", true)
		w.isolate("c", false)
		c := w.nodes["c"]
		w.within(soon, "node c has a lease", func() bool {
			l := c.reader.run.state.Load()
			now, _ := c.clock()
			return now < l.Until
		})
		time.AfterFunc(soon, func() { w.stall("c", false) })
		w.mustLookup("c", Lease, "k")
	})
}

// Without a leader a node refuses when its lease is over, not before, and in bounded time.
func TestCutOff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.isolate("c", true)
		w.mustLookup("c", Lease, "k")
		time.Sleep(leaseDuration)
		w.mustWrite("b", "k")
		begun := time.Now()
		if _, err := w.nodes["c"].lookup(t.Context(), Lease, "k"); !errors.Is(err, wire.ErrNoLeader) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(begun); took < LeaderWait || took > LeaderWait+2*RoundTimeout+soon {
			t.Errorf("refused after %v", took)
		}
		if _, err := w.nodes["c"].lookup(t.Context(), Local, "k"); err != nil {
			t.Error(err)
		}
		if s := w.nodes["c"].reader.Stats(); s.ByLease != (Outcomes{Own: 1, Refused: 1}) || s.Local != 1 || s.Held {
			t.Errorf("%+v", s)
		}
	})
}

// A node that was told an index long ago asks again before it answers: the leader does not expect an answer any more.
func TestOldPoint(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.nodes["c"]
		c.reader.Want(false)
		for _, level := range []Level{Lease, Quorum} {
			p, err := c.reader.Begin(t.Context(), level)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(leaseDuration)
			before := c.asked(KindPoint)
			if ok, err := c.reader.Confirm(t.Context(), p, 0); !ok || err != nil {
				t.Errorf("%v: %v, %v", level, ok, err)
			}
			if c.asked(KindPoint) == before {
				t.Errorf("%v: answered without a question", level)
			}
		}
		p, err := c.reader.Begin(t.Context(), Lease)
		if err != nil {
			t.Fatal(err)
		}
		w.isolate("c", true)
		c.locked(func() { c.leader = "" })
		time.Sleep(leaseDuration)
		begun := time.Now()
		if _, err := c.reader.Confirm(t.Context(), p, 0); !errors.Is(err, wire.ErrTimeout) {
			t.Errorf("without a leader: %v", err)
		}
		if took := time.Since(begun); took < LeaderWait || took > LeaderWait+soon {
			t.Errorf("refused after %v", took)
		}
	})
}
