package wire

import (
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
)

// Streams tick at the same moments, whenever they were made, a period apart and never right after each other.
func TestBeat(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		const period = 500 * time.Millisecond
		for _, start := range []time.Duration{0, 1, period / 2, period/2 - 1, period - 1, 123 * time.Millisecond} {
			time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second + start)))
			wait := untilBeat(period)
			if wait < period/2 || wait > period+period/2 {
				t.Errorf("%v after a beat: the first in %v", start, wait)
			}
			time.Sleep(wait)
			if off := time.Since(time.Now().Truncate(period)); off != 0 {
				t.Errorf("%v after a beat: the next is %v off", start, off)
			}
			if wait := untilBeat(period); wait != period {
				t.Errorf("at a beat: the next in %v", wait)
			}
		}
	})
}
