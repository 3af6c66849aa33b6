package access

import (
	"context"
	"sync/atomic"
	"time"
)

// deadlines hands out contexts that end some time after a request has come in. All requests of one second share one:
// nearly every lookup is answered from memory, and one that never waits must not pay for a timer of its own.
type deadlines struct {
	base   context.Context
	length time.Duration
	latest atomic.Pointer[deadline]
}

// deadline is what the requests of one second share.
type deadline struct {
	context.Context
	cancel context.CancelFunc
	from   time.Time
}

// deadlineStep is how much longer than another one a request may wait.
const deadlineStep = time.Second

func newDeadlines(base context.Context, length time.Duration) *deadlines {
	return &deadlines{base: base, length: length}
}

// Until returns a context for a request that came in at start. It ends no sooner than length after that, and about
// deadlineStep later at most, or with base. It is not the request's own: it stays as it is when the request is over.
func (p *deadlines) Until(start time.Time) context.Context {
	latest := p.latest.Load()
	if latest != nil && start.Sub(latest.from) < deadlineStep {
		return latest.Context
	}
	next := &deadline{from: start}
	next.Context, next.cancel = context.WithDeadline(p.base, start.Add(p.length+deadlineStep))
	if !p.latest.CompareAndSwap(latest, next) { // somebody else of the same moment was faster
		next.cancel()
		return p.latest.Load().Context
	}
	return next.Context // whoever has the one before still needs it: its timer ends it
}
