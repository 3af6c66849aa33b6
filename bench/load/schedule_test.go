package load

import (
	"testing"
	"time"
)

func TestScheduleIsArithmetic(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, c := range []struct {
		rate   float64
		length time.Duration
		count  int64
		last   time.Duration // offset of the last request
	}{
		{rate: 10, length: time.Second, count: 10, last: 900 * time.Millisecond},
		{rate: 1, length: time.Second, count: 1, last: 0},
		{rate: 3, length: time.Second, count: 3, last: 666666667 * time.Nanosecond},
		{rate: 0.5, length: 5 * time.Second, count: 3, last: 4 * time.Second},
		{rate: 10, length: 950 * time.Millisecond, count: 10, last: 900 * time.Millisecond},
		{rate: 1e6, length: time.Hour, count: 3_600_000_000, last: time.Hour - time.Microsecond},
	} {
		s := newSchedule(start, c.rate, c.length)
		if s.count != c.count {
			t.Errorf("rate %v for %v: %d requests, want %d", c.rate, c.length, s.count, c.count)
		}
		if got := s.due(0); !got.Equal(start) {
			t.Errorf("rate %v: first due at %v, want the start", c.rate, got)
		}
		if got := s.due(s.count - 1).Sub(start); got != c.last {
			t.Errorf("rate %v for %v: last due after %v, want %v", c.rate, c.length, got, c.last)
		}
	}
}

// An interval of 1/3 s has no exact value in nanoseconds: added up, it would be a third of a millisecond off after a
// million requests.
func TestScheduleDoesNotDrift(t *testing.T) {
	start := time.Unix(0, 0)
	s := newSchedule(start, 3, 24*time.Hour)
	for i := int64(0); i < s.count; i += 3 {
		if got, want := s.due(i).Sub(start), time.Duration(i/3)*time.Second; got != want {
			t.Fatalf("request %d due after %v, want %v", i, got, want)
		}
	}
}
