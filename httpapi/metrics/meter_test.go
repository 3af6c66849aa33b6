package metrics

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// A status that is none is not counted, and does no harm.
func TestStatusOutOfRange(t *testing.T) {
	var m Meter
	for _, status := range []int{-1, 0, 99, 600} {
		m.Observe(status, 0)
	}
	if status, took := m.Counts(); status != [500]uint64{} || took.Total() != 4 {
		t.Errorf("%v, %d times", status, took.Total())
	}
}

// Each answer of the lane is counted, whatever connection it is on; one in timeOne is timed, and stands for as many.
func TestLaneIsCounted(t *testing.T) {
	var m Meter
	m.Stripe()
	m.Observe(200, time.Millisecond)
	m.Observe(401, time.Millisecond)
	const each = 3 * TimeOne
	turns := 2*len(m.stripes) + 1
	var group sync.WaitGroup
	for turn := range turns {
		group.Go(func() {
			for range each {
				m.Passed(uint32(turn), time.Now().Add(-time.Second))
			}
		})
	}
	group.Wait()
	status, took := m.Counts()
	if all := uint64(turns * each); status[100] != all+1 || status[301] != 1 || took.Total() != all+2 || took.Sum < time.Duration(all)*time.Second {
		t.Errorf("%d answers 200, %d times, %v in all", status[100], took.Total(), took.Sum)
	}
	if n := testing.AllocsPerRun(100, func() { m.Passed(1, time.Time{}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if size := unsafe.Sizeof(stripe{}); size != 256 {
		t.Errorf("a stripe has %d bytes: two of them share what a processor fetches at once", size)
	}
}

// BenchmarkMeter has all processors count answers of one route: as handlers do, and as the lane does.
func BenchmarkMeter(b *testing.B) {
	var m Meter
	m.Stripe()
	b.Run("handlers", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for start := time.Now(); pb.Next(); {
				m.Observe(200, time.Since(start))
			}
		})
	})
	b.Run("lane", func(b *testing.B) {
		var turns atomic.Uint32
		b.RunParallel(func(pb *testing.PB) {
			turn := turns.Add(1)
			for start := time.Now(); pb.Next(); {
				m.Passed(turn, start)
			}
		})
	})
}
