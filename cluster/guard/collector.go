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

// read returns the bytes in use.
func (u *usage) read() int64 {
	metrics.Read(u.samples)
	used := int64(uint64Of(u.samples[0]) + uint64Of(u.samples[1]))
	for _, s := range u.samples[2:] {
		used -= int64(uint64Of(s))
	}
	return used
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

// defaultLimit is heapShare of the memory, where the collector keeps the heap within it. Without such a limit it lets
// the heap grow by GOGC percent over what is in use before it collects, and that must fit as well. Below 0: not known.
func defaultLimit(available int64, c collector) int64 {
	if c.limit < available || available <= 0 && c.limit != math.MaxInt64 {
		return c.limit / 100 * heapShare
	}
	if available <= 0 {
		return -1
	}
	budget := available / 100 * heapShare
	if c.percent < 0 { // it never collects: what is called live is all there is
		return budget
	}
	return int64(float64(budget) / (1 + float64(c.percent)/100))
}
