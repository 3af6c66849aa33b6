package guard

import (
	"math"
	"runtime/metrics"
)

// usage reads the runtime's numbers.
type usage struct{ samples []metrics.Sample }

// The first is what the last collection left of the heap. The second is all that the runtime has, and from it goes the
// heap as a whole, so that stacks and the runtime's own remain.
const (
	liveMetric  = "/gc/heap/live:bytes"
	totalMetric = "/memory/classes/total:bytes"
)

func newUsage() *usage {
	return &usage{samples: []metrics.Sample{
		{Name: liveMetric},
		{Name: totalMetric},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}}
}

// memoryUse is bytes in use, by what becomes of them before the next collection.
type memoryUse struct {
	heap  int64 // what the collector found alive: it collects again when the heap has grown by GOGC percent over that
	other int64 // what stays as it is: stacks, the runtime's own, and what the collector does not know of
}

func (u memoryUse) all() int64 { return u.heap + u.other }

// read returns the bytes in use.
func (u *usage) read() memoryUse {
	metrics.Read(u.samples)
	use := memoryUse{heap: int64(uint64Of(u.samples[0])), other: int64(uint64Of(u.samples[1]))}
	for _, s := range u.samples[2:] {
		use.other -= int64(uint64Of(s))
	}
	return use
}

// collector is how the collector is set.
type collector struct {
	limit   int64 // GOMEMLIMIT in bytes; math.MaxInt64: none
	percent int64 // GOGC; below 0: off
}

func collectorSettings() collector {
	samples := []metrics.Sample{{Name: "/gc/gomemlimit:bytes"}, {Name: "/gc/gogc:percent"}}
	metrics.Read(samples)
	return collector{limit: int64(uint64Of(samples[0])), percent: int64(uint64Of(samples[1]))}
}

func uint64Of(s metrics.Sample) uint64 {
	if s.Value.Kind() != metrics.KindUint64 {
		panic("BUG: the runtime has no number for " + s.Name)
	}
	return s.Value.Uint64()
}

// budget is what may be in use: so many bytes, and in these as much of the heap once more as it may grow by before it is
// collected.
type budget struct {
	bytes  int64   // below 0: not known; math.MaxInt64: no limit
	growth float64 // of the heap, as a part of it
}

// limit is what may be in use while that much of it is the heap.
func (b budget) limit(heap int64) int64 { return b.bytes - int64(b.growth*float64(heap)) }

// defaultBudget is heapShare of the memory, where the collector keeps the heap within it. Without such a limit it lets
// the heap grow by GOGC percent over what is alive before it collects, and that must fit as well.
func defaultBudget(available int64, c collector) budget {
	switch {
	case c.limit < available || available <= 0 && c.limit != math.MaxInt64:
		return budget{bytes: c.limit / 100 * heapShare}
	case available <= 0:
		return budget{bytes: -1}
	}
	// Below 0 it never collects: what is called live is all there is.
	return budget{bytes: available / 100 * heapShare, growth: float64(max(c.percent, 0)) / 100}
}
