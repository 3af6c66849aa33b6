package load

import "time"

// Limits of one run. They keep a mistyped number from taking the machine down.
const (
	MaxWorkers  = 16384          // each has a connection and its buffers
	MaxDuration = 24 * time.Hour // of a run, of its warm-up and of its draining
	MaxRate     = 10_000_000     // requests a second: a due time needs more than a nanosecond between two

	// DefaultDrain is how long an open loop goes on sending what is overdue when its time is over. What is left then
	// is counted as failed: a server that never catches up must not look like one that was asked less.
	DefaultDrain = 10 * time.Second

	// MaxLatency is the longest latency that the histograms tell apart; longer ones count as this one.
	MaxLatency = 10 * time.Minute
)

const (
	minLatency   = time.Microsecond // resolution of the histograms
	digits       = 3                // significant decimal digits of the histograms
	maxShards    = 8                // histograms that are written to at the same time; each holds some 200 KiB
	maxOpening   = 64               // callers opened at the same time
	maxLabels    = 32               // kinds of failure told apart; further ones count as labelOther
	maxExample   = 300              // bytes kept of the first error of each kind
	tickInterval = time.Second      // between two calls of Progress
)
