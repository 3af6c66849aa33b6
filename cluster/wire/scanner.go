package wire

import (
	"encoding/binary"
	"fmt"
)

// scanner reads along what a peer sends on one of raft's connections, and refuses what raft must not decode. It holds no
// bytes back and keeps none: it knows where in a message it is, and counts. What it lets pass may still be nonsense, and
// raft says so; it bounds what the nonsense costs, and lets nothing pass that raft is known to panic at.
//
// A request is a byte that says which, and a msgpack value (a map); behind one that installs a snapshot come as many bytes
// as its member Size says. An answer is two values, of which the first is the error's text.
type scanner struct {
	requests bool // false: answers

	state   scanState
	lead    byte // the first of the present value
	size    int  // bytes of this message so far, without a snapshot's
	need    int  // bytes until the present head, length, number or text is there
	got     [8]byte
	have    int // bytes of got
	skip    uint64
	levels  [maxRaftDepth]level
	depth   int
	stream  bool   // this request is followed by a snapshot
	content uint64 // bytes of that
	isSize  bool   // the member whose value comes is Size, of the outermost map
}

// level is one array or map that is not over.
type level struct {
	left  int // values to come; of a map two for each member
	isMap bool
}

type scanState uint8

const (
	scanKind    scanState = iota // the byte before a request
	scanHead                     // of a value
	scanLength                   // of a string, byte string, array, map or extension
	scanNumber                   // the bytes of a number
	scanName                     // of a member of a request, if it may be sizeName
	scanSkip                     // of what is in a string
	scanContent                  // of a snapshot
)

// installSnapshot is hashicorp/raft's byte for that request (net_transport.go).
const installSnapshot = 2

// sizeName is the member of that request that says how many bytes follow it.
const sizeName = "Size"

func newScanner(requests bool) *scanner {
	s := &scanner{requests: requests}
	s.begin()
	return s
}

// begin is at the start of a message.
func (s *scanner) begin() {
	s.size, s.stream, s.content = 0, false, 0
	s.state = scanHead
	if s.requests {
		s.state = scanKind
	}
}

// scan takes the next bytes. After an error the connection is of no more use.
func (s *scanner) scan(p []byte) error {
	for len(p) > 0 {
		var err error
		if p, err = s.step(p); err != nil {
			return fmt.Errorf("%w: %w", errRaft, err)
		}
	}
	return nil
}

// step takes at least one byte and returns the rest.
func (s *scanner) step(p []byte) ([]byte, error) {
	if s.state == scanSkip || s.state == scanContent {
		n := int(min(s.skip, uint64(len(p))))
		s.skip -= uint64(n)
		if s.state == scanSkip {
			s.size += n
		}
		return p[n:], s.skipped()
	}
	b := p[0]
	s.size++
	if s.size > MaxRaftMessage {
		return nil, fmt.Errorf("a message of more than %d bytes", MaxRaftMessage)
	}
	switch s.state {
	case scanKind:
		s.stream = b == installSnapshot
		s.state = scanHead
		return p[1:], nil
	case scanHead:
		return p[1:], s.head(b)
	}
	s.got[s.have] = b
	s.have++
	if s.have < s.need {
		return p[1:], nil
	}
	return p[1:], s.whole()
}

// skipped looks whether what is skipped is over.
func (s *scanner) skipped() error {
	switch {
	case s.size > MaxRaftMessage:
		return fmt.Errorf("a message of more than %d bytes", MaxRaftMessage)
	case s.skip > 0:
		return nil
	case s.state == scanContent:
		s.begin()
		return nil
	}
	return s.valueOver()
}

// skipOver goes on behind n bytes.
func (s *scanner) skipOver(n uint64) error {
	if n > MaxRaftBytes {
		return fmt.Errorf("%d bytes in one string", n)
	}
	if n == 0 {
		return s.valueOver()
	}
	s.state, s.skip = scanSkip, n
	return nil
}

// collect waits for n bytes, which whole reads.
func (s *scanner) collect(state scanState, n int) error {
	s.state, s.need, s.have = state, n, 0
	return nil
}

// number is what has been collected, big endian.
func (s *scanner) number() uint64 {
	var b [8]byte
	copy(b[8-s.have:], s.got[:s.have])
	return binary.BigEndian.Uint64(b[:])
}

// top is the innermost array or map that is not over; nil outside of all.
func (s *scanner) top() *level {
	if s.depth == 0 {
		return nil
	}
	return &s.levels[s.depth-1]
}

// open begins an array or map of n values or members.
func (s *scanner) open(n int, isMap bool) error {
	switch {
	case isMap && n > maxRaftFields, n > MaxRaftElements:
		return fmt.Errorf("%d values in one map or array", n)
	case s.depth == maxRaftDepth:
		return fmt.Errorf("maps and arrays in each other, more than %d", maxRaftDepth)
	}
	if n == 0 {
		return s.valueOver()
	}
	if isMap {
		n *= 2
	}
	s.levels[s.depth] = level{n, isMap}
	s.depth++
	s.state = scanHead
	return nil
}

// valueOver goes on behind a value, and behind all that end with it.
func (s *scanner) valueOver() error {
	s.isSize = false
	s.state = scanHead
	for s.depth > 0 {
		top := s.top()
		if top.left--; top.left > 0 {
			return nil
		}
		s.depth--
	}
	content := s.content
	s.begin()
	if content > 0 {
		s.state, s.skip = scanContent, content
	}
	return nil
}
