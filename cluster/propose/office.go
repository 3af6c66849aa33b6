package propose

import (
	"context"

	"cloakroom/cluster/lease"
)

// Office is the leader's side of the read leases (cluster/lease), as far as commands have to do with it: when they may be
// proposed, and when their results may be told. It is asked for each entry, so what does not have to wait must be quick.
// Every method may be called from any goroutine.
type Office interface {
	// Enter returns when commands may be proposed here: leases of a former leader have run out, and no hand-over is under
	// way. An error says that this node does not lead, or is the context's.
	Enter(ctx context.Context) error
	// Clock is this node's clock. A reading from before a proposal proves, when the proposal is committed, that no later
	// leader was elected before.
	Clock() lease.Time
	// Committed is told of each entry that was proposed here at a time and is applied, before anybody learns its results.
	Committed(kind lease.CommandKind, term, index uint64, proposed lease.Time, handed bool)
	// Await returns when everything up to index is stable: from then on no node shows what was before. An error leaves
	// that open.
	Await(ctx context.Context, index uint64) error
	// Learn is told on any node that everything up to index is stable: a leader has told a result at it.
	Learn(index uint64)
}

// noOffice is that of a log without leases: commands may be proposed and results told at any time.
type noOffice struct{}

var _ Office = noOffice{}

func (noOffice) Enter(context.Context) error                                   { return nil }
func (noOffice) Clock() lease.Time                                             { return 0 }
func (noOffice) Committed(lease.CommandKind, uint64, uint64, lease.Time, bool) {}
func (noOffice) Await(context.Context, uint64) error                           { return nil }
func (noOffice) Learn(uint64)                                                  {}
