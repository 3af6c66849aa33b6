package idle

import (
	"context"
	"sync"
	"time"
)

// limiter spaces work out: who takes a place keeps the next one waiting for as long as the rate asks for. Nothing is
// saved up, so in any second there is no more than the rate and what the last one took.
type limiter struct {
	each time.Duration // for one piece of work

	mu   sync.Mutex
	next time.Time
}

func newLimiter(rate int) *limiter { return &limiter{each: time.Second / time.Duration(rate)} }

// wait returns when n pieces of work may be done; false: ctx ended before, or would.
func (l *limiter) wait(ctx context.Context, n int) bool {
	l.mu.Lock()
	now := time.Now()
	at := now
	if l.next.After(now) {
		at = l.next
	}
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(at) {
		l.mu.Unlock()
		return false
	}
	l.next = at.Add(time.Duration(n) * l.each)
	l.mu.Unlock()
	if !at.After(now) {
		return ctx.Err() == nil
	}
	return sleep(ctx, at.Sub(now))
}
