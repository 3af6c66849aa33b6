package guard

import (
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
)

func TestMemory(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		var used atomic.Int64
		said := new(diary)
		m := OpenMemory(MemoryConfig{Limit: 1000, Logger: slog.New(said), Probe: used.Load})
		defer m.Close()
		for _, step := range []struct {
			when  string
			used  int64
			full  bool
			level slog.Level
			said  map[string]int64
		}{
			{when: "a byte below the limit", used: 999},
			{"the limit", 1000, true, slog.LevelWarn, map[string]int64{"used_bytes": 1000, "limit_bytes": 1000}},
			{when: "far above", used: 5000, full: true},
			{when: "below the limit", used: 999, full: true},
			{when: "a tenth below", used: 900, full: true},
			{"more than a tenth below", 899, false, slog.LevelInfo, map[string]int64{"used_bytes": 899, "limit_bytes": 1000}},
			{when: "on the way up", used: 950},
			{"full again", 1001, true, slog.LevelWarn, map[string]int64{"used_bytes": 1001}},
		} {
			used.Store(step.used)
			time.Sleep(CheckInterval)
			synctest.Wait()
			if got, want := m.Stats(), (MemoryStats{Used: step.used, Limit: 1000, Full: step.full}); got != want || m.Full() != step.full {
				t.Errorf("%s: %+v, want %+v", step.when, got, want)
			}
			said.expect(t, step.when, step.level, step.said)
		}
	})
}

func TestMemoryIsReadAtTheStart(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		var looks int
		m := OpenMemory(MemoryConfig{Limit: 10, Logger: slog.New(slog.DiscardHandler), Probe: func() int64 { looks++; return 10 }})
		if !m.Full() {
			t.Error("not full")
		}
		m.Close()
		time.Sleep(10 * CheckInterval)
		if looks != 1 {
			t.Error("it goes on after Close")
		}
	})
}

func TestMemoryWithoutLimit(t *testing.T) {
	m := OpenMemory(MemoryConfig{Limit: -1, Logger: slog.New(slog.DiscardHandler), Probe: func() int64 { return math.MaxInt64 - 1 }})
	defer m.Close()
	if m.Full() || m.Stats().Limit != 0 {
		t.Errorf("%+v", m.Stats())
	}
}

// The runtime's own numbers: what is kept counts, what is dropped does not, though the heap has not shrunk yet.
func TestRealMemory(t *testing.T) {
	percent := debug.SetGCPercent(-1) // it collects when the test says so
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	m := OpenMemory(MemoryConfig{Limit: math.MaxInt64 - 1, Logger: slog.New(slog.DiscardHandler)})
	m.watch.close() // the readings below are the test's
	const size = 64 * mib
	runtime.GC()
	runtime.GC() // pools keep what they hold for one collection
	m.look()
	before := m.Stats().Used
	kept := make([][]byte, size/4096) // large enough to be on the heap itself, so that what it holds is too
	for range kept {
		kept[0] = make([]byte, 4096)
	}
	m.look()
	if grown := m.Stats().Used - before; grown > size/2 {
		t.Errorf("%d bytes of garbage count as %d in use", size, grown)
	}
	for i := range kept {
		kept[i] = make([]byte, 4096)
	}
	runtime.GC()
	m.look()
	with := m.Stats().Used
	if grown := with - before; grown < size || grown > 2*size {
		t.Errorf("%d bytes in use before, %d with %d bytes kept", before, with, size)
	}
	m.budget = budget{bytes: before + size/2}
	if m.look(); !m.Full() {
		t.Errorf("not full at %d of %d bytes", with, before+size/2)
	}
	runtime.KeepAlive(kept)
	runtime.GC()
	if m.look(); m.Full() {
		t.Errorf("full at %d of %d bytes, though %d were dropped", m.Stats().Used, m.Stats().Limit, size)
	}
}

// Stacks count: the collector can't free them.
func TestStacksCount(t *testing.T) {
	percent := debug.SetGCPercent(-1) // each collection halves the stacks of those that rest
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	u := newUsage()
	runtime.GC()
	before := u.read().all()
	const goroutines = 2000
	parked, leave := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			deep(64)
			parked <- struct{}{}
			<-leave
		})
	}
	for range goroutines {
		<-parked
	}
	if grown := u.read().all() - before; grown < goroutines*8<<10 {
		t.Errorf("%d stacks have added %d bytes", goroutines, grown)
	}
	close(leave)
	group.Wait()
}

