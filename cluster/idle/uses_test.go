package idle

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster/session"
)

// A use is in the answer to a question, or it knows of the question: then it does not count when the session was over by
// then.
func TestHorizon(t *testing.T) {
	k := session.KeyOf([]byte("k"))
	for _, c := range []struct {
		name     string
		earlier  session.Time // use noted before
		asked    session.Time
		want     noted
		strict   bool
		wantLast session.Time
	}{
		{"asked before the end", 0, 1099, remembered, true, 1090},
		{"asked at the end", 0, 1100, tooLate, true, 0},
		{"asked after the end, of an earlier use", 1050, 1149, remembered, true, 1090},
		{"asked after the end of that too", 1050, 1150, tooLate, true, 1050},
		{"at level local", 0, 1100, remembered, false, 1090},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := newUses()
			b := basis{rep: 1000, idle: 100 * time.Millisecond, lag: time.Second, strict: c.strict}
			if c.earlier > 0 {
				u.note(k, c.earlier, b)
			}
			if _, later := u.tell(c.asked, []session.Key{k}); later[0] != c.earlier {
				t.Errorf("the answer is %d, want %d", later[0], c.earlier)
			}
			if got := u.note(k, 1090, b); got != c.want || u.last(k, false) != c.wantLast {
				t.Errorf("got %d, the last use is %d, want %d and %d", got, u.last(k, false), c.want, c.wantLast)
			}
		})
	}
}

// The same with uses and questions at once: whoever was told that there is no use can rely on it.
func TestUsesAndQuestionsAtOnce(t *testing.T) {
	const rounds = 20_000
	u := newUses()
	for i := range rounds {
		k := session.Key{byte(i), byte(i >> 8), byte(i >> 16)}
		end := session.Time(1_000_000 + 10*i)
		var counted noted
		var later []session.Time
		var group sync.WaitGroup
		spin := rand.IntN(200)
		group.Go(func() {
			for range spin {
				_ = u.horizon.Load()
			}
			counted = u.note(k, end-1, basis{rep: end.Add(-time.Second), idle: time.Second, lag: time.Minute, strict: true})
		})
		group.Go(func() { _, later = u.tell(end, []session.Key{k}) })
		group.Wait()
		if (counted == remembered) != (later[0] == end-1) {
			t.Fatalf("the use came to %d, the answer was %d", counted, later[0])
		}
	}
}

// The horizon is raised before the table is read: a use that comes while an answer is made knows of the question.
func TestHorizonIsRaisedFirst(t *testing.T) {
	u := newUses()
	k, last := session.Key{1}, session.Key{2}
	held := u.of(last)
	held.mu.Lock() // the answer stops here
	answered := make(chan []session.Time)
	go func() {
		_, later := u.tell(2000, []session.Key{k, last})
		answered <- later
	}()
	for limit := time.Now().Add(time.Minute); u.horizon.Load() == 0 && time.Now().Before(limit); {
		runtime.Gosched()
	}
	got := u.note(k, 1999, basis{rep: 1000, idle: time.Second, lag: time.Minute, strict: true})
	held.mu.Unlock()
	if later := <-answered; got != tooLate || later[0] != 0 {
		t.Errorf("the use came to %d, the answer was %d", got, later[0])
	}
}

// An answer tells how far back it reaches, also when a use is forgotten while it is made.
func TestForgottenWhileAsked(t *testing.T) {
	u := newUses()
	b := basis{rep: 1000, idle: time.Hour, lag: time.Hour}
	for i := range MaxUses / shardCount {
		u.note(session.Key{2: byte(i >> 8), 3: byte(i)}, 2000, b)
	}
	k := session.Key{15: 1}
	for at := session.Time(3000); at < 5000; at++ {
		var since session.Time
		var later []session.Time
		before := session.Time(u.since.Load())
		var group sync.WaitGroup
		group.Go(func() { u.note(k, at, basis{rep: 1000, idle: 3 * time.Second, lag: time.Hour, strict: true}) })
		group.Go(func() { since, later = u.tell(4000, []session.Key{k}) })
		group.Wait()
		// The end is at 4000: after the first question nothing is noted any more, so nothing is forgotten.
		if after := session.Time(u.since.Load()); later[0] != 0 || since < after {
			t.Fatalf("since %d before, %d told, %d after", before, since, after)
		}
	}
	if u.of(k).last.n != MaxUses/shardCount {
		t.Error("the table has grown")
	}
}

// A use that is due is remembered in a full table too, up to a bound.
func TestDueInAFullTable(t *testing.T) {
	u := newUses()
	const full = MaxUses / shardCount
	for i := range 3 * full {
		due := u.note(session.Key{2: byte(i >> 8), 3: byte(i)}, 2000, basis{rep: 1000, idle: time.Hour, lag: time.Second})
		if (due == nowDue) != (i < 2*full) {
			t.Fatalf("use %d: %d", i, due)
		}
	}
	if noted, lost := u.count(); noted != 3*full || lost != full || u.since.Load() != 2000 {
		t.Errorf("%d noted, %d lost, since %d", noted, lost, u.since.Load())
	}
}

// What is settled goes, unless it was used again meanwhile; what waits to be sent is not dropped.
func TestSettle(t *testing.T) {
	u := newUses()
	k := session.KeyOf([]byte("k"))
	b := basis{rep: 1000, idle: time.Hour, lag: time.Second}
	if u.note(k, 2000, b) != nowDue || u.note(k, 2500, b) != remembered {
		t.Fatal("a use is to be queued once")
	}
	u.drop(k, 2500)
	if u.last(k, false) != 2500 {
		t.Fatal("a use that waits was dropped")
	}
	f := fact{live: true, rep: 2000, lag: time.Second}
	if u.settle(k, f) || u.last(k, false) != 2500 {
		t.Fatal("a later use is to stay, and is not due")
	}
	u.note(k, 3200, b)
	if f.rep = 2100; !u.settle(k, f) {
		t.Fatal("a later use is due")
	}
	if f.rep = 3200; u.settle(k, f) || u.last(k, false) != 0 {
		t.Fatal("a replicated use is to go")
	}
	u.note(k, 4000, b)
	if u.settle(k, fact{}) || u.last(k, false) != 0 {
		t.Fatal("a use of a session that is gone is to go")
	}
}
