package storage

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// journalLab is a journal on a disk, and what should be in the log.
type journalLab struct {
	t     testing.TB
	dir   string
	db    database
	close func() error
	log   *journaled
	want  map[uint64]string // by index
	term  uint64
}

func newJournalLab(t testing.TB) *journalLab {
	l := &journalLab{t: t, dir: t.TempDir(), want: map[uint64]string{}, term: 1}
	l.open()
	t.Cleanup(func() { l.crash() })
	return l
}

func (l *journalLab) try() error {
	store, err := openBolt(filepath.Join(l.dir, logFile), false)
	if err != nil {
		l.t.Fatal(err)
	}
	log, err := openJournal(l.dir, store)
	if err == nil {
		log.size = 64 << 10
		err = log.settle()
	}
	if err != nil {
		return errors.Join(err, store.Close())
	}
	l.db, l.log, l.close = store, log, store.Close
	return nil
}

func (l *journalLab) open() {
	l.t.Helper()
	if err := l.try(); err != nil {
		l.t.Fatal(err)
	}
}

// crash leaves the files as they are.
func (l *journalLab) crash() {
	l.t.Helper()
	if l.close == nil {
		return
	}
	l.log.mu.Lock()
	defer l.log.mu.Unlock()
	if err := errors.Join(l.log.waitLocked(), l.log.closeFiles(), l.close()); err != nil {
		l.t.Error(err)
	}
	l.close = nil
}

// copied is the directory as a crash leaves it after entries were moved and before they are gone from the journal.
func (l *journalLab) copied() string {
	l.t.Helper()
	to := l.t.TempDir()
	for i := range l.log.files {
		copyFile(l.t, journalPath(l.dir, i), journalPath(to, i))
	}
	l.log.mu.Lock()
	defer l.log.mu.Unlock()
	if l.log.moving != nil {
		<-l.log.moving
	}
	copyFile(l.t, filepath.Join(l.dir, logFile), filepath.Join(to, logFile))
	return to
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (l *journalLab) last() uint64 {
	last := uint64(0)
	for i := range l.want {
		last = max(last, i)
	}
	return last
}

func (l *journalLab) write(from uint64, count, size int) {
	l.t.Helper()
	var logs []*raft.Log
	for i := range uint64(count) {
		data := fmt.Appendf(nil, "%d of %d ", from+i, l.term)
		data = append(data, make([]byte, size)...)
		logs = append(logs, &raft.Log{Index: from + i, Term: l.term, Type: raft.LogCommand, Data: data, Extensions: []byte{byte(i)}[:i%2], AppendedAt: time.Unix(9, int64(from+i))})
		l.want[from+i] = string(data)
	}
	if err := l.log.StoreLogs(logs); err != nil {
		l.t.Fatal(err)
	}
}

func (l *journalLab) remove(first, last uint64) {
	l.t.Helper()
	if err := l.log.DeleteRange(first, last); err != nil {
		l.t.Fatal(err)
	}
	for i := first; i <= last; i++ {
		delete(l.want, i)
	}
}

func (l *journalLab) check() {
	l.t.Helper()
	checkLog(l.t, l.log, l.want)
}

func checkLog(t testing.TB, log raft.LogStore, want map[uint64]string) {
	t.Helper()
	wantFirst, wantLast := uint64(0), uint64(0)
	if len(want) > 0 {
		indexes := slices.Sorted(maps.Keys(want))
		wantFirst, wantLast = indexes[0], indexes[len(indexes)-1]
	}
	first, err := log.FirstIndex()
	last, err2 := log.LastIndex()
	if err != nil || err2 != nil || first != wantFirst || last != wantLast {
		t.Fatalf("log of %d to %d, want %d to %d, %v, %v", first, last, wantFirst, wantLast, err, err2)
	}
	for i := wantFirst; i <= wantLast && i > 0; i++ {
		var l raft.Log
		if err := log.GetLog(i, &l); err != nil || l.Index != i || string(l.Data) != want[i] || l.AppendedAt.UnixNano() != time.Unix(9, int64(i)).UnixNano() {
			t.Fatalf("entry %d: %+v, %v", i, l, err)
		}
	}
	if wantLast > 0 {
		if err := log.GetLog(wantLast+1, &raft.Log{}); !errors.Is(err, raft.ErrLogNotFound) {
			t.Fatalf("beyond the end: %v", err)
		}
	}
	if wantFirst > 1 {
		if err := log.GetLog(wantFirst-1, &raft.Log{}); !errors.Is(err, raft.ErrLogNotFound) {
			t.Fatalf("before the start: %v", err)
		}
	}
}

// TestJournalIsALog does what the library does to a log, at random, with crashes and stops at any moment.
func TestJournalIsALog(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			l := newJournalLab(t)
			for range 150 {
				last := l.last()
				switch n := random.IntN(20); {
				case n < 13 || last < 5:
					l.write(last+1, 1+random.IntN(20), random.IntN(3000))
				case n == 13: // another leader's end
					l.term++
					l.remove(last-uint64(random.IntN(4)), last)
				case n == 14:
					first, err := l.log.FirstIndex()
					if err != nil {
						t.Fatal(err)
					}
					l.remove(first, first+(last-first)/uint64(1+random.IntN(3))/2)
				case n == 15: // as when entries are sealed anew
					l.term++
					l.write(last-3, 2, 10)
				case n == 16: // a snapshot was installed
					first, err := l.log.FirstIndex()
					if err != nil {
						t.Fatal(err)
					}
					l.remove(first, last)
					l.write(last+100, 3, 10)
				case n == 17:
					if err := errors.Join(l.log.Close(), l.close()); err != nil {
						t.Fatal(err)
					}
					store, err := openBolt(filepath.Join(l.dir, logFile), false)
					if err != nil {
						t.Fatal(err)
					}
					checkLog(t, store, l.want) // whoever knows no journal finds all
					if err := store.Close(); err != nil {
						t.Fatal(err)
					}
					l.open()
				default:
					l.crash()
					l.open()
				}
				l.check()
			}
		})
	}
}

