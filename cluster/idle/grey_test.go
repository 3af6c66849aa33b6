package idle_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/cluster/idle"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// ended tells exactly when a session ended that is not used any more: it is looked up a millisecond before on one node,
// and then on another.
func (l *lab) endsAt(at session.Time, before, after string, k session.Key) {
	l.t.Helper()
	l.until(at - 1)
	l.accepted(before, k)
	l.until(at)
	l.refused(after, k, session.ErrSessionIdle)
}

// The three outcomes of a question, and what is counted.
func TestOutcomes(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		b := l.nodes["b"].keeper
		time.Sleep(time.Minute)
		last := l.use("c", k)
		l.until(made.Add(l.idle) - 1)
		l.accepted("b", k) // by what it knows itself
		wantStats(t, b, 0, 0, 0, 0)
		l.until(made.Add(l.idle))
		l.accepted("b", k) // c knows of a use
		wantStats(t, b, 1, 1, 0, 0)
		if rep := l.rep("b", k); rep != last {
			t.Errorf("replicated is %d after the question, want the use at %d", rep, last)
		}
		l.accepted("b", k) // which is replicated now
		wantStats(t, b, 1, 1, 0, 0)
		l.until(last.Add(l.idle))
		l.refused("b", k, session.ErrSessionIdle)
		wantStats(t, b, 2, 1, 1, 0)
		l.refused("b", k, session.ErrSessionIdle) // from the tombstone
		wantStats(t, b, 2, 1, 1, 0)

		k, made = l.create()
		l.nodes["c"].kill()
		l.until(made.Add(l.idle))
		l.accepted("b", k)
		wantStats(t, b, 3, 1, 1, 1)
		used := l.use("b", k)
		wantStats(t, b, 4, 1, 1, 2)
		if rep := l.rep("b", k); used.Sub(rep) > 10*time.Millisecond {
			t.Errorf("a use in the grey zone was accepted and not replicated")
		}
		if s := b.Stats(); s.Uses != 1 {
			t.Errorf("%d uses counted, want 1", s.Uses)
		}
	}, instant)
}

func wantStats(t *testing.T, k *idle.Keeper, questions, alive, ended, undecided uint64) {
	t.Helper()
	if s := k.Stats(); s.Questions != questions || s.Alive != alive || s.Ended != ended || s.Undecided != undecided {
		t.Errorf("questions, alive, ended, undecided: %d, %d, %d, %d, want %d, %d, %d, %d",
			s.Questions, s.Alive, s.Ended, s.Undecided, questions, alive, ended, undecided)
	}
}

// A crowd that looks up sessions in the grey zone shares a few questions, and a session that is asked about costs one
// entry.
func TestQuestionsAreShared(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		var keys []session.Key
		var made session.Time
		for range 20 {
			k, at := l.create()
			keys, made = append(keys, k), at
		}
		var asked atomic.Int64
		l.setAnswers("c", func(kind wire.Kind, _ string, _ []byte) {
			if kind == idle.KindAsk {
				asked.Add(1)
			}
		})
		l.until(made.Add(l.idle + 100*time.Millisecond))
		before := asked.Load()
		var group sync.WaitGroup
		for range 50 {
			for _, k := range keys {
				group.Go(func() { l.refused("b", k, session.ErrSessionIdle) })
			}
		}
		group.Wait()
		if n := asked.Load() - before; n > idle.GreyInFlight+2 {
			t.Errorf("1,000 lookups of 20 sessions caused %d questions", n)
		}
		if s := l.nodes["b"].keeper.Stats(); s.Questions > 20*(idle.GreyInFlight+1) {
			t.Errorf("%d sessions were asked about", s.Questions)
		}
	})
}

func (l *lab) setAnswers(name string, f func(kind wire.Kind, from string, body []byte)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nodes[name].answers = f
}

// A node that was restarted has forgotten what it knew: its answer does not count for sessions that it may have served
// before. For later ones it does.
func TestRestartedNodeKnowsNothingOfBefore(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		time.Sleep(time.Minute)
		l.use("b", k)
		l.nodes["b"].kill()
		l.nodes["b"].start()
		time.Sleep(10 * time.Second)
		fresh, later := l.create()
		l.endsAt(later.Add(l.idle), "c", "b", fresh)
		l.endsAt(made.Add(l.idle+l.grace()), "c", "c", k)
	}, instant)
}

// One that was stopped in order has forgotten nothing.
func TestOrderlyRestartKeepsTheMemory(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, _ := l.create()
		time.Sleep(time.Minute)
		last := l.use("b", k)
		l.nodes["b"].stop()
		l.nodes["b"].start()
		l.endsAt(last.Add(l.idle), "c", "b", k)
	}, instant)
}

// So does a leader that was restarted.
func TestRestartedLeaderKnowsNothingOfBefore(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		time.Sleep(time.Minute)
		l.use("a", k)
		l.nodes["a"].kill()
		l.nodes["a"].start()
		l.elect("b")
		time.Sleep(10 * time.Second)
		l.elect("a")
		l.endsAt(made.Add(l.idle+l.grace()), "c", "c", k)
	}, instant)
}

// A new node has forgotten nothing: the ends stay exact.
func TestNewNodeHasForgottenNothing(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		time.Sleep(time.Minute)
		l.boot("d")
		l.must("a", &session.PutMember{Member: session.Member{ID: "d", Name: "d", MaxVersion: session.MaxVersion}})
		l.endsAt(made.Add(l.idle), "c", "d", k)
	}, instant)
}

