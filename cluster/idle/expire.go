package idle

import (
	"context"
	"sync"

	"cloakroom/cluster/session"
)

// expire ends sessions that are over, whether they are looked up or not, until ctx ends.
func (o *office) expire(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	rate := newLimiter(MaxExpireRate)
	slots := make(chan struct{}, ExpiresInFlight)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		keys := o.due()
		if len(keys) == 0 {
			<-slots
			if !sleep(ctx, ExpireInterval) {
				return
			}
			continue
		}
		if !rate.wait(ctx, len(keys)) {
			return
		}
		group.Go(func() {
			o.end(ctx, keys)
			<-slots
		})
	}
}

// due returns sessions that are over as far as the machine knows. It hands them out again after some seconds if they
// still are.
func (o *office) due() (keys []session.Key) {
	now := o.cfg.Clock.Now()
	var oldest session.Time
	var waiting bool
	o.cfg.Machine.Mutate(func(m *session.Machine) {
		keys = m.Due(now, ExpireBatch)
		oldest, waiting = m.OldestDue()
	})
	lag := int64(0)
	if waiting {
		lag = max(0, now.Sub(oldest).Milliseconds())
	}
	o.stats.lag.Store(lag)
	return keys
}

func (o *office) end(ctx context.Context, keys []session.Key) {
	queries := make([]query, len(keys))
	for i, k := range keys {
		queries[i] = query{key: k}
	}
	if _, _, err := o.hear(ctx, queries, false); err != nil {
		o.failed("sessions that are over not ended, will be tried again", err)
	}
}
