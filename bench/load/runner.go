package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// runner is one run: its workers, the pacer of an open loop, and the goroutine that reports progress.
type runner struct {
	cfg     Config
	callers []Caller
	rec     *recorder
	late    lateness // of the pacer itself

	began time.Time // of the warm-up
	from  time.Time // calls that are due in [from, to) count
	to    time.Time

	sent     atomic.Int64 // all calls
	lastGood atomic.Int64 // ns from from to the end of the last good counted call
}

func newRunner(cfg Config, callers []Caller) *runner {
	return &runner{cfg: cfg, callers: callers, rec: newRecorder(cfg.Workers), late: newLateness()}
}

func (r *runner) run(ctx context.Context) {
	r.began = time.Now()
	r.from = r.began.Add(r.cfg.Warmup)
	r.to = r.from.Add(r.cfg.Duration)

	var workers, helpers sync.WaitGroup
	done := make(chan struct{})
	helpers.Go(func() { r.report(done) })
	if r.cfg.Rate > 0 {
		slots := make(chan time.Time, len(r.callers)) // full: every worker is busy, and the pacer falls behind in time, not in memory
		helpers.Go(func() { r.pace(ctx, slots) })
		for worker := range r.callers {
			workers.Go(func() { r.open(ctx, worker, slots) })
		}
	} else {
		for worker := range r.callers {
			workers.Go(func() { r.closed(ctx, worker) })
		}
	}
	workers.Wait()
	close(done)
	helpers.Wait()
}

// closed sends the next request when the last one was answered. Each worker sends one at least: a machine that comes to it
// only when a short run is over would make it look as if nothing had been answered.
func (r *runner) closed(ctx context.Context, worker int) {
	for sent := time.Now(); ctx.Err() == nil; {
		if sent = r.call(ctx, worker, sent, sent); !sent.Before(r.to) {
			return
		}
	}
}

// open sends what the pacer hands out. A slot that comes late is sent at once and measured from when it was due.
func (r *runner) open(ctx context.Context, worker int, slots <-chan time.Time) {
	for due := range slots {
		if ctx.Err() != nil {
			continue // the run was cut short: what is left was never due
		}
		sent := time.Now()
		if sent.After(r.to.Add(r.cfg.Drain)) {
			r.rec.addUnsent(worker, sent.Sub(due))
			continue
		}
		r.call(ctx, worker, due, sent)
	}
}

// call makes one call, records it when it counts, and returns when it ended.
func (r *runner) call(ctx context.Context, worker int, due, sent time.Time) time.Time {
	err := r.callers[worker].Call(ctx)
	done := time.Now()
	r.sent.Add(1)
	if r.cfg.Observe != nil {
		r.cfg.Observe(Observation{Due: due, Sent: sent, Done: done, Err: err})
	}
	if due.Before(r.from) || (err != nil && ctx.Err() != nil) { // a call that was broken off tells nothing
		return done
	}
	r.rec.add(worker, done.Sub(due), err)
	if err == nil {
		r.keepLast(int64(done.Sub(r.from)))
	}
	return done
}

func (r *runner) keepLast(end int64) {
	for {
		last := r.lastGood.Load()
		if end <= last || r.lastGood.CompareAndSwap(last, end) {
			return
		}
	}
}

// pace hands out the moments at which requests are due, each when it has come. With all workers busy it blocks, and
// makes up for it afterwards: the moments are computed, not counted from the last one.
func (r *runner) pace(ctx context.Context, slots chan<- time.Time) {
	defer close(slots)
	newTimer := r.cfg.NewTimer
	if newTimer == nil {
		newTimer = NewTimer
	}
	timer, err := newTimer()
	if err != nil {
		r.late.err = err
		return
	}
	plan := newSchedule(r.began, r.cfg.Rate, r.cfg.Warmup+r.cfg.Duration)
	for i := range plan.count {
		due := plan.due(i)
		if i == 0 || time.Until(due) > 0 { // the first is due at once: how late the machine begins counts, too
			if err := timer.Until(due); err != nil {
				r.late.err = err
				break
			}
			r.late.observe(time.Since(due))
		}
		select {
		case slots <- due:
		case <-ctx.Done():
			r.late.close(timer)
			return
		}
	}
	r.late.close(timer)
}

// report collects what was recorded, so that nothing is lost when a run is long, and tells it once a second.
func (r *runner) report(done <-chan struct{}) {
	interval := newCounts()
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	last := r.began
	for {
		select {
		case <-done:
			r.rec.collect(interval)
			return
		case now := <-ticker.C:
			r.rec.collect(interval)
			if r.cfg.Progress != nil {
				r.cfg.Progress(Progress{
					Elapsed: now.Sub(r.began),
					Warming: last.Before(r.from),
					Seconds: now.Sub(last).Seconds(),
					Good:    interval.good.TotalCount(),
					Failed:  interval.bad.TotalCount(),
					P50:     time.Duration(interval.good.ValueAtQuantile(50)),
					P99:     time.Duration(interval.good.ValueAtQuantile(99)),
				})
			}
			interval.reset()
			last = now
		}
	}
}
