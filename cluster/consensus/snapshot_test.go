package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/klauspost/compress/zstd"

	"cloakroom/cluster/session"
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
	if err := writeSnapshot(&b, m.Snapshot()); err != nil {
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

func TestMemorySnapshots(t *testing.T) {
	s := &memorySnapshots{}
	write := func(index, term uint64, text string, end func(raft.SnapshotSink) error) string {
		sink, err := s.Create(1, index, term, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(sink, text); err != nil {
			t.Fatal(err)
		}
		if err := end(sink); err != nil {
			t.Fatal(err)
		}
		return sink.ID()
	}
	closed := func(k raft.SnapshotSink) error { return errors.Join(k.Close(), k.Close()) }
	write(1, 1, "cancelled", raft.SnapshotSink.Cancel)
	write(2, 1, "unfinished", func(raft.SnapshotSink) error { return nil })
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Fatalf("%v, %v", list, err)
	}
	write(10, 2, "ten", closed)
	write(30, 3, "thirty", closed)
	old := write(20, 2, "twenty", closed) // from a leader that is behind
	list, err := s.List()
	if err != nil || len(list) != 2 || list[0].Index != 30 || list[1].Index != 20 || list[0].Size != 6 {
		t.Fatalf("%+v, %v", list, err)
	}
	meta, r, err := s.Open(old)
	if err != nil || meta.Index != 20 {
		t.Fatalf("%+v, %v", meta, err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "twenty" {
		t.Errorf("%q, %v", b, err)
	}
	if _, _, err := s.Open("1-10-3"); err == nil {
		t.Error("opened what is gone")
	}
}
