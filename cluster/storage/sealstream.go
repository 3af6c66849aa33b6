package storage

import (
	"bufio"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring"
)

// A sealed snapshot begins with
//
//	mark, one byte | version, one byte | id of the key | 16 random bytes
//
// Chunks of chunkSize follow, each with a tag behind it; only the last may be shorter, and only that of nothing at all is
// empty. A chunk's nonce is the random bytes and its number, and it is bound to the beginning of the file, to what the
// description of the snapshot says (description.binding), to its number and to whether it is the last: so none can be
// changed, left out, put in another's place or into another snapshot.
const (
	streamMark    = 0xe5 // no version of a plain snapshot
	streamSeal    = 1    // version
	streamPrefix  = 16
	streamKeyAt   = 2
	streamNonceAt = streamKeyAt + len(keyring.ID{})
	streamHeader  = streamNonceAt + streamPrefix
	sealedChunk   = chunkSize + tagSize
)

// SealStream seals what is written to it and writes that to w. What is sealed opens with the same binding only. Close ends
// it, and leaves w open.
func SealStream(w io.Writer, key keyring.Key, binding []byte) (io.WriteCloser, error) {
	return newSealWriter(w, key, binding)
}

// OpenStream returns what was written to SealStream, or r's own bytes if they are not sealed. Errors, of its reader too:
// ErrNoDataKeys, ErrWrongDataKeys, and ErrDamaged for what is not what was written.
func OpenStream(r io.Reader, keys *keyring.Ring, binding []byte) (io.Reader, error) {
	source := bufio.NewReaderSize(r, sealedChunk)
	opened, sealed, err := newOpenReader(source, keys, binding)
	switch {
	case err != nil:
		return nil, err
	case !sealed:
		return source, nil
	}
	return opened, nil
}

// snapshotBinding is what a snapshot's description says, but for its name and its size.
func snapshotBinding(index, term uint64, configuration raft.Configuration, configurationIndex uint64) []byte {
	h := sha256.New()
	word := func(n uint64) { h.Write(binary.BigEndian.AppendUint64(nil, n)) }
	text := func(s string) {
		word(uint64(len(s)))
		h.Write([]byte(s))
	}
	text("cloakroom snapshot")
	word(index)
	word(term)
	word(configurationIndex)
	word(uint64(len(configuration.Servers)))
	for _, s := range configuration.Servers {
		word(uint64(s.Suffrage))
		text(string(s.ID))
		text(string(s.Address))
	}
	return h.Sum(nil)
}

// chunks counts the chunks of a stream and gives each its nonce and what it is bound to.
type chunks struct {
	aead    cipher.AEAD
	nonce   [nonceSize]byte
	binding []byte // ends with room for number and last
	number  uint64
}

func newChunks(key keyring.Key, header, binding []byte) *chunks {
	c := &chunks{aead: key.Cipher(keyring.Snapshots)}
	copy(c.nonce[:], header[streamNonceAt:])
	c.binding = append(append(append([]byte(nil), header...), binding...), make([]byte, 9)...)
	return c
}

// next returns nonce and binding of the next chunk, until it is called again.
func (c *chunks) next(last bool) (nonce, binding []byte) {
	binary.BigEndian.PutUint64(c.nonce[streamPrefix:], c.number)
	end := c.binding[len(c.binding)-9:]
	binary.BigEndian.PutUint64(end, c.number)
	end[8] = 0
	if last {
		end[8] = 1
	}
	c.number++
	return c.nonce[:], c.binding
}

// sealWriter seals what is written to it. It is complete with Close.
type sealWriter struct {
	w      io.Writer
	chunks *chunks
	plain  []byte // less than a chunk, or a whole one that may be the last
	sealed []byte
}

// newSealWriter writes the beginning of the stream.
func newSealWriter(w io.Writer, key keyring.Key, binding []byte) (*sealWriter, error) {
	header := make([]byte, streamHeader)
	header[0], header[1] = streamMark, streamSeal
	id := key.ID()
	copy(header[streamKeyAt:], id[:])
	if _, err := rand.Read(header[streamNonceAt:]); err != nil {
		return nil, fmt.Errorf("seal snapshot: %w", err)
	}
	if _, err := w.Write(header); err != nil {
		return nil, err
	}
	return &sealWriter{
		w: w, chunks: newChunks(key, header, binding),
		plain: make([]byte, 0, chunkSize), sealed: make([]byte, 0, sealedChunk),
	}, nil
}

