package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/keyring"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

// Verify reads a backup to its end and returns what its head says, once its checksum has turned out right. It needs no key
// and next to no memory. Errors: ErrForeign, ErrTruncated, ErrDamaged, ErrNewer, and those of the reader.
func Verify(r io.Reader) (Info, error) {
	f, err := readHead(r)
	if err != nil {
		return Info{}, err
	}
	_, err = io.Copy(io.Discard, f)
	return f.info, err
}

// Read builds a machine from a backup, which it reads twice: nothing is made of one whose checksum is wrong. The machine is
// the only thing of size in memory. Errors are those of Verify, ErrNoKey and ErrWrongKey.
func Read(r io.ReadSeeker, keys *keyring.Ring) (Info, *session.Machine, error) {
	info, err := Verify(r)
	if err != nil {
		return info, nil, err
	}
	if err := info.checkKey(keys); err != nil {
		return info, nil, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return info, nil, fmt.Errorf("read backup again: %w", err)
	}
	f, err := readHead(r)
	if err != nil {
		return info, nil, err
	}
	machine, err := consensus.ReadCapture(f, keys, bindingOf(f.head))
	switch {
	case err == nil && machine.Applied() != info.Index, err == nil && machine.ClusterID() != info.Cluster:
		return info, nil, fmt.Errorf("%w: its head tells of another state", ErrDamaged)
	case err == nil:
		return info, machine, nil
	case errors.Is(err, session.ErrUnknownKind):
		return info, nil, fmt.Errorf("%w (%w)", ErrNewer, err)
	case errors.Is(err, storage.ErrDamaged), errors.Is(err, session.ErrBadEncoding):
		return info, nil, fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	return info, nil, err
}

// checkKey says whether the state can be opened, before half of it was read.
func (i *Info) checkKey(keys *keyring.Ring) error {
	switch {
	case i.DataKey == "":
		return nil
	case keys == nil:
		return &session.Error{Code: ErrNoKey.Code, Message: ErrNoKey.Message + ", data key " + i.DataKey}
	}
	for _, id := range keys.IDs() {
		if id.String() == i.DataKey {
			return nil
		}
	}
	return &session.Error{Code: ErrWrongKey.Code, Message: ErrWrongKey.Message + ", data key " + i.DataKey}
}

// frames reads the state out of a backup. Its end is told only when the checksum was right and nothing follows.
type frames struct {
	r    *bufio.Reader
	sum  hash.Hash
	head []byte // everything before the frames
	info Info
	left int   // of the present frame
	err  error // for good
}

// readHead reads up to the frames.
func readHead(r io.Reader) (*frames, error) {
	f := &frames{r: bufio.NewReaderSize(r, maxFrame), sum: sha256.New()}
	begin := make([]byte, len(mark)+1)
	n, err := io.ReadFull(f.r, begin)
	switch {
	case !bytes.Equal(begin[:min(n, len(mark))], []byte(mark[:min(n, len(mark))])), n == 0 && errors.Is(err, io.EOF):
		return nil, ErrForeign
	case err != nil:
		return nil, cutOff(err)
	case begin[len(mark)] > version:
		return nil, fmt.Errorf("%w (version %d of the file)", ErrNewer, begin[len(mark)])
	case begin[len(mark)] != version:
		return nil, fmt.Errorf("%w (version %d of the file)", ErrDamaged, begin[len(mark)])
	}
	f.sum.Write(begin) // never fails
	size, err := f.length(maxHead)
	if err != nil {
		return nil, err
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(f.r, text); err != nil {
		return nil, cutOff(err)
	}
	f.sum.Write(text)
	if err := json.Unmarshal(text, &f.info); err != nil {
		return nil, fmt.Errorf("%w (its head can't be read)", ErrDamaged)
	}
	f.head = append(appendLength(begin, size), text...)
	return f, nil
}

// Read implements io.Reader.
func (f *frames) Read(b []byte) (int, error) {
	if f.err == nil && f.left == 0 {
		f.err = f.next()
	}
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.r.Read(b[:min(len(b), f.left)])
	f.sum.Write(b[:n])
	f.left -= n
	if err != nil {
		f.err = cutOff(err)
	}
	return n, f.err
}

// next begins a frame. The error is io.EOF at the end of a file that is whole.
func (f *frames) next() (err error) {
	if f.left, err = f.length(maxFrame); err != nil || f.left > 0 {
		return err
	}
	want := f.sum.Sum(nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(f.r, got); err != nil {
		return cutOff(err)
	}
	if !bytes.Equal(got, want) {
		return ErrDamaged
	}
	switch _, err := f.r.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w (something follows its end)", ErrDamaged)
	case !errors.Is(err, io.EOF):
		return err
	}
	return io.EOF
}

func (f *frames) length(limit uint32) (int, error) {
	var b [4]byte
	if _, err := io.ReadFull(f.r, b[:]); err != nil {
		return 0, cutOff(err)
	}
	f.sum.Write(b[:])
	n := binary.BigEndian.Uint32(b[:])
	if n > limit {
		return 0, fmt.Errorf("%w (a length of %d bytes)", ErrDamaged, n)
	}
	return int(n), nil
}

// cutOff makes ErrTruncated of an end that comes too early.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}