// deep takes some 16 KiB of stack.
func deep(n int) byte {
	var frame [256]byte
	if n > 0 {
		frame[n] = deep(n - 1)
	}
	return frame[n/2]
}

// Every number that is read exists, and the parts are no more than the whole.
func TestUsageIsPlausible(t *testing.T) {
	known := map[string]bool{}
	for _, d := range metrics.All() {
		known[d.Name] = d.Kind == metrics.KindUint64
	}
	u := newUsage()
	for _, s := range u.samples {
		if !known[s.Name] {
			t.Errorf("the runtime has no number %s", s.Name)
		}
	}
	runtime.GC()
	used := u.read().all()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if used <= 0 || used > int64(stats.Sys) {
		t.Errorf("%d bytes in use of %d", used, stats.Sys)
	}
}

func TestCollectorSettings(t *testing.T) {
	percent := debug.SetGCPercent(-1)
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	limit := debug.SetMemoryLimit(3 << 30)
	t.Cleanup(func() { debug.SetMemoryLimit(limit) })
	if got := collectorSettings(); got.limit != 3<<30 || got.percent >= 0 {
		t.Errorf("%+v", got)
	}
	debug.SetGCPercent(150)
	debug.SetMemoryLimit(math.MaxInt64)
	if got := collectorSettings(); got.limit != math.MaxInt64 || got.percent != 150 {
		t.Errorf("%+v", got)
	}
}

func TestDefaultBudget(t *testing.T) {
	const gb, none = 1_000_000_000, math.MaxInt64
	for _, c := range []struct {
		name      string
		available int64
		gc        collector
		want      budget
	}{
		{"the heap may double", 10 * gb, collector{none, 100}, budget{8 * gb, 1}},
		{"the heap may grow by half", 12 * gb, collector{none, 50}, budget{9_600_000_000, 0.5}},
		{"the heap may triple", 12 * gb, collector{none, 200}, budget{9_600_000_000, 2}},
		{"no collector", 10 * gb, collector{none, -1}, budget{bytes: 8 * gb}},
		{"the collector knows a limit", 10 * gb, collector{5 * gb, 100}, budget{bytes: 4 * gb}},
		{"a limit and nothing else to collect for", 10 * gb, collector{5 * gb, -1}, budget{bytes: 4 * gb}},
		{"a limit above what there is", 10 * gb, collector{20 * gb, 100}, budget{8 * gb, 1}},
		{"a limit alone", 0, collector{5 * gb, 100}, budget{bytes: 4 * gb}},
		{"nothing known", 0, collector{none, 100}, budget{bytes: -1}},
	} {
		if got := defaultBudget(c.available, c.gc); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// What the collector does not know of does not grow before a collection: only the heap needs its room twice.
func TestSlabsCountOnce(t *testing.T) {
	var use memoryUse
	m := &Memory{budget: budget{bytes: 8000, growth: 1}, probe: func() memoryUse { return use }, logger: slog.New(slog.DiscardHandler)}
	for _, c := range []struct {
		use   memoryUse
		limit int64
		full  bool
	}{
		{use: memoryUse{heap: 3999}, limit: 4001},
		{memoryUse{heap: 4000}, 4000, true},
		{use: memoryUse{heap: 1000}, limit: 7000},
		{use: memoryUse{heap: 1000, other: 5999}, limit: 7000},
		{memoryUse{heap: 1000, other: 6000}, 7000, true},
	} {
		use = c.use
		m.look()
		if got, want := m.Stats(), (MemoryStats{Used: use.all(), Limit: c.limit, Full: c.full}); got != want {
			t.Errorf("%+v: %+v, want %+v", use, got, want)
		}
	}
	slabs := MemoryConfig{Probe: func() int64 { return 5 }, Slabs: func() int64 { return 7 }}.probe()
	if got := slabs(); got != (memoryUse{heap: 5, other: 7}) {
		t.Errorf("%+v", got)
	}
}
