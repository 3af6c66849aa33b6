package realm

import (
	"errors"
	"net"
	"sync/atomic"
)

// boundedConn ends a connection whose other side sends more than the answer to the last question can need, or what is
// no LDAP message. The reader of messages would otherwise buffer whatever length a server claims, once for each level
// of nesting.
type boundedConn struct {
	net.Conn
	left  atomic.Int64 // bytes that may still come
	shape shape
}

var (
	errReplyTooLong = errors.New("the directory server's reply is too long")
	errReplyShape   = errors.New("the directory server's reply is not LDAP")
)

// allow sets how many bytes the next answer may have.
func (c *boundedConn) allow(n int64) { c.left.Store(n) }

func (c *boundedConn) Read(p []byte) (int, error) {
	left := c.left.Load()
	if left <= 0 {
		return 0, errReplyTooLong
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), left)])
	c.left.Add(-int64(n))
	if bad := c.shape.feed(p[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

// shape follows the nesting of a stream of BER elements without keeping any of it. It holds them to what LDAP allows
// (RFC 4511, 5.1): messages are sequences, all lengths are definite, all tags short; and to bounds of our own.
type shape struct {
	open     []int64 // of each open element, outermost first: bytes of content that are not spoken for
	skip     int64   // bytes left of a primitive element's content
	part     headerPart
	nested   bool // the element whose header is being read is constructed
	length   int64
	lengthOf int // bytes of the length still to come
}

type headerPart uint8

const (
	atTag headerPart = iota
	atLength
	inLength
)

func (s *shape) feed(p []byte) error {
	for len(p) > 0 {
		if s.skip > 0 {
			n := min(s.skip, int64(len(p)))
			s.skip -= n
			p = p[n:]
		} else {
			if err := s.header(p[0]); err != nil {
				return err
			}
			p = p[1:]
		}
		for s.skip == 0 && s.part == atTag && len(s.open) > 0 && s.open[len(s.open)-1] == 0 {
			s.open = s.open[:len(s.open)-1]
		}
	}
	return nil
}

// header takes one byte of an element's tag or length.
func (s *shape) header(b byte) error {
	if top := len(s.open) - 1; top >= 0 {
		if s.open[top] == 0 {
			return errReplyShape // a header that sticks out of its element
		}
		s.open[top]--
	}
	switch s.part {
	case atTag:
		const sequence, longTag, constructed = 0x30, 0x1f, 0x20
		if b&longTag == longTag || len(s.open) == 0 && b != sequence {
			return errReplyShape
		}
		s.nested, s.part = b&constructed != 0, atLength
		return nil
	case atLength:
		const long = 0x80
		if b&long == 0 {
			return s.begin(int64(b))
		}
		s.lengthOf, s.length, s.part = int(b&^long), 0, inLength
		if s.lengthOf == 0 || s.lengthOf > 4 {
			return errReplyShape
		}
		return nil
	default:
		s.length = s.length<<8 | int64(b)
		if s.lengthOf--; s.lengthOf > 0 {
			return nil
		}
		return s.begin(s.length)
	}
}

// begin opens an element whose header is complete.
func (s *shape) begin(length int64) error {
	s.part = atTag
	if top := len(s.open) - 1; top >= 0 {
		if length > s.open[top] {
			return errReplyShape
		}
		s.open[top] -= length
	} else if length > maxSearchReply {
		return errReplyTooLong
	}
	if !s.nested {
		s.skip = length
		return nil
	}
	if len(s.open) == maxReplyDepth {
		return errReplyShape
	}
	s.open = append(s.open, length)
	return nil
}
