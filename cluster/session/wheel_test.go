package session

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// naiveDue looks through all sessions.
func naiveDue(m *Machine, cutoff Time) map[Key]bool {
	due := map[Key]bool{}
	for _, s := range m.Sessions(Key{}, 1<<30) {
		if s.LastUse.Add(s.Idle) <= cutoff || s.Expires <= m.Clock() {
			due[s.Key] = true
		}
	}
	return due
}

func keySet(keys []Key) map[Key]bool {
	set := map[Key]bool{}
	for _, k := range keys {
		set[k] = true
	}
	return set
}

func TestDueIsExact(t *testing.T) {
	s := newScript(t)
	s.pass(300) // not on a second's edge
	s.login(1)
	at := s.now.Add(30 * time.Minute)
	none := func(cutoff Time) {
		t.Helper()
		if got := s.m.Due(cutoff, 10); len(got) != 0 {
			t.Fatalf("cutoff %d ms early: %v", at-cutoff, got)
		}
	}
	none(s.now)
	s.now = at
	s.ok(&Tick{})
	none(at - 1)
	none(at.Add(-time.Hour))
	if got := s.m.Due(at, 10); !slices.Equal(got, []Key{key(1)}) {
		t.Fatalf("got %v", got)
	}
	none(at) // handed out: not again so soon
	s.pass(dueRetry)
	s.ok(&Tick{})
	if got := s.m.Due(at, 10); !slices.Equal(got, []Key{key(1)}) {
		t.Fatalf("after %s: got %v", dueRetry, got)
	}
	s.ok(&Touch{Uses: []Use{{key(1), s.now}}})
	s.pass(dueRetry)
	s.ok(&Tick{})
	none(s.now)
	s.pass(30 * time.Minute)
	s.ok(&Tick{})
	if got := s.m.Due(s.now, 10); !slices.Equal(got, []Key{key(1)}) {
		t.Fatalf("after the touch: got %v", got)
	}
}

func TestDueByLifetime(t *testing.T) {
	s := newScript(t)
	c := s.create(1, NativeRealm, "bob")
	c.Lifetime = 90 * time.Second
	s.ok(c)
	s.pass(90*time.Second - time.Millisecond)
	s.ok(&Tick{})
	if got := s.m.Due(0, 10); len(got) != 0 {
		t.Errorf("too early: %v", got)
	}
	s.pass(time.Millisecond)
	s.ok(&Tick{})
	if got := s.m.Due(0, 10); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

// The clock of a cluster in which nothing is written stands still; the leader's cutoff goes on.
func TestDueAheadOfTheClock(t *testing.T) {
	s := newScript(t)
	s.login(1)
	if got := s.m.Due(s.now.Add(30*time.Minute), 10); len(got) != 1 {
		t.Fatalf("got %v", got)
	}
	s.login(2)
	s.pass(30 * time.Minute)
	s.ok(&Expire{Cutoff: s.now, Keys: []Key{key(1)}})
	if got := s.m.Due(s.now, 10); len(got) != 0 && got[0] != key(2) {
		t.Fatalf("got %v", got)
	}
	// A cutoff far off leads the wheel astray only for a while.
	s.login(3)
	s.m.Due(MaxTime+5, 10)
	s.login(4)
	found := map[Key]bool{}
	for range 3 * wheelSeconds {
		s.pass(time.Second)
		s.ok(&Tick{})
		for _, k := range s.m.Due(s.now, 10) {
			found[k] = true
		}
	}
	if !found[key(3)] || !found[key(4)] {
		t.Errorf("found %v", found)
	}
}

func TestDueHasALimit(t *testing.T) {
	s := newScript(t)
	for i := range 90 {
		s.login(byte(i + 1))
		s.pass(time.Millisecond)
	}
	s.pass(time.Hour)
	s.ok(&Tick{})
	var all []Key
	for range 9 {
		got := s.m.Due(s.now, 10)
		if len(got) != 10 {
			t.Fatalf("%d keys, want 10", len(got))
		}
		all = append(all, got...)
	}
	if len(keySet(all)) != 90 || len(s.m.Due(s.now, 10)) != 0 || len(s.m.Due(s.now, 0)) != 0 {
		t.Errorf("%d different keys, want 90", len(keySet(all)))
	}
}

func TestDueAfterRestoreIsInOrder(t *testing.T) {
	s := newScript(t)
	for i := range 50 {
		s.login(byte(200 - i)) // the later, the smaller the key
		s.pass(time.Second)
	}
	s.pass(time.Hour)
	s.ok(&Tick{})
	m := reread(t, s.m)
	for i := range 50 {
		if got := m.Due(s.now, 1); len(got) != 1 || got[0] != key(byte(200-i)) {
			t.Fatalf("call %d: got %v", i, got)
		}
	}
}

// TestDueFindsAll plays a leader's life, and a follower's who becomes leader at the end, against a search through
// all sessions. What was due must be handed out soon, and nothing else ever.
func TestDueFindsAll(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			p := newWheelPlay(t, seed)
			for range 4000 {
				p.step()
			}
			if p.handedOut == 0 {
				t.Error("nothing ever came due")
			}
			// A new leader finds all at once, without a look at each session.
			want := naiveDue(p.follower.m, p.follower.now)
			got := keySet(p.follower.m.Due(p.follower.now, 1<<20))
			if !maps.Equal(got, want) {
				t.Errorf("a new leader finds %d sessions, want %d", len(got), len(want))
			}
		})
	}
}

