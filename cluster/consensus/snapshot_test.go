package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/klauspost/compress/zstd"

	"cloakroom/cluster/keyring/keytest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

func testMachine(t *testing.T, roles int) *session.Machine {
	t.Helper()
	m := session.New()
	for i := range roles {
		entry, err := session.DecodeEntry(encode(t, role(fmt.Sprintf("r%d", i), 200)))
		if err != nil {
			t.Fatal(err)
		}
		m.Apply(uint64(i+1), entry)
	}
	return m
}

func written(t *testing.T, m *session.Machine) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writeSnapshot(&b, m.Snapshot(nil)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSnapshotRoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 20_000} {
		m := testMachine(t, size)
		b := written(t, m)
		got, err := readSnapshot(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if got.Hash() != m.Hash() || got.Applied() != m.Applied() {
			t.Errorf("%d roles: another machine", size)
		}
	}
}

// TestSnapshotDamage changes, cuts and lengthens a snapshot at every byte: it must be refused, or be the same.
func TestSnapshotDamage(t *testing.T) {
	m := testMachine(t, 20)
	good := written(t, m)
	refuse := func(what string, b []byte) {
		t.Helper()
		if got, err := readSnapshot(bytes.NewReader(b)); err == nil && got.Hash() != m.Hash() {
			t.Errorf("%s: another machine", what)
		}
	}
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 0x10
		refuse(fmt.Sprintf("byte %d", i), changed)
		if _, err := readSnapshot(bytes.NewReader(good[:i])); err == nil {
			t.Errorf("cut at %d of %d: accepted", i, len(good))
		}
	}
	if _, err := readSnapshot(bytes.NewReader(append(bytes.Clone(good), "more"...))); err == nil {
		t.Error("longer than it was written: accepted")
	}
	if _, err := readSnapshot(bytes.NewReader(append([]byte{snapshotVersion + 1}, good[1:]...))); err == nil {
		t.Error("another version: accepted")
	}
	double := append(bytes.Clone(good), good[1:]...) // two frames
	if _, err := readSnapshot(bytes.NewReader(double)); !errors.Is(err, session.ErrBadEncoding) {
		t.Errorf("twice the frame: %v", err)
	}
}

// TestSnapshotWindow: a snapshot can't make its reader take as much memory as it likes.
func TestSnapshotWindow(t *testing.T) {
	var b bytes.Buffer
	b.WriteByte(snapshotVersion)
	encoder, err := zstd.NewWriter(&b, zstd.WithWindowSize(4*maxWindow))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := encoder.Write(bytes.Repeat([]byte("0123456789abcdef"), 4*maxWindow/16)); err != nil {
		t.Fatal(err)
	}
	if err := encoder.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := readSnapshot(&b); !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("%v", err)
	}
}

// TestSealedSnapshotDamage: what restores a machine says so when the stream is damaged.
func TestSealedSnapshotDamage(t *testing.T) {
	keys := keytest.Keys(t, 1)
	binding := []byte("what it belongs to")
	var b bytes.Buffer
	w, err := storage.SealStream(&b, keys[0], binding)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(writeSnapshot(w, testMachine(t, 2000).Snapshot(nil)), w.Close()); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	const begin = 26 // bytes before the first that is encrypted
	for _, at := range []int{begin, len(good) / 2, len(good) - 1} {
		changed := bytes.Clone(good)
		changed[at] ^= 1
		r, err := storage.OpenStream(bytes.NewReader(changed), keytest.Ring(t, keys...), binding)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readSnapshot(r); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}
