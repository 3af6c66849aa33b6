package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
)

func read(t *testing.T, path string) []Event {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var events []Event
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		var e Event
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&e); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		events = append(events, e)
	}
	return events
}

func open(t *testing.T, cfg Config) *Log {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// The tests that look at files are in bubbles, where time stands still while a file is written: else a disk that takes
// longer than writeWait for a line, which those of busy machines do, would be one that does not answer.

func TestLines(t *testing.T) { clustertest.Bubble(t, testLines) }

func testLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := open(t, Config{Path: path, Node: "n1", Now: func() time.Time { return at }})
	hostile := "ann\n{\"event\":\"login\"}\u2028"
	l.Write(Event{Name: Login, Outcome: OK, User: hostile, Realm: "native", Handle: "0123"})
	l.Write(Event{Name: Changed, Outcome: "last-admin", Target: "role ops"})
	got := read(t, path)
	want := []Event{
		{Time: at, Node: "n1", Name: Login, Outcome: OK, User: hostile, Realm: "native", Handle: "0123"},
		{Time: at, Node: "n1", Name: Changed, Outcome: "last-admin", Target: "role ops"},
	}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if s := l.Stats(); s != (Stats{Written: 2}) {
		t.Errorf("%+v", s)
	}
}

// Lines of many goroutines are whole.
func TestLinesAreWhole(t *testing.T) { clustertest.Bubble(t, testLinesAreWhole) }

func testLinesAreWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, Config{Path: path})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				l.Write(Event{Name: SessionsEnded, Outcome: OK, By: strings.Repeat("x", 300)})
			}
		})
	}
	group.Wait()
	if n := len(read(t, path)); n != 1600 {
		t.Errorf("%d lines", n)
	}
}

// A flood of failures leaves room on the disk, hides no success, and is told of by its number.
func TestFloodIsBounded(t *testing.T) { clustertest.Bubble(t, testFloodIsBounded) }

func testFloodIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	at := time.Unix(1000, 0)
	l := open(t, Config{Path: path, Now: func() time.Time { return at }})
	for range maxRefused + 50 {
		l.Write(Event{Name: Login, Outcome: "invalid-credentials"})
	}
	l.Write(Event{Name: Login, Outcome: OK, User: "ann"})
	l.Write(Event{Name: LoginThrottled, Outcome: "too-many-failures"})
	at = at.Add(time.Second)
	l.Write(Event{Name: Login, Outcome: "invalid-credentials"})
	got := read(t, path)
	if n := len(got); n != maxRefused+3 || got[n-3].User != "ann" || got[n-3].Omitted != 0 || got[n-1].Omitted != 50 {
		t.Errorf("%d lines, the last three %+v", n, got[max(0, n-3):])
	}
	if s := l.Stats(); s.Omitted != 50 {
		t.Errorf("%+v", s)
	}
}

func TestReopen(t *testing.T) { clustertest.Bubble(t, testReopen) }

func testReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, Config{Path: path})
	l.Write(Event{Name: Logout, Outcome: OK, User: "old"})
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Write(Event{Name: Logout, Outcome: OK, User: "old"})
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Write(Event{Name: Logout, Outcome: OK, User: "new"})
	if old, now := read(t, path+".1"), read(t, path); len(old) != 2 || len(now) != 1 || now[0].User != "new" {
		t.Errorf("%+v, then %+v", old, now)
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("reopened in a directory that is gone")
	}
	l.Write(Event{Name: Logout, Outcome: OK}) // into the file that has lost its name
	if s := l.Stats(); s.Written != 4 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
}

type failing struct{ err error }

func (f *failing) Write(p []byte) (int, error) { return len(p), f.err }

// What can't be written is counted, and said once, until it can be written again.
func TestFailuresAreToldOnce(t *testing.T) { clustertest.Bubble(t, testFailuresAreToldOnce) }

