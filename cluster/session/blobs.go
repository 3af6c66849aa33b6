package session

import (
	"math/bits"
	"unsafe"
)

// blobs is the slab of what has no fixed size. A block is of one of some size classes, eight for each doubling, so at most
// an eighth of it is unused. Blocks of one class lie together in spans, of one or more pages. A span that holds nothing any
// more is free for any class; a chunk of which all spans are free gives its memory back.
type blobs struct {
	mem    *memory
	chunks [][]byte
	room   []uint64 // of each chunk: a bit for each page that is in no span
	low    int      // no chunk before it has such a page
	spans  []span   // by page: that which begins there
	begins []uint32 // by page: where the span begins that it is in
	open   [blobClasses]spanAt
	idle   idle
	used   int64 // bytes of blocks that were handed out
}

const (
	pageBits      = 16
	pageSize      = 1 << pageBits
	pagesPerChunk = chunkSize / pageSize // a word of bits

	spanBlocks = 8 // a span has room for so many blocks, or is a whole chunk
)

// span is where blocks of one class are.
type span struct {
	next, prev spanAt // in the list of those of its class that have a block to hand out
	free       uint32 // the head of a list of released blocks: where it is in the span, in words, and 1; 0: none
	fresh      uint32 // bytes of it that were ever used
	size       uint32 // bytes
	used       uint32 // blocks
}

// spanAt is the number of a span's first page, and 1; 0 is none.
type spanAt uint32

const blobClasses = 9 + 8*(chunkBits-6)

// classOf returns the size class of a block, and its full size, a multiple of 8.
func classOf(size int) (class, full int) {
	shift := max(bits.Len(uint(size-1))-4, 3)
	eighths := (size + 1<<shift - 1) >> shift
	return 8*(shift-3) + eighths, eighths << shift
}

func newBlobs(mem *memory) blobs { return blobs{mem: mem} }

func (s *blobs) span(at spanAt) *span { return &s.spans[at-1] }

// full reports whether there is no room for one more block of that size.
func (sp *span) full(size int) bool { return sp.free == 0 && int(sp.size-sp.fresh) < size }

// alloc returns where a block of that size is, with whatever is in it.
func (s *blobs) alloc(size int) uint64 {
	class, full := classOf(size)
	s.used += int64(full)
	if s.open[class] == 0 {
		s.link(class, s.newSpan(full))
	}
	begin := s.open[class]
	sp := s.span(begin)
	at := uint64(begin-1) << pageBits
	if sp.free != 0 {
		at += uint64(sp.free-1) * 8
		sp.free = uint32(*s.word(at))
	} else {
		at += uint64(sp.fresh)
		sp.fresh += uint32(full)
	}
	sp.used++
	if sp.full(full) {
		s.unlink(class, begin)
	}
	return at
}

// release gives back a block that alloc has returned for that size.
func (s *blobs) release(at uint64, size int) {
	class, full := classOf(size)
	s.used -= int64(full)
	page := s.begins[at>>pageBits]
	begin, sp := spanAt(page+1), &s.spans[page]
	if sp.full(full) {
		s.link(class, begin)
	}
	*s.word(at) = uint64(sp.free)
	sp.free = uint32(at-uint64(page)<<pageBits)/8 + 1
	if sp.used--; sp.used == 0 {
		s.unlink(class, begin)
		s.dropSpan(begin)
	}
}

func (s *blobs) link(class int, at spanAt) {
	sp := s.span(at)
	sp.prev, sp.next = 0, s.open[class]
	if sp.next != 0 {
		s.span(sp.next).prev = at
	}
	s.open[class] = at
}

func (s *blobs) unlink(class int, at spanAt) {
	sp := s.span(at)
	if sp.next != 0 {
		s.span(sp.next).prev = sp.prev
	}
	if sp.prev != 0 {
		s.span(sp.prev).next = sp.next
	} else {
		s.open[class] = sp.next
	}
}

// newSpan makes a span for blocks of that size, in the first chunk that has as many pages in a row.
func (s *blobs) newSpan(block int) spanAt {
	pages := min((spanBlocks*block+pageSize-1)/pageSize, pagesPerChunk)
	for s.low < len(s.chunks) && s.room[s.low] == 0 {
		s.low++
	}
	chunk, first := s.low, -1
	for ; chunk < len(s.chunks); chunk++ {
		if first = rowOf(s.room[chunk], pages); first >= 0 {
			break
		}
	}
	if first < 0 {
		first = 0
		s.chunks = append(s.chunks, s.mem.chunk(chunk == 0))
		s.room = append(s.room, ^uint64(0))
		s.spans = append(s.spans, make([]span, pagesPerChunk)...)
		s.begins = append(s.begins, make([]uint32, pagesPerChunk)...)
	}
	s.room[chunk] &^= pageMask(first, pages)
	page := chunk*pagesPerChunk + first
	s.spans[page] = span{size: uint32(pages) * pageSize}
	for i := range pages {
		s.begins[page+i] = uint32(page)
	}
	return spanAt(page + 1)
}

func (s *blobs) dropSpan(at spanAt) {
	chunk, first := int(at-1)/pagesPerChunk, int(at-1)%pagesPerChunk
	s.room[chunk] |= pageMask(first, int(s.span(at).size/pageSize))
	s.low = min(s.low, chunk)
	if s.room[chunk] != ^uint64(0) {
		return
	}
	if old, ok := s.idle.emptied(chunk, func(chunk int) bool { return s.room[chunk] == ^uint64(0) }); ok {
		discardMemory(s.chunks[old])
	}
}

func pageMask(first, pages int) uint64 { return ^uint64(0) >> (pagesPerChunk - pages) << first }

// rowOf returns the first of so many bits in a row, or -1.
func rowOf(room uint64, pages int) int {
	for have := 1; have < pages; {
		more := min(have, pages-have)
		room &= room >> more
		have += more
	}
	if room == 0 {
		return -1
	}
	return bits.TrailingZeros64(room)
}

// bytes returns a block. It is good until the block is released.
func (s *blobs) bytes(at uint64, size int) []byte {
	return s.chunks[at/chunkSize][at%chunkSize:][:size:size]
}

// words returns a block as numbers.
func (s *blobs) words(at uint64, n int) []uint64 {
	return unsafe.Slice(s.word(at), n)
}

func (s *blobs) word(at uint64) *uint64 {
	return (*uint64)(unsafe.Pointer(&s.chunks[at/chunkSize][at%chunkSize]))
}

// place is where the blob of a row is, and how long: 48 and 16 bits.
type place uint64

func (s *blobs) put(b []byte) place {
	at := s.alloc(len(b))
	copy(s.bytes(at, len(b)), b)
	return place(at<<16 | uint64(len(b)))
}

// join is put of two pieces, one behind the other.
func (s *blobs) join(a, b []byte) place {
	size := len(a) + len(b)
	at := s.alloc(size)
	to := s.bytes(at, size)
	copy(to[copy(to, a):], b)
	return place(at<<16 | uint64(size))
}

func (s *blobs) get(p place) []byte { return s.bytes(uint64(p>>16), int(p&0xffff)) }

func (s *blobs) drop(p place) { s.release(uint64(p>>16), int(p&0xffff)) }

// set puts b in the place of p, and in the same block if it fits as well as in a new one.
func (s *blobs) set(p place, b []byte) place {
	class, _ := classOf(int(p & 0xffff))
	if next, _ := classOf(len(b)); next != class {
		s.drop(p)
		return s.put(b)
	}
	p = p&^0xffff | place(len(b))
	copy(s.get(p), b)
	return p
}
