package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
)

// disk is one that hangs while it is told to, or fails.
type disk struct {
	mu   sync.Mutex
	hang chan struct{} // nil: it does not
	err  error
	good int // lines that it takes before it fails
	text bytes.Buffer
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	hang := d.hang
	d.mu.Unlock()
	if hang != nil {
		<-hang
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.good--; d.err != nil && d.good < 0 {
		return 0, d.err
	}
	return d.text.Write(p)
}

func (d *disk) set(hang chan struct{}, err error, good int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hang, d.err, d.good = hang, err, good
}

func (d *disk) events(t *testing.T) (events []Event) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for line := range strings.Lines(d.text.String()) {
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// A disk that hangs holds up the calls of one moment, for a second. Then lines wait in memory up to a number, and what is
// over it is counted, and told of as soon as the disk takes a line.
func TestDiskThatHangs(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		var logged bytes.Buffer
		d := &disk{}
		l := open(t, Config{Output: d, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		l.Write(Event{Name: Changed, Outcome: OK, Target: "first"})
		if n := len(d.events(t)); n != 1 {
			t.Errorf("%d lines when the call is over", n)
		}
		hang := make(chan struct{})
		d.set(hang, nil, 0)
		begin := time.Now()
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() { l.Write(Event{Name: Changed, Outcome: OK, Target: "waited"}) })
		}
		group.Wait()
		if held := time.Since(begin); held != writeWait {
			t.Errorf("calls at once are held up for %v", held)
		}
		const lost = 7
		for range maxQueue - 9 + lost { // one of the ten is being written
			l.Write(Event{Name: Changed, Outcome: OK, Target: "later"})
		}
		if held := time.Since(begin); held != writeWait {
			t.Errorf("calls after that are held up for %v", held-writeWait)
		}
		if s := l.Stats(); s.Lost != lost || s.Waiting != maxQueue || s.Written != 1 {
			t.Errorf("%+v", s)
		}
		if n := strings.Count(logged.String(), "does not answer"); n != 1 {
			t.Errorf("it is logged %d times: %s", n, logged.String())
		}
		d.set(nil, nil, 0)
		close(hang)
		synctest.Wait()
		got := d.events(t)
		if len(got) != 1+10+maxQueue-9+1 || got[1].Target != "waited" || got[2].Name != LinesLost || got[2].Count != lost {
			t.Errorf("%d lines, %+v", len(got), got[:min(3, len(got))])
		}
		l.Write(Event{Name: Changed, Outcome: OK, Target: "last"}) // waited for again
		if got := d.events(t); got[len(got)-1].Target != "last" {
			t.Errorf("%+v", got[len(got)-1])
		}
		if s := l.Stats(); s.Lost != lost || s.Waiting != 0 || int(s.Written) != len(got)+1 {
			t.Errorf("%+v", s)
		}
	})
}

// The number of those that were lost is not lost when the disk fails after it has hung.
func TestLostLinesAreToldAfterAFailure(t *testing.T) {
	for good := range 2 { // the line that tells of them is the one that fails, or is not tried
		testLostLinesAreTold(t, good)
	}
}

func testLostLinesAreTold(t *testing.T, good int) {
	clustertest.Bubble(t, func(t *testing.T) {
		d := &disk{}
		l := open(t, Config{Output: d})
		hang := make(chan struct{})
		d.set(hang, nil, 0)
		for range maxQueue + 1 + 3 {
			l.Write(Event{Name: Changed, Outcome: OK})
		}
		d.set(nil, errors.New("no space left"), good)
		close(hang)
		synctest.Wait()
		if s := l.Stats(); int(s.Failed) != maxQueue+1-good || s.Lost != 3 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		d.set(nil, nil, 0)
		l.Write(Event{Name: Changed, Outcome: OK, Target: "last"})
		synctest.Wait()
		got := d.events(t)
		got = got[good:]
		if len(got) != 2 || got[0].Omitted != maxQueue+1-good || got[1].Name != LinesLost || got[1].Count != 3 {
			t.Errorf("%d: %+v", good, got)
		}
	})
}

// Close writes what waits, and gives up on a disk that does not answer.
func TestCloseFlushes(t *testing.T) {
	for _, comesBack := range []bool{true, false} {
		clustertest.Bubble(t, func(t *testing.T) {
			d := &disk{}
			l, err := Open(Config{Output: d})
			if err != nil {
				t.Fatal(err)
			}
			hang := make(chan struct{})
			d.set(hang, nil, 0)
			for range 100 {
				l.Write(Event{Name: Changed, Outcome: OK})
			}
			if comesBack {
				time.AfterFunc(closeWait/2, func() { close(hang) })
			}
			begin := time.Now()
			err = l.Close()
			n, held := len(d.events(t)), time.Since(begin)
			if comesBack && (err != nil || n != 100 || held != closeWait/2) || !comesBack && (!errors.Is(err, errHangs) || held != closeWait) {
				t.Errorf("comes back %v: %v after %v, %d lines", comesBack, err, held, n)
			}
			l.Write(Event{Name: Changed, Outcome: OK})
			if s := l.Stats(); s.Lost != 1 {
				t.Errorf("after the end: %+v", s)
			}
			if !comesBack {
				close(hang)
			}
		})
	}
}