type wheelPlay struct {
	t         *testing.T
	rnd       *rand.Rand
	lag       time.Duration // of the cutoff behind the clock
	leader    *script
	follower  *script
	since     map[Key]Time // due since, at the leader
	asked     map[Key]Time
	leapt     Time // the last leap of the clock
	keys      []Key
	handedOut int
}

func newWheelPlay(t *testing.T, seed uint64) *wheelPlay {
	return &wheelPlay{
		t: t, rnd: rand.New(rand.NewPCG(seed, 5)), lag: time.Duration(seed%2) * time.Minute,
		leader: newScript(t), follower: newScript(t), since: map[Key]Time{}, asked: map[Key]Time{},
	}
}

func (p *wheelPlay) do(c Command) {
	p.leader.do(c)
	p.follower.do(c)
}

func (p *wheelPlay) step() {
	pass := time.Duration(p.rnd.IntN(3000)) * time.Millisecond
	if p.rnd.IntN(500) == 0 {
		pass = time.Duration(p.rnd.IntN(4000)) * time.Second // a leap
	}
	p.leader.pass(pass)
	p.follower.now = p.leader.now
	if pass > 3*time.Second {
		p.leapt = p.leader.now
	}
	if p.rnd.IntN(300) == 0 {
		p.leader.m = reread(p.t, p.leader.m)
		clear(p.asked)
	}
	switch n := p.rnd.IntN(10); {
	case n < 3:
		p.create()
	case n < 8 && len(p.keys) > 0:
		k := p.keys[len(p.keys)-1-p.rnd.IntN(min(len(p.keys), 200))]
		delete(p.asked, k) // a use may make it due anew
		delete(p.since, k)
		switch p.rnd.IntN(8) {
		case 0:
			p.do(&Put{Key: k, Attrs: attrs(1, 1)})
		case 1:
			p.do(&Invalidate{Key: k, Reason: EndedByLogout})
		default:
			p.do(&Touch{Uses: []Use{{k, p.leader.now.Add(-time.Duration(p.rnd.IntN(60)) * time.Second)}}})
		}
	default:
		p.do(&Tick{})
	}
	p.expire()
}

func (p *wheelPlay) create() {
	c := p.leader.create(0, "corp", fmt.Sprint("u", p.rnd.IntN(50)))
	binary.BigEndian.PutUint64(c.Key[:], p.rnd.Uint64())
	c.Key[15] = 1
	c.Idle = time.Duration(1+p.rnd.IntN(3600)) * time.Second
	c.Lifetime = time.Duration(1+p.rnd.IntN(7200)) * time.Second
	p.keys = append(p.keys, c.Key)
	p.do(c)
}

