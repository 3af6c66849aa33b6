package lease

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

const ms = Time(time.Millisecond)

func TestHistory(t *testing.T) {
	h := started(100)
	check := func(term uint64, want Time) {
		t.Helper()
		if got := h.lastOld(term); got != want {
			t.Errorf("before term %d: %d instead of %d, %+v", term, got, want, h)
		}
	}
	check(1, 100)
	h.stored(200, 1)
	check(1, 100) // its own
	check(2, 200)
	h.stored(300, 3)
	h.stored(400, 3)
	check(3, 200)
	check(4, 400)
	h.stored(500, 2) // an old leader's entry, which is cut off again
	check(3, 500)
	check(4, 500)
	h.stored(600, 4)
	check(4, 500)
	check(5, 600)
	h.restored(700)
	check(4, 700)
	check(5, 700)
	check(1, 700)
}

// TestStoredWhileLeading: the term's own entries do not count, nor how late the election is known.
func TestStoredWhileLeading(t *testing.T) {
	m := New(testConfig("n1"), 1, 1)
	m.Step(100*ms, Stored{Term: 4})
	m.Step(900*ms, Stored{Term: 5})
	m.Step(950*ms, Elected{Term: 5})
	m.Step(990*ms, Stored{Term: 5})
	thaw := 100*ms + Time(m.cfg.outlast())
	if !m.Office(thaw-1).Frozen || m.Office(thaw).Frozen {
		t.Errorf("thaws at %d, not %d", m.office.thaw, thaw)
	}
}

// taken returns a leader of term 5 at 10 s, with applied and first tick 100.
func taken(t *testing.T, cfg Config) *Machine {
	t.Helper()
	m := New(cfg, 1, 1)
	m.Step(10_000*ms, Members{IDs: []string{"n3", "n1", "n2"}})
	m.Step(10_000*ms, Elected{Term: 5})
	m.Step(10_000*ms, Applied{Index: 100, Term: 5})
	m.Step(10_000*ms, Committed{Kind: TickCommand, Term: 5, Index: 100, Proposed: 10_000 * ms})
	if o := m.Office(10_000 * ms); !o.Taken || o.Frozen {
		t.Fatalf("office %+v", o)
	}
	return m
}

// answered returns what a leader answers to a report.
func answered(t *testing.T, m *Machine, now Time, r Report) Grant {
	t.Helper()
	for _, a := range m.Step(now, r) {
		if s, ok := a.(Send); ok && s.To == r.From {
			if g, ok := s.Message.(Grant); ok {
				return g
			}
		}
	}
	t.Fatalf("no answer to %+v", r)
	return Grant{}
}

func TestGrants(t *testing.T) {
	good := Report{From: "n2", Boot: Boot{9, 1}, Applied: 100, Sent: 77, Want: true}
	window := Time(testConfig("n1").window())
	for name, c := range map[string]struct {
		before []Event
		at     Time
		spoil  func(*Report)
		want   time.Duration
	}{
		"at once":            {nil, 10_000 * ms, nil, time.Second},
		"later":              {nil, 10_300 * ms, nil, 700 * time.Millisecond},
		"at the last moment": {nil, 10_000*ms + window - 1, nil, time.Second - time.Duration(window) + 1},
		"too late":           {nil, 10_000*ms + window, nil, 0},
		"not wanted":         {nil, 10_000 * ms, func(r *Report) { r.Want = false }, 0},
		"not a member":       {nil, 10_000 * ms, func(r *Report) { r.From = "n4" }, 0},
		"just near enough":   {[]Event{Applied{Index: 200, Term: 5}}, 10_000 * ms, nil, time.Second},
		"too far behind":     {[]Event{Applied{Index: 201, Term: 5}}, 10_000 * ms, nil, 0},
		"ahead":              {nil, 10_000 * ms, func(r *Report) { r.Applied = 1 << 60 }, time.Second},
		"handing over": {[]Event{
			Report{From: "n2", Boot: Boot{9, 1}, Applied: 100, Want: true},
			HandOver{},
			Report{From: "n2", Boot: Boot{9, 2}, Applied: 100, Want: true},
			Committed{Term: 5, Index: 101, Proposed: 10_000 * ms},
		}, 10_000 * ms, func(r *Report) { r.Boot.Serial = 2 }, 0},
		"after a jump":         {[]Event{GiveBack{}}, 10_001 * ms, nil, 0},
		"of a boot that ended": {[]Event{Over{From: "n2", Boot: Boot{9, 1}}}, 10_000 * ms, nil, 0},
		"of a later boot":      {[]Event{Over{From: "n2", Boot: Boot{9, 1}}}, 10_000 * ms, func(r *Report) { r.Boot.Serial = 2 }, time.Second},
		"of another's boot":    {[]Event{Over{From: "n3", Boot: Boot{9, 1}}}, 10_000 * ms, nil, time.Second},
	} {
		m := taken(t, testConfig("n1"))
		for _, e := range c.before {
			m.Step(10_000*ms, e)
		}
		r := good
		if c.spoil != nil {
			c.spoil(&r)
		}
		g := answered(t, m, c.at, r)
		if g.Remaining != c.want || g.Term != 5 || g.Boot != r.Boot || g.Echo != 77 {
			t.Errorf("%s: %+v", name, g)
		}
		if held := m.Holders(c.at); held != min(1, int(g.Remaining)) {
			t.Errorf("%s: %d on record", name, held)
		}
	}
}

