package lookup

import (
	"context"
	"time"

	"cloakroom/cluster/lease"
	"cloakroom/cluster/wire"
)

// Point is what Begin has established for one read, for Confirm. It is a small value, and worth nothing after a Confirm.
type Point struct {
	level Level
	asked bool       // the leader has been asked
	state *state     // before the record is read; nil: there is nothing to confirm
	until lease.Time // the answer's point in time is before, as far as the leader knows
}

// held says whether the point rests on a lease of this node.
func (p Point) held() bool { return !p.asked }

// Begin is called when a request has come in, before any record is read for it. What is read then is fresh enough for the
// level, and may be told to somebody if Confirm agrees.
//
// With a lease it takes no lock and allocates nothing. Otherwise the leader is asked, and then for LeaderWait at most the
// next one, until this node's table is as far. The error is wire.ErrNoLeader or wire.ErrTimeout.
func (r *Reader) Begin(ctx context.Context, level Level) (Point, error) {
	if level == Local {
		r.counts.local.Add(1)
		return Point{}, nil
	}
	if level == Lease && r.run != nil {
		if p := r.run.hold(); p.state != nil {
			return p, nil
		}
		return r.begin(ctx, Lease, r.point)
	}
	return r.begin(ctx, Quorum, r.ask)
}

// Hold is Begin where nobody has to be asked and nothing waited for, and Stands is then Confirm; false: use those, from the
// beginning. Only what Stands agrees to is counted.
func (r *Reader) Hold(level Level) (Point, bool) {
	switch {
	case level == Local:
		return Point{}, true
	case level == Lease && r.run != nil:
		p := r.run.hold()
		return p, p.state != nil
	}
	return Point{}, false
}

// Stands reports whether what was read at the point, and last changed at mod, may be told.
func (r *Reader) Stands(p Point, mod uint64) bool {
	if p.state == nil {
		r.counts.local.Add(1)
		return true
	}
	s := r.run.state.Load()
	if s != p.state && !p.stands(s) || !s.Covers(mod, r.run.stable.Load()) {
		return false
	}
	r.counts.lease.own.Add(1)
	return true
}

// hold returns a point that rests on this node's lease, if it has one. The order is the protocol's: the lease, then the
// clock, then how far the table is; the record comes after it.
func (r *runner) hold() Point {
	for range 2 {
		s := r.state.Load()
		mono, wall := r.cfg.Clock()
		if r.guard.off(readingOf(mono, wall)) {
			r.step(lease.Tick{}) // which looks again, and gives the lease back if it must
			continue
		}
		if !s.Holds(mono, r.cfg.Log.Applied()) {
			break
		}
		return Point{level: Lease, state: s, until: s.Until}
	}
	return Point{}
}

// Confirm is called when the record is read, which last changed at mod: of several, the highest. True: it may be told.
// False: begin again, the table was replaced or the lease given back meanwhile.
//
// What is not stable yet is not told: it is waited for, within LeaderWait and the context, and the leader is asked how far
// it is. The error is as Begin's; then nothing may be told.
func (r *Reader) Confirm(ctx context.Context, p Point, mod uint64) (ok bool, err error) {
	if p.state == nil {
		return true, nil
	}
	s := r.run.state.Load()
	if s != p.state && !p.stands(s) {
		return false, nil
	}
	if s.Covers(mod, r.run.stable.Load()) && (p.held() || r.run.inTime(p)) {
		r.counts.of(p.level).answered(p, false)
		return true, nil
	}
	settled, err := r.settle(ctx, p, max(mod, s.Floor))
	if err != nil {
		r.counts.of(p.level).refused.Add(1)
		return false, err
	}
	if s := r.run.state.Load(); s != p.state && !p.stands(s) {
		return false, nil
	}
	p = settled
	r.counts.of(p.level).answered(p, true)
	return true, nil
}

// stands says whether the point is worth anything in a later state. A lease that has run out meanwhile did hold; one that
// was given back may have been so to another's knowledge. Without a lease it matters only that the floor is the table's.
func (p Point) stands(s *state) bool {
	if p.held() {
		return s.Boot == p.state.Boot
	}
	return s.breaks == p.state.breaks
}

// inTime reports whether the leader still expects an answer from this node by what it has allowed, or by the lease.
func (r *runner) inTime(p Point) bool {
	mono, wall := r.cfg.Clock()
	if r.guard.off(readingOf(mono, wall)) {
		r.step(lease.Tick{}) // the clock may have stood still: as long ago as it seems, it is not
		return false
	}
	return mono < p.until
}

// settle waits until index is stable. The leader is asked when that takes longer than it should, and when it would not
// expect an answer from this node any more.
func (r *Reader) settle(ctx context.Context, p Point, index uint64) (Point, error) {
	wait := StableWait
	for begun := time.Now(); ; {
		pause, cancel := context.WithTimeout(ctx, wait)
		err := r.run.stable.Wait(pause, r.run.ctx.Done(), index)
		cancel()
		switch {
		case err == nil && r.run.inTime(p):
			return p, nil
		case ctx.Err() != nil:
			return p, wire.ErrTimeout
		case r.run.ctx.Err() != nil:
			return p, wire.ErrNoLeader
		case time.Since(begun) > r.patience:
			return p, wire.ErrTimeout
		}
		asked := r.Clock()
		if _, err := r.point.get(ctx); err == nil { // the answer brings the stable index
			p.asked, p.until = true, asked.Add(r.run.leave())
		} else {
			rest(ctx, r.run.ctx.Done(), RetryPause)
		}
		wait = min(2*wait, maxStableWait)
	}
}

// begin asks the leader for an index and waits until this node's table has reached it.
func (r *Reader) begin(ctx context.Context, level Level, rounds *shared) (Point, error) {
	for begun := time.Now(); ; {
		p, index, err := r.enquire(ctx, level, rounds)
		if err == nil {
			err = r.caughtUp(ctx, index, r.patience-time.Since(begun))
			if err == nil {
				return p, nil
			}
		}
		// A round may have failed because the leader changed meanwhile: ask the next one.
		if time.Since(begun) > r.patience || !rest(ctx, rounds.ctx.Done(), RetryPause) {
			r.counts.of(level).refused.Add(1)
			return Point{}, err
		}
	}
}

// rest waits for so long; false: the context or this node has ended.
func rest(ctx context.Context, closed <-chan struct{}, d time.Duration) bool {
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
	case <-closed:
	}
	return false
}

// enquire makes one round.
func (r *Reader) enquire(ctx context.Context, level Level, rounds *shared) (Point, uint64, error) {
	if r.run == nil {
		index, err := rounds.get(ctx)
		if err == nil {
			r.counts.of(level).asked.Add(1) // there is no Confirm to count it
		}
		return Point{}, index, err
	}
	s := r.run.state.Load()
	if s.restoring {
		return Point{}, 0, wire.ErrNoLeader // in a moment
	}
	asked := r.Clock()
	index, err := rounds.get(ctx)
	return Point{level: level, asked: true, state: s, until: asked.Add(r.run.leave())}, index, err
}

func (r *Reader) caughtUp(ctx context.Context, index uint64, patience time.Duration) error {
	if r.log.Applied() >= index { // mostly; and a context with a timer costs as much as the rest
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.log.WaitApplied(wait, index); err != nil {
		return wire.ErrTimeout
	}
	return nil
}

// leave is how long after the question this node may answer: when as much has passed on its clock, the leader's has not
// gone further than one lease duration.
func (r *runner) leave() time.Duration {
	c := r.cfg.Lease
	return c.Duration*time.Duration(1000-c.Rate)/1000 - c.Margin
}
