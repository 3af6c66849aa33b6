package roster

import (
	"testing"
	"time"

	"cloakroom/cluster/consensus"
)

// What lasts is what every look has found.
func TestSights(t *testing.T) {
	const never = time.Duration(-1)
	well := look{answered: true, gossiped: true, condition: condition{Applied: 1000}}
	with := func(change func(*look)) look {
		l := well
		change(&l)
		return l
	}
	silent := with(func(l *look) { l.answered = false })
	lost := with(func(l *look) { l.answered, l.gossiped = false, false })
	unseen := with(func(l *look) { l.gossiped = false })
	behind := with(func(l *look) { l.condition.Applied = 1000 - CaughtUp - 1 })
	for _, c := range []struct {
		name         string
		looks        []look // one each two seconds
		steady, dead time.Duration
	}{
		{"well", []look{well, well, well}, 4 * time.Second, never},
		{"seen once", []look{well}, 0, never},
		{"just near enough", []look{with(func(l *look) { l.condition.Applied = 1000 - CaughtUp })}, 0, never},
		{"behind", []look{well, behind}, never, never},
		{"behind for a moment", []look{well, well, behind, well, well}, 2 * time.Second, never},
		{"no room", []look{well, with(func(l *look) { l.condition.DiskLow = true })}, never, never},
		{"memory full", []look{well, with(func(l *look) { l.condition.MemoryFull = true })}, 2 * time.Second, never},
		{"silent", []look{well, silent, silent}, never, never},
		{"silent for a moment", []look{well, silent, well, well}, 2 * time.Second, never},
		{"lost by gossip alone", []look{unseen, unseen}, 2 * time.Second, never},
		{"dead", []look{well, lost, lost, lost}, never, 4 * time.Second},
		{"dead from the first look on", []look{lost, lost}, never, 2 * time.Second},
		{"it came back in between", []look{lost, lost, well, lost, lost}, never, 2 * time.Second},
		{"gossip saw it in between", []look{lost, lost, silent, lost, lost}, never, 2 * time.Second},
		{"it answered in between", []look{lost, lost, unseen, lost, lost}, never, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w watch
			now := noon
			for i, l := range c.looks {
				l.server = consensus.Server{ID: "x"}
				now = noon.Add(time.Duration(i) * HealthInterval)
				w.note(now, 1000, []look{l})
			}
			s := w.all()["x"]
			for _, which := range []struct {
				name  string
				since time.Time
				want  time.Duration
			}{{"steady", s.steady, c.steady}, {"dead", s.DeadSince, c.dead}} {
				got := never
				if !which.since.IsZero() {
					got = now.Sub(which.since)
				}
				if got != which.want {
					t.Errorf("%s for %v, want %v", which.name, got, which.want)
				}
			}
		})
	}
}

// A node that raft has not reached has applied nothing, which is not far behind in a young cluster.
func TestSightOfAnUnreachedNode(t *testing.T) {
	var w watch
	l := look{server: consensus.Server{ID: "x"}, answered: true, gossiped: true}
	w.note(noon, CaughtUp, []look{l})
	if !w.all()["x"].steady.IsZero() {
		t.Error("it has applied nothing, and keeps up")
	}
	l.condition.Applied = 1
	w.note(noon, CaughtUp, []look{l})
	if w.all()["x"].steady.IsZero() {
		t.Error("it does not keep up")
	}
}

// A leader that did not look for a while, as its process was stopped, has seen nothing.
func TestSightsEndWithAGap(t *testing.T) {
	var w watch
	lost := look{server: consensus.Server{ID: "x"}}
	w.note(noon, 1, []look{lost})
	late := noon.Add(WatchGap)
	w.note(late, 1, []look{lost})
	if since := w.all()["x"].DeadSince; !since.Equal(noon) {
		t.Errorf("dead since %v", since)
	}
	late = late.Add(WatchGap + 1)
	w.note(late, 1, []look{lost})
	if since := w.all()["x"].DeadSince; !since.Equal(late) {
		t.Errorf("dead since %v, but nobody looked", since)
	}
}

// Most voters must have room. The disk of one that died holds nothing new, but a missed answer is no full disk.
func TestRoom(t *testing.T) {
	voter := func(id string, low bool) look {
		return look{server: consensus.Server{ID: id, Voter: true}, answered: true, condition: condition{Applied: 1, DiskLow: low}}
	}
	silent := func(id string) look { return look{server: consensus.Server{ID: id, Voter: true}} }
	other := func(id string) look { l := voter(id, false); l.server.Voter = false; return l }
	full, dead := []look{voter("a", false), voter("b", true), voter("c", true)}, []look{voter("a", false), voter("b", true), silent("c")}
	for _, c := range []struct {
		name   string
		before []look
		last   []look
		age    time.Duration // between them
		want   bool
	}{
		{"all", nil, []look{voter("a", false), voter("b", false), voter("c", false)}, 0, true},
		{"two of three", nil, []look{voter("a", false), voter("b", true), voter("c", false)}, 0, true},
		{"one of three", nil, full, 0, false},
		{"non-voters don't count", nil, append([]look{other("d"), other("e")}, full...), 0, false},
		{"a single one", nil, []look{voter("a", true)}, 0, false},
		{"one did not answer yet", nil, dead, 0, true},
		{"one missed an answer", dead, dead, HealthStale - 1, true},
		{"one is dead", dead, dead, HealthStale, false},
		{"it was full before", full, []look{voter("a", false), silent("b"), silent("c")}, HealthInterval, false},
		{"room again", full, []look{voter("a", false), voter("b", false), voter("c", true)}, HealthInterval, true},
	} {
		var w watch
		w.note(noon, 1, c.before)
		w.note(noon.Add(c.age), 1, c.last)
		if got := !w.cramped.Load(); got != c.want {
			t.Errorf("%s: room %v", c.name, got)
		}
	}
}
