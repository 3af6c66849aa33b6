package idle

import (
	"encoding/binary"
	"iter"
	"math/bits"

	"cloakroom/cluster/session"
)

// recent is a table of uses by session: open addressing with linear probing, without tombstones. Each lookup goes to
// one place of it, which has the key and the use in it, so it costs one cache miss where the built-in map costs several.
// The garbage collector does not look into it. The zero value is empty.
type recent struct {
	slots []slot // a power of two, or none
	n     int    // of them in use: those with a moment
}

type slot struct {
	key session.Key
	use
}

// minRecent is the number of slots that the first use makes room for.
const minRecent = 8

// home is where a key's slot is if no other one is in the way. Keys are uniformly random, but for those of tests.
func (t *recent) home(k session.Key) int {
	const odd = 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio (Knuth, TAOCP 3, 6.4)
	h := (binary.LittleEndian.Uint64(k[:8]) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(k[8:]), 32)) * odd
	return int(h >> 32 & uint64(len(t.slots)-1))
}

// find returns the use of a session, nil if there is none. It may be changed, but for making its moment zero, until the
// next put or drop.
func (t *recent) find(k session.Key) *use {
	if t.n == 0 {
		return nil
	}
	for i := t.home(k); t.slots[i].at != 0; i = (i + 1) & (len(t.slots) - 1) {
		if t.slots[i].key == k {
			return &t.slots[i].use
		}
	}
	return nil
}

// put adds a use of a session that has none. Its moment is not zero.
func (t *recent) put(k session.Key, x use) {
	if 4*(t.n+1) > 3*len(t.slots) {
		t.resize(max(minRecent, 2*len(t.slots)))
	}
	t.place(slot{k, x})
	t.n++
}

func (t *recent) place(s slot) {
	i := t.home(s.key)
	for t.slots[i].at != 0 {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = s
}

func (t *recent) resize(slots int) {
	old := t.slots
	t.slots = make([]slot, slots)
	for _, s := range old {
		if s.at != 0 {
			t.place(s)
		}
	}
}

// drop removes a use that find has just returned for the key. Those behind it that it was in the way of move up (Knuth,
// TAOCP 3, 6.4, algorithm R).
func (t *recent) drop(k session.Key) {
	mask := len(t.slots) - 1
	hole := t.home(k)
	for t.slots[hole].key != k || t.slots[hole].at == 0 {
		hole = (hole + 1) & mask
	}
	for i := (hole + 1) & mask; t.slots[i].at != 0; i = (i + 1) & mask {
		if (i-t.home(t.slots[i].key))&mask >= (i-hole)&mask {
			t.slots[hole] = t.slots[i]
			hole = i
		}
	}
	t.slots[hole] = slot{}
	t.n--
	if len(t.slots) > minRecent && 8*t.n < len(t.slots) {
		t.resize(len(t.slots) / 2) // a burst must not be held for ever
	}
}

// all goes through the uses, in no order. The table must not change meanwhile.
func (t *recent) all() iter.Seq2[session.Key, use] {
	return func(yield func(session.Key, use) bool) {
		for _, s := range t.slots {
			if s.at != 0 && !yield(s.key, s.use) {
				return
			}
		}
	}
}
