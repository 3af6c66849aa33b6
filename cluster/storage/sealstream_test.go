package storage

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/keyring"
	"cloakroom/cluster/keyring/keytest"
)

var testServers = raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "n1:1"}, {ID: "n2", Address: "n2:1", Suffrage: raft.Nonvoter}}}

func testBinding() []byte { return snapshotBinding(17, 3, testServers, 2) }

func sealedStream(t testing.TB, key keyring.Key, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := newSealWriter(&b, key, testBinding())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{plain[:len(plain)/3], nil, plain[len(plain)/3:]} {
		if n, err := w.Write(part); err != nil || n != len(part) {
			t.Fatal(n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openStream(keys *keyring.Ring, binding []byte, r io.Reader) ([]byte, error) {
	o, sealed, err := newOpenReader(bufio.NewReader(r), keys, binding)
	if err != nil {
		return nil, err
	}
	if !sealed {
		return nil, errPlain
	}
	return io.ReadAll(o)
}

func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}

func TestSealedStream(t *testing.T) {
	key := keytest.Keys(t, 1)[0]
	ring := keytest.Ring(t, key)
	for _, size := range []int{0, 1, 1000, chunkSize - 1, chunkSize, chunkSize + 1, 2 * chunkSize, 3*chunkSize + 5} {
		plain := noise(size)
		b := sealedStream(t, key, plain)
		if got := plainSize(int64(len(b))); got != int64(size) {
			t.Errorf("%d bytes: the size is taken for %d", size, got)
		}
		for _, r := range []io.Reader{bytes.NewReader(b), iotest.HalfReader(bytes.NewReader(b)), iotest.DataErrReader(bytes.NewReader(b))} {
			if got, err := openStream(ring, testBinding(), r); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes: %d, %v", size, len(got), err)
			}
		}
	}
}

// TestSealedStreamIsBound: nothing can be changed, left out, added or put elsewhere, and what was handed out before that
// is noticed is the beginning of the right thing.
func TestSealedStreamIsBound(t *testing.T) {
	key := keytest.Keys(t, 1)[0]
	ring := keytest.Ring(t, key)
	plain := noise(2*chunkSize + 1000)
	good := sealedStream(t, key, plain)
	refuse := func(what string, b []byte) {
		t.Helper()
		got, err := openStream(ring, testBinding(), bytes.NewReader(b))
		if err == nil || !bytes.HasPrefix(plain, got) {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
	}
	for _, at := range []int{0, 1, 2, 9, 10, 25, 26, 1000, streamHeader + sealedChunk - 1, streamHeader + sealedChunk, len(good) - 1} {
		changed := bytes.Clone(good)
		changed[at] ^= 0x20
		refuse(fmt.Sprintf("byte %d", at), changed)
	}
	for _, end := range []int{
		1, streamHeader - 1, streamHeader, streamHeader + 1, streamHeader + tagSize, streamHeader + sealedChunk,
		streamHeader + sealedChunk + 1, streamHeader + 2*sealedChunk, len(good) - 1,
	} {
		refuse(fmt.Sprintf("cut at %d", end), good[:end])
	}
	chunk := func(i int) []byte {
		return good[streamHeader+i*sealedChunk : min(len(good), streamHeader+(i+1)*sealedChunk)]
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(append([][]byte{good[:streamHeader]}, parts...), nil) }
	refuse("longer", append(bytes.Clone(good), 0))
	refuse("swapped", join(chunk(1), chunk(0), chunk(2)))
	refuse("first left out", join(chunk(1), chunk(2)))
	refuse("middle left out", join(chunk(0), chunk(2)))
	refuse("twice", join(chunk(0), chunk(1), chunk(1), chunk(2)))
	refuse("last twice", join(chunk(0), chunk(1), chunk(2), chunk(2)))
	refuse("of another stream", join(chunk(0), sealedStream(t, key, plain)[streamHeader+sealedChunk:]))

	other := raft.Configuration{Servers: append([]raft.Server(nil), testServers.Servers...)}
	other.Servers[1].Suffrage = raft.Voter
	moved := raft.Configuration{Servers: append([]raft.Server(nil), testServers.Servers...)}
	moved.Servers[0].Address = "n9:1"
	for what, binding := range map[string][]byte{
		"index": snapshotBinding(18, 3, testServers, 2), "term": snapshotBinding(17, 4, testServers, 2),
		"configuration index": snapshotBinding(17, 3, testServers, 1), "suffrage": snapshotBinding(17, 3, other, 2),
		"address": snapshotBinding(17, 3, moved, 2),
		"servers": snapshotBinding(17, 3, raft.Configuration{Servers: testServers.Servers[:1]}, 2),
	} {
		if got, err := openStream(ring, binding, bytes.NewReader(good)); !errors.Is(err, ErrDamaged) || len(got) > 0 {
			t.Errorf("another %s: %d bytes, %v", what, len(got), err)
		}
	}
	if _, err := openStream(keytest.Ring(t, keytest.Keys(t, 1)...), testBinding(), bytes.NewReader(good)); !errors.Is(err, ErrWrongDataKeys) || !strings.Contains(err.Error(), key.ID().String()) {
		t.Errorf("another key: %v", err)
	}
	if _, err := openStream(nil, testBinding(), bytes.NewReader(good)); !errors.Is(err, ErrNoDataKeys) {
		t.Errorf("no key: %v", err)
	}
}

// TestReadErrorIsNoEnd: a disk that can't be read in the middle is no stream that ends there.
func TestReadErrorIsNoEnd(t *testing.T) {
	key := keytest.Keys(t, 1)[0]
	good := sealedStream(t, key, noise(2*chunkSize))
	broken := errors.New("broken")
	for _, end := range []int{streamHeader + sealedChunk, streamHeader + sealedChunk + 7} {
		r := io.MultiReader(bytes.NewReader(good[:end]), iotest.ErrReader(broken))
		if _, err := openStream(keytest.Ring(t, key), testBinding(), r); !errors.Is(err, broken) {
			t.Errorf("broken after %d: %v", end, err)
		}
	}
}
