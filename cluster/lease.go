package cluster

import (
	"context"
	"fmt"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/idle"
	"cloakroom/cluster/lease"
	"cloakroom/cluster/lookup"
	"cloakroom/cluster/session"
)

// hookLeases lets the lease protocol know what happens to the log. Raft starts first; what happens before the protocol has
// started is covered by its start.
func (c *Cluster) hookLeases(cfg *consensus.Config) {
	told := func(tell func(*lookup.Reader)) {
		if r := c.leases.Load(); r != nil {
			tell(r)
		}
	}
	cfg.OnStored = func(term uint64) { told(func(r *lookup.Reader) { r.Stored(term) }) }
	cfg.OnApplied = func(index, term uint64) {
		c.changes.applied(index)
		told(func(r *lookup.Reader) { r.Applied(index, term) })
	}
	cfg.OnRestoring = func() { told((*lookup.Reader).Restoring) }
	cfg.OnRestored = func(applied uint64) { told(func(r *lookup.Reader) { r.Restored(applied) }) }
}

// direct proposes a command of the protocol itself.
func (c *Cluster) direct(ctx context.Context, cmd session.Command) (consensus.Applied, lease.Time, error) {
	return c.proposer.Direct(ctx, cmd) // which is made after the reader
}

// leaseClock reads this machine's clocks for the lease protocol.
func leaseClock(clocks idle.Source) func() (lease.Time, time.Time) {
	return func() (lease.Time, time.Time) {
		mono, wall := clocks.Both()
		return lease.Time(mono), wall
	}
}

// servers returns the ids of the configuration, nil if that is not known.
func (c *Cluster) servers() []string {
	servers, err := c.raft.Servers()
	if err != nil {
		return nil
	}
	ids := make([]string, len(servers))
	for i, s := range servers {
		ids[i] = s.ID
	}
	return ids
}

// office is the log's member with a leadership that is handed over together with its read leases.
type office struct {
	*consensus.Node
	reader  *lookup.Reader
	handing chan struct{} // has room for one: two hand-overs at once would undo each other
}

// Transfer hands the leadership to a voter. Whether the leases could be called back before or not, it is tried: the next
// leader just waits for them to run out.
func (o office) Transfer(ctx context.Context, to string) error {
	if !o.IsLeader() {
		return o.Node.Transfer(ctx, to)
	}
	select {
	case o.handing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-o.handing }()
	prepared := o.reader.HandOver(ctx)
	err := ctx.Err() // nobody waits for the outcome any more: then nothing is begun
	if err == nil {
		err = o.Node.Transfer(ctx, to)
	}
	if err != nil {
		o.reader.Resume()
		if prepared != nil {
			return fmt.Errorf("%w (%w)", err, prepared)
		}
	}
	return err
}