// A node that went from the roster can't be asked: what it knew of before is not known. Also not after the leader's
// machine was restored, which forgets when that was.
func TestRemovedNodeKnewSomething(t *testing.T) {
	for _, restored := range []bool{false, true} {
		inLab(t, []string{"a", "b", "c", "d"}, func(t *testing.T, l *lab) {
			k, made := l.create()
			time.Sleep(time.Minute)
			l.use("d", k)
			l.nodes["d"].kill()
			l.remove("d")
			time.Sleep(10 * time.Second)
			later, at := l.create()
			if restored {
				l.nodes["a"].restore()
			}
			if !restored {
				l.endsAt(at.Add(l.idle), "c", "b", later)
			}
			l.endsAt(made.Add(l.idle+l.grace()), "c", "c", k)
		}, instant)
	}
}

// A node that is in the roster alone, or in the configuration alone, is asked.
func TestAllWhoMayServeAreAsked(t *testing.T) {
	inLab(t, []string{"a", "b", "c", "d"}, func(t *testing.T, l *lab) {
		k, _ := l.create()
		other, made := l.create()
		l.must("a", &session.PutMember{Member: session.Member{ID: "e", Name: "e"}}) // never started: can't be asked
		l.until(made.Add(l.idle))
		l.accepted("b", k)
		l.must("a", &session.RemoveMember{ID: "e"})
		l.mu.Lock()
		l.names = append(l.names, "e")
		l.mu.Unlock()
		l.accepted("b", other)
		if s := l.nodes["b"].keeper.Stats(); s.Undecided != 2 {
			t.Errorf("stats %+v", s)
		}
	}, instant)
}

// A leader that others have left for the next one gets no answers: it may not know who is to be asked.
func TestFormerLeaderIsNotAnswered(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.until(made.Add(l.idle))
		body := append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0}, k[:]...)
		for from, want := range map[string]error{"a": nil, "c": wire.ErrNoLeader} {
			if _, err := l.nodes[from].Call(t.Context(), "b", idle.KindAsk, body); !errors.Is(err, want) {
				t.Errorf("question of %s: error %v, want %v", from, err, want)
			}
		}
	})
}

// A leader whose time is far ahead does not move the others', and gets no answer.
func TestAskerFarAhead(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		before := l.nodes["b"].clock.Now()
		k := key(1)
		body := append([]byte{1, 0, 0, 1, 0, 0, 0, 0, 0}, k[:]...)
		if _, err := l.nodes["a"].Call(t.Context(), "b", idle.KindAsk, body); !errors.Is(err, idle.ErrNotSynced) {
			t.Errorf("error %v, want %v", err, idle.ErrNotSynced)
		}
		if now := l.nodes["b"].clock.Now(); now != before {
			t.Errorf("the clock went from %d to %d", before, now)
		}
	}, instant)
}

// After a node has answered for a moment, it judges by no earlier one.
func TestAskedNodeDoesNotGoBehindTheQuestion(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		b := l.nodes["b"]
		ahead := b.clock.Now() + 300
		body := []byte{1}
		for shift := 56; shift >= 0; shift -= 8 {
			body = append(body, byte(ahead>>shift))
		}
		if _, err := l.nodes["a"].Call(t.Context(), "b", idle.KindAsk, body); err != nil {
			t.Fatal(err)
		}
		if now := b.clock.Now(); now != ahead {
			t.Errorf("cluster time on b is %d, the question was about %d", now, ahead)
		}
	}, instant)
}

// A new leader ends nothing in its first moments that it could not ask all nodes about: a node that was busy finding the
// leader may have uses that are long due. It lets nobody in either.
func TestNewLeaderWaits(t *testing.T) {
	inLab(t, []string{"a", "b", "c", "d", "e"}, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.until(made.Add(l.idle - 10*time.Second))
		l.depose("a")
		resume := l.nodes["d"].stall()
		if err := l.nodes["d"].look(k, true, false); err != nil { // due, and stuck
			t.Fatal(err)
		}
		last := l.now()
		l.until(made.Add(l.idle + l.grace()))
		l.elect("b")
		l.cut("d", "b") // not found yet
		resume()
		began := time.Now()
		if _, err := l.lookup("c", k, false); !errors.Is(err, wire.ErrNoLeader) {
			t.Errorf("lookup: error %v, want %v", err, wire.ErrNoLeader)
		}
		if l.rep("b", k) == 0 {
			t.Fatalf("the session was ended within %v", time.Since(began))
		}
		l.heal()
		time.Sleep(second)
		l.accepted("c", k)
		if rep := l.rep("", k); rep != last {
			t.Errorf("replicated is %d, the use was at %d", rep, last)
		}
	})
}

// However old a session is by the log, it is ended only after a question: uses may have waited for longer than usual.
func TestLateUseIsFound(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.mu.Lock()
		l.refuse = func(cmd session.Command) error { // touches don't get through for minutes
			if _, ok := cmd.(*session.Touch); ok && l.now() < made.Add(l.idle+l.grace()+time.Minute) {
				return wire.ErrOverloaded
			}
			return nil
		}
		l.mu.Unlock()
		l.until(made.Add(l.idle - time.Minute))
		last := l.use("b", k)
		l.until(made.Add(l.idle + l.grace() + 2*time.Minute))
		l.accepted("c", k)
		l.endsAt(last.Add(l.idle), "b", "a", k)
	}, instant)
}
