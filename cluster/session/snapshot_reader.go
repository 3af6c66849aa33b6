package session

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// snapshotReader takes a snapshot apart into records and sums it up. It never holds more than one record.
type snapshotReader struct {
	r     *bufio.Reader
	sum   hash.Hash
	frame []byte // the record with its length before it
}

// record returns the next record, which is good until the next call.
func (s *snapshotReader) record() ([]byte, error) {
	b, err := s.read()
	if err != nil {
		return nil, err
	}
	s.sum.Write(s.frame) // never fails
	return b, nil
}

// end checks the checksum and that nothing follows it.
func (s *snapshotReader) end() error {
	want := s.sum.Sum(nil)
	got, err := s.read()
	if err != nil {
		return fmt.Errorf("checksum: %w", err)
	}
	if !bytes.Equal(got, want) {
		return broken("checksum is wrong")
	}
	switch _, err := s.r.ReadByte(); {
	case err == nil:
		return broken("bytes after the end")
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("after the end: %w", err)
	}
	return nil
}

// read takes one byte string.
func (s *snapshotReader) read() ([]byte, error) {
	s.frame = s.frame[:0]
	code, err := s.more(1)
	if err != nil {
		return nil, err
	}
	size := 0
	switch code[0] {
	case msgpcode.Bin8:
		size = 1
	case msgpcode.Bin16:
		size = 2
	case msgpcode.Bin32:
		size = 4
	default:
		return nil, broken("not a byte string")
	}
	length, err := s.more(size)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, c := range length {
		n = n<<8 | int(c)
	}
	if n > maxRecord {
		return nil, broken("record too long")
	}
	if _, err := s.more(n); err != nil {
		return nil, err
	}
	r := &reader{b: s.frame}
	b := r.bytes()
	if r.bad {
		return nil, broken("length not in the fewest bytes")
	}
	return b, nil
}

// more reads n bytes onto the frame and returns them. Nothing may end here.
func (s *snapshotReader) more(n int) ([]byte, error) {
	at := len(s.frame)
	s.frame = append(s.frame, make([]byte, n)...)
	if _, err := io.ReadFull(s.r, s.frame[at:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, broken("too short")
		}
		return nil, fmt.Errorf("read: %w", err)
	}
	return s.frame[at:], nil
}
