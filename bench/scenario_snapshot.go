package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// snapshotUnderLoad measures lookups while the nodes write their state down.
type snapshotUnderLoad struct{}

var _ scenario = snapshotUnderLoad{}

const (
	whileSnapshot = "during a snapshot"
	snapshots     = "snapshots"
)

func (snapshotUnderLoad) about() about {
	return about{
		Name: "snapshot", What: "latency of lookups (GET /auth/verify) on the leader beside 300 puts a second of 4 KiB, without a snapshot, and from a measurement's length before the first node has finished one to when the others have. Nodes take one after 256 MiB of log, which is put beforehand",
		Loop: openLoop, Main: append([]string{snapshots}, latencies...), OwnOnly: true,
	}
}

// snapshotting is one run of the scenario.
type snapshotting struct {
	f      *field
	few    *peer.Sessions // that puts go to
	others *peer.Sessions // that are looked up
	log    int64          // bytes after which nodes take a snapshot
}

func (snapshotUnderLoad) begin(ctx context.Context, f *field) ([]turn, error) {
	s := &snapshotting{f: f, log: int64(f.set.SnapshotLog) << 20}
	s.few, s.others = f.sessions.Split(min(snapshotSessions, f.sessions.Len()/2))
	f.app.progressf("snapshot: filling the logs up to the first one")
	// From then on it is known how much log there is.
	if _, err := s.until(ctx, 0, nil); err != nil {
		return nil, err
	}
	return []turn{{name: us, take: s.take}}, nil
}

func (s *snapshotting) take(ctx context.Context) ([]sample, error) {
	without, err := s.without(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.prime(ctx); err != nil {
		return nil, err
	}
	var saw seen
	taken, err := s.until(ctx, s.f.set.Rate, &saw)
	if err != nil {
		return nil, err
	}
	with := saw.between(taken.first.Add(-s.f.set.RoundTime), taken.last)
	if with.Figures[failed] > 0 && !s.f.set.AllowErrors {
		return nil, fmt.Errorf("%w: %g during a snapshot", load.ErrFailures, with.Figures[failed])
	}
	with.Figures[snapshots] = float64(taken.count)
	without.Figures[snapshots] = 0
	return []sample{{Who: quiet, reading: without}, {Who: whileSnapshot, reading: with}}, nil
}

// leaderLookup is what is measured.
func (s *snapshotting) leaderLookup(ctx context.Context) (load.Open, error) {
	at, err := s.f.lead(ctx)
	if err != nil {
		return nil, err
	}
	return at.service.Lookup(s.others, peer.Verify, ""), nil
}

func (s *snapshotting) puts() load.Open { return s.f.service.Put(s.few, peer.MaxValue) }

// without measures beside the same puts, while no snapshot is due.
func (s *snapshotting) without(ctx context.Context) (reading, error) {
	lookup, err := s.leaderLookup(ctx)
	if err != nil {
		return reading{}, err
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	var ignored *load.Result
	puts := newTogether(running)
	puts.run(&ignored, load.Config{Workers: openConnections, Duration: load.MaxDuration, Rate: snapshotPuts, Open: s.puts()})
	r, err := take(ctx, nil, s.f.set.open(lookup), s.f.set.AllowErrors)
	cancel()
	return r, errors.Join(err, puts.wait())
}

// prime fills the log up to a little below where a snapshot is taken.
func (s *snapshotting) prime(ctx context.Context) error {
	return s.f.app.putLog(ctx, s.puts(), openConnections, int64(snapshotPrimed*float64(s.log))/peer.MaxValue)
}

// putLog puts so often, as fast as it goes.
func (a *app) putLog(ctx context.Context, open load.Open, workers int, puts int64) error {
	if puts <= 0 {
		return nil
	}
	a.progressf("%d puts to fill the logs", puts)
	primed, enough := context.WithCancel(ctx)
	defer enough()
	var done atomic.Int64
	_, err := load.Run(primed, load.Config{
		Workers: workers, Duration: load.MaxDuration, Open: open,
		Observe: func(o load.Observation) {
			if o.Err == nil && done.Add(1) == puts {
				enough()
			}
		},
	})
	return errors.Join(err, ctx.Err())
}

// taken is when the nodes had taken a snapshot.
type taken struct {
	first, last time.Time
	count       int
}

// over says whether all nodes have taken one, or some have and the others had their time: one whose log was shorter may need
// long.
func (t taken) over(nodes int, grace time.Duration) bool {
	return t.count >= nodes || t.count > 0 && time.Since(t.first) > grace
}

// until puts, and looks up at that rate, until the nodes have taken a snapshot. Without lookups it puts as fast as it can.
func (s *snapshotting) until(ctx context.Context, rate float64, saw *seen) (t taken, err error) {
	ctx, cancel := context.WithTimeout(ctx, snapshotAtMost)
	defer cancel()
	before, err := s.f.cluster.Counts(ctx)
	if err != nil {
		return t, err
	}
	var results [2]*load.Result
	loads := newTogether(ctx)
	puts := load.Config{Workers: openConnections, Duration: load.MaxDuration, Open: s.puts()}
	if rate > 0 {
		puts.Rate = snapshotPuts
		lookup, err := s.leaderLookup(ctx)
		if err != nil {
			return t, err
		}
		loads.run(&results[1], load.Config{Workers: openConnections, Duration: load.MaxDuration, Rate: rate, Open: lookup, Observe: saw.observe})
	}
	loads.run(&results[0], puts)
	for err == nil && !t.over(len(s.f.cluster.PIDs()), max(snapshotGrace, s.f.set.RoundTime)) {
		var now peer.Counts
		if now, err = s.f.cluster.Counts(ctx); err != nil {
			break
		}
		if n := now.Snapshots - before.Snapshots; n > t.count {
			if t.count == 0 {
				t.first = time.Now()
			}
			t.count, t.last = n, time.Now()
		}
		err = wait(ctx, watchPause)
	}
	cancel()
	err = errors.Join(err, loads.wait())
	if err != nil && results[0] != nil {
		err = explained(fmt.Errorf("no snapshot was taken within %v and %d puts: %w", snapshotAtMost, results[0].Good, err), results[0])
	}
	return t, err
}

// seen remembers calls, so that it can be decided later which of them count.
type seen struct {
	mu    sync.Mutex
	calls []load.Observation
}

func (s *seen) observe(o load.Observation) {
	if errors.Is(o.Err, context.Canceled) {
		return // the run was over
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, o)
}

// pause returns the longest time between the ends of two calls, or from that moment to the first.
func (s *seen) pause(from time.Time) (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends := []time.Time{from}
	for _, c := range s.calls {
		ends = append(ends, c.Done)
	}
	slices.SortFunc(ends, time.Time.Compare)
	for i, end := range ends[1:] {
		longest = max(longest, end.Sub(ends[i]))
	}
	return longest
}

// between returns the latencies of what was under way in that time.
func (s *seen) between(from, to time.Time) reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := hdrhistogram.New(int64(time.Microsecond), int64(load.MaxLatency), 3)
	var good, bad int
	for _, c := range s.calls {
		switch {
		case c.Done.Before(from) || c.Due.After(to):
		case c.Err != nil:
			bad++
		default:
			good++
			_ = h.RecordValue(int64(min(c.Done.Sub(c.Due), load.MaxLatency))) // it fits by construction
		}
	}
	r := reading{Figures: map[string]float64{failed: float64(bad)}, Curve: curveOf(h)}
	if good > 0 {
		r.latencies(h)
	}
	return r
}