// TestGrantBeforeOffice: nothing is granted before the first tick is applied, whatever else is committed.
func TestGrantBeforeOffice(t *testing.T) {
	m := New(testConfig("n1"), 1, 1)
	m.Step(10_000*ms, Members{IDs: []string{"n1", "n2"}})
	m.Step(10_000*ms, Elected{Term: 5})
	m.Step(10_001*ms, Applied{Index: 99, Term: 5})
	m.Step(10_001*ms, Committed{Kind: OtherCommand, Term: 5, Index: 99, Proposed: 10_000 * ms})
	g := answered(t, m, 10_002*ms, Report{From: "n2", Boot: Boot{9, 1}, Applied: 99, Want: true, Stable: 90})
	if g.Remaining != 0 || g.Stable != 90 || m.Lease().Until != 0 || m.Stable() != 90 {
		t.Errorf("granted %+v, own lease %+v, stable %d", g, m.Lease(), m.Stable())
	}
}

// TestTablesAreBounded fills the tables of an office.
func TestTablesAreBounded(t *testing.T) {
	m := taken(t, testConfig("n1"))
	for i := range maxRecords {
		r := Report{From: "n2", Boot: Boot{uint64(i) + 10, 1}, Applied: 100, Want: true}
		if g := answered(t, m, 10_001*ms, r); g.Remaining == 0 {
			t.Fatalf("boot %d was refused", i)
		}
	}
	full := Report{From: "n2", Boot: Boot{1 << 40, 1}, Applied: 100, Want: true}
	if g := answered(t, m, 10_002*ms, full); g.Remaining != 0 {
		t.Error("one more was granted")
	}
	full.Boot = Boot{10, 1}
	if g := answered(t, m, 10_002*ms, full); g.Remaining == 0 {
		t.Error("one of them was not renewed")
	}
	for i := range 3 * maxServed {
		m.Step(20_000*ms+Time(i), Pointed{ID: fmt.Sprint("p", i)})
	}
	if n := len(m.office.ended); n > maxServed {
		t.Errorf("%d nodes that were served", n)
	}
	for i := range 3 * maxServed {
		if until, _ := m.Serving(fmt.Sprint("p", i), 0); until < 21_000*ms+Time(i) {
			t.Fatalf("p%d is served until %d", i, until)
		}
	}
}

