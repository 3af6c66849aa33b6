package session

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
)

// What is read of a snapshot ahead of who takes it in: so many blocks of so many bytes.
const (
	blockSize  = 256 << 10
	blockCount = 8
)

// checksumSize is how many bytes at the end of a snapshot are the checksum: a byte string with its length.
const checksumSize = 2 + sha256.Size

// blockReader reads in a goroutine of its own, which ends before stop returns, and sums up what it reads but for the
// checksum at the end. To decompress and to sum up takes as long as to take in, so these run on two processors.
type blockReader struct {
	filled chan block
	empty  chan []byte
	sum    hash.Hash // complete when the last block was received
}

// block is a piece of the stream.
type block struct {
	bytes []byte
	err   error // what comes after it; nil: the next block
}

func readBlocks(r io.Reader) *blockReader {
	b := &blockReader{filled: make(chan block, blockCount), empty: make(chan []byte, blockCount), sum: sha256.New()}
	for range blockCount {
		b.empty <- nil
	}
	go b.run(r)
	return b
}

func (b *blockReader) run(r io.Reader) {
	defer close(b.filled)
	var held []byte // the last bytes so far, not summed up
	for space := range b.empty {
		if space == nil {
			space = make([]byte, blockSize)
		}
		n, err := io.ReadFull(r, space[:blockSize])
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF
		}
		held = b.add(held, space[:n])
		b.filled <- block{bytes: space[:n], err: err}
		if err != nil {
			return
		}
	}
}

// add sums up all but the last checksumSize bytes of held and what follows, and returns a copy of these.
func (b *blockReader) add(held, next []byte) []byte {
	if len(next) < checksumSize {
		all := append(held, next...)
		done := max(0, len(all)-checksumSize)
		b.sum.Write(all[:done]) // never fails
		return append([]byte(nil), all[done:]...)
	}
	b.sum.Write(held)
	done := len(next) - checksumSize
	b.sum.Write(next[:done])
	return append(held[:0], next[done:]...)
}

// next waits for the next block.
func (b *blockReader) next() block {
	x, ok := <-b.filled
	if !ok {
		return block{err: io.EOF}
	}
	return x
}

// free gives a block's memory back, to be filled again.
func (b *blockReader) free(bytes []byte) {
	if bytes != nil {
		b.empty <- bytes
	}
}

// stop waits until the goroutine has ended.
func (b *blockReader) stop() {
	close(b.empty)
	for range b.filled { // until it is closed
	}
}
