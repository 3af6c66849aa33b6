package load

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"
)

type labelled string

func (l labelled) Error() string { return "answer " + string(l) }
func (l labelled) Label() string { return string(l) }

// Whatever the shards and however often they are collected: the total is that of one histogram that saw everything.
func TestMergingLosesNothing(t *testing.T) {
	const workers, each = 3 * maxShards, 2000
	rec, interval := newRecorder(workers), newCounts()
	whole := newCounts()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(worker)))
			for i := range each {
				latency := time.Duration(rng.ExpFloat64() * float64(time.Millisecond))
				var err error
				if i%10 == 0 {
					err = labelled(fmt.Sprint(500 + i%3))
				}
				rec.add(worker, latency, err)
				mu.Lock()
				whole.add(latency, err)
				mu.Unlock()
			}
		})
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				rec.collect(interval)
			}
		}
	}()
	wg.Wait()
	close(stop)
	<-stopped
	rec.collect(interval)

	for name, got := range map[string]*counts{"total": rec.total, "intervals": interval} {
		if !got.good.Equals(whole.good) || !got.bad.Equals(whole.bad) {
			t.Errorf("%s: histograms differ: %d good, %d bad, want %d and %d", name,
				got.good.TotalCount(), got.bad.TotalCount(), whole.good.TotalCount(), whole.bad.TotalCount())
		}
		for label, f := range whole.failures {
			if got.failures[label].Count != f.Count {
				t.Errorf("%s: %d failures %q, want %d", name, got.failures[label].Count, label, f.Count)
			}
		}
	}
}

func TestPercentilesAreThoseOfTheData(t *testing.T) {
	c := newCounts()
	for i := 1; i <= 10_000; i++ {
		c.add(time.Duration(i)*10*time.Microsecond, nil)
	}
	got := PercentilesOf(c.good)
	for name, p := range map[string][2]float64{
		"p50": {got.P50, 50_000}, "p90": {got.P90, 90_000}, "p99": {got.P99, 99_000},
		"p99.9": {got.P999, 99_900}, "max": {got.Max, 100_000},
	} {
		if p[0] < p[1]*0.999 || p[0] > p[1]*1.001 {
			t.Errorf("%s is %v µs, want %v within a thousandth", name, p[0], p[1])
		}
	}
}

func TestNothingHasNoPercentiles(t *testing.T) {
	if got := PercentilesOf(newCounts().good); got != (Percentiles{}) {
		t.Errorf("%+v, want zeros", got)
	}
}

func TestLatencyBeyondTheHistogramCountsAsItsLongest(t *testing.T) {
	c := newCounts()
	c.add(2*MaxLatency, nil)
	c.add(-time.Second, nil) // a clock can't step back; if it did, the run must not die of it
	if n := c.good.TotalCount(); n != 2 {
		t.Fatalf("%d latencies kept, want 2", n)
	}
	if got := time.Duration(c.good.Max()); got < MaxLatency {
		t.Errorf("longest is %v, want %v", got, MaxLatency)
	}
}

func TestFailuresAreCountedByKind(t *testing.T) {
	c := newCounts()
	for err, want := range map[error]string{
		labelled("503"):                              "503",
		fmt.Errorf("call: %w", labelled("401")):      "401",
		fmt.Errorf("read: %w", io.EOF):               labelEOF,
		fmt.Errorf("dial: %w", syscall.ECONNREFUSED): labelRefused,
		fmt.Errorf("read: %w", syscall.ECONNRESET):   labelReset,
		fmt.Errorf("read: %w", errTimeout{}):         labelTimeout,
		errors.New("something else"):                 labelOther,
	} {
		before := c.failures[want].Count
		c.add(time.Millisecond, err)
		if got := c.failures[want].Count; got != before+1 {
			t.Errorf("%v: %d under %q, want %d", err, got, want, before+1)
		}
	}
	if c.good.TotalCount() != 0 {
		t.Error("a failure counts as good")
	}
}

type errTimeout struct{}

func (errTimeout) Error() string { return "too late" }
func (errTimeout) Timeout() bool { return true }

func TestKindsOfFailureAreBounded(t *testing.T) {
	c := newCounts()
	for i := range 10 * maxLabels {
		c.add(time.Millisecond, labelled(fmt.Sprint(i)))
	}
	if n := len(c.failures); n > maxLabels+1 {
		t.Errorf("%d kinds kept, want at most %d", n, maxLabels+1)
	}
	if n := c.failures[labelOther].Count; n != 9*maxLabels {
		t.Errorf("%d others, want %d", n, 9*maxLabels)
	}
}
