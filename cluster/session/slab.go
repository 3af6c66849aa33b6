package session

import (
	"runtime"
	"unsafe"
)

// chunkSize is how much memory the slabs take from the system at a time. Chunks never move.
const (
	chunkSize = 1 << chunkBits
	chunkBits = 22
)

// memory is what the slabs of one machine have taken from the system. It goes back when nobody holds the memory any more:
// the machine, and the snapshots of it that are being written. Pointers into a chunk hold nothing, as far as the collector
// knows; so every exported method that follows one keeps the machine alive to its end.
//
// A chunk that holds nothing any more stays where it is, but its pages go back to the system.
type memory struct {
	bytes int64
	_     [8]byte // smaller ones share their memory with others, and are not let go before them
}

func (m *memory) chunk(first bool) []byte {
	b := mapMemory(chunkSize, !first) // a small machine shall stay small
	m.bytes += chunkSize
	runtime.AddCleanup(m, unmapMemory, b)
	return b
}

// idle is the chunk of a slab that has become empty last. It keeps its pages until another one has become empty, so that a
// machine at the edge of a chunk does not give it back and take it again all the time.
type idle struct{ chunk int } // its number and 1; 0: none

// emptied is told of each chunk that holds nothing any more, and says which of them to give back, if one.
func (i *idle) emptied(chunk int, empty func(chunk int) bool) (give int, ok bool) {
	last := i.chunk - 1
	i.chunk = chunk + 1
	return last, last >= 0 && last != chunk && empty(last)
}

const rowsPerChunk = chunkSize / rowSize

// rows is the slab of the records' fixed parts. A row has a number, never 0, for as long as its session is in the table. New
// ones go into the first chunk that has room, so that those behind can become empty.
type rows struct {
	mem    *memory
	chunks []*[rowsPerChunk]row
	state  []rowChunk // of each chunk
	low    int        // no chunk before it has room
	idle   idle
}

type rowChunk struct {
	next uint32 // the first that was never used, in the chunk
	free uint32 // the head of a list by row.next
	used uint32
}

func newRows(mem *memory) rows { return rows{mem: mem} }

func (s *rows) at(n uint32) *row { return &s.chunks[n/rowsPerChunk][n%rowsPerChunk] }

// take returns the number of a row with whatever is in it.
func (s *rows) take() uint32 {
	for s.low < len(s.chunks) && s.state[s.low].free == 0 && s.state[s.low].next == rowsPerChunk {
		s.low++
	}
	if s.low == len(s.chunks) {
		s.grow()
	}
	c := &s.state[s.low]
	c.used++
	if n := c.free; n != 0 {
		c.free = s.at(n).next
		return n
	}
	c.next++
	return uint32(s.low)*rowsPerChunk + c.next - 1
}

func (s *rows) grow() {
	number := len(s.chunks)
	if (number+1)*rowsPerChunk > graveBit {
		panic("BUG: more sessions than there are numbers")
	}
	b := s.mem.chunk(number == 0)
	s.chunks = append(s.chunks, (*[rowsPerChunk]row)(unsafe.Pointer(unsafe.SliceData(b))))
	s.state = append(s.state, freshRows(number))
}

// freshRows is a chunk of which no row was used. There is no row 0.
func freshRows(chunk int) (c rowChunk) {
	if chunk == 0 {
		c.next = 1
	}
	return c
}

func (s *rows) give(n uint32) {
	number := int(n / rowsPerChunk)
	c := &s.state[number]
	*s.at(n) = row{next: c.free}
	c.free = n
	s.low = min(s.low, number)
	if c.used--; c.used > 0 {
		return
	}
	if old, ok := s.idle.emptied(number, func(chunk int) bool { return s.state[chunk].used == 0 }); ok {
		s.state[old] = freshRows(old)
		discardMemory(unsafe.Slice((*byte)(unsafe.Pointer(s.chunks[old])), chunkSize))
	}
}
