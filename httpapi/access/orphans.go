package access

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"cloakroom/cluster/session"
)

// orphans ends sessions whose creation had an unknown outcome: their token was given to nobody, and what nobody can
// use or log out of must not stay. Only the node that made the token knows of it, so an orphan outlives that node's
// death until its idle timeout.
type orphans struct {
	base    context.Context
	cluster Cluster
	log     *slog.Logger

	mu      sync.Mutex // above work.Add: none after close
	closed  bool
	pending int
	work    sync.WaitGroup
}

func newOrphans(base context.Context, c Cluster, log *slog.Logger) *orphans {
	return &orphans{base: base, cluster: c, log: log}
}

// end keeps proposing the end of a session until it has certainly ended. Over maxOrphans at once it is dropped, with a
// log line.
func (o *orphans) end(key session.Key, notAfter session.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.pending >= maxOrphans {
		o.log.Warn("a session of unknown outcome is left to its idle timeout", "handle", key.String(), "pending", o.pending)
		return
	}
	o.pending++
	o.work.Go(func() {
		o.run(key, notAfter)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.pending--
	})
}

func (o *orphans) run(key session.Key, notAfter session.Time) {
	ctx, cancel := context.WithTimeout(o.base, orphanGiveUp)
	defer cancel()
	for wait := orphanRetry; ; wait = min(2*wait, orphanMaxWait) {
		_, err := o.cluster.Do(ctx, &session.Invalidate{Key: key, Reason: session.EndedByOrphan})
		if err == nil {
			return
		}
		// "No such session" is final only when the create, wherever it is still under way, would come too late.
		if errors.Is(err, session.ErrSessionInvalid) && o.cluster.Now() > notAfter.Add(orphanMargin) {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			o.log.Warn("a session of unknown outcome is left to its idle timeout", "handle", key.String(), "error", err)
			return
		}
	}
}

// Count returns how many are being ended.
func (o *orphans) Count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pending
}

// Close waits for the goroutines; the base context must have ended.
func (o *orphans) Close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.work.Wait()
}