func (s *sealWriter) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		if len(s.plain) == chunkSize {
			if err := s.flush(false); err != nil {
				return n, err
			}
		}
		took := min(len(b), chunkSize-len(s.plain))
		s.plain = append(s.plain, b[:took]...)
		b = b[took:]
		n += took
	}
	return n, nil
}

// Close writes the last chunk.
func (s *sealWriter) Close() error { return s.flush(true) }

func (s *sealWriter) flush(last bool) error {
	nonce, binding := s.chunks.next(last)
	s.sealed = s.chunks.aead.Seal(s.sealed[:0], nonce, s.plain, binding)
	s.plain = s.plain[:0]
	_, err := s.w.Write(s.sealed)
	return err
}

// openReader reads what a sealWriter wrote. It hands out nothing of a chunk that is not the right one.
type openReader struct {
	r      *bufio.Reader
	key    keyring.Key
	chunks *chunks
	sealed []byte
	plain  []byte // what is still to be handed out
	opened []byte
	last   bool
	err    error // for good
}

// streamKey tells which key a snapshot that begins like this is sealed under, if it is. Fewer bytes than streamHeader
// are all that there is.
func streamKey(begin []byte) (id keyring.ID, sealed bool, err error) {
	switch {
	case len(begin) == 0 || begin[0] != streamMark:
		return id, false, nil
	case len(begin) < streamHeader:
		return id, true, fmt.Errorf("seal cut off after %d bytes: %w", len(begin), ErrDamaged)
	case begin[1] != streamSeal:
		return id, true, fmt.Errorf("seal of version %d is not known here: start a newer program, or: %w", begin[1], ErrDamaged)
	}
	return keyring.ID(begin[streamKeyAt:streamNonceAt]), true, nil
}

// newOpenReader reads the beginning of a sealed snapshot. With sealed false it is a plain one, which r has from its first
// byte on.
func newOpenReader(r *bufio.Reader, keys *keyring.Ring, binding []byte) (reader *openReader, sealed bool, err error) {
	begin, err := r.Peek(streamHeader)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	id, sealed, err := streamKey(begin)
	if err != nil || !sealed {
		return nil, sealed, err
	}
	key, err := findKey(keys, id)
	if err != nil {
		return nil, true, err
	}
	reader = &openReader{
		r: r, key: key, chunks: newChunks(key, begin, binding),
		sealed: make([]byte, sealedChunk), opened: make([]byte, 0, chunkSize),
	}
	_, err = r.Discard(streamHeader)
	return reader, true, err
}

func (o *openReader) Read(b []byte) (int, error) {
	for len(o.plain) == 0 {
		if o.err == nil {
			o.err = o.chunk()
		}
		if o.err != nil {
			return 0, o.err
		}
	}
	n := copy(b, o.plain)
	o.plain = o.plain[n:]
	return n, nil
}

// chunk reads the next one. It is the last if nothing follows.
func (o *openReader) chunk() error {
	if o.last {
		return io.EOF
	}
	n, err := io.ReadFull(o.r, o.sealed)
	switch {
	case err == nil:
		_, err = o.r.Peek(1)
		o.last = errors.Is(err, io.EOF)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		o.last, err = true, nil
	}
	if err != nil && !o.last {
		return err
	}
	number := o.chunks.number
	nonce, binding := o.chunks.next(o.last)
	o.plain, err = o.chunks.aead.Open(o.opened[:0], nonce, o.sealed[:n], binding)
	if err != nil {
		o.plain = nil
		return fmt.Errorf("chunk %d, sealed under %v, is not what was written there, or the end is missing: %w", number, o.key, ErrDamaged)
	}
	return nil
}

// plainSize returns how much a sealed stream of that size holds.
func plainSize(sealed int64) int64 {
	body := sealed - int64(streamHeader)
	count := (body + sealedChunk - 1) / sealedChunk
	return max(0, body-count*tagSize)
}
