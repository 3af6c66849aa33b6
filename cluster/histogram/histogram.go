// Package histogram owns counts of how long things took, in a few buckets. It does not know what took so long, and does
// not render anything.
package histogram

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Histogram counts times. Its zero value is ready for use, and it must not be copied. Its methods may be called at any
// time from any goroutine; to count is two atomic adds, without an allocation or a lock.
type Histogram struct {
	buckets [Buckets + 1]atomic.Uint64
	nanos   atomic.Uint64
}

// Counts is what a Histogram has counted at some moment. Times that are counted meanwhile may be in some of its fields only.
type Counts struct {
	Buckets [Buckets + 1]uint64 // each on its own, the last one without a bound
	Sum     time.Duration
}

// Observe counts a time. One below 0, which a clock that was set gives, is 0.
func (h *Histogram) Observe(d time.Duration) { h.ObserveMany(d, 1) }

// ObserveMany counts a time as often as that: for who measures one of so many.
func (h *Histogram) ObserveMany(d time.Duration, times uint64) {
	d = max(d, 0)
	h.buckets[bucket(d)].Add(times)
	h.nanos.Add(uint64(d) * times)
}

// AddTo adds what was counted to c.
func (h *Histogram) AddTo(c *Counts) {
	for i := range h.buckets {
		c.Buckets[i] += h.buckets[i].Load()
	}
	c.Sum += time.Duration(h.nanos.Load())
}

// Counts returns what was counted.
func (h *Histogram) Counts() (c Counts) {
	h.AddTo(&c)
	return c
}

// Total returns how many times were counted.
func (c *Counts) Total() (n uint64) {
	for _, in := range c.Buckets {
		n += in
	}
	return n
}

// Bound returns the bound of a bucket but for the last: times up to it are in it.
func Bound(i int) time.Duration { return 1 << (firstBits + i) }

// bucket returns the first bucket whose bound is at or above d.
func bucket(d time.Duration) int {
	if d <= 1<<firstBits {
		return 0
	}
	return min(bits.Len64(uint64(d-1))-firstBits, Buckets)
}
