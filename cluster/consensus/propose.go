package consensus

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/session"
)

// Future is the outcome of a proposal, which may be still to come.
type Future interface {
	// Wait returns what became of the entry once this node's machine has applied it. Its errors are ErrLeadershipLost
	// (outcome unknown), those that say that the entry is surely not in the log (ErrNotLeader, ErrShutdown, ErrBusy,
	// ErrEntryTooLarge), and the context's: then the outcome is still to come, and Wait may be called again.
	Wait(ctx context.Context) (Applied, error)
}

// Applied is an entry that this node's machine has applied.
type Applied struct {
	Index   uint64
	Term    uint64           // of the entry: the node may be in a later one by now
	Results []session.Result // of each of its commands
}

// Propose hands an encoded entry to the log; it does not block. The bytes belong to the log from now on. A context
// that is done already refuses the entry; later it has no effect.
func (n *Node) Propose(ctx context.Context, entry []byte) Future {
	if err := ctx.Err(); err != nil {
		return refused{err}
	}
	if len(entry) > MaxEntryBytes {
		return refused{ErrEntryTooLarge}
	}
	if err := n.proposals.enter(); err != nil {
		return refused{err}
	}
	if !n.IsLeader() {
		n.proposals.leave()
		return refused{ErrNotLeader}
	}
	p := &proposal{done: make(chan struct{}), halted: n.halted}
	begun := time.Now()
	future := n.raft.Apply(entry, 0)
	// Not in the node's group: when the library ends it may forget an entry that it has not looked at, and never
	// resolve it. Close lets the gate run empty first, and Wait gives up when the node has halted.
	go func() {
		defer n.proposals.leave()
		if p.resolve(future); p.err == nil {
			n.committed.Observe(time.Since(begun))
		}
	}()
	return p
}

// refused is a proposal that never got to the library.
type refused struct{ err error }

func (r refused) Wait(context.Context) (Applied, error) { return Applied{}, r.err }

type proposal struct {
	done   chan struct{} // closed when the fields below are set
	halted <-chan struct{}

	applied Applied
	err     error
}

func (p *proposal) Wait(ctx context.Context) (Applied, error) {
	select {
	case <-p.done:
		return p.applied, p.err
	default:
	}
	select {
	case <-p.done:
		return p.applied, p.err
	case <-p.halted:
		return Applied{}, ErrLeadershipLost
	case <-ctx.Done():
		return Applied{}, ctx.Err()
	}
}

// resolve waits for the library and translates its answer.
func (p *proposal) resolve(future raft.ApplyFuture) {
	defer close(p.done)
	if err := future.Error(); err != nil {
		p.err = proposalError(err)
		return
	}
	switch response := future.Response().(type) {
	case Applied:
		p.applied = response
	case error:
		// Committed, but this node's machine has stopped before it. Other nodes may have applied it.
		p.err = ErrLeadershipLost
	default:
		panic("BUG: the machine answered neither what it applied nor an error")
	}
}
