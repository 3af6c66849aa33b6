package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// snapshotReader takes a snapshot apart into records. It never holds more than some blocks and one record.
type snapshotReader struct {
	blocks *blockReader
	block  []byte // that rest is the end of
	rest   []byte
	err    error  // what comes after rest; nil: the next block
	split  []byte // a record that begins in one block and ends in another
}

func newSnapshotReader(r io.Reader) *snapshotReader { return &snapshotReader{blocks: readBlocks(r)} }

// record returns the next record, which is good until the next call.
func (s *snapshotReader) record() ([]byte, error) {
	b, err := s.whole()
	if b != nil || err != nil {
		return b, err
	}
	s.split, err = s.join(s.split[:0], s.free)
	if err != nil {
		return nil, err
	}
	return unframe(s.split)
}

// whole returns the next record if all of it is in the present block; nil: it is not.
func (s *snapshotReader) whole() ([]byte, error) {
	size, err := frameSize(s.rest)
	if err != nil || size == 0 || size > len(s.rest) {
		return nil, err
	}
	b, err := unframe(s.rest[:size])
	s.rest = s.rest[size:]
	return b, err
}

// join appends the next record, with its length before it, that begins in the present block, and goes on to the block where
// it ends. Done is called with each block that is left behind.
func (s *snapshotReader) join(dst []byte, done func([]byte)) ([]byte, error) {
	begin := len(dst)
	for {
		size, err := frameSize(dst[begin:])
		if err != nil {
			return dst, err
		}
		missing := 1
		if size > 0 {
			if missing = size - (len(dst) - begin); missing == 0 {
				return dst, nil
			}
		}
		if len(s.rest) == 0 {
			if err := s.advance(done); err != nil {
				return dst, err
			}
			continue
		}
		n := min(missing, len(s.rest))
		dst = append(dst, s.rest[:n]...)
		s.rest = s.rest[n:]
	}
}

// advance goes on to the next block. Nothing may end here.
func (s *snapshotReader) advance(done func([]byte)) error {
	switch {
	case s.err == nil:
		done(s.block)
		next := s.blocks.next()
		s.block, s.rest, s.err = next.bytes, next.bytes, next.err
		return nil
	case errors.Is(s.err, io.EOF):
		return broken("too short")
	}
	return fmt.Errorf("read: %w", s.err)
}

// leave hands the present block over to the caller. What is left of it, less than a record, is copied.
func (s *snapshotReader) leave() (block []byte) {
	s.split = append(s.split[:0], s.rest...)
	block, s.block, s.rest = s.block, nil, s.split
	return block
}

func (s *snapshotReader) free(block []byte) { s.blocks.free(block) }

// end checks the checksum and that nothing follows it.
func (s *snapshotReader) end() error {
	got, err := s.record()
	if err != nil {
		return fmt.Errorf("checksum: %w", err)
	}
	for s.err == nil && len(s.rest) == 0 {
		if err := s.advance(func([]byte) {}); err != nil {
			return err
		}
	}
	switch {
	case len(s.rest) > 0:
		return broken("bytes after the end")
	case !errors.Is(s.err, io.EOF):
		return fmt.Errorf("after the end: %w", s.err)
	case !bytes.Equal(got, s.blocks.sum.Sum(nil)):
		return broken("checksum is wrong")
	}
	return nil
}

// frameSize returns how many bytes the record that begins here takes with its length before it; 0: too little is here to tell.
func frameSize(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	size := 0
	switch b[0] {
	case msgpcode.Bin8:
		size = 1
	case msgpcode.Bin16:
		size = 2
	case msgpcode.Bin32:
		size = 4
	default:
		return 0, broken("not a byte string")
	}
	if len(b) <= size {
		return 0, nil
	}
	n := 0
	for _, c := range b[1 : 1+size] {
		n = n<<8 | int(c)
	}
	if n > maxRecord {
		return 0, broken("record too long")
	}
	return 1 + size + n, nil
}

// unframe returns a record without the length before it.
func unframe(b []byte) ([]byte, error) {
	r := &reader{b: b}
	record := r.bytes()
	if r.bad {
		return nil, broken("length not in the fewest bytes")
	}
	if record == nil {
		record = []byte{}
	}
	return record, nil
}
