package realm

import (
	"context"
	"fmt"
	"sync/atomic"
)

// gate lets a bounded number of callers in at once, and lets a bounded number of others wait. Whoever would be over
// both is refused with ErrBusy at once: a flood of logins must not pile up.
type gate struct {
	slots   chan struct{}
	queue   int64
	waiting atomic.Int64
	refused atomic.Uint64
}

func newGate(slots, queue int) *gate {
	return &gate{slots: make(chan struct{}, slots), queue: int64(queue)}
}

// enter takes a place, waiting for one if need be. Each successful enter needs one leave.
func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for a turn: %w", err)
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	if g.waiting.Add(1) > g.queue {
		g.waiting.Add(-1)
		g.refused.Add(1)
		return ErrBusy
	}
	defer g.waiting.Add(-1)
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a turn: %w", ctx.Err())
	}
}

func (g *gate) leave() { <-g.slots }
