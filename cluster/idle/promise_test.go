package idle_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

var three = []string{"a", "b", "c"}

// A session that is used nowhere ends at the millisecond on every node, although all of them ask.
func TestEndsAtTheMillisecond(t *testing.T) {
	for _, first := range three {
		inLab(t, three, func(t *testing.T, l *lab) {
			k, made := l.create()
			deadline := made.Add(l.idle)
			l.until(deadline - 1)
			for _, name := range three {
				l.accepted(name, k)
			}
			l.until(deadline)
			l.refused(first, k, session.ErrSessionIdle)
			var group sync.WaitGroup
			for _, name := range three {
				group.Go(func() { l.refused(name, k, session.ErrSessionIdle) })
			}
			group.Wait()
		})
	}
}

// A use that only its node knows of counts on all nodes, to the millisecond.
func TestUnsentUseCountsEverywhere(t *testing.T) {
	for _, user := range three {
		inLab(t, three, func(t *testing.T, l *lab) {
			k, made := l.create()
			l.until(made.Add(l.granularity()) - 1)
			last := l.use(user, k)
			l.until(made.Add(l.idle) - 1)
			if l.rep("", k) != made {
				t.Fatal("the use was replicated, which shows nothing")
			}
			l.until(last.Add(l.idle) - 1)
			for _, name := range three {
				l.accepted(name, k)
			}
			l.until(last.Add(l.idle))
			for _, name := range three {
				l.refused(name, k, session.ErrSessionIdle)
			}
		})
	}
}

// lives is what becomes of many sessions.
type lives struct {
	uses, exact, ended atomic.Int64
}

// live makes sessions until the end, uses each on random nodes at random intervals below the idle timeout, and then no
// more. The last use is known exactly, so the end is too.
func (l *lab) live(r *rand.Rand, names []string, end time.Time, seen *lives) {
	somewhere := func() string { return names[r.IntN(len(names))] }
	for time.Now().Before(end) {
		k, last := l.createWhenLed()
		for n := r.IntN(40); n > 0; n-- {
			l.until(last.Add(l.interval(r)))
			last = l.useWhenLed(somewhere(), k, last)
			seen.uses.Add(1)
		}
		l.until(last.Add(l.idle) - 1)
		if l.acceptedWhenLed(somewhere(), k, last) {
			seen.exact.Add(1)
		}
		l.until(last.Add(l.idle))
		for _, i := range r.Perm(len(names)) {
			l.refusedWhenLed(names[i], k, last)
		}
		seen.ended.Add(1)
		if l.t.Failed() {
			return
		}
	}
}

// interval is a moment, some minutes, or almost the idle timeout.
func (l *lab) interval(r *rand.Rand) time.Duration {
	limit := l.idle - 5*time.Second
	switch r.IntN(4) {
	case 0:
		limit = 2 * time.Second
	case 1:
		return limit - time.Duration(r.Int64N(int64(l.grace())))
	}
	return time.Duration(r.Int64N(int64(limit)))
}

