package idle_test

import (
	"errors"
	"testing"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// Touches that don't get through for minutes: the session is accepted where its use is known, and a logout there must be
// able to end it, though the machine takes it for idle.
func TestReplicateForALogout(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.refuseTouches(true)
		l.until(made.Add(l.idle - time.Minute))
		l.use("b", k)
		l.until(made.Add(l.idle + 3*time.Minute + second))
		l.use("b", k)
		b := l.nodes["b"]
		logout := &session.Invalidate{Key: k, Reason: session.EndedByLogout}
		if _, err := b.do(t.Context(), logout); !errors.Is(err, session.ErrSessionIdle) {
			t.Fatalf("the machine knows of no use, and says %v", err)
		}
		if err := b.keeper.Replicate(t.Context(), k); !errors.Is(err, wire.ErrOverloaded) {
			t.Fatalf("nothing gets through, and the error is %v", err)
		}
		l.refuseTouches(false)
		for _, again := range []bool{false, true} { // the second time it is in the log already
			if err := b.keeper.Replicate(t.Context(), k); err != nil {
				t.Fatalf("again %v: %v", again, err)
			}
		}
		if _, err := b.do(t.Context(), logout); err != nil {
			t.Fatal(err)
		}
		if _, err := l.lookup("c", k, false); err == nil {
			t.Fatal("accepted after the logout")
		}
	}, instant)
}

func (l *lab) refuseTouches(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = nil
	if on {
		l.refuse = func(cmd session.Command) error {
			if _, ok := cmd.(*session.Touch); ok {
				return wire.ErrOverloaded
			}
			return nil
		}
	}
}

// A use that a later one has replaced on the board while it was under way is not forgotten with its leader.
func TestReplacedUseOutlivesItsLeader(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.until(made.Add(l.idle - time.Minute)) // long due
		l.delayCommits(300 * time.Millisecond)
		last := l.use("c", k)
		time.Sleep(50 * time.Millisecond) // c's batch is under way
		l.use("b", k)
		time.Sleep(50 * time.Millisecond)
		go l.nodes["b"].kill() // b takes the later use with it
		l.depose("a")
		l.delayCommits(2 * time.Millisecond)
		l.elect("c")
		time.Sleep(5 * second)
		if rep := l.rep("c", k); rep < last {
			t.Fatalf("5 s after the election the use at %d is not replicated, but one at %d", last, rep)
		}
	})
}

func (l *lab) delayCommits(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commit = d
}

// A log that takes less than the bound makes touches rarer, too.
func TestPaceOfASlowLog(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("too many sessions")
	}
	inLab(t, three, func(t *testing.T, l *lab) {
		keys := l.populate(180_000)
		time.Sleep(l.granularity())
		l.delayCommits(300 * time.Millisecond)
		for range 10 {
			l.crowd(keys, 30)
		}
		if paces, _ := l.paces(); len(paces) == 0 {
			t.Fatal("the pace stays")
		}
	}, shared, instant, idleOf(450*second))
}

// Sessions that come due together although they were used go into the log after the uses of now.
func TestSessionsDueTogetherDoNotHoldUpUses(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("too many sessions")
	}
	inLab(t, three, func(t *testing.T, l *lab) {
		keys := l.populate(200_000)
		made := l.now()
		time.Sleep(time.Minute)
		for _, k := range keys {
			l.use("b", k)
		}
		l.until(made.Add(l.idle - 3*time.Minute))
		fresh := l.populate(3000)
		l.until(made.Add(l.idle + 10*second))
		for _, k := range fresh {
			l.use("c", k)
		}
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			if waited := l.nodes["c"].keeper.Stats().OldestUnsent; waited > 2*session.TouchSlack.Seconds() {
				t.Fatalf("a use of now has waited for %.1f s", waited)
			}
		}
	}, shared, instant)
}

// A node that has just started, and hears from nobody, must not judge by its wall clock, at level local either.
func TestLocalOnAColdClock(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, _ := l.create()
		time.Sleep(time.Minute)
		b := l.nodes["b"]
		l.use("a", k)
		b.kill()
		l.mu.Lock()
		b.wall = 2 * time.Hour
		l.mu.Unlock()
		l.cut("b", "a")
		l.cut("b", "c")
		b.start()
		if err := b.look(k, true, false); err != nil {
			t.Fatalf("used just now: %v", err)
		}
	}, instant)
}
