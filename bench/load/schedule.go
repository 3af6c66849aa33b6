package load

import (
	"math"
	"time"
)

// schedule is the arithmetic of an open loop: request i is due at start + i/rate, and nothing that happens to other
// requests moves it.
type schedule struct {
	start time.Time
	rate  float64 // a second, > 0
	count int64   // requests 0 … count-1
}

// newSchedule plans every request that is due in [start, start+length).
func newSchedule(start time.Time, rate float64, length time.Duration) schedule {
	s := schedule{start: start, rate: rate}
	s.count = int64(math.Ceil(rate * length.Seconds()))
	for s.count > 0 && s.offset(s.count-1) >= length { // rounding may put the last one on the end itself
		s.count--
	}
	return s
}

// offset is multiplied out from i each time: added up, the rounding of 1/rate would drift over a long run.
func (s schedule) offset(i int64) time.Duration {
	return time.Duration(math.Round(float64(i) / s.rate * float64(time.Second)))
}

func (s schedule) due(i int64) time.Time {
	return s.start.Add(s.offset(i))
}
