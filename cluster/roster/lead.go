package roster

import (
	"context"
	"slices"
	"time"

	"cloakroom/cluster/session"
)

// Lead looks after the members until ctx ends: it asks them how they are and does what view.next says. It is to run
// while this node leads, once its machine is at the level of its office. What it has seen of the members counts from
// here: a new leader promotes and removes nobody by what its predecessor saw.
func (r *Roster) Lead(ctx context.Context) {
	r.watch.reset()
	defer r.watch.reset()
	for ctx.Err() == nil {
		pause := time.NewTimer(r.round(ctx))
		select {
		case <-pause.C:
		case <-r.stir:
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

// round takes one look and at most one step, and says when to look again.
func (r *Roster) round(ctx context.Context) time.Duration {
	if err := r.survey(ctx); err != nil {
		r.cfg.Logger.Debug("members not asked, will be tried again", "error", err)
		return HealthInterval
	}
	ctx, cancel := context.WithTimeout(ctx, ActTimeout)
	defer cancel()
	again := HealthInterval
	var step change
	err := r.alone(ctx, func() error {
		v, err := r.view()
		if err != nil {
			return err
		}
		if step = v.next(time.Now()); step.Op != opNone || v.candidates() {
			again = CandidateInterval
		}
		return r.take(ctx, step)
	})
	if err != nil {
		r.cfg.Logger.Warn("membership not changed yet, will be tried again", "change", string(step.Op), "id", step.ID, "error", err)
		return HealthInterval
	}
	return again
}

// take takes the leader's own step.
func (r *Roster) take(ctx context.Context, step change) error {
	if step.Op == opNone {
		return nil
	}
	log := r.cfg.Logger.With("member", r.member(step.ID).Name, "id", step.ID)
	switch step.Op {
	case opForget:
		if out, err := r.surelyOut(ctx, step.ID); err != nil || !out {
			return err
		}
		_, err := r.cfg.Do(ctx, &session.RemoveMember{ID: step.ID})
		return err
	case opTransfer:
		r.cfg.Logger.Info("an operator has taken this leader's vote: it hands over")
		to, _ := r.successor()
		return r.transfer(ctx, to)
	case opDemote:
		log.Info("an operator has taken this member's vote")
		return r.cfg.Raft.Demote(ctx, step.ID)
	case opPromote:
		log.Info("member has kept up and becomes a voter")
		return r.cfg.Raft.AddVoter(ctx, step.ID, step.ID)
	case opRemove:
		log.Warn("removing a dead member", "after", r.cfg.RemoveAfter)
		return r.remove(ctx, step.ID)
	}
	panic("BUG: step " + string(step.Op))
}

// view puts together what is known. The health of the members is that of the last round of questions.
func (r *Roster) view() (view, error) {
	servers, err := r.cfg.Raft.Servers()
	if err != nil {
		return view{}, err
	}
	v := view{removeAfter: r.cfg.RemoveAfter}
	sights := r.watch.all()
	for _, s := range servers {
		seen := sights[s.ID]
		v.nodes = append(v.nodes, node{
			id: s.ID, self: s.ID == r.cfg.Self.ID, voter: s.Voter, live: seen.Answers, steady: seen.steady, dead: seen.DeadSince,
			draining: seen.Draining, diskLow: seen.DiskLow, applied: seen.Applied,
		})
	}
	r.cfg.Raft.Read(func(machine *session.Machine) {
		for _, m := range machine.Members() {
			i := slices.IndexFunc(v.nodes, func(n node) bool { return n.id == m.ID })
			if i < 0 {
				v.strays = append(v.strays, m.ID)
				continue
			}
			n := &v.nodes[i]
			n.known, n.wanted, n.barred = true, wantsVote(m), m.Pin == session.PinNonVoter
		}
	})
	return v, nil
}

// wake has the leader's loop look at once.
func (r *Roster) wake() {
	select {
	case r.stir <- struct{}{}:
	default: // it is about to
	}
}
