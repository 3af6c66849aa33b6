package roster

import (
	"encoding/binary"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// maxDepth is how deep arrays and maps of a message may lie in each other. Ours need four.
const maxDepth = 8

// sound reports whether data begins with a value of which no part says that it is longer than what is there: the library
// makes room for as much as it is told of, before it looks.
func sound(data []byte) bool {
	_, ok := passOver(data, maxDepth)
	return ok
}

// passOver returns what follows the value that data begins with.
func passOver(data []byte, depth int) (rest []byte, ok bool) {
	if len(data) == 0 || depth == 0 {
		return nil, false
	}
	code, rest := data[0], data[1:]
	switch {
	case msgpcode.IsFixedNum(code), code == msgpcode.Nil, code == msgpcode.False, code == msgpcode.True:
		return rest, true
	case msgpcode.IsFixedString(code):
		return cut(rest, uint64(code&msgpcode.FixedStrMask))
	case msgpcode.IsFixedArray(code):
		return passAll(rest, uint64(code&msgpcode.FixedArrayMask), depth)
	case msgpcode.IsFixedMap(code):
		return passAll(rest, 2*uint64(code&msgpcode.FixedMapMask), depth)
	}
	switch code {
	case msgpcode.Uint8, msgpcode.Int8:
		return cut(rest, 1)
	case msgpcode.Uint16, msgpcode.Int16:
		return cut(rest, 2)
	case msgpcode.Uint32, msgpcode.Int32, msgpcode.Float:
		return cut(rest, 4)
	case msgpcode.Uint64, msgpcode.Int64, msgpcode.Double:
		return cut(rest, 8)
	}
	size := sizeOfLength(code)
	if size == 0 || len(rest) < size {
		return nil, false // an extension, or cut short
	}
	n := binary.BigEndian.Uint64(append(make([]byte, 8-size, 8), rest[:size]...))
	rest = rest[size:]
	switch code {
	case msgpcode.Array16, msgpcode.Array32:
		return passAll(rest, n, depth)
	case msgpcode.Map16, msgpcode.Map32:
		return passAll(rest, 2*n, depth)
	}
	return cut(rest, n)
}

// sizeOfLength returns how many bytes of length follow a code; 0: none.
func sizeOfLength(code byte) int {
	switch code {
	case msgpcode.Str8, msgpcode.Bin8:
		return 1
	case msgpcode.Str16, msgpcode.Bin16, msgpcode.Array16, msgpcode.Map16:
		return 2
	case msgpcode.Str32, msgpcode.Bin32, msgpcode.Array32, msgpcode.Map32:
		return 4
	}
	return 0
}

func passAll(data []byte, n uint64, depth int) (rest []byte, ok bool) {
	if n > uint64(len(data)) {
		return nil, false
	}
	for rest, ok = data, true; n > 0 && ok; n-- {
		rest, ok = passOver(rest, depth-1)
	}
	return rest, ok
}

func cut(data []byte, n uint64) (rest []byte, ok bool) {
	if n > uint64(len(data)) {
		return nil, false
	}
	return data[n:], true
}
