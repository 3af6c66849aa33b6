package storage

import (
	"errors"
	"io"
	"testing"

	"github.com/hashicorp/raft"
)

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
