package session

import "math/bits"

// slots is a hash table in parts, its shards, each with open addressing and linear probing in a block of its own. A slot
// holds a tag, 32 bits of the key's hash, and a number; 0 is an empty slot. Keys are where the numbers say. Deleting closes
// the gap, so there are no markers, and a shard grows and shrinks with what is in it. One step moves one shard at most.
type slots struct {
	blobs  *blobs
	shards []shard // nil: nothing was ever put in
}

type shard struct {
	at   uint64 // of the slots, in blobs
	size uint32 // slots
	n    uint32 // of them in use
}

// home is where the slot of a tag is if nothing else is there. Any size will do, it need not be a power of two: so a shard
// grows by a quarter, and four fifths of the slots are in use at most, and two thirds at least.
func home(tag, size uint32) uint32 {
	hi, _ := bits.Mul32(tag, size)
	return hi
}

func (sh *shard) crowded() bool { return sh.n+1 > sh.size*4/5 }

func (x *slots) of(sh *shard) []uint64 {
	if sh.size == 0 {
		return nil
	}
	return x.blobs.words(sh.at, int(sh.size))
}

// room makes sure that one more slot can be taken.
func (x *slots) room(sh *shard) {
	if sh.crowded() {
		x.resize(sh, int(sh.size)*5/4+5)
	}
}

// closeGap empties a slot.
func (x *slots) closeGap(sh *shard, gap uint32) {
	slots := x.of(sh)
	sh.n--
	for at := gap; ; {
		if at++; at == sh.size {
			at = 0
		}
		s := slots[at]
		if s == 0 {
			slots[gap] = 0
			break
		}
		// What follows moves into the gap unless its home lies behind it.
		if from := home(uint32(s>>32), sh.size); (at+sh.size-from)%sh.size >= (at+sh.size-gap)%sh.size {
			slots[gap] = s
			gap = at
		}
	}
	if sh.n == 0 || sh.n < sh.size/4 {
		x.resize(sh, shrunk(int(sh.n)))
	}
}

// shrunk is how many slots are right for n, one of them empty at least: a search ends there.
func shrunk(n int) int {
	if n == 0 {
		return 0
	}
	return n*3/2 + 1
}

// resize moves a shard into a block with room for that many slots, of which all is used; an empty one needs none.
func (x *slots) resize(sh *shard, size int) {
	old := *sh
	*sh = shard{n: old.n}
	if size > 0 {
		x.open(sh, size)
	}
	if old.size == 0 {
		return
	}
	slots := x.of(sh)
	for _, s := range x.of(&old) {
		if s != 0 {
			seat(slots, s)
		}
	}
	x.blobs.release(old.at, int(old.size)*8)
}

// open gives a shard that many slots or a few more.
func (x *slots) open(sh *shard, size int) {
	_, bytes := classOf(size * 8)
	sh.size = uint32(bytes / 8)
	sh.at = x.blobs.alloc(bytes)
	clear(x.of(sh))
}

// seat puts a slot that is not there yet where it belongs.
func seat(slots []uint64, s uint64) {
	at := home(uint32(s>>32), uint32(len(slots)))
	for slots[at] != 0 {
		if at++; int(at) == len(slots) {
			at = 0
		}
	}
	slots[at] = s
}

func slotOf(tag, n uint32) uint64 { return uint64(tag)<<32 | uint64(n) }
