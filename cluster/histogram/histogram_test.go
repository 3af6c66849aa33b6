package histogram

import (
	"sync"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want int
	}{
		{-time.Second, 0}, {0, 0}, {8192, 0}, {8193, 1}, {16384, 1}, {16385, 2}, {1 << 33, 20}, {1<<33 + 1, 21}, {time.Hour, 21},
	} {
		var h Histogram
		h.Observe(c.d)
		got := h.Counts()
		if got.Buckets[c.want] != 1 || got.Total() != 1 || got.Sum != max(c.d, 0) {
			t.Errorf("%v: %+v", c.d, got)
		}
		if c.want < Buckets && c.d > Bound(c.want) || c.want > 0 && c.d <= Bound(c.want-1) {
			t.Errorf("%v is not within the bounds of bucket %d", c.d, c.want)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	var h Histogram
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 1000 {
				h.ObserveMany(time.Millisecond, 8)
			}
		})
	}
	group.Wait()
	var twice Counts
	h.AddTo(&twice)
	h.AddTo(&twice)
	if twice.Total() != 2*64_000 || twice.Sum != 128*time.Second {
		t.Errorf("%+v", twice)
	}
}

func TestNoAllocation(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Observe(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
