package wire

import (
	"errors"
	"fmt"
	"math"
)

// The first bytes of msgpack values (its specification, "Formats").
const (
	packNil     = 0xc0
	packUnused  = 0xc1
	packTrue    = 0xc3 // behind packUnused is false
	packBin8    = 0xc4 // and two more for lengths of 2 and 4 bytes; so the others
	packExt8    = 0xc7
	packFloat32 = 0xca
	packFloat64 = 0xcb
	packUint8   = 0xcc
	packUint64  = 0xcf
	packInt8    = 0xd0
	packInt64   = 0xd3
	packFixExt  = 0xd4 // of 1 byte, and four more
	packStr8    = 0xd9
	packArray16 = 0xdc
	packArray32 = 0xdd
	packMap16   = 0xde
	packMap32   = 0xdf
	packNegFix  = 0xe0
)

// head takes the first byte of a value.
func (s *scanner) head(b byte) error {
	s.lead = b
	if err := s.expected(b); err != nil {
		return err
	}
	switch {
	case b < 0x80, b >= packNegFix:
		return s.integer(uint64(b), b >= packNegFix)
	case b < 0x90:
		return s.open(int(b&0x0f), true)
	case b < 0xa0:
		return s.open(int(b&0x0f), false)
	case b < 0xc0:
		return s.short(int(b & 0x1f))
	}
	return s.long(b)
}

// expected refuses what raft sends nowhere, and by which raft would read another length of the snapshot than the scanner.
func (s *scanner) expected(b byte) error {
	isMap := b >= 0x80 && b < 0x90 || b == packMap16 || b == packMap32
	isInteger := b < 0x80 || b >= packUint8 && b <= packInt64 || b >= packNegFix
	top := s.top()
	switch {
	case b == packUnused:
		return errors.New("no msgpack")
	case s.requests && top == nil && !isMap:
		return errors.New("a request that is no map")
	case s.isSize && !isInteger:
		return errors.New("the size of a snapshot is no number")
	case s.requests && s.isName() && (b < 0xa0 || b >= 0xc0):
		return errors.New("a member whose name is no short string")
	case b == packNil && top != nil && !top.isMap:
		return errors.New("nothing in an array") // raft takes each entry for one that is there
	}
	return nil
}

// isName says whether the present value is the name of a member of the outermost map.
func (s *scanner) isName() bool { return s.depth == 1 && s.levels[0].isMap && s.levels[0].left%2 == 0 }

// short is a string of up to 31 bytes.
func (s *scanner) short(n int) error {
	if s.requests && s.isName() && n == len(sizeName) {
		return s.collect(scanName, n)
	}
	return s.skipOver(uint64(n))
}

// long takes the first byte of a value that has more of them before its contents.
func (s *scanner) long(b byte) error {
	switch {
	case b <= packTrue:
		return s.valueOver()
	case b < packExt8:
		return s.collect(scanLength, 1<<(b-packBin8))
	case b < packFloat32:
		return s.collect(scanLength, 1<<(b-packExt8))
	case b == packFloat32:
		return s.skipOver(4)
	case b == packFloat64:
		return s.skipOver(8)
	case b <= packUint64:
		return s.collect(scanNumber, 1<<(b-packUint8))
	case b <= packInt64:
		return s.collect(scanNumber, 1<<(b-packInt8))
	case b < packStr8:
		return s.skipOver(1 + 1<<(b-packFixExt)) // the extension's type is one byte
	case b < packArray16:
		return s.collect(scanLength, 1<<(b-packStr8))
	case b == packArray16, b == packMap16:
		return s.collect(scanLength, 2)
	}
	return s.collect(scanLength, 4) // packArray32, packMap32
}

// whole takes what collect has waited for.
func (s *scanner) whole() error {
	n := s.number()
	switch {
	case s.state == scanName:
		isSize := string(s.got[:s.have]) == sizeName
		err := s.valueOver()
		s.isSize = isSize
		return err
	case s.state == scanNumber:
		signed := s.lead >= packInt8
		return s.integer(n, signed && s.got[0] >= 0x80)
	case s.lead >= packArray16:
		if n > MaxRaftElements { // before it may be too large for an int
			return fmt.Errorf("%d values in one map or array", n)
		}
		return s.open(int(n), s.lead >= packMap16)
	case s.lead >= packExt8 && s.lead < packFloat32:
		n++ // the type
	}
	return s.skipOver(n)
}

// integer is a number that is there.
func (s *scanner) integer(n uint64, negative bool) error {
	if s.isSize && s.stream {
		if negative || n > math.MaxInt64 {
			return errors.New("the size of a snapshot is no size")
		}
		s.content = n
	}
	return s.valueOver()
}
