package lookup

import (
	"testing"
	"time"

	"cloakroom/cluster/lease"
)

// A machine whose monotonic clock stands still while others go on must not answer from a lease that has run out for them.
// It is cut off meanwhile, and another leader may have been elected.
func TestClockStandsStill(t *testing.T) {
	for _, halted := range []string{"a", "c"} {
		t.Run(halted, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.mustWrite("b", "k")
				time.Sleep(soon)
				n := w.nodes[halted]
				n.halt()
				w.isolate(halted, true)
				if halted == "a" {
					w.elect("b")
				}
				w.mustWrite("b", "k")
				n.wake()
				if _, err := n.lookup(t.Context(), Lease, "k"); err == nil {
					t.Error("answered while it is cut off")
				}
				if s := n.reader.Stats(); s.Jumps != 1 || s.Held || s.GivenBack[GivenBackAtJump] != 1 {
					t.Errorf("%+v", s)
				}
				w.isolate(halted, false)
				w.within(outlast, "it has a lease again", func() bool { return w.leased(halted) })
				w.mustLookup(halted, Lease, "k")
			})
		})
	}
}

// A leader whose clock has stood still grants nothing that is counted from before. What it has granted before that ends
// on the clocks of others.
func TestLeadersClockStandsStill(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.nodes["a"]
		proposed := a.reader.Clock()
		time.Sleep(time.Millisecond)
		a.halt()
		time.Sleep(leaseDuration / 2)
		a.wake()
		a.reader.Committed(lease.OtherCommand, 1, a.Applied(), proposed, false)
		if s := a.reader.Stats(); s.Jumps != 1 || s.Held {
			t.Errorf("counted from before the halt: %+v", s)
		}
		a.reader.run.mu.Lock()
		now, _ := a.clock()
		_, ok := a.reader.run.machine.Point(now)
		a.reader.run.mu.Unlock()
		if ok {
			t.Error("it tells an index by its own lease")
		}
		w.within(soon, "a new command has renewed the leases", func() bool { return w.leased("a", "b", "c") })
		w.mustWrite("b", "k")
	})
}

// Several halts, each shorter than the margin, count together when they fall into one lease.
func TestShortHalts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.nodes["c"]
		for range 3 {
			mono, _ := c.clock()
			c.locked(func() { c.wallBy += leaseMargin * 3 / 5 })
			if after, _ := c.clock(); after != mono {
				t.Fatal("the clock went on")
			}
			time.Sleep(leaseDuration / 4)
		}
		if s := c.reader.Stats(); s.Jumps != 1 {
			t.Errorf("%d jumps", s.Jumps)
		}
	})
}

// A wall clock that is set costs the lease for a moment, forwards and backwards.
func TestWallClockIsSet(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.nodes["c"]
		for i, by := range []time.Duration{time.Hour, -2 * time.Hour} {
			c.locked(func() { c.wallBy += by })
			w.mustLookup("c", Lease, "k")
			w.within(soon, "it has a lease again", func() bool { return w.leased("c") })
			if s := c.reader.Stats(); s.Jumps != uint64(i+1) || s.ByLease.Asked != uint64(i+1) {
				t.Errorf("%+v", s)
			}
		}
	})
}

// A wall clock that is slewed, by 500 ppm, is no jump, however long it goes on.
func TestSlew(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.nodes["c"]
		for range 120 { // 60 ms in all
			time.Sleep(time.Second)
			c.locked(func() { c.wallBy += 500 * time.Microsecond })
			w.mustLookup("c", Lease, "k")
		}
		if s := c.reader.Stats(); s.Jumps != 0 || s.ByLease.Own != 120 {
			t.Errorf("%+v", s)
		}
	})
}

// Who is stopped between the one clock and the other reads what looks like a jump.
func TestTornReading(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.nodes["c"]
		c.locked(func() { c.torn = leaseDuration / 2 })
		w.mustLookup("c", Lease, "k")
		next := c.reader.Stats().Stable + 1
		c.locked(func() { c.torn = leaseDuration / 2 })
		c.reader.Learn(next) // a step
		if s := c.reader.Stats(); s.ByLease != (Outcomes{Own: 1}) || s.Jumps != 0 || !s.Held {
			t.Errorf("%+v", s)
		}
	})
}