// TestServing: how late a node may answer, as leases come and go.
func TestServing(t *testing.T) {
	m := taken(t, testConfig("n1"))
	check := func(id string, want Time) {
		t.Helper()
		if until, ok := m.Serving(id, 0); !ok || until != want {
			t.Errorf("%s is served until %d instead of %d", id, until, want)
		}
	}
	former := 10_000*ms + Time(m.cfg.outlast())
	check("n2", former)
	m.Step(11_500*ms, Applied{Index: 101, Term: 5})
	m.Step(11_500*ms, Committed{Term: 5, Index: 101, Proposed: 11_500 * ms})
	if _, ok := m.Serving("n1", 11_500*ms); ok {
		t.Error("it answers for itself")
	}
	answered(t, m, 11_600*ms, Report{From: "n2", Boot: Boot{9, 1}, Applied: 101, Want: true})
	check("n2", 12_500*ms)
	m.Step(11_700*ms, Over{From: "n2", Boot: Boot{9, 1}})
	check("n2", 11_700*ms)
	answered(t, m, 11_800*ms, Report{From: "n2", Boot: Boot{9, 2}, Applied: 101, Want: true})
	check("n2", 12_500*ms)
	m.Step(13_000*ms, Tick{})
	check("n2", 12_500*ms)
	m.Step(13_000*ms, Pointed{ID: "n2"})
	check("n2", 14_000*ms)
	check("n3", former)
}

// TestFormerLeaders: what former leaders have allowed counts from the end of their leases, or from a hand-over.
func TestFormerLeaders(t *testing.T) {
	for _, handed := range []bool{false, true} {
		m := New(testConfig("n1"), 1, 1)
		m.Step(10_000*ms, Stored{Term: 4})
		m.Step(10_100*ms, Elected{Term: 5})
		m.Step(10_200*ms, Applied{Index: 7, Term: 5})
		m.Step(10_200*ms, Committed{Kind: TickCommand, Term: 5, Index: 7, Proposed: 10_100 * ms, Handed: handed})
		want := 10_000*ms + 2*Time(m.cfg.outlast())
		if handed {
			want = 10_100*ms + Time(m.cfg.outlast())
		}
		if until, _ := m.Serving("n2", 10_200*ms); until != want {
			t.Errorf("handed %t: until %d instead of %d", handed, until, want)
		}
		if frozen := m.Office(10_200 * ms).Frozen; frozen == handed || (m.Stable() == 7) != handed {
			t.Errorf("handed %t: frozen %t, stable %d", handed, frozen, m.Stable())
		}
	}
}

// TestTimeGoesOn: a reading that comes late does not turn the machine back.
func TestTimeGoesOn(t *testing.T) {
	m := taken(t, testConfig("n1"))
	m.Step(11_000*ms, Tick{})
	if _, ok := m.Point(10_001 * ms); ok {
		t.Error("a point by a clock reading of before")
	}
	if g := answered(t, m, 10_001*ms, Report{From: "n2", Boot: Boot{9, 1}, Applied: 100, Want: true}); g.Remaining != 0 {
		t.Errorf("granted %v by a clock reading of before", g.Remaining)
	}
}

func TestUnknownEvent(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("taken")
		}
	}()
	New(testConfig("n1"), 1, 1).Step(1, nil)
}

// TestWalks takes machines through random events, most of them senseless. Whatever happens: they can be told when to be
// woken, and then have nothing more to do at that moment; what is stable stays so; a lease of one boot and term does not
// shrink; twins do the same.
func TestWalks(t *testing.T) {
	for seed := range uint64(300) {
		w := walk{r: rand.New(rand.NewPCG(seed, 0)), now: 1, term: 1}
		m, twin := New(testConfig("n1"), 7, 1), New(testConfig("n1"), 7, 1)
		for range 300 {
			before, stable := m.Lease(), m.Stable()
			e := w.event(m)
			actions := m.Step(w.now, e)
			if again := twin.Step(w.now, e); !reflect.DeepEqual(actions, again) {
				t.Fatalf("seed %d: %T leads to %+v and to %+v", seed, e, actions, again)
			}
			after := m.Lease()
			if m.Stable() < stable {
				t.Fatalf("seed %d: %+v: stable went from %d to %d", seed, e, stable, m.Stable())
			}
			if after.Boot == before.Boot && after.Term == before.Term && (after.Until < before.Until || after.Min < before.Min) {
				t.Fatalf("seed %d: %+v: lease went from %+v to %+v", seed, e, before, after)
			}
			if next := m.Next(); next <= w.now {
				t.Fatalf("seed %d: %+v at %d: next at %d", seed, e, w.now, next)
			}
		}
	}
}

// walk makes up events.
type walk struct {
	r    *rand.Rand
	now  Time
	term uint64
	last uint64
}

