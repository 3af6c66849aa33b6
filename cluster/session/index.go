package session

import "encoding/binary"

// indexShards is how many parts the index has, each one the keys with the same two leading bytes. At ten million sessions
// a shard holds some 150: what a page of a listing sorts, and what is written of a snapshot at a time.
const indexShards = 1 << 16

// graveBit tells the number of a tombstone from that of a row.
const graveBit = 1 << 31

// index finds the number that a key stands for: that of a row, or with graveBit that of a tombstone; a key is never both.
//
// The tags are such that one that is equal with a key that is not is rare: a lookup reads one row.
type index struct {
	slots
	keyOf func(n uint32) *Key
}

func shardOf(k *Key) int { return int(binary.BigEndian.Uint16(k[:])) }

// tagOf hashes a key. Keys are parts of SHA-256 sums, so that little is left to do, but the tests make up their own.
func tagOf(k *Key) uint32 {
	const odd = 0x9e3779b97f4a7c15
	h := binary.LittleEndian.Uint64(k[:])*odd ^ binary.LittleEndian.Uint64(k[8:])
	return uint32(h * odd >> 32)
}

// find returns the number of a key, 0 if it has none.
func (x *index) find(k *Key) uint32 {
	if x.shards == nil {
		return 0
	}
	sh := &x.shards[shardOf(k)]
	if sh.n == 0 {
		return 0
	}
	slots, at := x.search(sh, k)
	return uint32(slots[at])
}

// search returns where a key is, or where it would be: an empty slot.
func (x *index) search(sh *shard, k *Key) (slots []uint64, at uint32) {
	slots = x.of(sh)
	tag := tagOf(k)
	for at = home(tag, sh.size); ; {
		s := slots[at]
		if s == 0 || uint32(s>>32) == tag && *x.keyOf(uint32(s)) == *k {
			return slots, at
		}
		if at++; at == sh.size {
			at = 0
		}
	}
}

// put makes a key stand for n, whatever it stood for before. The key itself must be where keyOf finds it.
func (x *index) put(k *Key, n uint32) {
	if x.shards == nil {
		x.shards = make([]shard, indexShards)
	}
	sh := &x.shards[shardOf(k)]
	x.room(sh)
	slots, at := x.search(sh, k)
	if slots[at] == 0 {
		sh.n++
	}
	slots[at] = slotOf(tagOf(k), n)
}

func (x *index) delete(k *Key) {
	sh := &x.shards[shardOf(k)]
	slots, gap := x.search(sh, k)
	if slots[gap] == 0 {
		panic("BUG: key " + k.String() + " is not in the index")
	}
	x.closeGap(sh, gap)
}

// fill makes the slots those of a shard that has none.
func (x *index) fill(shardNumber int, slots []uint64) {
	if x.shards == nil {
		x.shards = make([]shard, indexShards)
	}
	sh := &x.shards[shardNumber]
	sh.n = uint32(len(slots))
	x.open(sh, len(slots)*11/8+2)
	to := x.of(sh)
	for _, s := range slots {
		seat(to, s)
	}
}

// each calls fn with the numbers of all rows of a shard, in no order.
func (x *index) each(shard int, fn func(n uint32)) {
	if x.shards == nil || x.shards[shard].n == 0 {
		return
	}
	for _, s := range x.of(&x.shards[shard]) {
		if n := uint32(s); n != 0 && n&graveBit == 0 {
			fn(n)
		}
	}
}
