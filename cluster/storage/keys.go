package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cloakroom/cluster/keyring"
)

// AtRestStats says what log and snapshots are sealed under on disk.
type AtRestStats struct {
	Current string // id of the key that seals; "": there are no keys, and the rest says nothing
	// Keys are the ids of those that something on disk is sealed under, in the order of the key file from the last line
	// on: Keys[0] is the oldest. A key that is neither here nor Current can be taken out of the file.
	Keys           []string
	PlainEntries   uint64 // of the log
	PlainSnapshots int
	OtherEntries   uint64 // sealed, but not under the current key
	OtherSnapshots int
}

// errOff is asked of a disk on which nothing is sealed.
var errOff = errors.New("the node has no data keys")

// ReplaceKeys puts other keys in place of those that the disk was opened with; from then on the first of them seals. They
// must hold the one that seals until now, and of those that there are all that something is sealed under (ErrKeyInUse).
func (d *Disk) ReplaceKeys(keys []keyring.Key) error {
	ring := d.vault.keys
	if ring == nil {
		return errOff
	}
	defer d.vault.alone()()
	d.snapshots.writingMu.Lock() // no snapshot is begun
	defer d.snapshots.writingMu.Unlock()
	for _, id := range d.inUse(d.snapshots.coversLocked()) {
		if _, here := ring.Find(id); here && !slices.ContainsFunc(keys, func(k keyring.Key) bool { return k.ID() == id }) {
			return fmt.Errorf("data key %v: %w", id, ErrKeyInUse)
		}
	}
	return ring.Replace(keys)
}

// Reseal returns when nothing is plain or sealed under another key than the first, at once if that is so. It has a
// snapshot taken, removes older ones that are in the way, and writes anew what is left of the log: appends wait for one
// batch at a time, each of which is watched. snapshot takes one, of a later index than the newest if newer says so, and
// shortens the log.
func (d *Disk) Reseal(ctx context.Context, watch Watch, snapshot func(newer bool) error) error {
	ring := d.vault.keys
	if ring == nil {
		return errOff
	}
	if !d.NeedsReseal() {
		return nil
	}
	current := cover{true, ring.First().ID()}
	newest, any := d.snapshots.newest()
	if err := snapshot(any && newest != current); err != nil {
		return err
	}
	if err := d.snapshots.dropOthers(current); err != nil {
		return err
	}
	err := d.vault.reseal(ctx, func(write func() error) error {
		return watch.Try("seal log anew", watch.Limit, write)
	})
	if err != nil {
		return err
	}
	if d.NeedsReseal() {
		return errors.New("seal all anew: keys or snapshots have changed meanwhile, try again")
	}
	return nil
}

// inUse names the keys that something on disk is sealed under, the snapshots as they are given.
func (d *Disk) inUse(snapshots []cover) []keyring.ID {
	var ids []keyring.ID
	note := func(c cover) {
		if c.sealed && !slices.Contains(ids, c.id) {
			ids = append(ids, c.id)
		}
	}
	for c := range d.vault.use.count() {
		note(c)
	}
	for _, c := range snapshots {
		note(c)
	}
	return ids
}

// NeedsReseal reports whether something is plain or sealed under another key than the first, by what is known: it reads
// nothing. Without keys nothing needs it.
func (d *Disk) NeedsReseal() bool {
	s := d.AtRest()
	return s.PlainSnapshots+s.OtherSnapshots > 0 || s.PlainEntries+s.OtherEntries > 0
}

// AtRest says what there is sealed under.
func (d *Disk) AtRest() (s AtRestStats) {
	ring := d.vault.keys
	if ring == nil {
		return s
	}
	current := ring.First().ID()
	s.Current = current.String()
	for c, entries := range d.vault.use.count() {
		switch {
		case !c.sealed:
			s.PlainEntries += entries
		case c.id != current:
			s.OtherEntries += entries
		}
	}
	snapshots := d.snapshots.covers()
	for _, c := range snapshots {
		switch {
		case !c.sealed:
			s.PlainSnapshots++
		case c.id != current:
			s.OtherSnapshots++
		}
	}
	order := ring.IDs()
	ids := d.inUse(snapshots)
	slices.SortFunc(ids, func(a, b keyring.ID) int { return place(order, b) - place(order, a) })
	for _, id := range ids {
		s.Keys = append(s.Keys, id.String())
	}
	return s
}

// place returns the line of a key; one that is missing, as that of an older snapshot may be, is the oldest.
func place(order []keyring.ID, id keyring.ID) int {
	if i := slices.Index(order, id); i >= 0 {
		return i
	}
	return len(order)
}
