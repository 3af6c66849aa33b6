package lookup

import (
	"context"
	"encoding/binary"
	"sync"

	"cloakroom/cluster/lease"
	"cloakroom/cluster/wire"
)

// askLeader is this node's round for quorum reads: at the leader itself, or one request to it.
func (r *Reader) askLeader(ctx context.Context) (uint64, error) {
	if r.log.IsLeader() {
		return r.confirm.get(ctx)
	}
	answer, err := r.callLeader(ctx, KindReadIndex, nil)
	if err != nil || len(answer) != 8 {
		return 0, wire.ErrNoLeader
	}
	return binary.BigEndian.Uint64(answer), nil
}

// confirmOffice is the leader's round to the voters.
func (r *Reader) confirmOffice(ctx context.Context) (uint64, error) {
	term := r.log.Term()
	if !r.log.IsLeader() || r.office.Load() != term {
		return 0, wire.ErrNoLeader
	}
	index := r.log.CommitIndex()
	servers, err := r.log.Servers()
	if err != nil {
		return 0, wire.ErrNoLeader
	}
	r.counts.rounds.Add(1)
	ctx, cancel := context.WithTimeout(ctx, RoundTimeout)
	defer cancel()
	voters, agree, asked := 0, 0, 0
	var group sync.WaitGroup
	answers := make(chan bool, len(servers))
	for _, s := range servers {
		if !s.Voter {
			continue
		}
		voters++
		if s.ID == r.id {
			agree++ // its own term is looked at last, below
			continue
		}
		asked++
		group.Go(func() { answers <- r.termOf(ctx, s.ID) == term })
	}
	for ; asked > 0 && agree <= voters/2; asked-- {
		if <-answers {
			agree++
		}
	}
	cancel()
	group.Wait()
	if agree <= voters/2 || !r.log.IsLeader() || r.log.Term() != term {
		return 0, wire.ErrNoLeader
	}
	return index, nil
}

func (r *Reader) termOf(ctx context.Context, id string) uint64 {
	answer, err := r.peers.Call(ctx, id, KindTerm, nil)
	if err != nil || len(answer) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(answer)
}

func (r *Reader) serveReadIndex(ctx context.Context, from wire.Peer, _ []byte) ([]byte, error) {
	if !r.log.IsLeader() {
		return nil, wire.ErrNoLeader
	}
	if r.run != nil {
		r.run.step(lease.Pointed{ID: from.ID})
	}
	index, err := r.confirm.get(ctx)
	if err != nil {
		return nil, err
	}
	return binary.BigEndian.AppendUint64(nil, index), nil
}

func (r *Reader) serveTerm(context.Context, wire.Peer, []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, r.log.Term()), nil
}