func (w *walk) event(m *Machine) Event {
	if next := m.Next(); next != Never && w.r.IntN(2) == 0 {
		w.now = next
		return Tick{}
	}
	w.now += Time(w.r.Int64N(int64(100 * ms)))
	id := []string{"n1", "n2", "n3"}[w.r.IntN(3)]
	own := m.Lease().Boot
	boot := Boot{own.Process, own.Serial - uint64(w.r.IntN(2))}
	other := Boot{uint64(w.r.IntN(2)), uint64(w.r.IntN(3))}
	term := w.term + uint64(w.r.IntN(8))/7
	index := w.last + uint64(w.r.IntN(3))
	earlier := w.now - Time(w.r.Int64N(min(int64(w.now), int64(300*ms))))
	w.term, w.last = term, max(w.last, index)
	switch w.r.IntN(22) {
	case 0:
		return Stored{Term: term}
	case 1:
		return Restoring{}
	case 2:
		return Restored{Applied: index}
	case 3, 4, 5:
		return Applied{Index: index, Term: term}
	case 6:
		return Follows{Leader: []string{"", id}[w.r.IntN(2)]}
	case 7:
		return Members{IDs: []string{"n1", id}}
	case 8:
		return Elected{Term: term}
	case 9, 10, 11:
		return Committed{
			Kind: CommandKind(w.r.IntN(3)), Term: m.Office(w.now).Term, Index: index, Proposed: earlier, Handed: w.r.IntN(4) == 0,
		}
	case 12:
		return Failed{Kind: CommandKind(w.r.IntN(3))}
	case 13:
		return []Event{Deposed{}, GiveBack{}, Pointed{ID: id}}[w.r.IntN(3)]
	case 14:
		return Want{Lease: w.r.IntN(3) > 0}
	case 15:
		return []Event{HandOver{}, Resume{}}[w.r.IntN(2)]
	case 16, 17:
		return Report{From: id, Boot: other, Applied: index, Stable: w.r.Uint64N(index + 1), Sent: earlier, Want: w.r.IntN(4) > 0}
	case 18, 19:
		return Grant{From: id, Term: term, Boot: boot, Remaining: time.Duration(w.r.Int64N(int64(time.Second))), Echo: earlier, Min: index}
	case 20:
		return []Event{Over{From: id, Boot: other}, Recall{From: id, Boot: boot}}[w.r.IntN(2)]
	}
	return Stable{From: id, Index: w.r.Uint64N(index + 1)}
}

// TestMixed: nodes that know different lease durations can't trust each other's waiting, so there are no leases.
func TestMixed(t *testing.T) {
	m := taken(t, testConfig("n1"))
	m.Step(11_500*ms, Applied{Index: 101, Term: 5})
	m.Step(11_500*ms, Committed{Term: 5, Index: 101, Proposed: 11_500 * ms})
	same := Report{From: "n2", Boot: Boot{9, 1}, Applied: 101, Want: true, Duration: m.cfg.Duration}
	other := Report{From: "n3", Boot: Boot{8, 1}, Applied: 101, Want: true, Duration: 10 * m.cfg.Duration}
	if g := answered(t, m, 11_600*ms, same); g.Remaining == 0 || m.Lease().Until == 0 {
		t.Fatal("no leases among those who agree")
	}
	actions := m.Step(11_610*ms, other)
	if !slices.Contains(actions, Action(Send{To: "n2", Message: Recall{Boot: same.Boot}})) {
		t.Errorf("the lease that is out is not asked back: %v", actions)
	}
	if m.Lease().Until != 0 || !m.Office(11_610*ms).Mixed {
		t.Errorf("its own lease lasts until %v", m.Lease().Until)
	}
	m.Step(11_700*ms, Committed{Term: 5, Index: 102, Proposed: 11_650 * ms})
	if g := answered(t, m, 11_710*ms, same); g.Remaining != 0 || m.Lease().Until != 0 {
		t.Errorf("leases again: %v, own until %v", g, m.Lease().Until)
	}
	other.Duration = m.cfg.Duration
	m.Step(11_720*ms, other)
	m.Step(11_800*ms, Committed{Term: 5, Index: 103, Proposed: 11_750 * ms})
	if g := answered(t, m, 11_810*ms, same); g.Remaining == 0 || m.Lease().Until == 0 {
		t.Error("no leases though all agree again")
	}
}
