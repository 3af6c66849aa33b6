package simulation

import "cloakroom/cluster/lease"

// table is what the log makes: for each owner a record, and keys that can be put, updated and ended. A lookup of a key
// reads the owner's record as well. Tables are values: a snapshot is a copy.
type table struct {
	owners [ownerCount]owner
	handed bool // the last command was a hand-over
}

type owner struct {
	value            int
	changed, version uint64
	ended            uint64 // all keys that were put up to this version are over
	keys             [keysPerOwner]record
}

// record is a key's. Its tombstone is a record without a value.
type record struct {
	value   int
	changed uint64 // index of the last change
	version uint64 // the same and the command's place in its entry, for the judge: no break falsifies it
}

// view is what a lookup of a key sees, or what was the case when a command was applied.
type view struct {
	value, described int
	mod              uint64
	key, owner       uint64 // versions
}

// result is the answer to a command.
type result struct {
	ok      bool
	changed bool
	view    view
}

func (t *table) view(o, k int) view {
	own := &t.owners[o]
	r := &own.keys[k]
	v := view{value: r.value, described: own.value, mod: max(r.changed, own.changed), key: r.version, owner: own.version}
	if r.version <= own.ended {
		v.value = 0
	}
	return v
}

// apply carries out an entry that reaches the table.
func (t *table) apply(e *entry, index uint64, b Breaks) (results []result, handed bool) {
	handed = t.handed
	switch {
	case e.kind != commandEntry:
		return nil, false
	case e.as == lease.TickCommand:
		t.handed = t.handed && b.TicksKeepHandover
		return nil, handed
	}
	t.handed = e.as == lease.HandoverCommand
	for place, op := range e.batch {
		op.index, op.version = index, index*maxBatch+uint64(place)
		results = append(results, t.do(op, b))
		op.effective = results[place].changed
	}
	return results, false
}

func (t *table) do(op *operation, b Breaks) result {
	index, version := op.index, op.version
	own := &t.owners[op.owner]
	r := &own.keys[op.key]
	live := t.view(op.owner, op.key).value != 0
	done := result{ok: true, changed: true}
	switch op.kind {
	case put:
		*r = record{op.value, index, version}
	case update:
		if done.ok = live; live {
			*r = record{op.value, index, version}
		}
	case end:
		if done.ok = live; live {
			*r = record{0, index, version}
			if b.NoTombstones {
				r.changed = 0
			}
		}
	case endAll:
		done.ok = t.anyLive(op.owner)
		own.ended, own.changed, own.version = version, index, version
	case describe:
		own.value, own.changed, own.version = op.value, index, version
	}
	done.changed = done.ok || op.kind == endAll
	done.view = t.view(op.owner, op.key)
	return done
}

func (t *table) anyLive(o int) bool {
	for k := range keysPerOwner {
		if t.view(o, k).value != 0 {
			return true
		}
	}
	return false
}

// forgetChanges is what a snapshot loses that doesn't hold when its records changed.
func (t *table) forgetChanges() {
	for o := range t.owners {
		t.owners[o].changed = 0
		for k := range t.owners[o].keys {
			t.owners[o].keys[k].changed = 0
		}
	}
}
