package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring"
)

// vault stands right before the store of the log: what lies in the store is sealed, what comes out of the vault is not.
// It is there without keys, too, to say of a sealed entry what it is.
//
// A log may begin with plain entries, from before there were keys, and go on with sealed ones. It is never the other way
// round, because a node without keys does not open a log with sealed entries: a plain one behind them was put there by
// somebody else.
type vault struct {
	raft.LogStore
	keys *keyring.Ring // nil: nothing is sealed
	use  usage

	plainTo atomic.Uint64 // the last plain entry that was there when the keys were given

	turn chan struct{} // has room while nobody changes the log: reseal writes what it has read
}

var _ raft.LogStore = (*vault)(nil)

func newVault(inner raft.LogStore, keys *keyring.Ring) *vault {
	return &vault{LogStore: inner, keys: keys, turn: make(chan struct{}, 1)}
}

// survey looks at what is in the log before anything is written. It reads all of it if there are keys; without, the last
// entry tells whether any is sealed.
func (v *vault) survey() error {
	first, err := v.FirstIndex()
	if err != nil {
		return fmt.Errorf("find start of log: %w", err)
	}
	last, err := v.LastIndex()
	if err != nil {
		return fmt.Errorf("find end of log: %w", err)
	}
	if last == 0 {
		return nil
	}
	if v.keys == nil {
		first = last
	}
	for index := first; index <= last; index++ {
		if err := v.look(index); err != nil {
			return err
		}
	}
	return nil
}

// look notes what an entry is sealed under. The key must be at hand.
func (v *vault) look(index uint64) error {
	var log raft.Log
	err := v.LogStore.GetLog(index, &log)
	if errors.Is(err, raft.ErrLogNotFound) {
		return nil // a hole: who opens a node looks for these
	}
	if err != nil {
		return fmt.Errorf("entry %d is unreadable (%w): %w", index, err, ErrDamaged)
	}
	id, sealed, err := sealedUnder(&log)
	if err != nil {
		return err
	}
	if sealed {
		_, err = findKey(v.keys, id)
	} else if _, any := v.use.other(0, cover{}); any {
		err = errPlain
	} else {
		v.plainTo.Store(index)
	}
	if err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	v.use.add(index, index, cover{sealed, id})
	return nil
}

// errPlain is an entry that nobody of ours has written.
var errPlain = fmt.Errorf("it is not encrypted, though entries before it are: %w", ErrDamaged)

// GetLog returns an entry as it was stored.
func (v *vault) GetLog(index uint64, log *raft.Log) error {
	plainTo := v.plainTo.Load() // before the read: what is read now may be sealed, and this lowered, in between
	if err := v.LogStore.GetLog(index, log); err != nil {
		return err
	}
	switch {
	case log.Index != index: // the seal binds it to the index that it has in itself
		return fmt.Errorf("entry %d lies in the place of %d: %w", log.Index, index, ErrDamaged)
	case len(log.Extensions) == 0 && v.keys != nil && index > plainTo:
		return fmt.Errorf("entry %d: %w", index, errPlain)
	}
	return openEntry(v.keys, log)
}

// StoreLog stores one entry.
func (v *vault) StoreLog(log *raft.Log) error { return v.StoreLogs([]*raft.Log{log}) }

// alone waits until nobody else changes the log, and returns what ends that. It is no mutex: whoever is at it may wait for a
// disk, and clocks that stand still while somebody waits for a mutex would not see the end of that.
func (v *vault) alone() (done func()) {
	v.turn <- struct{}{}
	return func() { <-v.turn }
}

// StoreLogs seals entries and stores them.
func (v *vault) StoreLogs(logs []*raft.Log) error {
	defer v.alone()()
	return v.storeLocked(logs, v.use.add)
}

// storeLocked seals under the first key and tells note what is on disk then.
func (v *vault) storeLocked(logs []*raft.Log, note func(first, last uint64, c cover)) error {
	var c cover
	for _, l := range logs {
		if len(l.Extensions) != 0 { // it would be taken for sealed
			return fmt.Errorf("store entry %d: it has extensions, which no member makes", l.Index)
		}
	}
	if v.keys != nil {
		key := v.keys.First()
		sealed, err := sealEntries(key, logs)
		if err != nil {
			return err
		}
		logs, c = sealed, cover{true, key.ID()}
	}
	if err := v.LogStore.StoreLogs(logs); err != nil {
		return err
	}
	note(logs[0].Index, logs[len(logs)-1].Index, c)
	return nil
}

// DeleteRange removes entries.
func (v *vault) DeleteRange(first, last uint64) error {
	defer v.alone()()
	if err := v.LogStore.DeleteRange(first, last); err != nil {
		return err
	}
	v.use.cut(first, last)
	return nil
}

// reseal writes each entry anew, in its place, that is not sealed under the first key. Appends wait for one batch at a
// time, each of which goes through write.
//
// Plain entries come first, and of them the last: wherever it is cut short, no plain one lies behind a sealed one.
func (v *vault) reseal(ctx context.Context, write func(func() error) error) error {
	for from, more := uint64(0), true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := write(func() (err error) {
			from, more, err = v.resealBatch(from)
			return err
		})
		if err != nil {
			return fmt.Errorf("seal entries anew: %w", err)
		}
	}
	if _, left := v.use.other(0, cover{true, v.keys.First().ID()}); !left {
		v.plainTo.Store(0)
	}
	return nil
}

// resealBatch takes the last plain entries. When there are none it begins with the first entry from an index on that is
// not sealed under the first key, and returns where to go on.
func (v *vault) resealBatch(from uint64) (next uint64, more bool, err error) {
	defer v.alone()()
	current := cover{true, v.keys.First().ID()}
	if first, last, found := v.use.lastRun(cover{}); found {
		logs, err := readBatchBack(v.GetLog, first, last)
		if err != nil {
			return from, false, err
		}
		return from, true, v.storeLocked(logs, v.use.cover)
	}
	from, found := v.use.other(from, current)
	if !found {
		return from, false, nil
	}
	last, err := v.LastIndex()
	if err != nil {
		return from, false, err
	}
	logs, err := readBatch(v.GetLog, from, last)
	if err != nil || len(logs) == 0 {
		return from, false, err
	}
	err = v.storeLocked(logs, v.use.cover)
	return from + uint64(len(logs)), true, err
}

// readBatch reads entries up to an index, as many as may be written at once.
func readBatch(get func(uint64, *raft.Log) error, from, last uint64) ([]*raft.Log, error) {
	var logs []*raft.Log
	for size := int64(0); from <= last && size < resealBytes && len(logs) < resealEntries; from++ {
		log := &raft.Log{}
		if err := get(from, log); err != nil {
			return nil, fmt.Errorf("read entry %d: %w", from, err)
		}
		logs = append(logs, log)
		size += EntrySize(log)
	}
	return logs, nil
}

// readBatchBack reads entries from an index down, as many as may be written at once, and returns them in their order.
func readBatchBack(get func(uint64, *raft.Log) error, first, last uint64) ([]*raft.Log, error) {
	var logs []*raft.Log
	for size := int64(0); last >= first && size < resealBytes && len(logs) < resealEntries; last-- {
		log := &raft.Log{}
		if err := get(last, log); err != nil {
			return nil, fmt.Errorf("read entry %d: %w", last, err)
		}
		logs = append(logs, log)
		size += EntrySize(log)
	}
	slices.Reverse(logs)
	return logs, nil
}