// led repeats what fails for lack of a leader. It returns when the last attempt began.
func (l *lab) led(do func() error) (began session.Time, err error) {
	for range 1000 {
		began = l.now()
		if err = do(); !errors.Is(err, wire.ErrNoLeader) && !errors.Is(err, wire.ErrTimeout) {
			return began, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return began, err
}

func (l *lab) createWhenLed() (k session.Key, made session.Time) {
	l.mu.Lock()
	l.sessions++
	k = key(l.sessions)
	user := fmt.Sprintf("u%d", l.sessions/50)
	l.mu.Unlock()
	_, err := l.led(func() error {
		l.mu.Lock()
		leader := l.leader
		l.mu.Unlock()
		if leader == "" {
			return wire.ErrNoLeader
		}
		_, err := l.nodes[leader].do(l.t.Context(), l.creation(k, user))
		made = l.rep(leader, k)
		return err
	})
	if err != nil {
		l.t.Errorf("create: %v", err)
	}
	return k, made
}

func (l *lab) useWhenLed(name string, k session.Key, last session.Time) session.Time {
	var view session.View
	_, err := l.led(func() (err error) {
		view, err = l.lookup(name, k, true)
		return err
	})
	if err != nil {
		l.t.Errorf("used %v ago, refused on %s: %v", l.now().Sub(last), name, err)
		return l.now()
	}
	return l.nodes[name].keeper.LastUse(view.Session.Key, view.Session.LastUse)
}

// acceptedWhenLed reports whether a session was accepted without delay, just before its end.
func (l *lab) acceptedWhenLed(name string, k session.Key, last session.Time) bool {
	_, err := l.led(func() error {
		_, err := l.lookup(name, k, false)
		return err
	})
	if err != nil && l.now() < last.Add(l.idle) {
		l.t.Errorf("%v before its end, refused on %s: %v", last.Add(l.idle).Sub(l.now()), name, err)
	}
	return err == nil
}

func (l *lab) refusedWhenLed(name string, k session.Key, last session.Time) {
	began, err := l.led(func() error {
		_, err := l.lookup(name, k, false)
		return err
	})
	if !errors.Is(err, session.ErrSessionIdle) {
		l.t.Errorf("%v after its end on %s: error %v", began.Sub(last.Add(l.idle)), name, err)
	}
}

// For two days sessions are used on random nodes at random intervals. None ends too early, none too late.
func TestDays(t *testing.T) {
	span := 48 * time.Hour
	if testing.Short() || raceEnabled {
		span = 6 * time.Hour
	}
	inLab(t, three, func(t *testing.T, l *lab) {
		var seen lives
		var group sync.WaitGroup
		end := time.Now().Add(span)
		for i := range 30 {
			group.Go(func() { l.live(rand.New(rand.NewPCG(1, uint64(i))), three, end, &seen) })
		}
		group.Wait()
		t.Logf("%d uses, %d sessions ended, %d of them looked up a millisecond before", seen.uses.Load(), seen.ended.Load(), seen.exact.Load())
		if seen.ended.Load() < 30 || seen.exact.Load() < seen.ended.Load()*8/10 {
			t.Error("too little happened")
		}
		l.everythingIsForgotten()
	})
}

// everythingIsForgotten holds when no session is left: the machines are empty, and so are the tables.
func (l *lab) everythingIsForgotten() {
	l.t.Helper()
	time.Sleep(3 * time.Minute)
	for name, n := range l.nodes {
		n.Read(func(m *session.Machine) {
			if live := m.Stats().Sessions; live != 0 {
				l.t.Errorf("%s holds %d sessions", name, live)
			}
		})
	}
}

// The leader changes every few seconds, with a moment without one in between.
func TestLeadersComeAndGo(t *testing.T) {
	span := 4 * time.Hour
	if testing.Short() || raceEnabled {
		span = time.Hour
	}
	inLab(t, three, func(t *testing.T, l *lab) {
		var seen lives
		var group sync.WaitGroup
		end := time.Now().Add(span)
		for i := range 20 {
			group.Go(func() { l.live(rand.New(rand.NewPCG(2, uint64(i))), three, end, &seen) })
		}
		done := make(chan struct{})
		go func() { group.Wait(); close(done) }()
		r := rand.New(rand.NewPCG(3, 3))
		for i := 1; ; i++ {
			select {
			case <-done:
				if t.Logf("%d leaders, %d uses, %d sessions ended", i, seen.uses.Load(), seen.ended.Load()); seen.ended.Load() < 20 {
					t.Error("too little happened")
				}
				l.everythingIsForgotten()
				return
			case <-time.After(time.Duration(r.Int64N(int64(4 * time.Second)))):
			}
			l.depose(l.nodes[three[(i-1)%3]].name)
			time.Sleep(time.Duration(r.Int64N(int64(time.Second))))
			l.elect(three[i%3])
		}
	}, idleOf(5*time.Minute))
}

// The node that a session was used on is killed with that use unsent: the session lives for as long as the use says, or
// for T + G + δ since the replicated one, whichever is less.
func TestKilledWithUnsentUse(t *testing.T) {
	for _, role := range []string{"follower", "leader"} {
		t.Run(role, func(t *testing.T) {
			inLab(t, three, func(t *testing.T, l *lab) {
				k, made := l.create()
				l.until(made.Add(l.granularity() - time.Millisecond)) // later would make it due
				name := "b"
				if role == "leader" {
					name = "a"
				}
				last := l.use(name, k)
				l.nodes[name].kill()
				if role == "leader" {
					time.Sleep(3 * time.Second)
					l.elect("c")
				}
				l.until(last.Add(l.idle) - 1)
				if l.rep("c", k) != made {
					t.Fatal("the use was replicated, which shows nothing")
				}
				l.accepted("c", k)
				l.use("c", k)
				l.until(made.Add(l.idle + l.grace() + time.Minute))
				l.accepted("c", k) // the use on c counts in full
			})
		})
	}
}

// While a node that may have served it can't be asked, a session that is not used is accepted until T + G + δ, not longer.
func TestBoundWithADeadNode(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		time.Sleep(time.Minute)
		l.nodes["b"].kill()
		limit := made.Add(l.idle + l.grace())
		for at := made.Add(l.idle); at < limit; at = at.Add(10 * time.Second) {
			l.until(at)
			l.accepted("a", k)
			l.accepted("c", k)
		}
		l.until(limit - 1)
		l.accepted("c", k)
		l.until(limit)
		l.refused("c", k, session.ErrSessionIdle)
		l.refused("a", k, session.ErrSessionIdle)
	}, instant)
}

