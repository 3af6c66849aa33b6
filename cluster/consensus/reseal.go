package consensus

import (
	"context"
	"fmt"

	"cloakroom/cluster/keyring"
)

// ReplaceDataKeys puts other keys in place of those of Config.DataKeys; from then on the first of them seals. They must
// hold the one that seals until now, and of those that there are all that something on disk is sealed under
// (storage.ErrKeyInUse). A key that was missing before, as that of an older snapshot may be, may stay missing. What is
// there stays as it is until Reseal, or until log and snapshots have gone on. Keys can't be switched on or off this way.
func (n *Node) ReplaceDataKeys(keys []keyring.Key) error { return n.disk.ReplaceKeys(keys) }

// NeedsReseal reports whether something on disk is plain or sealed under another key than the first, and Reseal has
// something to do. It looks at what the node knows and reads nothing. A node without keys needs none.
func (n *Node) NeedsReseal() bool { return n.disk.NeedsReseal() }

// Reseal returns when nothing on disk is plain or sealed under another key than the first, at once if that is so. It takes
// a snapshot, which shortens the log, removes older snapshots that are in the way, and writes anew what is left of the
// log. If the newest snapshot is in the way and nothing has happened since, it waits for the next entry.
//
// In the database of the log, what was replaced stays in free pages until they are used again; under an old key that is
// all the same. Plain entries are only there if the log could not be rewritten when the keys were given.
func (n *Node) Reseal(ctx context.Context) error {
	return n.inGate(ctx, func() error {
		return n.disk.Reseal(ctx, n.log.watch, func(newer bool) error { return n.snapshotOf(ctx, newer) })
	})
}

// snapshotOf takes a snapshot; one that must be newer than the last waits for an entry.
func (n *Node) snapshotOf(ctx context.Context, newer bool) error {
	if newer {
		if err := n.WaitApplied(ctx, n.log.meter.snapshotIndex()+1); err != nil {
			return fmt.Errorf("wait for something to take a snapshot of: %w", err)
		}
	}
	return n.snapshot()
}
