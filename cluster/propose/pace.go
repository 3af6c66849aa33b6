package propose

import (
	"context"
	"sync"
	"time"
)

// pace says when an entry is proposed. What an entry costs, in messages, wakings and writes to the disks of all nodes,
// hardly depends on how many commands it has: the more share one, the more a cluster can do. What they wait for is bounded.
//
//   - While little comes it is proposed at once, beside the entries that are on their way; and so is a full entry always.
//   - When more comes it is gathered while an entry is on its way. No command waits for that longer than MaxHold: far members
//     or a slow disk then cost one round each, and not two.
//   - Under load (Crowd) those who have just been answered ask again in a moment: an entry waits for as many commands as the
//     last one had, as long as an entry takes, and never longer than MaxHold. Now and then it waits for some more, and goes
//     on like that if they come in time; if they do not, all that could wait did, and more patience would be time lost.
type pace struct {
	pool  *pool
	slots chan struct{} // one for each entry that is proposed and not yet applied
	freed chan struct{} // capacity 1: an entry was applied

	// Of the merger's goroutine.
	last   int // commands of the last entry
	wanted int // commands that the next is to have; 0: as many as there are
	calm   int // entries until more are asked for than the last had

	mu    sync.Mutex
	done  time.Time     // when an entry was applied last
	round time.Duration // how long that took since it was proposed, smoothed
}

func newPace(p *pool) *pace {
	return &pace{pool: p, slots: make(chan struct{}, MaxEntriesInFlight), freed: make(chan struct{}, 1)}
}

// wait returns when an entry is to be proposed; it has a slot then. False: ctx has ended.
func (p *pace) wait(ctx context.Context) bool {
	for !p.pool.enough(1) {
		select {
		case <-p.pool.wake:
		case <-ctx.Done():
			return false
		}
	}
	if !p.gather(ctx) {
		return false
	}
	select {
	case p.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// gather waits for more commands, if that is worth it.
func (p *pace) gather(ctx context.Context) bool {
	begun := time.Time{}
	for {
		want, until := p.want()
		if p.pool.enough(want) {
			return true
		}
		now := time.Now()
		if begun.IsZero() {
			begun = now
		}
		if limit := begun.Add(MaxHold); until.IsZero() || limit.Before(until) {
			until = limit
		}
		if !now.Before(until) {
			return true
		}
		timer := time.NewTimer(until.Sub(now))
		select {
		case <-p.pool.wake:
		case <-p.freed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
		timer.Stop()
	}
}

// want returns how many commands are to be waited for, and until when; zero: as long as MaxHold allows.
func (p *pace) want() (commands int, until time.Time) {
	if n := len(p.slots); n >= FreeEntries || n > 0 && p.last >= Few {
		return MaxEntryCommands, time.Time{}
	}
	if p.wanted == 0 {
		return 1, time.Time{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wanted, p.done.Add(p.round)
}

// proposed is told of each entry.
func (p *pace) proposed(commands int) {
	p.last = commands
	switch {
	case commands < p.wanted:
		p.calm = calmEntries
	case p.calm > 0:
		p.calm--
	}
	switch {
	case commands < Crowd:
		p.wanted = 0
	case p.calm > 0:
		p.wanted = commands
	default:
		p.wanted = min(commands+commands/4, MaxEntryCommands)
	}
}

// applied is told of an entry that was applied, or has failed. Its slot is free then.
func (p *pace) applied(since time.Time) {
	now := time.Now()
	p.mu.Lock()
	p.done = now
	p.round += (now.Sub(since) - p.round) / smoothing
	p.mu.Unlock()
	p.release()
}

// release frees a slot.
func (p *pace) release() {
	<-p.slots
	signal(p.freed)
}
