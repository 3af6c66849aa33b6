package idle

import (
	"context"
	"time"

	"cloakroom/cluster/session"
)

// Leases is this node's part in the read leases: *lookup.Reader.
type Leases interface {
	// Served tells how long ago, on the clock that Clock reads too, a node last may have been allowed to answer a lookup
	// above level local: by a lease, or by a point that it has asked for; 0: it may be now. False: not known. Only a leader
	// knows. What former leaders have allowed counts too, so a new one can't know of anything before its own office.
	Served(id string) (ago time.Duration, ok bool)
	// GiveBack ends this node's lease.
	GiveBack(reason string)
	// Want says whether this node is to have a lease at all. It is at first.
	Want(want bool)
}

// stuckReason is why a lease is given back whose node can't bring its uses to the leader.
const stuckReason = "touches-stuck"

// excuse takes nodes that have not answered, or have forgotten, out of the reckoning as far as they can't have served.
//
// What a node has served it was allowed to before Served was read, or is after. Before: then its uses are not later than
// that, by its clock, which differs from this one by less than TouchSlack. After: then it has applied a stamp that is not
// before now, so its clock isn't either, and it accepts nothing that is over at now, but asks. See the package
// documentation.
func (o *office) excuse(ctx context.Context, now session.Time, v *survey) {
	if o.cfg.Leases == nil || !o.raiseFence(ctx, now) {
		return
	}
	for id, since := range v.since {
		if id == o.cfg.Self {
			continue // it serves
		}
		if ago, known := o.cfg.Leases.Served(id); known {
			served := o.cfg.Clock.Now().Add(-ago) // read after it: rather too late than too early
			v.since[id] = min(since, served.Add(session.TouchSlack))
		}
	}
}

// raiseFence returns when no node is given leave to serve any more that has not applied a stamp of now or later.
func (o *office) raiseFence(ctx context.Context, now session.Time) bool {
	if session.Time(o.fence.Load()) >= now {
		return true
	}
	return o.propose(ctx, &session.Tick{}) == nil
}
