package session

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"
)

// dueWheel holds n sessions that come due one a millisecond, from start on.
func dueWheel(n int) *wheel {
	w := newWheel()
	for i := range n {
		w.session(dueKey(i), start+Time(i), MaxTime, start-1)
	}
	return w
}

func dueKey(i int) (k Key) {
	binary.BigEndian.PutUint32(k[:], uint32(i))
	k[15] = 1
	return k
}

func dueIndex(k Key) int { return int(binary.BigEndian.Uint32(k[:])) }

// A leader that can't decide about a hundred thousand sessions, and asks every second, gets to each of them, to none
// too often, and to what comes due later, while a call costs no more for those that wait.
func TestDueWithManyUndecided(t *testing.T) {
	const n, limit = 100_000, 1024
	w := dueWheel(n)
	now := start.Add(n * time.Millisecond)
	for w.advance(now, 1<<20) == 0 {
		t.Fatal("not all found")
	}
	last := make([]Time, n)
	times := make([]int, n)
	for round := range 400 {
		keys := w.due(now, now, limit)
		if len(keys) != limit {
			t.Fatalf("round %d: %d keys, want %d", round, len(keys), limit)
		}
		for _, k := range keys {
			i := dueIndex(k)
			if times[i] > 0 && now < last[i].Add(dueRetry) {
				t.Fatalf("session %d is handed out again after %d ms", i, now-last[i])
			}
			last[i] = now
			times[i]++
		}
		if at, ok := w.oldest(); !ok || at != start {
			t.Fatalf("oldest %d %v, want %d", at, ok, start)
		}
		now = now.Add(time.Second)
	}
	if least, most := slices.Min(times), slices.Max(times); least < 2 || most > 12 {
		t.Errorf("handed out %d to %d times", least, most)
	}
	// What comes due meanwhile has its turn at once.
	late := w.session(dueKey(n), now, MaxTime, now-1)
	if !slices.Contains(w.due(now, now, limit), dueKey(n)) {
		t.Error("a session that has just come due has to wait for those that are undecided")
	}
	// One is decided: nobody hears of it again.
	w.used(late, now.Add(time.Hour), now)
	w.remove(late)
	for range 200 {
		now = now.Add(time.Second)
		if slices.Contains(w.due(now, now, limit), dueKey(n)) {
			t.Fatal("a session that ended is handed out")
		}
	}
}

// Sessions that come due in a steady stream must not keep those from their second turn that came before.
func TestDueSharesTheLimit(t *testing.T) {
	const limit = 100
	w := dueWheel(50)
	now := start.Add(time.Second)
	if got := len(w.due(now, now, limit)); got != 50 {
		t.Fatalf("%d keys, want 50", got)
	}
	for i := range 10_000 {
		w.session(dueKey(1000+i), now, MaxTime, now)
	}
	now = now.Add(dueRetry)
	got := w.due(now, now, limit)
	again := 0
	for _, k := range got {
		if dueIndex(k) < 50 {
			again++
		}
	}
	if len(got) != limit || again != limit/2 {
		t.Errorf("%d of %d keys are old ones, want half of %d", again, len(got), limit)
	}
	// Nor is half of it left unused when there are none of the one sort.
	if got := len(w.due(now, now, limit)); got != limit {
		t.Errorf("%d keys, want %d", got, limit)
	}
	w = dueWheel(300)
	for range 3 {
		w.due(now, now, limit)
	}
	now = now.Add(dueRetry)
	if got := len(w.due(now, now, limit)); got != limit {
		t.Errorf("%d keys, want %d", got, limit)
	}
}

