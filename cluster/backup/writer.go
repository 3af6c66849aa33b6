package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/keyring"
)

// Source is a captured state that can be written as a backup, once. It is to be written or released.
type Source struct {
	Info    Info // may be completed until WriteTo
	capture *consensus.Capture
	key     *keyring.Key
}

var _ io.WriterTo = (*Source)(nil)

// NewSource makes a source of a capture, to be sealed under a key unless that is nil.
func NewSource(info Info, capture *consensus.Capture, key *keyring.Key) *Source {
	info.Index, info.Term = capture.Index, capture.Term
	info.sealedUnder(key)
	return &Source{Info: info, capture: capture, key: key}
}

// Release is for a source that is not written. After WriteTo it does nothing.
func (s *Source) Release() { s.capture.Release() }

// WriteTo writes the file. What was written before an error is no backup, and says so to whoever reads it.
func (s *Source) WriteTo(w io.Writer) (int64, error) {
	defer s.capture.Release()
	head, err := s.Info.head()
	if err != nil {
		return 0, err
	}
	f := newFrameWriter(w)
	if err := f.put(head); err != nil {
		return f.n, err
	}
	binding := bindingOf(head)
	if err := s.capture.WriteTo(f, s.key, binding); err != nil {
		return f.n, err
	}
	return f.n, f.finish()
}

// bindingOf is what a sealed state is bound to.
func bindingOf(head []byte) []byte {
	sum := sha256.Sum256(append([]byte("cloakroom backup "), head...))
	return sum[:]
}

// frameWriter writes what it is given in frames, and sums up the whole file.
type frameWriter struct {
	w   io.Writer
	sum hash.Hash
	buf []byte // of the next frame
	n   int64
}

func newFrameWriter(w io.Writer) *frameWriter { return &frameWriter{w: w, sum: sha256.New()} }

func (f *frameWriter) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		took := min(len(b), maxFrame-len(f.buf))
		f.buf = append(f.buf, b[:took]...)
		b = b[took:]
		n += took
		if len(f.buf) == maxFrame {
			if err := f.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (f *frameWriter) flush() error {
	if err := f.put(appendLength(nil, len(f.buf))); err != nil {
		return err
	}
	err := f.put(f.buf)
	f.buf = f.buf[:0]
	return err
}

// finish writes the last frame and the checksum.
func (f *frameWriter) finish() error {
	if len(f.buf) > 0 {
		if err := f.flush(); err != nil {
			return err
		}
	}
	if err := f.put(appendLength(nil, 0)); err != nil {
		return err
	}
	return f.put(f.sum.Sum(nil))
}

func (f *frameWriter) put(b []byte) error {
	f.sum.Write(b) // never fails
	n, err := f.w.Write(b)
	f.n += int64(n)
	return err
}

func appendLength(b []byte, n int) []byte { return binary.BigEndian.AppendUint32(b, uint32(n)) }
