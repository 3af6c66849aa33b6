package wire

import (
	"fmt"
	"math"
	"time"
)

const frameVersion = 1

// frameType is the first element of a frame's array.
type frameType uint8

// Frames. The dialer sends requests and cancels, the accepting side answers and failures, both the rest.
const (
	frameRequest frameType = 1 // [1, id, kind, milliseconds left or 0, body]
	frameAnswer  frameType = 2 // [2, id, body]
	frameFailure frameType = 3 // [3, id, code, message]
	frameCancel  frameType = 4 // [4, id]: the caller waits no longer
	framePing    frameType = 5 // [5]
	framePong    frameType = 6 // [6]
	frameCluster frameType = 7 // [7, cluster id]: the sender has learned it since its hello
)

// elements is the length of the frame's array, 0 for an unknown type.
func (t frameType) elements() int {
	switch t {
	case framePing, framePong:
		return 1
	case frameCancel, frameCluster:
		return 2
	case frameAnswer:
		return 3
	case frameFailure:
		return 4
	case frameRequest:
		return 5
	}
	return 0
}

// frame is one message. Only the fields of its type are set.
type frame struct {
	typ     frameType
	id      uint64        // of the request
	kind    Kind          // request
	timeout time.Duration // request: 0 is none; whole milliseconds
	code    string        // failure
	text    string        // failure: the message; cluster: the id
	body    []byte        // request, answer
}

// encode returns the frame with its length. The body is copied: it stays the caller's.
func (f *frame) encode() []byte {
	n := f.typ.elements()
	if n == 0 {
		panic("BUG: frame without a type")
	}
	p := newPacker(frameVersion, n, 48+len(f.body)+len(f.code)+len(f.text))
	p.uint(uint64(f.typ))
	switch f.typ {
	case frameRequest:
		p.uint(f.id)
		p.uint(uint64(f.kind))
		p.uint(milliseconds(f.timeout))
		p.bytes(f.body)
	case frameAnswer:
		p.uint(f.id)
		p.bytes(f.body)
	case frameFailure:
		p.uint(f.id)
		p.text(f.code)
		p.text(f.text)
	case frameCancel:
		p.uint(f.id)
	case frameCluster:
		p.text(f.text)
	}
	return p.block()
}

// decodeFrame reads a block without its length. The body is part of the block.
func decodeFrame(block []byte) (frame, error) {
	u := newUnpacker(block, frameVersion)
	n := u.arrayLen()
	f := frame{typ: frameType(u.uint(math.MaxUint8))}
	if u.err == nil && (n == 0 || n != f.typ.elements()) {
		u.err = fmt.Errorf("type %d with %d elements", f.typ, n)
	}
	switch f.typ {
	case frameRequest:
		f.id = u.uint(math.MaxUint64)
		f.kind = Kind(u.uint(math.MaxUint8))
		f.timeout = time.Duration(u.uint(uint64(maxTimeout/time.Millisecond))) * time.Millisecond
		f.body = u.bytes(MaxBody)
	case frameAnswer:
		f.id = u.uint(math.MaxUint64)
		f.body = u.bytes(MaxBody)
	case frameFailure:
		f.id = u.uint(math.MaxUint64)
		f.code = u.text(maxErrorCode)
		f.text = u.text(maxErrorText)
	case frameCancel:
		f.id = u.uint(math.MaxUint64)
	case frameCluster:
		f.text = u.text(MaxClusterID)
	}
	if err := u.end(); err != nil {
		return frame{}, fmt.Errorf("%w: %w", errFrame, err)
	}
	return f, nil
}

// milliseconds rounds up: a request must not arrive with "no limit" because it has half a millisecond left.
func milliseconds(d time.Duration) uint64 {
	return uint64((min(d, maxTimeout) + time.Millisecond - 1) / time.Millisecond)
}
