package lookup

import (
	"context"
	"errors"
	"time"

	"cloakroom/cluster/lease"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// ErrNotHanded says that the hand-over was not prepared in time: the leadership may be transferred all the same, but the
// next leader has to wait until leases of this one can't be out any more.
var ErrNotHanded = errors.New("leases were not given back in time for the hand-over")

// Lead says that this node was elected for the term, and returns when the first command of the term is applied: all that
// was acknowledged by leaders before is applied then too. False: the office is lost, or ctx or this node has ended.
func (r *Reader) Lead(ctx context.Context, term uint64) bool {
	r.run.lookAround()
	r.run.step(lease.Elected{Term: term})
	for {
		lost := r.log.Changed()
		office, changed := r.run.look()
		switch {
		case office.Term != term || r.log.Term() != term || !r.log.IsLeader():
			return false
		case office.Taken:
			r.office.Store(term)
			return true
		}
		select {
		case <-changed:
		case <-lost: // perhaps the office, which this node may have won again in a later term
		case <-ctx.Done():
			return false
		case <-r.run.ctx.Done():
			return false
		}
	}
}

// Deposed says that this node leads no more.
func (r *Reader) Deposed() { r.run.step(lease.Deposed{}) }

// HandOver prepares a transfer of the leadership: from now on nothing is proposed and no lease granted here, all leases
// are asked back, and when none is out an entry says so to the next leader, who then need not wait. It returns when that
// is done, or ErrNotHanded; Resume undoes it.
func (r *Reader) HandOver(ctx context.Context) error {
	limit := time.NewTimer(handOverTimeout(r.run.cfg.Lease.Duration))
	defer limit.Stop()
	for {
		r.run.step(lease.HandOver{}) // again, as a frozen leader does not take it
		office, changed := r.run.look()
		switch {
		case office.Handed:
			return nil
		case office.Term == 0:
			return ErrNotHanded
		}
		select {
		case <-changed:
		case <-limit.C:
			return ErrNotHanded
		case <-ctx.Done():
			return ErrNotHanded
		case <-r.run.ctx.Done():
			return ErrNotHanded
		}
	}
}

// Resume says that the transfer has failed, and this node goes on leading.
func (r *Reader) Resume() { r.run.step(lease.Resume{}) }

// GiveBack ends this node's lease because it can't keep what the lease promises. It will ask for another one: see Want.
// Reasons are few and constant, they are counted.
func (r *Reader) GiveBack(reason string) { r.run.giveBack(lease.GiveBack{}, reason) }

// Want says whether this node is to have a lease at all.
func (r *Reader) Want(want bool) { r.run.giveBack(lease.Want{Lease: want}, GivenBackUnwanted) }

// Served returns how long ago the node can have answered its last lookup above level local, by what this node, as leader,
// knows; 0: it may still answer some. False: this node does not lead.
func (r *Reader) Served(id string) (ago time.Duration, ok bool) {
	r.run.mu.Lock()
	defer r.run.mu.Unlock()
	if r.run.machine == nil {
		return 0, false
	}
	now, _ := r.run.cfg.Clock()
	until, ok := r.run.machine.Serving(id, now)
	return max(0, time.Duration(now-until)), ok
}

// Enter waits until commands may be proposed here, also from the election on until Lead. The error says that this node
// does not lead.
func (r *Reader) Enter(ctx context.Context) error {
	for {
		lost := r.log.Changed()
		office, changed := r.run.look()
		switch {
		case !r.log.IsLeader():
			return wire.ErrNoLeader
		case office.Taken && !office.Frozen && !office.Handing:
			return nil
		}
		select {
		case <-changed:
		case <-lost:
		case <-ctx.Done():
			return wire.ErrTimeout
		case <-r.run.ctx.Done():
			return wire.ErrNoLeader
		}
	}
}

// Clock returns the time to be read before a command is proposed.
func (r *Reader) Clock() lease.Time {
	now, _ := r.run.cfg.Clock()
	return now
}

// Committed says that a command proposed here at a time that Clock returned was applied.
func (r *Reader) Committed(kind lease.CommandKind, term, index uint64, proposed lease.Time, handed bool) {
	r.run.step(lease.Committed{Kind: kind, Term: term, Index: index, Proposed: proposed, Handed: handed})
}

// Await returns when everything up to index is stable: only then a result may be told to anybody.
func (r *Reader) Await(ctx context.Context, index uint64) error {
	return r.run.stable.Wait(ctx, r.run.ctx.Done(), index)
}

// Learn says that a leader has told a result at index, so it is stable.
func (r *Reader) Learn(index uint64) { r.run.learn(index) }

// Stored says that entries of the term are in this node's log. This and the next three are the hooks of the log; they wait
// for nothing.
func (r *Reader) Stored(term uint64) { r.run.step(lease.Stored{Term: term}) }

// Restoring says that a snapshot is about to replace the table.
func (r *Reader) Restoring() { r.run.restoring() }

// Restored says that it has.
func (r *Reader) Restored(applied uint64) { r.run.restored(applied) }

// Applied says that the effects of the entries up to index are visible, the last of which has the term.
func (r *Reader) Applied(index, term uint64) { r.run.step(lease.Applied{Index: index, Term: term}) }

func (r *runner) learn(index uint64) {
	if r.stable.Load() < index {
		r.step(lease.Stable{Index: index})
	}
}

// propose brings a command of the protocol into the log, on a goroutine of its own: that takes a round to the voters, or
// as long as this node takes itself for the leader.
func (r *runner) propose(p lease.Propose) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.group.Go(func() {
		e := r.direct(p)
		if _, failed := e.(lease.Failed); failed && r.ctx.Err() != nil {
			return // it is only that nobody waits: the command may still get into the log
		}
		r.step(e)
	})
}

// direct proposes the command and returns what has come of it.
func (r *runner) direct(p lease.Propose) lease.Event {
	failed := lease.Failed{Kind: p.Kind}
	select {
	case r.proposals <- struct{}{}:
		defer func() { <-r.proposals }()
	default:
		return failed
	}
	var cmd session.Command = &session.Tick{}
	if p.Kind == lease.HandoverCommand {
		cmd = &session.Handover{Term: p.Term}
	}
	if r.cfg.Log.Term() != p.Term || !r.cfg.Log.IsLeader() {
		return failed
	}
	done, proposed, err := r.cfg.Direct(r.ctx, cmd)
	if err != nil || len(done.Results) != 1 {
		return failed
	}
	return lease.Committed{
		Kind: p.Kind, Term: done.Term, Index: done.Index, Proposed: proposed, Handed: done.Results[0].Handed,
	}
}