// expire is the leader's part, with proposals that get lost.
func (p *wheelPlay) expire() {
	clock := p.leader.m.Clock()
	cutoff := clock.Add(-p.lag)
	due := naiveDue(p.leader.m, cutoff)
	got := p.leader.m.Due(cutoff, 5000)
	for _, k := range got {
		if !due[k] {
			p.t.Fatalf("%s is handed out, but is not due", k)
		}
		if at, ok := p.asked[k]; ok && clock < at.Add(dueRetry) {
			p.t.Fatalf("%s is handed out again after %d ms", k, clock-at)
		}
		p.asked[k] = clock
		p.handedOut++
	}
	for k := range p.since {
		if !due[k] {
			delete(p.since, k)
		}
	}
	for k := range due {
		if _, ok := p.since[k]; !ok {
			p.since[k] = clock
		}
		// At the latest when those before it have passed the time between their timeout and the cutoff.
		late := max(p.since[k], p.asked[k].Add(dueRetry), p.leapt).Add(p.lag + 15*time.Second)
		if at, ok := p.asked[k]; (!ok || at < clock.Add(-dueRetry)) && clock > late {
			p.t.Fatalf("%s is due for %d ms and was not handed out", k, clock-p.since[k])
		}
	}
	p.oldest()
	if len(got) > 0 && p.rnd.IntN(3) > 0 {
		p.do(&Expire{Cutoff: cutoff, Keys: got})
	}
}

// oldest holds OldestDue against a search. Only a leap of the clock, and a use that came to be known too late to save
// its session, bring the wheel's order into disorder.
func (p *wheelPlay) oldest() {
	clock := p.leader.m.Clock()
	want, due := MaxTime, false
	for _, s := range p.leader.m.Sessions(Key{}, 1<<30) {
		if at := min(s.LastUse.Add(s.Idle), s.Expires); at <= clock {
			want, due = min(want, at), true
		}
	}
	got, ok := p.leader.m.OldestDue()
	if ok != due || due && got < want {
		p.t.Fatalf("oldest %d %v, want %d %v", got, ok, want, due)
	}
	if due && clock > p.leapt.Add(5*time.Minute) && got > want.Add(time.Minute) {
		p.t.Fatalf("oldest is over for %d ms, want %d", clock-got, clock-want)
	}
}

// What one entry makes the wheel do must not depend on how much there is to do.
func TestWheelWorkIsBounded(t *testing.T) {
	w := newWheel()
	const n = 5 * wheelSteps
	for i := range n {
		w.session(Key{byte(i), byte(i >> 8)}, start.Add(time.Hour), start.Add(2*time.Hour), start)
	}
	now := start.Add(90 * time.Minute)
	for i := range n / wheelSteps {
		if moved := n - w.waiting(); moved != i*wheelSteps {
			t.Fatalf("%d sessions looked at in %d steps", moved, i)
		}
		w.advance(now, wheelSteps)
	}
	total := 0
	for range 20 {
		got := len(w.due(now, now, 1000))
		if total += got; got > 1000 {
			t.Fatalf("%d keys, asked for 1000", got)
		}
	}
	if total != n {
		t.Errorf("%d keys in all, want %d", total, n)
	}
}

// newWheel returns a wheel with rows of its own.
func newWheel() *wheel { return &wheel{rows: &newTable(new(accounts)).rows, base: second(start)} }

// session puts a session with those deadlines into the wheel.
func (w *wheel) session(k Key, idleAt, expires, now Time) uint32 {
	n := w.rows.take()
	*w.rows.at(n) = row{key: k, lastUse: idleAt, expires: expires}
	w.place(n, now)
	return n
}

// waiting counts the sessions in the ring.
func (w *wheel) waiting() int {
	n := 0
	for i := range wheelSeconds {
		for x := w.lists[ring+i].head; x != 0; x = w.rows.at(x).next {
			n++
		}
	}
	return n
}