// TestJournalSurvivesEachMoment copies the files after each append, while others are moved.
func TestJournalSurvivesEachMoment(t *testing.T) {
	l := newJournalLab(t)
	for i := range uint64(40) {
		l.write(1+7*i, 7, 700)
		if i%3 > 0 {
			continue
		}
		other := &journalLab{t: t, dir: l.copied(), want: l.want}
		if err := other.try(); err != nil {
			t.Fatal(err)
		}
		other.check()
		other.crash()
	}
}

// TestFrozenJournal reads a journal as its first version has written it. It never changes: entries in it are
// acknowledged.
func TestFrozenJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, err := makeJournalFile(path, 3)
	if err != nil {
		t.Fatal(err)
	}
	want := []*raft.Log{
		{Index: 7, Term: 3, Type: raft.LogConfiguration, Data: []byte("frozen"), Extensions: []byte("seal"), AppendedAt: time.Unix(9, 1).UTC()},
		{Index: 8, Term: 4, Data: []byte("entry")},
	}
	if err := errors.Join(j.append(want), j.append([]*raft.Log{{Index: 9, Term: 4}}), j.f.Close()); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, frozenHex(t, "journal-1.hex", fresh), 0o600); err != nil {
		t.Fatal(err)
	}
	if j, err = openJournalFile(path); err != nil || j == nil || j.epoch != 3 {
		t.Fatal(j, err)
	}
	var got []raft.Log
	if err := j.read(func(logs []raft.Log) error { got = append(got, logs...); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || !sameEntry(&got[0], want[0]) || string(got[0].Extensions) != "seal" || !got[0].AppendedAt.Equal(want[0].AppendedAt) ||
		!sameEntry(&got[1], want[1]) || !got[1].AppendedAt.IsZero() || got[2].Index != 9 || j.entries != 3 || j.next != 2 {
		t.Errorf("%+v", got)
	}
	if err := j.f.Close(); err != nil {
		t.Fatal(err)
	}
}

// FuzzDecodeEntries: whatever is in a record, it is refused or means what it says.
func FuzzDecodeEntries(f *testing.F) {
	f.Add(appendEntry(appendEntry(nil, &raft.Log{Index: 1, Term: 2, Data: []byte("x")}), &raft.Log{Index: 2}), uint32(2))
	seed, err := hex.DecodeString("0101000000ffffffffffffffffff01")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed, uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, count uint32) {
		logs, err := decodeEntries(b, count)
		if err != nil {
			return
		}
		var again []byte
		for i := range logs {
			again = appendEntry(again, &logs[i])
		}
		back, err := decodeEntries(again, count)
		if err != nil || len(back) != len(logs) {
			t.Fatalf("%d entries, then %d, %v", len(logs), len(back), err)
		}
		for i := range logs {
			if !sameEntry(&logs[i], &back[i]) {
				t.Fatalf("%+v, then %+v", logs[i], back[i])
			}
		}
	})
}
