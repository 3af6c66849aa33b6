package idle

import (
	"context"
	"time"
)

// Log tells who leads.
type Log interface {
	IsLeader() bool
	LeaderID() string
}

// Follow keeps the estimate right until ctx ends: it asks the leader, or as a leader that has to the others, and guards
// against jumps.
func (c *Clock) Follow(ctx context.Context, log Log, peers Peers) {
	f := follower{clock: c, log: log, peers: peers}
	for sleep(ctx, f.step(ctx)) {
	}
}

type follower struct {
	clock *Clock
	log   Log
	peers Peers

	leader string // that was asked last
	burst  int    // questions to it that are to follow at once
	next   micros // when the next one is due after them, on the monotonic clock
}

// step looks after the clock once and returns the time until the next step.
func (f *follower) step(ctx context.Context) time.Duration {
	f.clock.look()
	switch leader := f.log.LeaderID(); {
	case f.log.IsLeader():
		f.leader, f.burst = "", 0
		f.clock.confirm(ctx, f.log, f.peers)
	case leader != "":
		f.ask(ctx, leader)
	}
	if f.burst > 0 || !f.clock.Synced() {
		return SyncPause
	}
	return GuardInterval
}

// ask asks the leader if that is due. Without an answer the estimate goes on by itself.
func (f *follower) ask(ctx context.Context, leader string) {
	c := f.clock
	mono := c.mono()
	if leader != f.leader || f.burst == 0 && !c.Synced() {
		f.leader, f.burst = leader, SyncBurst
	}
	if f.burst == 0 && mono < f.next {
		return
	}
	f.burst = max(0, f.burst-1)
	f.next = mono + microsIn(SyncInterval)
	jumps := c.jumps.Load()
	told, err := c.askTime(ctx, leader, f.peers)
	if err != nil || told.trust != synced || f.log.IsLeader() {
		return
	}
	c.unless(jumps, func(r *reckoning, mono micros) { r.hear(told.sample, mono) })
}

// unless changes the reckoning if the clock has not jumped since then. A machine that stood still while it waited for
// an answer took it for a fast one.
func (c *Clock) unless(jumpedSince uint64, fn func(r *reckoning, mono micros)) (changed bool) {
	c.look()
	c.change(func(r *reckoning, mono micros) {
		if changed = c.jumps.Load() == jumpedSince; changed {
			fn(r, mono)
		}
	})
	return changed
}
