package storage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
)

// heldMove is a database that moves nothing before it is let go.
type heldMove struct {
	raft.LogStore
	held chan struct{}
}

func (h *heldMove) StoreLogs(logs []*raft.Log) error {
	<-h.held
	return h.LogStore.StoreLogs(logs)
}

// crashed is the directory as a crash leaves it while the full file of the journal has yet to be moved.
func (l *journalLab) crashed() string {
	l.t.Helper()
	to := l.t.TempDir()
	for i := range l.log.files {
		copyFile(l.t, journalPath(l.dir, i), journalPath(to, i))
	}
	copyFile(l.t, filepath.Join(l.dir, logFile), filepath.Join(to, logFile))
	return to
}

// fillBoth goes on until the journal has entries in both files, and none of them is moved; then it crashes.
func (l *journalLab) fillBoth() (dir string) {
	l.t.Helper()
	inner := l.log.LogStore
	hold := &heldMove{LogStore: inner, held: make(chan struct{})}
	l.log.LogStore = hold
	for active := l.log.active; l.log.active == active; {
		l.write(l.last()+1, 10, 1300)
	}
	l.write(l.last()+1, 10, 1300)
	dir = l.crashed()
	close(hold.held)
	return dir
}

// TestJournalCrashesWhileItMoves: whatever has emptied the journal before, the file that is full is the older one.
func TestJournalCrashesWhileItMoves(t *testing.T) {
	for name, before := range map[string]func(l *journalLab){
		"a new journal": func(*journalLab) {},
		"after a stop": func(l *journalLab) {
			l.write(1, 5, 10)
			if err := errors.Join(l.log.Close(), l.close()); err != nil {
				l.t.Fatal(err)
			}
			l.open()
		},
		"after a crash": func(l *journalLab) {
			l.write(1, 5, 10)
			l.crash()
			l.open()
		},
		"after another leader's entries were removed": func(l *journalLab) {
			l.write(1, 5, 10)
			l.remove(4, 5)
		},
		"after the same in the other file": func(l *journalLab) {
			l.fillBoth()
			l.remove(l.last(), l.last())
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newJournalLab(t)
			before(l)
			other := &journalLab{t: t, dir: l.fillBoth(), want: l.want}
			if err := other.try(); err != nil {
				t.Fatal(err)
			}
			other.check()
			other.crash()
		})
	}
}

// TestJournalIsCutBeforeItIsEmpty: the file system may have shortened a file on the disk, and not written its new head,
// when the power fails: all entries in it are in the database.
func TestJournalIsCutBeforeItIsEmpty(t *testing.T) {
	l := newJournalLab(t)
	dir := l.fillBoth()
	l.log.mu.Lock()
	<-l.log.moving
	l.log.mu.Unlock()
	copyFile(t, filepath.Join(l.dir, logFile), filepath.Join(dir, logFile)) // it was moved
	edit(t, journalPath(dir, 0), func(f *os.File) error { return f.Truncate(l.log.size) })
	other := &journalLab{t: t, dir: dir, want: l.want}
	if err := other.try(); err != nil {
		t.Fatal(err)
	}
	other.check()
	other.crash()
}
