package lease

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Never is what Next says when nothing is due.
const Never Time = math.MaxInt64

// Bounds of Config.
const (
	// MinDuration keeps the fractions of a lease, below, apart from zero.
	MinDuration = time.Millisecond
	// MaxDuration bounds how long a lost node can delay writes. Products with Rate stay far from overflow.
	MaxDuration = 10 * time.Minute
	// MaxRate is half: clocks that differ by more are broken.
	MaxRate = 500
)

// Bounds of an office's tables.
const (
	// maxRecords bounds the leases that are out, several boots of a member that crashes again and again included. One
	// more is not granted; the member asks again.
	maxRecords = 1024
	// maxServed bounds the nodes for which it is known one by one when they last could answer. Above it they are known
	// by the latest of them.
	maxServed = 1024
)

// retry is how long a member waits for an answer, or for a lease that it was not granted, before it reports again.
const retry = 50 * time.Millisecond

// period is how often a leader at rest proposes a tick: a fifth of a lease. Members report as soon as they have applied it,
// so that what they hold has some four fifths left at its lowest.
func (c Config) period() time.Duration { return c.Duration / 5 }

// rest is how long a member reports nothing when nothing is applied either. It is longer than a period, so that at rest
// the report that follows a tick is the only one; without ticks, what was granted has 11/20 left even if report and tick
// have just missed each other.
func (c Config) rest() time.Duration { return c.Duration / 4 }

// retry is shorter than usual with leases that are.
func (c Config) retry() time.Duration { return min(retry, c.Duration/10) }

// patience is how long a member with a lease may take to come as far as its leader was. Writes wait for it meanwhile.
func (c Config) patience() time.Duration { return c.Duration / 4 }

// again is how often what a hand-over waits for is asked for again.
func (c Config) again() time.Duration { return c.Duration / 20 }

// slower returns what certainly has not passed on another clock when d has passed on this one, or the other way round:
// d(1−ε), rounded down.
func (c Config) slower(d time.Duration) time.Duration { return d * time.Duration(1000-c.Rate) / 1000 }

// faster returns what has certainly passed on every clock when it has on this one, where d has passed on one: d(1+ε),
// rounded up.
func (c Config) faster(d time.Duration) time.Duration {
	return (d*time.Duration(1000+c.Rate) + 999) / 1000
}

// window is how old an anchor may be for a grant: D(1−ε)−M. What would be left of an older one is eaten up by the
// allowances that the member makes.
func (c Config) window() time.Duration { return c.slower(c.Duration) - c.Margin }

// own is how long a leader's own lease lasts: D−M. Its anchor is of its own clock, so rates don't matter here; a new
// leader allows for them.
func (c Config) own() time.Duration { return c.Duration - c.Margin }

// outlast is how long after the last sign of a former leader its leases have certainly ended, on whatever clock:
// D(1+ε)+M, and one for "after".
func (c Config) outlast() time.Duration { return c.faster(c.Duration) + c.Margin + 1 }

// Validate returns why leases can't work so.
func (c Config) Validate() error {
	switch {
	case c.Self == "":
		return errors.New("lease: a node without an id")
	case c.Duration < MinDuration || c.Duration > MaxDuration:
		return fmt.Errorf("lease: duration %v is not from %v to %v", c.Duration, MinDuration, MaxDuration)
	case c.Rate < 0 || c.Rate > MaxRate:
		return fmt.Errorf("lease: clock rates that differ by %d thousandths", c.Rate)
	case c.Margin < 0 || c.window() <= c.period()+c.rest():
		return fmt.Errorf("lease: margin %v leaves nothing of leases of %v", c.Margin, c.Duration)
	}
	return nil
}
