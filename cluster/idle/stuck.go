package idle

import (
	"context"
	"time"
)

// watch gives this node's lease back while it can't bring its uses to the leader, until ctx ends. There must be leases.
func (s *sender) watch(ctx context.Context) {
	for {
		select {
		case <-s.aloft:
		case <-ctx.Done():
			return
		}
		for s.look() {
			if !sleep(ctx, AckInterval) {
				return
			}
		}
	}
}

// look decides whether this node is stuck, and reports whether there is anything to decide about.
func (s *sender) look() (watch bool) {
	k := s.keeper
	unheard, watch := s.unheard()
	stuck := unheard >= AckPatience
	if stuck == k.stuck.Load() {
		return watch
	}
	k.stuck.Store(stuck) // before the lease goes: a lookup that finds no lease any more knows
	if stuck {
		k.cfg.Leases.GiveBack(stuckReason) // with its reason; what is granted in between goes with the next
		k.cfg.Leases.Want(false)
		k.cfg.Logger.Warn("the leader does not take last uses: this node goes without a read lease", "for", unheard)
		return watch
	}
	k.cfg.Leases.Want(true)
	k.cfg.Logger.Info("the leader takes last uses again")
	return watch
}

// unheard is for how long the leader has not been heard of about what was brought to it, at the worst.
func (s *sender) unheard() (longest time.Duration, any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, flights := range [][]*flight{s.failed, s.flying} {
		for _, f := range flights {
			longest, any = max(longest, now.Sub(f.heard)), true
		}
	}
	return longest, any
}

// hear notes that the leader had a flight's uses at that moment, or had no room for them.
func (s *sender) hear(f *flight, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.After(f.heard) {
		f.heard = at
	}
}
