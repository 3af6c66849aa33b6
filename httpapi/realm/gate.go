package realm

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// gate lets a bounded number of callers in at once, and lets a bounded number of others wait. Whoever would be over
// both, or would wait for too long, is refused with ErrBusy at once: a flood of logins must not pile up.
type gate struct {
	slots   chan struct{}
	queue   int64
	within  time.Duration // who would probably wait for longer is refused; 0: nobody is
	waiting atomic.Int64
	stay    atomic.Int64 // nanoseconds that callers stay inside: a moving mean
	refused atomic.Uint64
}

func newGate(slots, queue int, within time.Duration) *gate {
	return &gate{slots: make(chan struct{}, slots), queue: int64(queue), within: within}
}

// enter takes a place, waiting for one if need be. Each successful enter needs one call of what it returns.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("wait for a turn: %w", err)
	}
	select {
	case g.slots <- struct{}{}:
		return g.entered(), nil
	default:
	}
	if waiting := g.waiting.Add(1); waiting > g.queue || g.tooLong(waiting) {
		g.waiting.Add(-1)
		g.refused.Add(1)
		return nil, ErrBusy
	}
	defer g.waiting.Add(-1)
	select {
	case g.slots <- struct{}{}:
		return g.entered(), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a turn: %w", ctx.Err())
	}
}

// tooLong reports whether the last of so many that wait would wait for longer than it may.
func (g *gate) tooLong(waiting int64) bool {
	turns := (waiting + int64(cap(g.slots)) - 1) / int64(cap(g.slots))
	return g.within > 0 && time.Duration(turns*g.stay.Load()) > g.within
}

func (g *gate) entered() (leave func()) {
	begun := time.Now()
	return func() {
		// Two that leave at once may lose one of their times: it is a mean.
		stay, mean := int64(time.Since(begun)), g.stay.Load()
		if mean == 0 {
			mean = stay
		}
		g.stay.Store(mean + (stay-mean)/stayWeight)
		<-g.slots
	}
}
