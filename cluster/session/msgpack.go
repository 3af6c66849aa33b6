package session

import (
	"encoding/binary"
	"math"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// The encoding is MessagePack in its canonical form: every number and length in the fewest bytes. The reader refuses
// any other form, so that there is one encoding of a value, and a value decoded and encoded again gives the same
// bytes. The library's own encoder writes the same; ours appends to a slice and allocates nothing, and the reader
// checks each length against what is left before anything is allocated for it.

func appendUint(dst []byte, n uint64) []byte {
	switch {
	case n <= uint64(msgpcode.PosFixedNumHigh):
		return append(dst, byte(n))
	case n <= math.MaxUint8:
		return append(dst, msgpcode.Uint8, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, msgpcode.Uint16), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, msgpcode.Uint32), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, msgpcode.Uint64), n)
}

func appendInt(dst []byte, n int64) []byte {
	switch {
	case n >= 0:
		return appendUint(dst, uint64(n))
	case n >= int64(int8(msgpcode.NegFixedNumLow)):
		return append(dst, byte(n))
	case n >= math.MinInt8:
		return append(dst, msgpcode.Int8, byte(n))
	case n >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(dst, msgpcode.Int16), uint16(n))
	case n >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, msgpcode.Int32), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, msgpcode.Int64), uint64(n))
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, msgpcode.True)
	}
	return append(dst, msgpcode.False)
}

func appendNil(dst []byte) []byte { return append(dst, msgpcode.Nil) }

func appendString(dst []byte, s string) []byte {
	switch n := len(s); {
	case n <= int(msgpcode.FixedStrMask):
		dst = append(dst, msgpcode.FixedStrLow|byte(n))
	case n <= math.MaxUint8:
		dst = append(dst, msgpcode.Str8, byte(n))
	case n <= math.MaxUint16:
		dst = binary.BigEndian.AppendUint16(append(dst, msgpcode.Str16), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, msgpcode.Str32), uint32(n))
	}
	return append(dst, s...)
}

func appendBytes(dst, b []byte) []byte { return append(appendBytesLen(dst, len(b)), b...) }

func appendBytesLen(dst []byte, n int) []byte {
	switch {
	case n <= math.MaxUint8:
		return append(dst, msgpcode.Bin8, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, msgpcode.Bin16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, msgpcode.Bin32), uint32(n))
}

func appendArray(dst []byte, n int) []byte {
	switch {
	case n <= int(msgpcode.FixedArrayMask):
		return append(dst, msgpcode.FixedArrayLow|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, msgpcode.Array16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, msgpcode.Array32), uint32(n))
}

// reader takes values from the front of b. The first that is not as expected makes it bad: from then on it returns
// zero values, and lengths of zero, so that the caller need look only once, at the end.
type reader struct {
	b    []byte
	bad  bool
	form uint64 // version byte of the command that is being read
}

func (r *reader) fail() {
	r.bad, r.b = true, nil
}

// expect fails unless a condition holds that the format demands of a value.
func (r *reader) expect(ok bool) {
	if !ok {
		r.fail()
	}
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// peek returns the next byte without taking it, and 0xc1, which MessagePack never uses, when there is none.
func (r *reader) peek() byte {
	if len(r.b) == 0 {
		return 0xc1
	}
	return r.b[0]
}

func (r *reader) next() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0xc1
}

// bigEndian reads a number of size bytes, which must be greater than floor: else a shorter form would have done.
func (r *reader) bigEndian(size int, floor uint64) uint64 {
	var n uint64
	for _, c := range r.take(size) {
		n = n<<8 | uint64(c)
	}
	r.expect(n > floor)
	if r.bad {
		return 0
	}
	return n
}

func (r *reader) uint() uint64 {
	switch c := r.next(); c {
	case msgpcode.Uint8:
		return r.bigEndian(1, uint64(msgpcode.PosFixedNumHigh))
	case msgpcode.Uint16:
		return r.bigEndian(2, math.MaxUint8)
	case msgpcode.Uint32:
		return r.bigEndian(4, math.MaxUint16)
	case msgpcode.Uint64:
		return r.bigEndian(8, math.MaxUint32)
	default:
		if r.expect(c <= msgpcode.PosFixedNumHigh); r.bad {
			return 0
		}
		return uint64(c)
	}
}

