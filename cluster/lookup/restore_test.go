package lookup

import (
	"testing"
	"time"

	"cloakroom/cluster/lease"
)

// What was read around a restore is read again: with a lease, for it ended before the table was replaced, and without.
func TestRestore(t *testing.T) {
	for _, level := range []Level{Lease, Quorum} {
		t.Run(level.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.mustWrite("b", "k")
				time.Sleep(soon)
				c := w.nodes["c"]
				p, err := c.reader.Begin(t.Context(), level)
				if err != nil {
					t.Fatal(err)
				}
				c.install(w.nodes["b"])
				if ok, err := c.reader.Confirm(t.Context(), p, 0); ok || err != nil {
					t.Errorf("%v, %v", ok, err)
				}
				w.mustLookup("c", level, "k")
				w.within(soon, "it has a lease again", func() bool { return w.leased("c") })
				s := c.reader.Stats()
				if s.GivenBack[GivenBackAtRestore] != 1 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// After a restore nothing is taken for older than the snapshot: what looks old, or is not there, is told when all that the
// snapshot holds is stable. While it is going on, nothing is told at all.
func TestFloor(t *testing.T) {
	for _, level := range []Level{Lease, Quorum} {
		t.Run(level.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				const stall = 100 * time.Millisecond
				w.stall("c", true)
				go func() { _ = w.nodes["b"].write(w.ctx, "k") }()
				time.Sleep(10 * hop)
				b := w.nodes["b"]
				b.reader.Restoring()
				begun := time.Now()
				time.AfterFunc(stall, func() { b.reader.Restored(b.Applied()) })
				time.AfterFunc(2*stall, func() { w.stall("c", false) })
				w.mustLookup("b", level, "another")
				if took := time.Since(begun); took < 2*stall {
					t.Errorf("told after %v", took)
				}
			})
		})
	}
}

// What happens before Open is covered by the start; a restore that is under way then is not lost.
func TestHooksBeforeOpen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		cfg := w.nodes["c"].reader.run.cfg
		cfg.Peers = &fakePeers{}
		r := New(cfg)
		r.Stored(7)
		r.Applied(3, 1)
		r.Restoring()
		r.Open()
		defer r.Close()
		time.Sleep(soon)
		if s := r.run.state.Load(); s.Until != 0 || !s.restoring {
			t.Errorf("during the restore: %+v", s)
		}
		r.Restored(5)
		if s := r.run.state.Load(); s.Floor != 5 || s.restoring {
			t.Errorf("after the restore: %+v", s)
		}
	})
}

// Boots differ from process to process.
func TestBoots(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		boots := map[lease.Boot]bool{}
		for _, n := range w.nodes {
			boots[n.reader.run.state.Load().Boot] = true
		}
		if len(boots) != 3 {
			t.Errorf("%v", boots)
		}
	})
}
