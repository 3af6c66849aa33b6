package lookup

import (
	"math"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/cluster/lease"
)

// steadyLog is a log whose applied index is read as consensus does it.
type steadyLog struct {
	*fakeLog
	applied atomic.Uint64
}

func (l *steadyLog) Applied() uint64 { return l.applied.Load() }

// leased returns a Reader with a lease that lasts, on the machine's own clock.
func leased() *Reader {
	log := &steadyLog{fakeLog: &fakeLog{}}
	log.applied.Store(100)
	r := New(Config{NodeID: "b", Log: log, Peers: &fakePeers{}, Lease: lease.Config{Duration: time.Second, Rate: 20, Margin: 50 * time.Millisecond}})
	r.run.state.Store(&state{Lease: lease.Lease{Until: math.MaxInt64, Min: 100}})
	r.run.stable.Raise(100)
	return r
}

// A lookup from this node's memory costs no allocation.
func TestAllocations(t *testing.T) {
	r, ctx := leased(), t.Context()
	for _, level := range []Level{Local, Lease} {
		if n := testing.AllocsPerRun(1000, func() {
			p, err := r.Begin(ctx, level)
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := r.Confirm(ctx, p, 100); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}); n != 0 {
			t.Errorf("%v: %v allocations", level, n)
		}
	}
	for _, level := range []Level{Local, Lease} {
		if n := testing.AllocsPerRun(1000, func() {
			if p, ok := r.Hold(level); !ok || !r.Stands(p, 100) {
				t.Fatal("it has to wait")
			}
		}); n != 0 {
			t.Errorf("%v, at once: %v allocations", level, n)
		}
	}
	if s := r.Stats(); s.ByLease.Own != s.Local || s.Local == 0 {
		t.Errorf("%+v", s)
	}
}

// Without a lease, at a level that takes a round, before what was read is stable, and once the lease was given back, nothing
// is told at once, and nothing counted.
func TestStands(t *testing.T) {
	r := leased()
	if _, ok := r.Hold(Quorum); ok {
		t.Error("level quorum takes a round")
	}
	p, ok := r.Hold(Lease)
	if !ok || r.Stands(p, 101) {
		t.Error("it is not stable yet")
	}
	r.run.state.Store(&state{Lease: lease.Lease{Boot: lease.Boot{Serial: 7}, Until: math.MaxInt64, Min: 100}})
	if r.Stands(p, 100) {
		t.Error("the lease was given back since")
	}
	r.run.state.Store(&state{})
	if _, ok := r.Hold(Lease); ok {
		t.Error("there is no lease")
	}
	if s := r.Stats(); s.ByLease != (Outcomes{}) || s.Local != 0 {
		t.Errorf("%+v", s)
	}
}

func BenchmarkRead(b *testing.B) {
	for _, level := range []Level{Local, Lease} {
		b.Run(level.String(), func(b *testing.B) {
			r, ctx := leased(), b.Context()
			b.ReportAllocs()
			for b.Loop() {
				p, _ := r.Begin(ctx, level)
				_, _ = r.Confirm(ctx, p, 100)
			}
		})
		b.Run(level.String()+"/parallel", func(b *testing.B) {
			r, ctx := leased(), b.Context()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p, _ := r.Begin(ctx, level)
					_, _ = r.Confirm(ctx, p, 100)
				}
			})
		})
	}
}
