package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// counts is what is known of a set of calls.
type counts struct {
	good     *hdrhistogram.Histogram // latencies, ns
	bad      *hdrhistogram.Histogram // of the failed ones: kept apart, a fast refusal is not a fast answer
	unsent   int64
	failures map[string]Failure
}

func newCounts() *counts {
	return &counts{good: newHistogram(), bad: newHistogram(), failures: make(map[string]Failure)}
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(minLatency), int64(MaxLatency), digits)
}

// observe puts one latency into h. What is longer than the histogram is wide counts as its longest: left out, it would
// make the rest look better.
func observe(h *hdrhistogram.Histogram, latency time.Duration) {
	if err := h.RecordValue(int64(min(max(latency, 0), MaxLatency))); err != nil {
		panic("BUG: latency outside of its histogram: " + err.Error())
	}
}

func (c *counts) add(latency time.Duration, err error) {
	if err == nil {
		observe(c.good, latency)
		return
	}
	observe(c.bad, latency)
	c.fail(labelOf(err), 1, err.Error())
}

func (c *counts) addUnsent(overdue time.Duration) {
	observe(c.bad, overdue)
	c.unsent++
	c.fail(labelUnsent, 1, "still waiting for a free connection when the run was over")
}

func (c *counts) fail(label string, n int64, example string) {
	f, known := c.failures[label]
	if !known && len(c.failures) >= maxLabels {
		label = labelOther
		f = c.failures[label]
	}
	if f.Example == "" {
		f.Example = example[:min(len(example), maxExample)]
	}
	f.Count += n
	c.failures[label] = f
}

func (c *counts) merge(from *counts) {
	if dropped := c.good.Merge(from.good) + c.bad.Merge(from.bad); dropped != 0 {
		panic("BUG: histograms of one run differ in shape")
	}
	c.unsent += from.unsent
	for label, f := range from.failures {
		c.fail(label, f.Count, f.Example)
	}
}

func (c *counts) reset() {
	c.good.Reset()
	c.bad.Reset()
	c.unsent = 0
	clear(c.failures)
}

// recorder takes the outcomes of many workers. Workers share a few shards, so that the memory of the histograms does
// not grow with the number of connections, and a shard is locked for one addition only.
type recorder struct {
	shards []*shard
	total  *counts // owned by the goroutine that calls collect
}

type shard struct {
	mu      sync.Mutex
	current *counts
	spare   *counts // empty; owned by the goroutine that calls collect
}

func newRecorder(workers int) *recorder {
	r := &recorder{total: newCounts()}
	for range min(workers, maxShards) {
		r.shards = append(r.shards, &shard{current: newCounts(), spare: newCounts()})
	}
	return r
}

func (r *recorder) add(worker int, latency time.Duration, err error) {
	s := r.shards[worker%len(r.shards)]
	s.mu.Lock()
	s.current.add(latency, err)
	s.mu.Unlock()
}

func (r *recorder) addUnsent(worker int, overdue time.Duration) {
	s := r.shards[worker%len(r.shards)]
	s.mu.Lock()
	s.current.addUnsent(overdue)
	s.mu.Unlock()
}

// collect moves what the shards hold into the total and adds it to interval too. The shards get empty counts in
// exchange: merging takes longer than a worker may wait.
func (r *recorder) collect(interval *counts) {
	for _, s := range r.shards {
		s.mu.Lock()
		full := s.current
		s.current = s.spare
		s.mu.Unlock()

		r.total.merge(full)
		interval.merge(full)
		full.reset()
		s.spare = full
	}
}