func (r *reader) int() int64 {
	var n, floor int64 // n must be below floor: a shorter form would do otherwise
	switch c := r.peek(); c {
	case msgpcode.Int8:
		r.next()
		n, floor = int64(int8(r.signed(1))), int64(int8(msgpcode.NegFixedNumLow))
	case msgpcode.Int16:
		r.next()
		n, floor = int64(int16(r.signed(2))), math.MinInt8
	case msgpcode.Int32:
		r.next()
		n, floor = int64(int32(r.signed(4))), math.MinInt16
	case msgpcode.Int64:
		r.next()
		n, floor = int64(r.signed(8)), math.MinInt32
	default:
		if c >= msgpcode.NegFixedNumLow {
			r.next()
			return int64(int8(c))
		}
		u := r.uint()
		r.expect(u <= math.MaxInt64)
		return int64(u)
	}
	if r.expect(n < floor); r.bad {
		return 0
	}
	return n
}

func (r *reader) signed(size int) uint64 {
	var n uint64
	for _, c := range r.take(size) {
		n = n<<8 | uint64(c)
	}
	return n
}

func (r *reader) uint8() uint8 {
	n := r.uint()
	r.expect(n <= math.MaxUint8)
	return uint8(n)
}

func (r *reader) uint32() uint32 {
	n := r.uint()
	r.expect(n <= math.MaxUint32)
	return uint32(n)
}

func (r *reader) bool() bool {
	c := r.next()
	r.expect(c == msgpcode.True || c == msgpcode.False)
	return c == msgpcode.True
}

// isNil takes a nil if it is next.
func (r *reader) isNil() bool {
	if r.peek() != msgpcode.Nil {
		return false
	}
	r.next()
	return true
}

func (r *reader) string() string { return string(r.text()) }

// text returns a string as a slice of the reader's input.
func (r *reader) text() []byte {
	c := r.next()
	switch {
	case c >= msgpcode.FixedStrLow && c <= msgpcode.FixedStrHigh:
		return r.take(int(c & msgpcode.FixedStrMask))
	case c == msgpcode.Str8:
		return r.take(int(r.bigEndian(1, uint64(msgpcode.FixedStrMask))))
	case c == msgpcode.Str16:
		return r.take(int(r.bigEndian(2, math.MaxUint8)))
	case c == msgpcode.Str32:
		return r.take(int(r.bigEndian(4, math.MaxUint16)))
	}
	r.fail()
	return nil
}

// bytes returns a slice of the reader's input.
func (r *reader) bytes() []byte {
	switch r.next() {
	case msgpcode.Bin8:
		b := r.take(1)
		if r.bad {
			return nil
		}
		return r.take(int(b[0]))
	case msgpcode.Bin16:
		return r.take(int(r.bigEndian(2, math.MaxUint8)))
	case msgpcode.Bin32:
		return r.take(int(r.bigEndian(4, math.MaxUint16)))
	}
	r.fail()
	return nil
}

// array returns the number of elements that follow. With at least size bytes for each of them, there must be as many
// bytes left: so what is allocated for them is in proportion to the input.
func (r *reader) array(size int) int {
	var n int
	switch c := r.next(); {
	case c >= msgpcode.FixedArrayLow && c <= msgpcode.FixedArrayHigh:
		n = int(c & msgpcode.FixedArrayMask)
	case c == msgpcode.Array16:
		n = int(r.bigEndian(2, uint64(msgpcode.FixedArrayMask)))
	case c == msgpcode.Array32:
		n = int(r.bigEndian(4, math.MaxUint16))
	default:
		r.fail()
	}
	if r.expect(n*size <= len(r.b)); r.bad {
		return 0
	}
	return n
}

// fields takes the head of an array of exactly n elements.
func (r *reader) fields(n int) { r.expect(r.array(1) == n) }
