package load

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// server is a fake that answers after its service time, and not at all while it stands still.
type server struct {
	service time.Duration
	fail    func(n int) error // of the n-th call; nil: never

	mu         sync.Mutex
	calls      int
	stillFrom  time.Time
	stillUntil time.Time
	closed     int
}

func (s *server) Call(ctx context.Context) error {
	s.mu.Lock()
	n := s.calls
	s.calls++
	from, until := s.stillFrom, s.stillUntil
	s.mu.Unlock()
	if now := time.Now(); !now.Before(from) && now.Before(until) {
		time.Sleep(until.Sub(now))
	}
	time.Sleep(s.service)
	if s.fail != nil {
		return s.fail(n)
	}
	return nil
}

func (s *server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed++
	return nil
}

func (s *server) open(context.Context, int) (Caller, error) { return s, nil }

func sleepTimer() (Timer, error) { return SleepTimer{}, nil }

func TestClosedLoopMeasuresThroughput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{service: 10 * time.Millisecond}
		res, err := Run(t.Context(), Config{Workers: 4, Duration: 10 * time.Second, Warmup: time.Second, Open: s.open})
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Err(); err != nil {
			t.Fatal(err)
		}
		if res.Good != 4000 || res.Sent != 4400 {
			t.Errorf("%d good of %d sent, want 4000 of 4400: 4 workers, 100 a second each, the warm-up not counted", res.Good, res.Sent)
		}
		if res.Elapsed != 10*time.Second || res.PerSecond() != 400 {
			t.Errorf("%v a second in %v, want 400 in 10s", res.PerSecond(), res.Elapsed)
		}
		if s.calls != 4400 || s.closed != 4 {
			t.Errorf("%d calls and %d callers closed, want 4400 and 4", s.calls, s.closed)
		}
	})
}

func TestOpenLoopKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{service: 10 * time.Millisecond}
		start := time.Now()
		var mu sync.Mutex
		due := make(map[time.Duration]bool)
		res, err := Run(t.Context(), Config{
			Workers: 8, Duration: 5 * time.Second, Rate: 100, Open: s.open, NewTimer: sleepTimer,
			Observe: func(o Observation) {
				mu.Lock()
				defer mu.Unlock()
				due[o.Due.Sub(start)] = true
				if !o.Sent.Equal(o.Due) {
					t.Errorf("due after %v, sent after %v", o.Due.Sub(start), o.Sent.Sub(start))
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if res.Good != 500 || res.Err() != nil {
			t.Errorf("%d good, %v; want 500", res.Good, res.Err())
		}
		for i := range 500 {
			if !due[time.Duration(i)*10*time.Millisecond] {
				t.Fatalf("nothing was due at %d/100 s", i)
			}
		}
		if got := time.Duration(res.Latency.Max()).Round(time.Millisecond); got != 10*time.Millisecond {
			t.Errorf("longest latency %v, want the service time", got)
		}
	})
}

// The server stands still for a second of ten: every request that was due in it must show, so the 99th percentile
// (the worst tenth of that second) is 900 ms. A closed loop asks nothing in that second and would show 10 ms.
func TestOpenLoopShowsAStall(t *testing.T) {
	stalled := func(t *testing.T, rate float64) *Result {
		s := &server{service: 10 * time.Millisecond}
		s.stillFrom = time.Now().Add(4 * time.Second)
		s.stillUntil = s.stillFrom.Add(time.Second)
		// Few workers: most requests of that second wait for a free one, as they would for a free connection.
		res, err := Run(t.Context(), Config{Workers: 16, Duration: 10 * time.Second, Rate: rate, Open: s.open, NewTimer: sleepTimer})
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Err(); err != nil {
			t.Fatal(err)
		}
		return res
	}
	synctest.Test(t, func(t *testing.T) {
		res := stalled(t, 1000)
		if res.Good != 10_000 {
			t.Fatalf("%d good, want 10000: a stall must not lower what is asked", res.Good)
		}
		p := PercentilesOf(res.Latency)
		if p.P99 < 850_000 || p.Max < 1_000_000 {
			t.Errorf("p99 %v µs, max %v µs: the stall of a second does not show", p.P99, p.Max)
		}
		if p.P50 > 20_000 {
			t.Errorf("p50 %v µs: one second of ten should not reach the median", p.P50)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		if p := PercentilesOf(stalled(t, 0).Latency); p.P99 > 20_000 {
			t.Errorf("closed loop: p99 %v µs; this test no longer tells the loops apart", p.P99)
		}
	})
}

// A run that is over before the machine comes to it has asked once from each worker, and knows how late it was itself.
func TestRunThatIsOverAtOnce(t *testing.T) {
	s := &server{}
	res, err := Run(t.Context(), Config{Workers: 3, Duration: time.Nanosecond, Open: s.open})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Err(); err != nil || res.Good < 3 {
		t.Errorf("closed loop: %d good, %v", res.Good, err)
	}
	res, err = Run(t.Context(), Config{Workers: 3, Duration: time.Second / MaxRate, Rate: MaxRate, Open: s.open})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Err(); err != nil || res.Good != 1 || res.Late.TotalCount() != 1 {
		t.Errorf("open loop: %d good, %v, %d times late", res.Good, err, res.Late.TotalCount())
	}
}

func TestOverloadIsCountedAsUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{service: 100 * time.Millisecond} // one worker: 10 a second
		res, err := Run(t.Context(), Config{
			Workers: 1, Duration: 10 * time.Second, Drain: 5 * time.Second, Rate: 100, Open: s.open, NewTimer: sleepTimer,
		})
		if err != nil {
			t.Fatal(err)
		}
		if total := res.Good + res.Failed; total != 1000 {
			t.Errorf("%d good and %d failed, want 1000 together", res.Good, res.Failed)
		}
		if res.Good != 151 || res.Unsent != 849 || res.Failures[labelUnsent].Count != 849 {
			t.Errorf("%d good, %d unsent; want 151 (10 a second for 15 s) and 849", res.Good, res.Unsent)
		}
		if !errors.Is(res.Err(), ErrFailures) {
			t.Errorf("outcome %v, want %v", res.Err(), ErrFailures)
		}
	})
}

func TestFailuresAreNotAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{service: time.Millisecond, fail: func(n int) error {
			switch n % 4 {
			case 1:
				return labelled("503")
			case 2:
				return context.DeadlineExceeded
			}
			return nil
		}}
		var progress []Progress
		res, err := Run(t.Context(), Config{
			Workers: 1, Duration: 4 * time.Second, Open: s.open,
			Progress: func(p Progress) { progress = append(progress, p) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if res.Good != 2000 || res.Failed != 2000 || res.Failures["503"].Count != 1000 || res.Failures[labelTimeout].Count != 1000 {
			t.Errorf("%d good, %d failed: %v", res.Good, res.Failed, res.Failures)
		}
		if res.PerSecond() != 500 {
			t.Errorf("%v a second: failures must not count as throughput", res.PerSecond())
		}
		if !errors.Is(res.Err(), ErrFailures) {
			t.Errorf("outcome %v, want %v", res.Err(), ErrFailures)
		}
		if n := len(progress); n < 3 || progress[1].Failed < 499 || progress[1].Failed > 501 || progress[1].Good < 499 { // a call may end as a second does
			t.Errorf("progress %+v", progress)
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	for name, rate := range map[string]float64{"closed": 0, "open": 1000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				s := &server{service: 10 * time.Millisecond}
				start := time.Now()
				res, err := Run(ctx, Config{Workers: 2, Duration: time.Hour, Rate: rate, Open: s.open, NewTimer: sleepTimer})
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took > 3*time.Second {
					t.Errorf("went on for %v", took)
				}
				if !res.CutShort || !errors.Is(res.Err(), ErrCutShort) || s.closed != 2 {
					t.Errorf("cut short %v, outcome %v, %d callers closed", res.CutShort, res.Err(), s.closed)
				}
				if res.PerSecond() < 190 || res.PerSecond() > 201 {
					t.Errorf("%v a second, want 200: an hour was planned, two seconds passed", res.PerSecond())
				}
			})
		})
	}
}

func TestCallersAreClosedWhenOneCannotBeOpened(t *testing.T) {
	s := &server{}
	broken := errors.New("no more connections")
	_, err := Run(t.Context(), Config{Workers: 3, Duration: time.Second, Open: func(ctx context.Context, worker int) (Caller, error) {
		if worker == 1 {
			return nil, broken
		}
		return s, nil
	}})
	if !errors.Is(err, broken) || s.closed != 2 {
		t.Errorf("%v, %d callers closed; want %v and 2", err, s.closed, broken)
	}
}

func TestValidate(t *testing.T) {
	good := Config{Workers: 1, Duration: time.Second, Open: (&server{}).open}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"workers":         func(c *Config) { c.Workers = 0 },
		"need 1 to":       func(c *Config) { c.Workers = MaxWorkers + 1 },
		"duration":        func(c *Config) { c.Duration = 0 },
		"warm-up":         func(c *Config) { c.Warmup = -1 },
		"rate -1":         func(c *Config) { c.Rate = -1 },
		"rate 2e+07":      func(c *Config) { c.Rate = 2 * MaxRate },
		"not one request": func(c *Config) { c.Rate = 0.5 },
		"drain":           func(c *Config) { c.Drain = -1 },
		"no caller":       func(c *Config) { c.Open = nil },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error that says %q", err, want)
		}
	}
}
