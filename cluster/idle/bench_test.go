package idle_test

import (
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/cluster/idle"
	"cloakroom/cluster/session"
)

// alone is a node that leads itself, in real time, with some sessions of which each was used before.
func alone(tb testing.TB, sessions int) (*idle.Keeper, []session.Key) {
	tb.Helper()
	l := &lab{t: tb, idle: 30 * time.Minute, nodes: make(map[string]*node), touched: make(map[int64]int)}
	n := l.boot("a")
	tb.Cleanup(n.kill)
	l.elect("a")
	l.must("a", &session.Genesis{ClusterID: "c", RealmID: "r", AdminID: "a", ServiceID: "s"})
	keys := l.populate(sessions)
	for _, k := range keys {
		n.used(k)
	}
	return n.keeper, keys
}

// BenchmarkLookup is what judging idleness costs a lookup: the session's record is read, and the use is remembered.
func BenchmarkLookup(b *testing.B) {
	k, keys := alone(b, 100_000)
	for name, use := range map[string]bool{"read": false, "use": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var lane atomic.Uint64
			b.RunParallel(func(pb *testing.PB) {
				for i := lane.Add(1) * 1_000_003; pb.Next(); i += 7 {
					var used idle.Arrival
					if use {
						used = k.Arrive()
					}
					if _, _, err := k.Lookup(b.Context(), keys[i%uint64(len(keys))], used, true); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// A lookup allocates nothing.
func TestLookupAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	k, keys := alone(t, 1000)
	i := 0
	if n := testing.AllocsPerRun(10_000, func() {
		i++
		if _, _, err := k.Lookup(t.Context(), keys[i%len(keys)], k.Arrive(), true); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Nor does one that need not wait.
func TestGlanceAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	k, keys := alone(t, 1000)
	i := 0
	if n := testing.AllocsPerRun(10_000, func() {
		i++
		if _, _, ok := k.Glance(keys[i%len(keys)], k.Arrive(), true); !ok {
			t.Fatal("not good")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Nor does one for each of many that are asked about at once, whatever becomes of them.
func TestGlancesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	k, keys := alone(t, 1000)
	keys[7], keys[999] = session.Key{1}, session.Key{2} // there are none
	good := 0
	fn := func(_ int, _ *session.View, _ uint64, err error) {
		if err == nil {
			good++
		}
	}
	k.Glances(keys, true, fn)
	if good != len(keys)-2 {
		t.Fatalf("%d are good", good)
	}
	if n := testing.AllocsPerRun(100, func() { k.Glances(keys, true, fn) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
