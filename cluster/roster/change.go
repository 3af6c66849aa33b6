package roster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// Why an operator's change is refused. Nothing has changed then.
var (
	ErrMemberNotFound = &session.Error{Code: "member-not-found", Message: "the cluster has no such member: see the list of members"}
	ErrLastVoter      = &session.Error{Code: "last-voter", Message: "this is the only voter: promote another member first"}
	ErrQuorumAtRisk   = &session.Error{Code: "quorum-at-risk", Message: "without this voter, those that answer would not be a majority: bring the others back, or remove those that are lost, first"}
	ErrNotTransferred = &session.Error{Code: "not-transferred", Message: "the leadership was not handed over in time: the voter that is to take it does not answer or is behind, or a disk is slow; look who leads, then try again or name another one"}
)

// Promote gives a member a vote, for good: a read replica too. One that has not caught up yet gets it when it has. Like
// the other changes it can be asked for at any node, and is made by the leader, one at a time.
func (r *Roster) Promote(ctx context.Context, id string) error {
	return r.change(ctx, change{opPromote, id})
}

// Demote takes a member's vote, for good; it stays a member. A leader hands over first. Refused with ErrLastVoter and
// ErrQuorumAtRisk.
func (r *Roster) Demote(ctx context.Context, id string) error {
	return r.change(ctx, change{opDemote, id})
}

// Remove takes a member out of the cluster, dead or alive. One that runs is told: it notes that on its disk and stops. A
// leader hands over first. Refused with ErrLastVoter and ErrQuorumAtRisk.
func (r *Roster) Remove(ctx context.Context, id string) error {
	return r.change(ctx, change{opRemove, id})
}

// Transfer hands the leadership to a voter, "": to the one that has most of the log. ErrNotTransferred: that one did not
// take it, though yet another may have.
func (r *Roster) Transfer(ctx context.Context, to string) error {
	return r.change(ctx, change{opTransfer, to})
}

// change brings a change to whoever leads. It goes on to the next leader as long as it is certain that nothing is left
// to do for the one before. Errors: a refusal; wire.ErrNoLeader, nothing has changed; wire.ErrLost: the change may have
// been made, or be completed later.
func (r *Roster) change(ctx context.Context, c change) error {
	ctx, cancel := context.WithTimeout(ctx, ChangeTimeout)
	defer cancel()
	begun := false
	for {
		if leader := r.cfg.Raft.LeaderID(); leader != "" {
			err := r.changeAt(ctx, leader, c)
			switch {
			case errors.Is(err, consensus.ErrNotLeader), errors.Is(err, consensus.ErrBusy):
				begun = true // perhaps: a pin may have been set
			case errors.Is(err, wire.ErrUnreachable):
			case begun && (errors.Is(err, wire.ErrNoLeader) || errors.Is(err, wire.ErrTimeout)):
				return fmt.Errorf("%w: %w", wire.ErrLost, err)
			default:
				return err
			}
		}
		pause := time.NewTimer(Tick / 5)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			if begun {
				return wire.ErrLost
			}
			return wire.ErrNoLeader
		}
	}
}

func (r *Roster) changeAt(ctx context.Context, leader string, c change) error {
	if leader == r.cfg.Self.ID {
		return r.carryOut(ctx, c)
	}
	_, err := askLong[bool](ctx, r, leader, KindChange, c)
	return err
}

func (r *Roster) serveChange(ctx context.Context, _ wire.Peer, body []byte) ([]byte, error) {
	c, err := decode[change](body)
	if err != nil {
		return nil, err
	}
	if err := r.carryOut(ctx, c); err != nil {
		return nil, err
	}
	return encode(true)
}

// carryOut makes a change: the leader's part.
func (r *Roster) carryOut(ctx context.Context, c change) error {
	if !r.cfg.Raft.IsLeader() {
		return consensus.ErrNotLeader
	}
	if err := r.survey(ctx); err != nil {
		return err
	}
	return r.alone(ctx, func() error {
		v, err := r.view()
		if err != nil {
			return err
		}
		if err := v.check(c); err != nil {
			return err
		}
		n, _ := v.node(c.ID)
		handsOver := c.Op == opTransfer || n.self && (c.Op == opRemove || c.Op == opDemote && n.voter)
		switch {
		case c.Op == opTransfer && n.self:
			return nil
		case handsOver:
			return r.handOver(ctx, c)
		}
		r.cfg.Logger.Info("an operator changes the membership", "change", string(c.Op), "member", r.member(c.ID).Name, "id", c.ID)
		return outcome(r.perform(ctx, c.Op, n))
	})
}

