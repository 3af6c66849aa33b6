package lookup

import (
	"context"

	"cloakroom/cluster/lease"
	"cloakroom/cluster/wire"
)

// The handlers take the sender's id from the connection, which has proved it, never from the message.

// serveReport answers with the grant that the report has earned.
func (r *runner) serveReport(_ context.Context, from wire.Peer, body []byte) ([]byte, error) {
	m, err := decodeReport(body)
	if err != nil {
		return nil, err
	}
	m.From = from.ID
	var answer []byte
	var others []lease.Action
	for _, a := range r.take(m) {
		send, ok := a.(lease.Send)
		if grant, isGrant := send.Message.(lease.Grant); ok && isGrant {
			answer = encodeGrant(grant)
			r.noteGrant(grant)
			continue
		}
		others = append(others, a)
	}
	r.carry(others)
	if answer == nil {
		return nil, wire.ErrNoLeader
	}
	return answer, nil
}

func (r *runner) noteGrant(g lease.Grant) {
	if g.Remaining == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.grants++
}

func (r *runner) serveOver(_ context.Context, from wire.Peer, body []byte) ([]byte, error) {
	boot, err := decodeBoot(body)
	if err != nil {
		return nil, err
	}
	r.step(lease.Over{From: from.ID, Boot: boot})
	return nil, nil
}

func (r *runner) serveRecall(_ context.Context, from wire.Peer, body []byte) ([]byte, error) {
	boot, err := decodeBoot(body)
	if err != nil {
		return nil, err
	}
	r.step(lease.Recall{From: from.ID, Boot: boot})
	return nil, nil
}

func (r *runner) serveStable(_ context.Context, from wire.Peer, body []byte) ([]byte, error) {
	index, err := decodeStable(body)
	if err != nil {
		return nil, err
	}
	r.step(lease.Stable{From: from.ID, Index: index})
	return nil, nil
}

// reasonOf says why a lease may be given back at an event, for those that don't come with a reason.
func reasonOf(e lease.Event) string {
	switch e.(type) {
	case lease.Recall:
		return GivenBackAtRecall
	case lease.Restoring, lease.Restored:
		return GivenBackAtRestore
	}
	return ""
}

// servePoint gives a node without a lease an index for one read.
func (r *Reader) servePoint(ctx context.Context, from wire.Peer, body []byte) ([]byte, error) {
	if _, err := decode(body, 0); err != nil {
		return nil, err
	}
	index, err := r.pointFor(ctx, from.ID)
	if err != nil {
		return nil, err
	}
	return pointAnswer{index: index, stable: r.run.stable.Load()}.encode(), nil
}

// pointFor returns an index for one read of a node, as leader: from this node's own lease, or by a round to the voters
// while it has none, as in a hand-over or when its commands have not been committed lately.
func (r *Reader) pointFor(ctx context.Context, id string) (uint64, error) {
	if !r.log.IsLeader() {
		return 0, wire.ErrNoLeader
	}
	if index, ok := r.run.point(id); ok {
		return index, nil
	}
	r.run.step(lease.Pointed{ID: id}) // before the round: the node may be asked for its uses from the index on
	return r.confirm.get(ctx)
}

// point returns an index while this node leads and holds a lease. Before anybody hears of it, it is noted that the node
// may answer a read.
func (r *runner) point(id string) (index uint64, ok bool) {
	r.mu.Lock()
	var actions []lease.Action
	if r.machine != nil {
		var now lease.Time
		now, actions = r.nowLocked()
		if index, ok = r.machine.Point(now); ok {
			actions = append(actions, r.stepLocked(lease.Pointed{ID: id}, "")...)
		}
	}
	r.mu.Unlock()
	r.carry(actions)
	return index, ok
}

// askPoint is this node's round for reads without a lease: at the leader itself, or one request to it.
func (r *Reader) askPoint(ctx context.Context) (uint64, error) {
	if r.log.IsLeader() {
		ctx, cancel := context.WithTimeout(ctx, 2*RoundTimeout)
		defer cancel()
		return r.pointFor(ctx, r.id)
	}
	answer, err := r.callLeader(ctx, KindPoint, encode())
	if err != nil {
		return 0, wire.ErrNoLeader
	}
	point, err := decodePoint(answer)
	if err != nil {
		return 0, wire.ErrNoLeader
	}
	r.run.learn(point.stable)
	return point.index, nil
}

// callLeader asks the node that this one takes for the leader. It gives up when that changes: a leader that is gone does
// not answer, and the next one would.
func (r *Reader) callLeader(ctx context.Context, kind wire.Kind, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*RoundTimeout)
	defer cancel()
	changed := r.log.Changed()
	leader := r.log.LeaderID()
	if leader == "" {
		return nil, wire.ErrNoLeader
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
			changed = r.log.Changed()
			if r.log.LeaderID() != leader {
				cancel()
				return
			}
		}
	}()
	answer, err := r.peers.Call(ctx, leader, kind, body)
	cancel()
	<-watched
	return answer, err
}