// A use in the grey zone while a node can't be asked counts like any other, and survives its own node.
func TestUndecidedUseIsReplicated(t *testing.T) {
	inLab(t, []string{"a", "b", "c", "d", "e"}, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.nodes["b"].kill()
		l.until(made.Add(l.idle+l.grace()) - 10)
		used := l.use("c", k)
		l.nodes["c"].kill()
		l.until(used.Add(l.idle) - 1)
		l.accepted("d", k)
		if s := l.nodes["c"].keeper.Stats(); s.Questions != 1 || s.Undecided != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

// A node two hours ahead by its wall clock becomes leader, at a start of its own too: nobody is logged out, and nobody
// stays in for longer.
func TestLeaderTwoHoursAhead(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		used, made := l.create()
		unused, _ := l.create()
		b := l.nodes["b"]
		b.kill()
		l.mu.Lock()
		b.wall = 2 * time.Hour
		l.mu.Unlock()
		b.start()
		time.Sleep(5 * time.Second)
		l.elect("b")
		for i := range 20 {
			time.Sleep(time.Minute)
			l.use(three[i%3], used)
			l.accepted(three[i%3], unused)
		}
		l.nodes["a"].kill() // the one that knows; what b says goes on
		l.elect("c")
		l.elect("b")
		l.until(made.Add(l.idle - second))
		l.accepted("b", unused)
		l.use("b", used)
		l.until(made.Add(l.idle + l.grace() + second))
		l.refused("b", unused, session.ErrSessionIdle)
		l.accepted("c", used)
	})
}

// A node that was cut off for a while brings its uses when it is back. Nobody who was active on it is logged out.
func TestCutOffNodeBringsItsUses(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.until(made.Add(l.idle - time.Minute))
		l.cut("b", "a")
		l.cut("b", "c")
		// Level local: the node answers without anybody.
		if err := l.nodes["b"].look(k, true, false); err != nil {
			t.Fatal(err)
		}
		last := l.now()
		time.Sleep(2 * time.Minute) // past T, within the grace
		l.heal()
		time.Sleep(second)
		if rep := l.rep("", k); rep != last {
			t.Fatalf("the use was at %d, replicated is %d", last, rep)
		}
		l.until(last.Add(l.idle) - 1)
		l.accepted("c", k)
	})
}

// A node that stands still holds nobody up for long, and is as good as dead.
func TestStalledNode(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		resume := l.nodes["b"].stall()
		l.until(made.Add(l.idle))
		began := time.Now()
		l.accepted("c", k)
		if took := time.Since(began); took > second {
			t.Errorf("a lookup took %v", took)
		}
		resume()
		time.Sleep(10 * time.Second)
		l.refused("c", k, session.ErrSessionIdle)
	})
}

const second = time.Second
