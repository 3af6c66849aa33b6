package guard

import "runtime/metrics"

// Parts is what the process's own memory is used for, in bytes. What the collector does not know of is not in it.
type Parts struct {
	Heap    int64 // objects, those that the next collection frees included
	Spare   int64 // of the heap, without objects, and not given back to the system
	Stacks  int64
	Runtime int64 // what the runtime needs for itself
}

// ReadParts asks the runtime.
func ReadParts() Parts {
	samples := []metrics.Sample{
		{Name: totalMetric},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/os-stacks:bytes"},
	}
	metrics.Read(samples)
	of := func(i int) int64 { return int64(uint64Of(samples[i])) }
	p := Parts{Heap: of(1), Spare: of(2) + of(3), Stacks: of(5) + of(6)}
	p.Runtime = of(0) - of(4) - p.Heap - p.Spare - p.Stacks
	return p
}
