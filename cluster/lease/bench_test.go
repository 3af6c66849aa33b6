package lease

import (
	"sync/atomic"
	"testing"
)

// lookup is what each lookup asks of this package, as its caller does it.
func lookup(current *atomic.Pointer[Lease], now Time, applied, mod, stable uint64) bool {
	l := current.Load()
	if !l.Holds(now, applied) {
		return false
	}
	return current.Load().Boot == l.Boot && l.Covers(mod, stable)
}

func held() *atomic.Pointer[Lease] {
	var current atomic.Pointer[Lease]
	current.Store(&Lease{Boot: Boot{1, 2}, Term: 3, Until: 100, Min: 10, Floor: 5})
	return &current
}

func TestLookup(t *testing.T) {
	current := held()
	for name, c := range map[string]struct {
		now                  Time
		applied, mod, stable uint64
		want                 bool
	}{
		"holds and covers":          {99, 10, 12, 12, true},
		"at its end":                {100, 10, 12, 12, false},
		"the table lags":            {99, 9, 9, 12, false},
		"not stable yet":            {99, 12, 13, 12, false},
		"a table from a snapshot":   {99, 10, 0, 4, false},
		"and the snapshot's stable": {99, 10, 0, 5, true},
	} {
		if got := lookup(current, c.now, c.applied, c.mod, c.stable); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	current := held()
	if n := testing.AllocsPerRun(1000, func() {
		if !lookup(current, 99, 10, 12, 12) {
			t.Error("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	current := held()
	b.ReportAllocs()
	for b.Loop() {
		if !lookup(current, 99, 10, 12, 12) {
			b.Fatal("refused")
		}
	}
}

// BenchmarkReport is a leader's work for one report of a member, which moves S.
func BenchmarkReport(b *testing.B) {
	m := New(Config{Self: "n1", Duration: 1e9, Rate: 10, Margin: 2e7, MaxLag: 100}, 1, 1)
	now := 10_000 * ms
	m.Step(now, Members{IDs: []string{"n1", "n2"}})
	m.Step(now, Elected{Term: 5})
	index := uint64(100)
	m.Step(now, Applied{Index: index, Term: 5})
	m.Step(now, Committed{Kind: TickCommand, Term: 5, Index: index, Proposed: now})
	b.ReportAllocs()
	for b.Loop() {
		index++
		m.Step(now, Applied{Index: index, Term: 5})
		m.Step(now, Report{From: "n2", Boot: Boot{9, 1}, Applied: index, Want: true})
	}
	if m.Stable() != index {
		b.Fatalf("stable %d of %d", m.Stable(), index)
	}
}
