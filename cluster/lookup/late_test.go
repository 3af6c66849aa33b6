package lookup

import (
	"context"
	"testing"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/lease"
	"cloakroom/cluster/session"
)

// A snapshot that is installed while this node starts, before or around Open, is not believed to go on for ever.
func TestOpenInARestore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i, steps := range [][]func(*Reader){
			{(*Reader).Restoring, func(r *Reader) { r.Restored(5) }, (*Reader).Open},
			{(*Reader).Restoring, (*Reader).Open, func(r *Reader) { r.Restored(5) }},
			{(*Reader).Open, (*Reader).Restoring, func(r *Reader) { r.Restored(5) }},
		} {
			cfg := w.nodes["c"].reader.run.cfg
			cfg.Peers = &fakePeers{}
			r := New(cfg)
			for _, step := range steps {
				step(r)
			}
			if r.run.state.Load().restoring {
				t.Errorf("%d: published as restoring", i)
			}
			r.run.step(lease.Elected{Term: 99})
			if o, _ := r.run.look(); o.Term != 99 {
				t.Errorf("%d: the machine takes no office: %+v", i, o)
			}
			r.Close()
		}
	})
}

// A Handover whose goroutine is late gets into a later term of the same node, which never called any lease back.
func TestLateHandover(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a := w.nodes["a"]
		hold, held := make(chan struct{}), make(chan struct{})
		direct := a.reader.run.cfg.Direct
		a.reader.run.cfg.Direct = func(ctx context.Context, cmd session.Command) (consensus.Applied, lease.Time, error) {
			if _, ok := cmd.(*session.Handover); ok {
				close(held)
				<-hold
			}
			return direct(ctx, cmd)
		}
		w.mustWrite("a", "k")
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = a.reader.HandOver(ctx) }()
		<-held
		cancel()
		a.reader.Resume()
		w.isolate("a", true)
		w.elect("b")
		time.Sleep(1500 * time.Millisecond)
		w.mustWrite("b", "k")
		w.isolate("a", false)
		w.within(2*time.Second, "leases", func() bool { return w.leased("b", "c") })
		time.Sleep(soon)
		w.isolate("b", true) // it holds its own lease for a while
		w.elect("a")
		w.within(soon, "a has taken office", func() bool { return w.office("a").Taken })
		t.Logf("a: %+v", w.office("a"))
		close(hold)
		for c := w.nodes["c"]; ; time.Sleep(100 * time.Microsecond) {
			var last bool
			c.locked(func() { _, last = c.log[len(c.log)-1].cmd.(*session.Handover) })
			if last {
				break
			}
		}
		if !w.tryElect("c") {
			t.Fatal("c is not elected")
		}
		w.within(soon, "c has taken office", func() bool { return w.office("c").Taken })
		t.Logf("c: %+v, b holds a lease: %v", w.office("c"), w.nodes["b"].holds())
		if !w.office("c").Frozen {
			t.Error("c is not frozen though b holds a lease of the term before last")
		}
		w.mustWrite("c", "k") // when b holds none any more: the world watches
	})
}
