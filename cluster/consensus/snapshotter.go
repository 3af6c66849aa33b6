package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Snapshot takes a snapshot of the applied state now and shortens the log. Nodes take one by themselves after
// Config.SnapshotBytes of log, or snapshotEntries.
func (n *Node) Snapshot(ctx context.Context) error { return n.inGate(ctx, n.snapshot) }

// inGate runs something that the library has a part in. It returns without it when the node has failed or ctx is done.
func (n *Node) inGate(ctx context.Context, run func() error) error {
	if err := n.proposals.enter(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { // as in Propose: the library answers, or the gate gives up
		defer n.proposals.leave()
		done <- run()
	}()
	select {
	case err := <-done:
		return err
	case <-n.halted:
		return ErrShutdown
	case <-ctx.Done():
		return ctx.Err()
	}
}

// takeSnapshots runs until the node is closed. A snapshot is not possible while a change of the configuration is on
// its way or leadership is being transferred, or when the disk is full: it is tried again.
func (n *Node) takeSnapshots() {
	pause := snapshotRetry
	for {
		select {
		case <-n.log.full:
		case <-n.halted:
			return
		}
		err := n.snapshot()
		if err == nil {
			pause = snapshotRetry
			continue
		}
		n.cfg.Logger.Warn("a snapshot was not possible, the log grows", "error", err, "again_in", pause)
		retry := time.NewTimer(pause)
		select {
		case <-retry.C:
		case <-n.halted:
			retry.Stop()
			return
		}
		pause = min(2*pause, maxRetryPause)
		n.log.wantSnapshot()
	}
}

// snapshot has the library take one. How much log it leaves is a number of entries; it is set anew each time, from
// their sizes.
func (n *Node) snapshot() error {
	keep := min(max(n.log.meter.keep(), minTrailing), n.cfg.TrailingLogs)
	settings := n.raft.ReloadableConfig()
	settings.TrailingLogs = keep
	if err := n.raft.ReloadConfig(settings); err != nil {
		return fmt.Errorf("set trailing logs: %w", err)
	}
	err := n.raft.Snapshot().Error()
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("take snapshot: %w", err)
	}
	list, err := n.snapshots.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	n.log.setEdge(list[0])
	return nil
}
