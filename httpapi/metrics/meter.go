package metrics

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/histogram"
)

// Meter counts one route's answers and times. Counting is three atomic adds: a lookup must not pay for its metrics
// what the client library's vectors cost.
type Meter struct {
	status  [500]atomic.Uint64 // by status, from 100
	took    histogram.Histogram
	stripes []stripe // of the lane, which adds to nothing that all connections share; nil: not on the lane
}

// stripe is a part of the connections. Its size keeps processors from taking each other's cache lines, and those that are
// fetched along with them.
type stripe struct {
	good atomic.Uint64 // answers, all 200
	took histogram.Histogram
	_    [256 - 8*(histogram.Buckets+3)]byte
}

// TimeOne says of how many answers of the lane one is timed, and counts for as many. The others would pay for the look at
// the clock a tenth of what they cost in all.
const TimeOne = 8

// maxStripes bounds the memory of a meter on a machine with very many processors: 16 KiB.
const maxStripes = 64

// Stripe makes the meter fit for the lane: as many stripes as make it rare that two processors are on one.
func (m *Meter) Stripe() {
	n := min(4*runtime.GOMAXPROCS(0), maxStripes)
	m.stripes = make([]stripe, 1<<bits.Len(uint(n-1)))
}

// Observe counts an answer of the handlers.
func (m *Meter) Observe(status int, d time.Duration) {
	if i := status - 100; i >= 0 && i < len(m.status) {
		m.status[i].Add(1)
	}
	m.took.Observe(d)
}

// Passed counts an answer of the lane, on a connection of that turn.
func (m *Meter) Passed(turn uint32, start time.Time) {
	s := &m.stripes[turn&uint32(len(m.stripes)-1)]
	if s.good.Add(1)%TimeOne == 0 {
		s.took.ObserveMany(time.Since(start), TimeOne)
	}
}

// Counts returns what was counted, by status from 100.
func (m *Meter) Counts() (status [500]uint64, took histogram.Counts) {
	for i := range m.status {
		status[i] = m.status[i].Load()
	}
	m.took.AddTo(&took)
	for i := range m.stripes {
		status[fasthttp.StatusOK-100] += m.stripes[i].good.Load()
		m.stripes[i].took.AddTo(&took)
	}
	return status, took
}
