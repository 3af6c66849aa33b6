package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"cloakroom/bench/load"
)

var (
	errRefused = errors.New("answered 503")
	lostAt     = time.Unix(100, 0)
)

func at(ms int) time.Time { return lostAt.Add(time.Duration(ms) * time.Millisecond) }

func call(sent, done int, err error) load.Observation {
	return load.Observation{Due: at(sent), Sent: at(sent), Done: at(done), Err: err}
}

func TestOutcomeCountsOnlyWhatTheOldLeaderCannotHaveAnswered(t *testing.T) {
	saw := newWitnesses()
	saw.puts.calls = []load.Observation{
		call(-500, -490, nil), // before
		call(-5, 3, nil),      // the old leader's last answers
		call(2, 12, nil),
		call(20, 30, errRefused),
		call(700, 1300, nil),
		call(800, 1200, nil), // the first of the new one
		call(1400, 1401, nil),
	}
	saw.lookups.calls = []load.Observation{
		call(-50, -1, errRefused), // before
		{Due: at(20), Sent: at(300), Done: at(400)},
		call(500, 501, errRefused),
	}
	saw.changed.calls = []load.Observation{call(10, 1000, nil)}
	m := moments{lost: lostAt, gone: at(10)}
	o := newOutcome(lossKill, "n2", m, saw)
	want := outcome{
		Loss: lossKill, Node: "n2", Recovered: true, WriteGap: 1200, Silence: 1188, Silences: 3, Puts: 6, PutsFailed: 1, PutWait: 600,
		Reason: "answered 503", Lookups: asked{Count: 2, Failed: 1, Wait: 380, Reason: "answered 503"}, Changed: asked{Count: 1, Wait: 990},
		Before: ordinary{PutWait: 10},
	}
	if o != want {
		t.Errorf("%+v\nwant %+v", o, want)
	}
	figures := o.reading().Figures
	if figures[writeGap] != 1200 || figures[lookupsFailed] != 1 || figures[lookupWait] != 380 || figures[changedWait] != 990 || figures[putsFailed] != 1 {
		t.Errorf("%v", figures)
	}
	saw.puts.calls = saw.puts.calls[:4]
	o = newOutcome(lossKill, "n2", m, saw)
	if o.Recovered {
		t.Errorf("%+v: no put was acknowledged by a new leader", o)
	}
}

// A stop without an outage is one in which acknowledgements went on coming: a put that waits while others are answered
// is no silence, and one that failed ends none.
func TestSilences(t *testing.T) {
	for name, c := range map[string]struct {
		calls   []load.Observation
		longest float64
		long    int
	}{
		"nothing was asked":       {nil, 0, 0},
		"over before":             {[]load.Observation{call(-500, -400, nil), call(-100, -90, nil), call(-90, -85, nil)}, 0, 0},
		"one put waits":           {[]load.Observation{call(-10, -5, nil), call(0, 300, nil), call(50, 60, nil), call(110, 120, nil), call(200, 210, nil)}, 90, 0},
		"begun before":            {[]load.Observation{call(-90, -80, nil), call(60, 70, nil)}, 150, 1},
		"a refusal ends none":     {[]load.Observation{call(-10, 0, nil), call(100, 110, errRefused), call(200, 210, nil)}, 210, 1},
		"none came any more":      {[]load.Observation{call(-10, 0, nil), call(400, 450, errRefused)}, 450, 1},
		"two, in any order":       {[]load.Observation{call(500, 510, nil), call(-10, 0, nil), call(240, 250, nil)}, 260, 2},
		"none was ever long":      {[]load.Observation{call(-10, 0, nil), call(90, 100, nil), call(190, 200, nil)}, 100, 0},
		"none was ever answered ": {[]load.Observation{call(0, 5, errRefused), call(6, 8, errRefused)}, 0, 0},
	} {
		if longest, long := silences(c.calls, lostAt); longest != c.longest || long != c.long {
			t.Errorf("%s: %v ms, %d long ones; want %v, %d", name, longest, long, c.longest, c.long)
		}
	}
}

// A gap is known of a killed leader only, and nothing is known of lookups that nobody made.
func TestLossesTellWhatIsKnown(t *testing.T) {
	figures := outcome{Loss: lossStop, Recovered: true, WriteGap: 5, Silence: 7}.reading().Figures
	if _, known := figures[writeGap]; known || figures[silence] != 7 {
		t.Errorf("%v", figures)
	}
	for _, name := range []string{lookupsFailed, lookupWait, changedFailed, changedWait} {
		if v, known := figures[name]; known {
			t.Errorf("%s is %v of no lookup", name, v)
		}
	}
}

// A round ends when writes are back and the cluster has had its time; calls that the end broke off are no failures.
func TestWitnessLeavesOutWhatTheEndBrokeOff(t *testing.T) {
	w := &witness{}
	w.observe(call(0, 1, fmt.Errorf("connect: %w", context.Canceled)))
	w.observe(call(2, 3, errRefused))
	if len(w.calls) != 1 || w.acknowledged(at(0)) || !w.answered(at(2)) || w.answered(at(3)) {
		t.Errorf("%+v", w.calls)
	}
	w.observe(call(-5, 9, nil))
	if w.acknowledged(at(0)) {
		t.Error("what was sent before the loss may be the old leader's last answer")
	}
	w.observe(call(5, 9, nil))
	if !w.acknowledged(at(0)) {
		t.Error("a put was acknowledged")
	}
}
