package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what one run counted.
type Result struct {
	Sent     int64 // calls made, also those that do not count: of the warm-up, and broken off
	Good     int64
	Failed   int64 // Unsent among them
	Unsent   int64 // open loop: due, but no connection was free until the end of draining
	Elapsed  time.Duration
	CutShort bool // the context ended before the run did

	Latency       *hdrhistogram.Histogram // ns, good calls
	FailedLatency *hdrhistogram.Histogram // ns, failed calls
	Late          *hdrhistogram.Histogram // ns, how late the generator itself was with the first request, and woke up for others that it had to wait for
	Failures      map[string]Failure

	err error // of the generator
}

// result may be called when run has returned.
func (r *runner) result(ctx context.Context) *Result {
	t := r.rec.total
	res := &Result{
		Sent:          r.sent.Load(),
		Good:          t.good.TotalCount(),
		Failed:        t.bad.TotalCount(),
		Unsent:        t.unsent,
		CutShort:      ctx.Err() != nil,
		Latency:       t.good,
		FailedLatency: t.bad,
		Late:          r.late.hist,
		Failures:      t.failures,
		err:           r.late.err,
	}
	// A closed loop's last calls end after the time is over, and belong to the run: so does the time that they took.
	res.Elapsed = max(r.cfg.Duration, time.Duration(r.lastGood.Load()))
	if res.CutShort {
		res.Elapsed = min(res.Elapsed, max(time.Since(r.from), 0))
	}
	return res
}

// PerSecond is the rate of good answers.
func (r *Result) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Good) / r.Elapsed.Seconds()
}

// Err is nil when the run went through and every call was good.
func (r *Result) Err() error {
	switch {
	case r.err != nil:
		return fmt.Errorf("pace requests: %w", r.err)
	case r.CutShort:
		return ErrCutShort
	case r.Failed > 0:
		return fmt.Errorf("%w: %d of %d", ErrFailures, r.Failed, r.Good+r.Failed)
	case r.Good == 0:
		return ErrNothing
	}
	return nil
}

// What a run may end with.
var (
	ErrFailures = errors.New("requests failed")
	ErrCutShort = errors.New("run was cut short")
	ErrNothing  = errors.New("no request was answered")
)

// Percentiles of latencies, in microseconds.
type Percentiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// PercentilesOf reads a histogram of nanoseconds; all are 0 when there is nothing in it.
func PercentilesOf(h *hdrhistogram.Histogram) Percentiles {
	if h.TotalCount() == 0 {
		return Percentiles{}
	}
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / float64(time.Microsecond) }
	return Percentiles{
		P50:  at(50),
		P90:  at(90),
		P99:  at(99),
		P999: at(99.9),
		Max:  float64(h.Max()) / float64(time.Microsecond),
	}
}

// lateness is what the pacer knows of itself. It is written by the pacer only and read when that has ended.
type lateness struct {
	hist *hdrhistogram.Histogram
	err  error
}

func newLateness() lateness {
	return lateness{hist: newHistogram()}
}

func (l *lateness) observe(d time.Duration) { observe(l.hist, d) }

func (l *lateness) close(timer Timer) {
	l.err = errors.Join(l.err, timer.Close())
}
