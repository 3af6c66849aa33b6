package lease

import (
	"slices"
	"testing"
	"time"
)

// granted returns a leader as taken does, of whom n2 holds a lease with applied 100 until 11 s.
func granted(t *testing.T) *Machine {
	t.Helper()
	m := taken(t, testConfig("n1"))
	if g := answered(t, m, 10_000*ms, Report{From: "n2", Boot: Boot{9, 1}, Applied: 100, Want: true}); g.Remaining == 0 {
		t.Fatal("refused")
	}
	return m
}

// proposes returns what kinds a step proposes.
func proposes(actions []Action) []CommandKind {
	var kinds []CommandKind
	for _, a := range actions {
		if p, ok := a.(Propose); ok {
			kinds = append(kinds, p.Kind)
		}
	}
	return kinds
}

func TestHold(t *testing.T) {
	m := New(testConfig("n1"), 1, 1)
	for _, c := range []struct {
		term, least uint64
		until       Time
		want        Lease
	}{
		{3, 10, 100, Lease{Term: 3, Until: 100, Min: 10}},
		{3, 9, 110, Lease{Term: 3, Until: 110, Min: 10}},
		{3, 11, 90, Lease{Term: 3, Until: 110, Min: 11}},
		{2, 1, 200, Lease{Term: 3, Until: 110, Min: 11}},
		{4, 5, 80, Lease{Term: 4, Until: 80, Min: 5}},
	} {
		m.hold(c.term, c.until, c.least)
		c.want.Boot = m.Lease().Boot
		if got := m.Lease(); got != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

// TestPace: how soon a member reports again.
func TestPace(t *testing.T) {
	d := time.Second
	for name, c := range map[string]struct {
		want   bool
		answer Grant
		next   time.Duration
	}{
		"no answer":        {true, Grant{From: "n2"}, 50 * time.Millisecond},
		"a lease":          {true, Grant{From: "n1", Boot: Boot{7, 1}, Remaining: d}, 250 * time.Millisecond},
		"a short lease":    {true, Grant{From: "n1", Boot: Boot{7, 1}, Remaining: d / 5}, 50 * time.Millisecond},
		"none":             {true, Grant{From: "n1", Boot: Boot{7, 1}}, 50 * time.Millisecond},
		"none wanted":      {false, Grant{From: "n1", Boot: Boot{7, 2}}, 250 * time.Millisecond},
		"another's answer": {true, Grant{From: "n3", Boot: Boot{7, 1}, Remaining: d}, 50 * time.Millisecond},
		"a late answer":    {true, Grant{From: "n1", Boot: Boot{7, 1}, Remaining: d, Echo: -1}, 50 * time.Millisecond},
	} {
		m := New(testConfig("n2"), 7, 1)
		m.Step(100*ms, Want{Lease: c.want})
		m.Step(100*ms, Follows{Leader: "n1"})
		c.answer.Echo += 100 * ms
		m.Step(101*ms, c.answer)
		if got := m.Next(); got != 100*ms+Time(c.next) {
			t.Errorf("%s: next at %v", name, time.Duration(got))
		}
	}
}

// TestAnchors: which commands leases are counted from.
func TestAnchors(t *testing.T) {
	at := 10_000 * ms
	for name, c := range map[string]struct {
		events []Event
		want   Time
	}{
		"a later one":                  {[]Event{Committed{Term: 5, Index: 101, Proposed: at + 5}}, at + 5},
		"in any order":                 {[]Event{Committed{Term: 5, Index: 102, Proposed: at + 5}, Committed{Term: 5, Index: 101, Proposed: at + 4}}, at + 5},
		"not of a former term":         {[]Event{Committed{Term: 4, Index: 99, Proposed: at + 5}}, at},
		"a handover that nobody knows": {[]Event{Committed{Kind: HandoverCommand, Term: 5, Index: 101, Proposed: at + 5}}, 0},
	} {
		m := taken(t, testConfig("n1"))
		for _, e := range c.events {
			m.Step(at+10, e)
		}
		if m.office.anchor != c.want {
			t.Errorf("%s: %d", name, m.office.anchor)
		}
	}
}

// TestOver: whose word ends which boots.
func TestOver(t *testing.T) {
	for name, c := range map[string]struct {
		over Over
		left int
	}{
		"itself":          {Over{From: "n2", Boot: Boot{9, 1}}, 0},
		"a later one":     {Over{From: "n2", Boot: Boot{9, 3}}, 0},
		"an earlier one":  {Over{From: "n2", Boot: Boot{9, 0}}, 1},
		"another process": {Over{From: "n2", Boot: Boot{8, 3}}, 1},
		"another node":    {Over{From: "n3", Boot: Boot{9, 1}}, 1},
	} {
		m := granted(t)
		m.Step(10_001*ms, c.over)
		if got := m.Holders(10_001 * ms); got != c.left {
			t.Errorf("%s: %d are left", name, got)
		}
	}
}

// TestApplied: an old report takes nothing back, and a lease counts up to its last nanosecond.
func TestApplied(t *testing.T) {
	m := granted(t)
	m.Step(10_001*ms, Report{From: "n2", Boot: Boot{9, 1}, Applied: 150, Want: true})
	m.Step(10_001*ms, Report{From: "n2", Boot: Boot{9, 1}, Applied: 120, Want: true})
	m.Step(10_002*ms, Applied{Index: 160, Term: 5})
	if m.Stable() != 150 {
		t.Errorf("stable %d", m.Stable())
	}
	if m.Step(11_000*ms-1, Tick{}); m.Stable() != 150 {
		t.Errorf("stable %d before the lease has ended", m.Stable())
	}
	if m.Step(11_000*ms, Tick{}); m.Stable() != 160 {
		t.Errorf("stable %d when the lease has ended", m.Stable())
	}
}

// TestRecalledAgain: whoever has caught up and lags again is asked again.
func TestRecalledAgain(t *testing.T) {
	m := granted(t)
	recalls := 0
	step := func(e Event) {
		for _, a := range m.Step(10_001*ms, e) {
			if s, ok := a.(Send); ok {
				if _, recall := s.Message.(Recall); recall {
					recalls++
				}
			}
		}
	}
	step(Applied{Index: 201, Term: 5})
	step(Report{From: "n2", Boot: Boot{9, 1}, Applied: 201, Want: true})
	step(Applied{Index: 301, Term: 5})
	if recalls != 1 {
		t.Errorf("recalled %d times", recalls)
	}
	step(Applied{Index: 302, Term: 5})
	if recalls != 2 {
		t.Errorf("recalled %d times", recalls)
	}
}

func TestElections(t *testing.T) {
	m := New(testConfig("n1"), 1, 1)
	m.Step(10_000*ms, Elected{Term: 5})
	m.Step(10_001*ms, HandOver{})
	if m.Office(10_001 * ms).Handing {
		t.Error("an office that is not taken is handed over")
	}
	if again := m.Step(10_002*ms, Elected{Term: 5}); len(again) > 0 {
		t.Errorf("the same election again: %v", again)
	}
	if m.Step(10_003*ms, Failed{Kind: TickCommand}); m.Next() != 10_053*ms {
		t.Errorf("a tick that failed is due again at %d", m.Next())
	}
}

// TestPointOfFormerTerm: a lease of before says nothing about this term.
func TestPointOfFormerTerm(t *testing.T) {
	m := taken(t, testConfig("n1"))
	m.Step(10_001*ms, Elected{Term: 6})
	if l := m.Lease(); !l.Holds(10_002*ms, 100) {
		t.Errorf("its own lease is lost: %+v", l)
	}
	if _, ok := m.Point(10_002 * ms); ok {
		t.Error("a point before the office is taken")
	}
}

// TestHandOverKeepsStill: while leases are asked back, there are no ticks, and what is committed meanwhile gives the
// leader no new lease. When the last one has run out, it goes on at once. Given up before that, all is as before.
func TestHandOverKeepsStill(t *testing.T) {
	m := granted(t)
	m.Step(10_001*ms, HandOver{})
	m.Step(10_190*ms, Committed{Term: 5, Index: 101, Proposed: 10_000 * ms})
	if l := m.Lease(); l.Until != 0 {
		t.Errorf("a lease while handing over: %+v", l)
	}
	for m.Next() < 11_000*ms {
		if kinds := proposes(m.Step(m.Next(), Tick{})); len(kinds) > 0 {
			t.Errorf("proposes %v", kinds)
		}
	}
	if m.Next() != 11_000*ms {
		t.Fatalf("next at %d", m.Next())
	}
	if kinds := proposes(m.Step(m.Next(), Tick{})); !slices.Equal(kinds, []CommandKind{HandoverCommand}) {
		t.Errorf("proposes %v", kinds)
	}

	m = granted(t)
	before := m.Lease()
	m.Step(10_001*ms, HandOver{})
	m.Step(10_002*ms, Resume{})
	if l := m.Lease(); l != before {
		t.Errorf("after an attempt that got nowhere: %+v instead of %+v", l, before)
	}
}

// TestStaleHandover: the Handover of an attempt that was given up does not complete the next one, for ticks may have come
// behind it.
func TestStaleHandover(t *testing.T) {
	m := taken(t, testConfig("n1"))
	m.Step(10_001*ms, HandOver{})
	m.Step(10_002*ms, Resume{})
	m.Step(10_003*ms, HandOver{})
	kinds := proposes(m.Step(10_004*ms, Committed{Kind: HandoverCommand, Term: 5, Index: 101, Proposed: 10_001 * ms}))
	if m.Office(10_004*ms).Handed || !slices.Equal(kinds, []CommandKind{HandoverCommand}) {
		t.Errorf("%+v, proposes %v", m.Office(10_004*ms), kinds)
	}
	m.Step(10_005*ms, Committed{Kind: HandoverCommand, Term: 5, Index: 103, Proposed: 10_004 * ms})
	if !m.Office(10_005 * ms).Handed {
		t.Error("not handed")
	}
}
