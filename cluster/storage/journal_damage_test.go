package storage

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestJournalIsCutShort: of the last append any part may be missing. It was acknowledged to nobody, and all before it is
// there.
func TestJournalIsCutShort(t *testing.T) {
	l := newJournalLab(t)
	l.write(1, 5, 100)
	l.write(6, 3, 9000) // several blocks
	before := l.log.files[0].end
	acknowledged := maps.Clone(l.want)
	l.write(9, 4, 5000)
	end := l.log.files[0].end
	for name, damage := range map[string]func(f *os.File) error{
		"no size":           func(f *os.File) error { return f.Truncate(before) },
		"head alone":        func(f *os.File) error { return f.Truncate(before + recordHead) },
		"half a head":       func(f *os.File) error { return f.Truncate(before + 9) },
		"some blocks":       func(f *os.File) error { return f.Truncate(before + journalBlock) },
		"all but a byte":    func(f *os.File) error { return f.Truncate(end - journalBlock) },
		"no first block":    func(f *os.File) error { return zero(f, before) },
		"no block between":  func(f *os.File) error { return zero(f, before+journalBlock) },
		"a bit is not good": func(f *os.File) error { _, err := f.WriteAt([]byte{0xff}, before+500); return err },
	} {
		t.Run(name, func(t *testing.T) {
			other := &journalLab{t: t, dir: l.copied(), want: acknowledged}
			edit(t, journalPath(other.dir, 0), damage)
			other.open()
			other.check()
			other.crash()
			other.open() // and stays so
			other.check()
			other.crash()
		})
	}
}

func zero(f *os.File, at int64) error {
	_, err := f.WriteAt(make([]byte, journalBlock), at)
	return err
}

func edit(t testing.TB, path string, change func(*os.File) error) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(change(f), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestJournalDamage: what was acknowledged and can't be read is never passed over.
func TestJournalDamage(t *testing.T) {
	l := newJournalLab(t)
	l.write(1, 5, 100)
	l.write(6, 3, 100)
	l.write(9, 1, 100)
	for name, damage := range map[string]func(dir string) error{
		"first record": func(dir string) error {
			edit(t, journalPath(dir, 0), func(f *os.File) error { return zero(f, journalBlock) })
			return nil
		},
		"a bit of the second": func(dir string) error {
			edit(t, journalPath(dir, 0), func(f *os.File) error { _, err := f.WriteAt([]byte{0xff}, 2*journalBlock+60); return err })
			return nil
		},
		"head": func(dir string) error {
			edit(t, journalPath(dir, 0), func(f *os.File) error { return zero(f, 0) })
			return nil
		},
		"no file":  func(dir string) error { return os.Remove(journalPath(dir, 0)) },
		"no other": func(dir string) error { return os.Remove(journalPath(dir, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			other := &journalLab{t: t, dir: l.copied(), want: l.want}
			if err := damage(other.dir); err != nil {
				t.Fatal(err)
			}
			if err := other.try(); !errors.Is(err, ErrDamaged) {
				t.Errorf("open: %v", err)
			}
		})
	}
}

// TestJournalHole: the journal must go on where the database ends.
func TestJournalHole(t *testing.T) {
	l := newJournalLab(t)
	l.write(1, 5, 10)
	if err := l.log.drain(); err != nil {
		t.Fatal(err)
	}
	l.write(6, 5, 10)
	l.crash()
	store, err := openBolt(filepath.Join(l.dir, logFile), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.DeleteRange(4, 5), store.Close()); err != nil {
		t.Fatal(err)
	}
	if err := l.try(); !errors.Is(err, ErrDamaged) {
		t.Errorf("open: %v", err)
	}
}

func (s *journaled) drain() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drainLocked()
}

// TestJournalFails: after a write that has failed nothing is written any more, and what was acknowledged is there.
func TestJournalFails(t *testing.T) {
	l := newJournalLab(t)
	l.write(1, 5, 10)
	if err := l.log.files[0].f.Close(); err != nil {
		t.Fatal(err)
	}
	next := &raft.Log{Index: 6, Term: 1}
	for range 2 {
		if err := l.log.StoreLog(next); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("store: %v", err)
		}
	}
	if err := l.log.DeleteRange(1, 2); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("remove: %v", err)
	}
	l.check()
	if err := errors.Join(l.log.files[1].f.Close(), l.close()); err != nil {
		t.Fatal(err)
	}
	l.open()
	l.check()
}

// TestJournalCantMove: entries that can't be moved stay in the journal, and appends fail before there is no end of it.
func TestJournalCantMove(t *testing.T) {
	l := newJournalLab(t)
	good := l.log.LogStore
	l.log.LogStore = failing{good}
	var err error
	for i := uint64(1); err == nil && i < 1000; i++ {
		log := &raft.Log{Index: i, Term: 1, Data: make([]byte, 100), AppendedAt: time.Unix(9, int64(i))}
		if err = l.log.StoreLog(log); err == nil {
			l.want[i] = string(log.Data)
		}
	}
	if !errors.Is(err, full) || len(l.want) == 0 {
		t.Fatalf("%d entries, %v", len(l.want), err)
	}
	l.check()
	if err := errors.Join(l.log.Close(), l.close()); err != nil {
		t.Fatal(err)
	}
	l.open()
	l.check()
}
