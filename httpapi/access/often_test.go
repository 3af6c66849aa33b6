package access

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/httpapi/audit"
)

// told is an audit log, and what is in it.
type told struct {
	often
	t   *testing.T
	buf bytes.Buffer
}

func newTold(t *testing.T) *told {
	t.Helper()
	l := &told{t: t}
	log, err := audit.Open(audit.Config{Output: &l.buf})
	if err != nil {
		t.Fatal(err)
	}
	l.log = log
	t.Cleanup(func() { _ = log.Close() })
	return l
}

// lines returns what was written since the last time: seconds since start, count and detail.
func (l *told) lines(start time.Time) (all []string) {
	l.t.Helper()
	synctest.Wait()
	for dec := json.NewDecoder(&l.buf); dec.More(); {
		var e audit.Event
		if err := dec.Decode(&e); err != nil {
			l.t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%.0f %s %d %s %s", e.Time.Sub(start).Seconds(), e.By, e.Count, e.Detail, e.Request))
	}
	return all
}

// Who asks all the time is told of once a minute, with what all of it came to; who stops is told of to the end.
func TestWhatIsDoneOftenIsSummedUp(t *testing.T) { synctest.Test(t, testWhatIsDoneOftenIsSummedUp) }

func testWhatIsDoneOftenIsSummedUp(t *testing.T) {
	l := newTold(t)
	start := time.Now()
	check := func(by string) {
		l.done(callKey{name: audit.Verified, user: by}, 10, 3, func() audit.Event {
			return audit.Event{Name: audit.Verified, By: by, Count: 10, Detail: activeOf(3), Request: "r1"}
		})
	}
	login := func() {
		l.done(callKey{name: audit.Login}, 1, 1, func() audit.Event { return audit.Event{Name: audit.Login, Detail: "for one call", Request: "r1"} })
	}
	check("b")
	check("a")
	login()
	time.Sleep(time.Second / 2)
	for range 150 {
		check("a")
		login()
		time.Sleep(time.Second)
	}
	time.Sleep(4 * callAudit)
	want := []string{
		"0 b 10 3 active r1", "0  0 for one call r1", "0 a 10 3 active r1",
		"60  60 for one call ", "60 a 600 180 active in 60 calls ",
		"120  60 for one call ", "120 a 600 180 active in 60 calls ",
		"180  30 for one call ", "180 a 300 90 active in 30 calls ",
	}
	got := l.lines(start)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if len(l.of) != 0 {
		t.Errorf("%d are remembered for too long", len(l.of))
	}
	for range 3 {
		check("c")
	}
	l.close()
	if got := l.lines(time.Now()); !slices.Equal(got, []string{"0 c 10 3 active r1", "0 c 20 6 active in 2 calls "}) {
		t.Errorf("at the end: %q", got)
	}
}

// Those over the number that is remembered share a tally.
func TestManyCallers(t *testing.T) { synctest.Test(t, testManyCallers) }

func testManyCallers(t *testing.T) {
	l := newTold(t)
	start, lines := time.Now(), 0
	for range 2 {
		for i := range maxCallers + 10 {
			l.done(callKey{name: audit.Verified, user: fmt.Sprint(i)}, 10, 3, func() audit.Event {
				lines++
				return audit.Event{Name: audit.Verified, By: fmt.Sprint(i)}
			})
		}
	}
	if lines != maxCallers+1 || len(l.of) != maxCallers+1 {
		t.Errorf("%d lines, %d are remembered", lines, len(l.of))
	}
	l.close()
	got := l.lines(start)
	if want := "0  190 57 active in 19 calls of other callers "; len(got) != 2*maxCallers+2 || !slices.Contains(got, want) {
		t.Errorf("%d lines, and not %q", len(got), want)
	}
}
