package session

import (
	"time"
	"unsafe"
)

// rowSize is two cache lines, which the processor fetches together.
const rowSize = 128

// row is the part of a session's record that has a fixed size, with its places in the wheel and in its account's list. It
// holds no pointer. What a lookup needs comes first.
type row struct {
	key     Key
	seq     uint64
	rev     uint64
	mod     uint64
	created Time
	lastUse Time
	expires Time
	idle    time.Duration
	account uint32 // its number
	userID  uint32 // which of the account's ids; 0: none
	roles   uint32 // the number of the fixed list; 0: the roles follow the records
	surface Surface
	csrfOff bool

	in         uint16 // the wheel's list that it is in; 0: none
	prev, next uint32 // rows before and behind it in that list; next also of the free rows
	turn       uint32 // the wheel has handed it out by this number; 0: not since it came into its queue

	older, newer uint32 // rows of the same account, as long as the session is live

	epoch     uint32 // of the table when it was last written
	attrBytes uint32 // of keys and values
	_         [4]byte
	blob      place // the login's address and user agent, then the attributes, encoded as in a snapshot
}

var _ [rowSize]byte = [unsafe.Sizeof(row{})]byte{}

func (r *row) idleAt() Time { return r.lastUse.Add(r.idle) }

func (r *row) deadline() Time { return min(r.idleAt(), r.expires) }

// ref is a session in the table, with what belongs to it on this node. It is good until the session is ended.
type ref struct {
	*row
	n uint32   // the row's number
	a *account // whose session it is: holds the end index
}

// ended reports whether the session is over by an end index, and merely not yet swept.
func (r ref) ended() bool { return r.seq <= r.a.end || r.seq <= r.a.realm.end }

func appendLogin(dst []byte, address, agent string) []byte {
	return appendString(appendString(dst, address), agent)
}

// split takes a blob apart into what the login left and the attributes, both encoded.
func split(blob []byte) (login, attrs []byte) {
	r := &reader{b: blob}
	r.text()
	r.text()
	n := len(blob) - len(r.b)
	return blob[:n], blob[n:]
}

// borrowed is text that must not be kept: it is good as long as the bytes are.
func borrowed(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