// The Expire of a session that a touch saved in time is refused; it must be found at its new deadline, and as if for
// the first time if that is over as well.
func TestDueAfterARefusedExpire(t *testing.T) {
	s := newScript(t)
	s.login(1)
	due := func(want ...Key) {
		t.Helper()
		s.ok(&Tick{})
		if got := s.m.Due(s.now, 10); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	s.pass(30 * time.Minute)
	due(key(1))
	cutoff := s.now
	s.ok(&Touch{Uses: []Use{{key(1), s.now - 1000}}})
	if res := s.ok(&Expire{Cutoff: cutoff, Keys: []Key{key(1)}}); res.Ended != 0 {
		t.Fatal("it ended")
	}
	if at, ok := s.m.OldestDue(); ok {
		t.Fatalf("%d is due", at)
	}
	s.pass(30*time.Minute - time.Second - time.Millisecond)
	due()
	s.pass(time.Millisecond)
	due(key(1))
	s.pass(time.Second)
	due()
	// A use becomes known that was no longer saving: the last use has moved, so what was asked about it is void.
	s.ok(&Touch{Uses: []Use{{key(1), s.now.Add(-30 * time.Minute)}}})
	due(key(1))
	due()
	s.pass(dueRetry)
	due(key(1))
	if res := s.ok(&Expire{Cutoff: s.now, Keys: []Key{key(1)}}); res.Ended != 1 {
		t.Fatal("it goes on")
	}
	s.pass(dueRetry)
	due()
}

func TestOldestDue(t *testing.T) {
	s := newScript(t)
	oldest := func(want Time) {
		t.Helper()
		s.ok(&Tick{})
		s.m.Due(s.now, 1)
		if at, ok := s.m.OldestDue(); at != want || !ok {
			t.Fatalf("got %d %v, want %d", at-start, ok, want-start)
		}
	}
	if _, ok := s.m.OldestDue(); ok {
		t.Fatal("nothing is there")
	}
	var made []Time
	for k := range byte(5) {
		s.login(k + 1)
		made = append(made, s.now)
		s.pass(1234 * time.Millisecond)
	}
	short := s.create(6, NativeRealm, "bob")
	short.Lifetime = 10 * time.Minute
	s.ok(short)
	s.now = start.Add(10 * time.Minute)
	s.ok(&Tick{})
	if _, ok := s.m.OldestDue(); ok {
		t.Fatal("nothing is due")
	}
	s.pass(time.Hour)
	over := made[4].Add(1234 * time.Millisecond).Add(10 * time.Minute) // by lifetime
	oldest(over)
	oldest(over) // handed out, but not ended
	m := reread(t, s.m)
	if at, ok := m.OldestDue(); at != over || !ok {
		t.Fatalf("restored: got %d %v, want %d", at-start, ok, over-start)
	}
	s.do(&Expire{Cutoff: s.now, Keys: []Key{key(6)}})
	oldest(made[0].Add(30 * time.Minute))
	s.ok(&Touch{Uses: []Use{{key(1), s.now}}})
	oldest(made[1].Add(30 * time.Minute))
	s.do(&Expire{Cutoff: s.now, Keys: []Key{key(2), key(4), key(5), key(3)}})
	if at, ok := s.m.OldestDue(); ok {
		t.Fatalf("%d is due", at-start)
	}
}

// A cutoff that was too late takes sessions for due that are not. When it is right again they must not stand in the
// way of those that are.
func TestDueAfterACutoffTooLate(t *testing.T) {
	s := newScript(t)
	for k := range byte(20) {
		c := s.create(k+1, NativeRealm, "bob")
		c.Idle = time.Hour - time.Duration(k)*time.Minute // the first one last
		s.ok(c)
	}
	if got := s.m.Due(s.now.Add(2*time.Hour), 1); len(got) != 1 {
		t.Fatalf("got %v", got)
	}
	for minute := 41; minute <= 60; minute++ {
		s.now = start.Add(time.Duration(minute) * time.Minute)
		s.ok(&Tick{})
		found := false
		for range 20 { // each call looks at so and so many
			found = found || slices.Contains(s.m.Due(s.now, 1), key(byte(61-minute)))
			s.pass(time.Second)
			s.ok(&Tick{})
		}
		if !found {
			t.Errorf("minute %d: not found", minute)
		}
	}
}

// What was handed out and has ended since is forgotten on the way, a bounded number at a time, on a node that has
// ceased to be leader too.
func TestDueForgetsWhatEnded(t *testing.T) {
	const n = 10 * wheelSteps
	w := dueWheel(n)
	now := start.Add(n * time.Millisecond)
	w.advance(now, 1<<20)
	rows := make([]uint32, 0, n)
	for x := w.lists[idleQueue].head; x != 0; x = w.rows.at(x).next {
		rows = append(rows, x)
	}
	if got := len(w.due(now, now, n)); got != n {
		t.Fatalf("%d keys, want %d", got, n)
	}
	for i, x := range rows {
		if i%2 == 0 {
			w.remove(x)
		} else {
			w.used(x, now.Add(time.Hour), now)
		}
	}
	for left := n; left > 0; left -= wheelSteps {
		if w.asked.len() != left {
			t.Fatalf("%d are remembered, want %d", w.asked.len(), left)
		}
		w.advance(now, wheelSteps)
	}
	// Behind one that is still undecided they wait no longer than it does.
	w = dueWheel(n)
	w.advance(now, 1<<20)
	w.due(now, now, n)
	for first := w.rows.at(w.lists[idleQueue].head); first.next != 0; {
		w.remove(first.next)
	}
	now = now.Add(dueRetry)
	before := w.asked.len()
	if got := w.due(now, now, 16); len(got) != 1 || got[0] != dueKey(0) {
		t.Fatalf("got %v", got)
	}
	if looked := before - w.asked.len(); looked > 4*16+wheelSteps {
		t.Errorf("one call looked at %d", looked)
	}
}
