package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
)

// A block is what travels: four bytes of length (big endian), then that many bytes, of which the first is the version
// of the encoding and the rest one msgpack array.

const blockHeader = 4

// readBlock reads one block of at most limit bytes after the length. The bytes are the caller's.
func readBlock(r io.Reader, limit int) ([]byte, error) {
	var head [blockHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > uint32(limit) {
		return nil, fmt.Errorf("%d bytes announced: %w", n, ErrTooLarge)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, noEOF(err)
	}
	return b, nil
}

// noEOF makes an end inside a block an error that nobody takes for a clean end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// packer writes one block.
type packer struct {
	buf bytes.Buffer
	enc *msgpack.Encoder
}

// newPacker begins a block with an array of n elements; room is a guess at its bytes.
func newPacker(version byte, n, room int) *packer {
	p := &packer{enc: msgpack.GetEncoder()}
	p.buf.Grow(blockHeader + room)
	p.buf.Write([]byte{0, 0, 0, 0, version})
	p.enc.Reset(&p.buf)
	p.must(p.enc.EncodeArrayLen(n))
	return p
}

func (p *packer) uint(n uint64) { p.must(p.enc.EncodeUint(n)) }

func (p *packer) text(s string) { p.must(p.enc.EncodeString(s)) }

func (p *packer) bytes(b []byte) {
	p.must(p.enc.EncodeBytesLen(len(b)))
	p.buf.Write(b)
}

// block ends the block and returns it with its length.
func (p *packer) block() []byte {
	msgpack.PutEncoder(p.enc)
	b := p.buf.Bytes()
	binary.BigEndian.PutUint32(b, uint32(len(b)-blockHeader))
	return b
}

// must: writing to a bytes.Buffer has no errors.
func (p *packer) must(err error) {
	if err != nil {
		panic("BUG: encode: " + err.Error())
	}
}

// unpacker reads the array of one block without copying it. The first error sticks; the callers look at it once, in
// end. It takes nothing on trust: a length is compared with what is there before anything is done with it.
type unpacker struct {
	src bytes.Reader
	all []byte
	dec *msgpack.Decoder
	err error
}

// newUnpacker begins to read a block without its length.
func newUnpacker(block []byte, version byte) *unpacker {
	u := &unpacker{}
	if len(block) == 0 || block[0] != version {
		u.err = errors.New("unknown version of the encoding")
		return u
	}
	u.all = block[1:]
	u.src.Reset(u.all)
	u.dec = msgpack.GetDecoder()
	u.dec.Reset(&u.src)
	return u
}

// arrayLen begins an array of any length, which the caller checks.
func (u *unpacker) arrayLen() int {
	if u.err != nil {
		return 0
	}
	var n int
	n, u.err = u.dec.DecodeArrayLen()
	return n
}

// uint reads a whole number up to limit.
func (u *unpacker) uint(limit uint64) uint64 {
	if u.err != nil {
		return 0
	}
	var n uint64
	n, u.err = u.dec.DecodeUint64()
	if u.err == nil && n > limit {
		u.err = fmt.Errorf("number above %d", limit)
		return 0
	}
	return n
}

// bytes reads up to limit bytes; they are part of the block.
func (u *unpacker) bytes(limit int) []byte {
	if u.err != nil {
		return nil
	}
	var n int
	if n, u.err = u.dec.DecodeBytesLen(); u.err != nil {
		return nil
	}
	rest := u.src.Len()
	if n < 0 || n > limit || n > rest {
		u.err = errors.New("wrong length of bytes")
		return nil
	}
	from := len(u.all) - rest
	if _, u.err = u.src.Seek(int64(n), io.SeekCurrent); u.err != nil {
		return nil
	}
	return u.all[from : from+n : from+n]
}

// text reads up to limit bytes of UTF-8.
func (u *unpacker) text(limit int) string { return strings.ToValidUTF8(string(u.bytes(limit)), "") }

// end returns the first error, or one if something follows the array.
func (u *unpacker) end() error { return u.endAfter(0, 0) }

// endAfter is end for an array of n elements of which those known were read: what a later version has added behind them
// is not looked at.
func (u *unpacker) endAfter(known, n int) error {
	if u.dec != nil {
		u.dec.Reset(nil) // the pool must not keep the block alive
		msgpack.PutDecoder(u.dec)
		u.dec = nil
	}
	if u.err == nil && known == n && u.src.Len() > 0 {
		u.err = errors.New("bytes after the end")
	}
	return u.err
}
