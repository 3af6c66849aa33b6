package access

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
)

// Requests of one moment share a deadline, no request has less than its time, and the end of the server ends them all.
func TestDeadlines(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		base, cancel := context.WithCancel(t.Context())
		d := newDeadlines(base, 10*time.Second)
		start := time.Now()
		first := d.Until(start)
		var last context.Context
		for wait := time.Duration(0); wait < 3*time.Second; wait += 100 * time.Millisecond {
			at := start.Add(wait)
			last = d.Until(at)
			end, ok := last.Deadline()
			if least, most := at.Add(10*time.Second), at.Add(11*time.Second); !ok || end.Before(least) || end.After(most) {
				t.Errorf("after %v: ends %v after that", wait, end.Sub(at))
			}
			if wait < time.Second != (last == first) {
				t.Errorf("after %v: shared with the first: %v", wait, last == first)
			}
		}
		if shared := testing.AllocsPerRun(100, func() { d.Until(start.Add(3 * time.Second)) }); shared > 0 {
			t.Errorf("a lookup pays for its deadline: %v allocations", shared)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if first.Err() == nil || last.Err() != nil {
			t.Errorf("after 11 s: the first %v, one of 3 s later %v", first.Err(), last.Err())
		}
		cancel()
		synctest.Wait()
		if last.Err() == nil || d.Until(time.Now()).Err() == nil {
			t.Error("goes on when the server is closed")
		}
	})
}
