package lookup

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/wire"
)

// The requests between nodes. Both are answered from memory.
const (
	KindReadIndex wire.Kind = 16 // to the leader: an index that covers everything shown or acknowledged so far. Answer: 8 bytes
	KindTerm      wire.Kind = 17 // to a voter: its current term. Answer: 8 bytes
)

// Log is the replicated log: *consensus.Node.
type Log interface {
	IsLeader() bool
	LeaderID() string
	Term() uint64
	CommitIndex() uint64
	Servers() ([]consensus.Server, error)
	WaitApplied(ctx context.Context, index uint64) error
}

// Peers is the node-to-node stream; nodes are called by their ids.
type Peers interface {
	Call(ctx context.Context, id string, kind wire.Kind, body []byte) ([]byte, error)
	Handle(kind wire.Kind, h wire.Handler)
}

// Config is what a Reader needs.
type Config struct {
	NodeID string
	Log    Log
	Peers  Peers
}

// Stats counts since the start.
type Stats struct {
	Local, Quorum uint64 // reads by level
	Rounds        uint64 // rounds to the voters, as leader
}

// Reader establishes the level of a read on this node.
type Reader struct {
	id    string
	log   Log
	peers Peers

	office  atomic.Uint64 // the term in which this node has applied its own first command, 0: none
	ask     *shared       // this node's reads, to the leader
	confirm *shared       // all nodes' reads, at the leader

	local, quorum, rounds atomic.Uint64
}

// New makes a Reader and registers its requests with the stream.
func New(cfg Config) *Reader {
	r := &Reader{id: cfg.NodeID, log: cfg.Log, peers: cfg.Peers}
	r.ask = newShared(r.askLeader)
	r.confirm = newShared(r.confirmOffice)
	cfg.Peers.Handle(KindReadIndex, r.serveReadIndex)
	cfg.Peers.Handle(KindTerm, r.serveTerm)
	return r
}

// Open starts the rounds.
func (r *Reader) Open() {
	r.ask.open()
	r.confirm.open()
}

// Close stops and waits.
func (r *Reader) Close() {
	r.ask.close()
	r.confirm.close()
}

// Stats returns the counters.
func (r *Reader) Stats() Stats {
	return Stats{Local: r.local.Load(), Quorum: r.quorum.Load(), Rounds: r.rounds.Load()}
}

// TookOffice says that this node, as leader of the term, has applied a command that it proposed in it.
func (r *Reader) TookOffice(term uint64) { r.office.Store(term) }

// Establish returns when this node's machine is as fresh as the level asks for: what is read from it afterwards is.
func (r *Reader) Establish(ctx context.Context, level Level) error {
	if level == Local {
		r.local.Add(1)
		return nil
	}
	r.quorum.Add(1)
	for begun := time.Now(); ; {
		index, err := r.ask.get(ctx)
		if err == nil {
			if err := r.log.WaitApplied(ctx, index); err != nil {
				return wire.ErrTimeout
			}
			return nil
		}
		if time.Since(begun) > LeaderWait {
			return err
		}
		// A round may have failed because the leader changed meanwhile: ask the next one.
		pause := time.NewTimer(RetryPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		case <-r.ask.ctx.Done():
			pause.Stop()
			return wire.ErrNoLeader
		}
	}
}

// askLeader is this node's round: at the leader itself, or one request to it.
func (r *Reader) askLeader(ctx context.Context) (uint64, error) {
	if r.log.IsLeader() {
		return r.confirm.get(ctx)
	}
	leader := r.log.LeaderID()
	if leader == "" {
		return 0, wire.ErrNoLeader
	}
	ctx, cancel := context.WithTimeout(ctx, 2*RoundTimeout)
	defer cancel()
	answer, err := r.peers.Call(ctx, leader, KindReadIndex, nil)
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
	r.rounds.Add(1)
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

func (r *Reader) serveReadIndex(ctx context.Context, _ wire.Peer, _ []byte) ([]byte, error) {
	if !r.log.IsLeader() {
		return nil, wire.ErrNoLeader
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
