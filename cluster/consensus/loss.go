package consensus

import (
	"fmt"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/storage"
)

// checkLoss looks whether something is gone of what a node must not lose under its id. A member has a log or a snapshot,
// and a term that is no lower than theirs, for the term is on the disk before anything of it: where it is not, the database
// of the log was removed or replaced by an older one, and with it votes, and entries that others count on.
func checkLoss(s *storage.Stores, member bool) error {
	term, err := s.Stable.GetUint64(keyTerm)
	if err != nil && !storage.NotFound(err) {
		return fmt.Errorf("read term: %w", err)
	}
	list, err := s.Snapshots.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	last, err := s.Log.LastIndex()
	if err != nil {
		return fmt.Errorf("find end of log: %w", err)
	}
	if member && last == 0 && len(list) == 0 {
		return ErrLogLost
	}
	held := uint64(0)
	if last > 0 {
		var entry raft.Log
		if err := s.Log.GetLog(last, &entry); err != nil {
			return fmt.Errorf("entry %d is missing or unreadable (%w): %w", last, err, storage.ErrDamaged)
		}
		held = entry.Term
	}
	if len(list) > 0 {
		held = max(held, list[0].Term) // the newest: see snapshotStore.List
	}
	if term < held {
		return fmt.Errorf("the term is %d, and the log has reached %d: %w", term, held, storage.ErrDamaged)
	}
	return nil
}