// handOver gives the leadership away. If that is only the beginning of the change, the next leader is to do the rest.
func (r *Roster) handOver(ctx context.Context, c change) error {
	to := c.ID
	if c.Op != opTransfer || to == "" {
		to, _ = r.successor()
	}
	err := r.transfer(ctx, to)
	switch {
	case errors.Is(err, consensus.ErrNotLeader) && c == change{Op: opTransfer} && !r.cfg.Raft.IsLeader():
		// It led when this began, and something else has made it hand over: the next leader is not to do so as well.
		return r.taken(ctx, c.ID)
	case errors.Is(err, consensus.ErrNotLeader), err == nil && c.Op != opTransfer:
		return consensus.ErrNotLeader
	case err == nil:
		return r.taken(ctx, c.ID)
	case uncertain(err):
		return outcome(err)
	}
	return fmt.Errorf("%w: %w", ErrNotTransferred, err)
}

// taken waits until this node, which was the leader, knows of the next one, and says whether that is the node that was to
// take the leadership; "": any other. Another may have been elected meanwhile, or this one again.
func (r *Roster) taken(ctx context.Context, by string) error {
	for {
		changed := r.cfg.Raft.Changed() // before the question, so that no change is missed
		switch leader := r.cfg.Raft.LeaderID(); {
		case leader == "":
		case leader == by, by == "" && leader != r.cfg.Self.ID:
			return nil
		default:
			return ErrNotTransferred
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return outcome(ctx.Err())
		}
	}
}

// transfer hands the leadership to a node; "": there is none that is fit.
func (r *Roster) transfer(ctx context.Context, to string) error {
	if to == "" {
		return ErrNotTransferred
	}
	return r.cfg.Raft.Transfer(ctx, to)
}

func (r *Roster) successor() (id string, room bool) {
	v, err := r.view()
	if err != nil {
		return "", false
	}
	return v.successor()
}

// HandOver gives the leadership to the node that is fittest for it, by the last answers of the members. With forRoom only
// one with room on its disk will do. The error is ErrNotTransferred when there is none, or it did not take it.
func (r *Roster) HandOver(ctx context.Context, forRoom bool) error {
	to, room := r.successor()
	if forRoom && !room {
		return ErrNotTransferred
	}
	if err := r.transfer(ctx, to); err != nil && r.cfg.Raft.IsLeader() {
		return fmt.Errorf("%w: %w", ErrNotTransferred, err)
	}
	return nil
}

// perform changes a member that is not the leader. The roster comes first: whatever happens then, the leader's loop
// completes it.
func (r *Roster) perform(ctx context.Context, o op, n node) error {
	switch o {
	case opPromote:
		pin := session.PinNone // as if it had never been demoted
		if r.member(n.id).ReadReplica {
			pin = session.PinVoter
		}
		if err := r.pin(ctx, n.id, pin); err != nil || n.voter {
			return err
		}
		r.wake() // the loop gives it the vote, when it has kept up for long enough
		return nil
	case opDemote:
		if err := r.pin(ctx, n.id, session.PinNonVoter); err != nil || !n.voter {
			return err
		}
		return r.cfg.Raft.Demote(ctx, n.id)
	case opRemove:
		r.order(n.id) // there is one change at a time
		defer r.order("")
		if err := r.remove(ctx, n.id); err != nil {
			return err
		}
		if n.live {
			r.dismiss(ctx, n.id)
		}
		return nil
	}
	panic("BUG: change " + string(o))
}

// pin writes an operator's decision into the roster.
func (r *Roster) pin(ctx context.Context, id string, pin session.Pin) error {
	m := r.member(id)
	if m.Pin == pin {
		return nil
	}
	m.Pin = pin
	_, err := r.cfg.Do(ctx, &session.PutMember{Member: m})
	return err
}

// dismiss tells a node that an operator has removed it. Its announcement waits meanwhile, so it hears this first. If it
// does not, it comes back as a new node.
func (r *Roster) dismiss(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, HealthTimeout)
	defer cancel()
	if _, err := r.cfg.Peers.Call(ctx, id, KindDismiss, nil); err != nil {
		r.cfg.Logger.Warn("removed member not told to stop: it will join as a new node unless it is stopped", "id", id, "error", err)
	}
}

func (r *Roster) serveDismiss(_ context.Context, from wire.Peer, _ []byte) ([]byte, error) {
	r.cfg.Logger.Warn("an operator has removed this node from the cluster", "leader", from.ID)
	r.mu.Lock()
	r.dismissed = true
	r.mu.Unlock()
	if err := r.cfg.OnDismissed(); err != nil {
		r.cfg.OnFatal(fmt.Errorf("%w: %w", ErrDismissed, err))
		return nil, err
	}
	r.group.Go(func() { // later: the operator may have asked this very node, and waits for its answer
		notice := time.NewTimer(DismissNotice)
		defer notice.Stop()
		select {
		case <-notice.C:
			r.cfg.OnFatal(ErrDismissed)
		case <-r.ctx.Done():
		}
	})
	return nil, nil
}

// uncertain reports whether a change that failed may have been made all the same.
func uncertain(err error) bool {
	return errors.Is(err, consensus.ErrLeadershipLost) || errors.Is(err, consensus.ErrShutdown) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// outcome makes the error of a change that may have been made say so.
func outcome(err error) error {
	if uncertain(err) {
		return fmt.Errorf("%w: %w", wire.ErrLost, err)
	}
	return err
}