func testFailuresAreToldOnce(t *testing.T) {
	var logged bytes.Buffer
	disk := &failing{errors.New("no space left")}
	l := open(t, Config{Output: disk, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	for range 3 {
		l.Write(Event{Name: Logout, Outcome: OK})
	}
	if n := strings.Count(logged.String(), "no space left"); n != 1 || l.Stats().Failed != 3 {
		t.Errorf("said %d times, %+v", n, l.Stats())
	}
	disk.err = nil
	l.Write(Event{Name: Logout, Outcome: OK})
	l.Write(Event{Name: Logout, Outcome: OK})
	disk.err = errors.New("no space left")
	l.Write(Event{Name: Logout, Outcome: OK})
	if err := l.Close(); err != nil { // it waits for the writer
		t.Fatal(err)
	}
	if n := strings.Count(logged.String(), "no space left"); n != 2 {
		t.Errorf("said %d times", n)
	}
	if n := strings.Count(logged.String(), "written again"); n != 1 || !strings.Contains(logged.String(), "failed_since_start=3") {
		t.Errorf("said %d times that it is over: %s", n, &logged)
	}
}

func TestNoFile(t *testing.T) {
	if _, err := Open(Config{Path: filepath.Join(t.TempDir(), "missing", "audit.log")}); err == nil {
		t.Error("opened in a directory that is not there")
	}
	open(t, Config{}).Write(Event{Name: Logout, Outcome: OK})
}

func TestRotation(t *testing.T) { clustertest.Bubble(t, testRotation) }

func testRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, Config{Path: path})
	mark := func(n int) { l.Write(Event{Name: Logout, Outcome: OK, Count: n}) }
	for n := 1; n <= KeepFiles+3; n++ {
		mark(n)
		l.mu.Lock()
		l.sink.size = MaxFile
		l.mu.Unlock()
	}
	mark(99)
	for n := 1; n <= KeepFiles; n++ {
		if got := read(t, l.sink.numbered(n)); len(got) != 1 || got[0].Count != KeepFiles+4-n {
			t.Errorf("file %d: %+v", n, got)
		}
	}
	if got := read(t, path); len(got) != 1 || got[0].Count != 99 {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(l.sink.numbered(KeepFiles + 1)); err == nil {
		t.Error("more files than are to be kept")
	}
	if s := l.Stats(); s.Failed != 0 || s.Written != KeepFiles+4 {
		t.Errorf("%+v", s)
	}
}

// Many successes hide no failure, nor the other way round.
func TestSuccessesHideNoFailure(t *testing.T) { clustertest.Bubble(t, testSuccessesHideNoFailure) }

func testSuccessesHideNoFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	at := time.Unix(1000, 0)
	l := open(t, Config{Path: path, Now: func() time.Time { return at }})
	for range 2 * maxRefused {
		l.Write(Event{Name: Login, Outcome: OK})
	}
	for range 5 {
		l.Write(Event{Name: Login, Outcome: "invalid-credentials"})
	}
	if n := len(read(t, path)); n != 2*maxRefused+5 {
		t.Errorf("%d lines", n)
	}
}

// When no new file can be begun, the old one goes on and nothing that was kept is lost.
func TestRotationThatFails(t *testing.T) { clustertest.Bubble(t, testRotationThatFails) }

func testRotationThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	at := time.Unix(1000, 0)
	l := open(t, Config{Path: path, Now: func() time.Time { return at }})
	full := func() {
		l.mu.Lock()
		l.sink.size = MaxFile
		l.mu.Unlock()
	}
	l.Write(Event{Name: Logout, Outcome: OK, User: "kept"})
	full()
	l.Write(Event{Name: Logout, Outcome: OK, User: "second"})
	if err := os.MkdirAll(filepath.Join(path+".new", "in-the-way"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range KeepFiles + 2 {
		full()
		l.Write(Event{Name: Logout, Outcome: OK, User: "on"})
		at = at.Add(2 * rotatePause)
	}
	if got := read(t, l.sink.numbered(1)); len(got) != 1 || got[0].User != "kept" {
		t.Errorf("%+v", got)
	}
	if got := read(t, path); len(got) != KeepFiles+3 {
		t.Errorf("%d lines", len(got))
	}
	if err := os.RemoveAll(path + ".new"); err != nil {
		t.Fatal(err)
	}
	full()
	l.Write(Event{Name: Logout, Outcome: OK, User: "new"})
	if got := read(t, path); len(got) != 1 || got[0].User != "new" {
		t.Errorf("%+v", got)
	}
}

func TestClosed(t *testing.T) {
	l, err := Open(Config{Path: filepath.Join(t.TempDir(), "audit.log"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); !errors.Is(err, errClosed) {
		t.Errorf("reopened: %v", err)
	}
}
