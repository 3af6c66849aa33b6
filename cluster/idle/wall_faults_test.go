//go:build faults

package idle

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"cloakroom/cluster/session"
)

const wallFaults = true

// fault writes the file that the variable names.
func fault(t *testing.T, text string) {
	t.Helper()
	path := os.Getenv(wallFile)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// The fault is what the file says at the time, or none.
func TestWallFault(t *testing.T) {
	if got := wallFault(); os.Getenv(wallFile) == "" && got != 0 {
		t.Errorf("fault without the variable: %v", got)
	}
	t.Setenv(wallFile, filepath.Join(t.TempDir(), "wall"))
	if got := wallFault(); got != 0 {
		t.Errorf("fault without the file: %v", got)
	}
	for _, c := range []struct {
		text string
		want time.Duration
	}{{"2h", 2 * time.Hour}, {"-1h30m\n", -90 * time.Minute}, {"", 0}} {
		fault(t, c.text)
		before := time.Now().Round(0) // by the wall clock throughout: a moment's two readings may lie apart
		read := wallOf(time.Now())
		after := time.Now().Round(0)
		if right := read.Add(-c.want); right.Before(before) || right.After(after) {
			t.Errorf("%q: the wall clock shows %v between %v and %v", c.text, read, before, after)
		}
	}
	fault(t, "two hours")
	defer func() {
		if recover() == nil {
			t.Error("a fault that can't be understood is passed over")
		}
	}()
	wallOf(time.Now())
}

// A clock built with the tag takes the fault for its machine's: at the start, and as a jump.
func TestWallFaultReachesTheClock(t *testing.T) {
	t.Setenv(wallFile, filepath.Join(t.TempDir(), "wall"))
	fault(t, "2h")
	clock := NewClock(func() session.Time { return 0 })
	if ahead := clock.Now().Sub(session.TimeOf(time.Now())); ahead < 119*time.Minute {
		t.Errorf("a cold clock is ahead by %v", ahead)
	}
	clock.change(func(r *reckoning, mono micros) { r.lead(mono) })
	fault(t, "-2h")
	if clock.look(); clock.Synced() || clock.Stats().Jumps != 1 {
		t.Errorf("no jump was seen: %+v", clock.Stats())
	}
	if ahead := clock.Now().Sub(session.TimeOf(time.Now())); ahead < 119*time.Minute {
		t.Errorf("the jump changed the time shown: ahead by %v", ahead)
	}
}
