package storage

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
)

// TestFailedSnapshot: wherever a snapshot fails, nothing of it stays, and another one that is being written is not touched.
func TestFailedSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the time is in the names
		dir := t.TempDir()
		d := opened(t, dir, nil)
		defer func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}()
		const name = "1-5-946684800000" // of the year 2000, when fake time begins
		snapshots := filepath.Join(dir, snapshotDir)
		inTheWay := func(path ...string) func() {
			return func() {
				if err := os.MkdirAll(filepath.Join(append([]string{snapshots}, path...)...), dirMode); err != nil {
					t.Fatal(err)
				}
			}
		}
		begin := func(index uint64) (raft.SnapshotSink, error) {
			return d.Snapshots.Create(1, index, 1, raft.Configuration{}, 1, nil)
		}
		other, err := begin(3)
		if err != nil {
			t.Fatal(err)
		}
		for what, test := range map[string]struct{ atCreate, atClose func() }{
			"description at the start": {inTheWay(name+tempSuffix, metaFile), func() {}},
			"state":                    {inTheWay(name+tempSuffix, stateFile), func() {}},
			"description at the end": {func() {}, func() {
				if err := os.Remove(filepath.Join(snapshots, name+tempSuffix, metaFile)); err != nil {
					t.Fatal(err)
				}
				inTheWay(name+tempSuffix, metaFile)()
			}},
			"name": {func() {}, inTheWay(name, "x")},
		} {
			test.atCreate()
			sink, err := begin(5)
			if err == nil {
				if _, err := io.WriteString(sink, "five"); err != nil {
					t.Fatal(err)
				}
				test.atClose()
				err = sink.Close()
			}
			if err == nil {
				t.Errorf("%s: no error", what)
			}
			if err := os.RemoveAll(filepath.Join(snapshots, name)); err != nil {
				t.Fatal(err)
			}
			if left, err := filepath.Glob(filepath.Join(snapshots, "*")); err != nil || len(left) != 1 || filepath.Base(left[0]) != other.ID()+tempSuffix {
				t.Errorf("%s: there is %v, %v", what, left, err)
			}
		}
		if _, err := io.WriteString(other, "three"); err != nil {
			t.Fatal(err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
		if list, err := d.Snapshots.List(); err != nil || len(list) != 1 || list[0].Index != 3 {
			t.Errorf("%v, %v", list, err)
		}
	})
}

// TestLateSnapshot: a snapshot that was complete when its end failed stays as it is.
func TestLateSnapshot(t *testing.T) {
	d := opened(t, t.TempDir(), nil)
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	sink, err := d.Snapshots.Create(1, 5, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	inner := sink.(*sealedSink).SnapshotSink.(*diskSink)
	inner.SnapshotSink = lateSink{inner.SnapshotSink}
	if _, err := io.WriteString(sink, "five"); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); !errors.Is(err, errLate) {
		t.Errorf("close: %v", err)
	}
	_, r, err := d.Snapshots.Open(sink.ID())
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "five" {
		t.Errorf("%q, %v", b, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

var errLate = errors.New("an older snapshot can't be removed")

// lateSink fails when all is done.
type lateSink struct{ raft.SnapshotSink }

func (s lateSink) Close() error { return errors.Join(s.SnapshotSink.Close(), errLate) }
