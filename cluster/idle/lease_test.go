package idle_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster/idle"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

const leaseTime = time.Second

// undecided is how many lookups were accepted because somebody could not be asked.
func (l *lab) undecided() (n uint64) {
	for _, node := range l.nodes {
		n += node.keeper.Stats().Undecided
	}
	return n
}

// deaf keeps questions from reaching a node, which serves on.
func (l *lab) deaf(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.block = func(kind wire.Kind, _, to string) bool { return kind == idle.KindAsk && to == name }
}

func (l *lab) hearing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.block = nil
}

// want makes a node go with or without a lease.
func (l *lab) want(name string, want bool) { keeperLeases{l.nodes[name]}.Want(want) }

// A dead node in the roster holds up no end of a session that was used after the last moment at which it can have served.
// For one that it may have served, the active come first.
func TestDeadNodeThatCannotHaveServed(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		before, made := l.create()
		l.nodes["b"].kill()
		time.Sleep(leaseTime + session.TouchSlack + second)
		after, at := l.create()
		l.until(made.Add(l.idle))
		l.accepted("c", before)
		l.until(at.Add(l.idle) - 1)
		l.accepted("c", after)
		asked := l.undecided()
		l.until(at.Add(l.idle))
		l.refused("c", after, session.ErrSessionIdle)
		l.refused("a", after, session.ErrSessionIdle)
		if n := l.undecided(); n != asked {
			t.Errorf("%d lookups came to no verdict", n-asked)
		}
		l.endsAt(made.Add(l.idle+l.grace()), "a", "c", before)
	}, instant, leasing(leaseTime))
}

// Without leases nothing is known of a dead node, and every end is late.
func TestDeadNodeWithoutLeases(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		l.nodes["b"].kill()
		time.Sleep(leaseTime + session.TouchSlack + second)
		k, made := l.create()
		l.endsAt(made.Add(l.idle+l.grace()), "a", "c", k)
	}, instant)
}

// The expiry that nobody waits for is exact too.
func TestUnusedSessionsAreEndedWithADeadNode(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		l.nodes["b"].kill()
		time.Sleep(leaseTime + session.TouchSlack + second)
		k, made := l.create()
		l.until(made.Add(l.idle) + 2000)
		if l.rep("", k) != 0 {
			t.Error("the session is there")
		}
	}, leasing(leaseTime))
}

// A node whose time is ahead of the leader's may have served a use that is later than the leader's time of its last
// service. So the margin.
func TestServedByANodeWhoseClockIsAhead(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.want("b", false) // by points: when it served last is known exactly
		l.until(made.Add(l.granularity()))
		l.nodes["b"].clock.Floor(l.now().Add(900 * time.Millisecond)) // by a question of a leader that was ahead
		last := l.use("b", k)
		l.nodes["b"].kill() // with its use
		time.Sleep(500 * time.Millisecond)
		if rep := l.use("c", k); rep >= last {
			t.Fatalf("b's use was at %d, c's at %d, which shows nothing", last, rep)
		}
		l.until(last.Add(l.idle) - 1)
		l.accepted("c", k)
		if l.undecided() == 0 {
			t.Fatal("everybody was asked, which shows nothing")
		}
	}, instant, leasing(leaseTime))
}

// A node that could not have served when the question began, and is given a lease while the others are asked, serves the
// session by it. It is not asked, for it does not hear, so there is no verdict.
func TestLeaseWhileOthersAreAsked(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		l.want("b", false)
		time.Sleep(leaseTime + session.TouchSlack + second)
		k, made := l.create()
		l.nodes["b"].standStill(200 * time.Millisecond) // its time is behind
		resume := l.nodes["b"].stall()
		l.until(made.Add(l.idle))
		done := make(chan struct{})
		go func() { defer close(done); l.accepted("c", k) }()
		time.Sleep(50 * time.Millisecond) // the question waits for b
		l.deaf("b")
		resume()
		l.want("b", true)
		l.nodes["b"].renew()
		if !l.nodes["b"].holds() {
			t.Fatal("b has no lease")
		}
		last := l.use("b", k)
		if last >= made.Add(l.idle) {
			t.Fatal("b's time is not behind, which shows nothing")
		}
		<-done
		l.hearing()
		l.until(last.Add(l.idle) - 1)
		l.accepted("c", k)
	}, instant, leasing(leaseTime))
}

// standStill stops a node's monotonic clock for so long, too short to be noticed.
func (n *node) standStill(d time.Duration) {
	n.lab.mu.Lock()
	defer n.lab.mu.Unlock()
	n.behind += d
}

// A node is given a lease when the leader has judged without it, and the end is not in the log yet. Its time may be behind
// that of the question: then it would accept what is over. It has applied a stamp of the question's time, and asks.
func TestLeaseAfterTheVerdict(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		l.want("b", false)
		time.Sleep(leaseTime + session.TouchSlack)
		l.create() // ends a second before, which makes a fence for nobody else
		time.Sleep(second)
		k, made := l.create()
		judged := make(chan struct{})
		l.deaf("b")
		l.until(made.Add(l.idle) - 50)
		l.nodes["b"].standStill(200 * time.Millisecond) // its time is behind
		l.mu.Lock()
		l.slow = func(cmd session.Command) time.Duration {
			if _, ok := cmd.(*session.Expire); ok {
				close(judged)
				return 100 * time.Millisecond
			}
			return 0
		}
		l.mu.Unlock()
		l.until(made.Add(l.idle))
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = l.lookup("c", k, false) // as it comes: what b is told counts
		}()
		<-judged
		l.mu.Lock()
		l.slow = nil
		behind := l.now().Add(-l.nodes["b"].behind) < made.Add(l.idle)
		l.mu.Unlock()
		if !behind {
			t.Fatal("b is not behind, which shows nothing")
		}
		l.want("b", true)
		l.nodes["b"].renew()
		if !l.nodes["b"].holds() {
			t.Fatal("b has no lease")
		}
		if l.nodes["b"].clock.Now() < made.Add(l.idle) {
			t.Error("b's time is behind the question")
		}
		_, err := l.lookup("b", k, true)
		<-done
		l.hearing()
		time.Sleep(second)
		if err == nil {
			l.accepted("c", k)
			l.accepted("b", k)
		}
	}, instant, leasing(leaseTime))
}

// A new leader does not know whom former ones have allowed to serve: what was used before it was in office ends late. One
// that claimed to know would log people out.
func TestNewLeaderDoesNotKnowWhoServed(t *testing.T) {
	for _, boastful := range []bool{false, true} {
		inLab(t, []string{"a", "b", "c", "d"}, func(t *testing.T, l *lab) {
			k, made := l.create()
			time.Sleep(time.Minute)
			last := l.use("b", k) // not due
			l.nodes["b"].kill()
			l.boastful = boastful
			l.elect("c")
			time.Sleep(2 * leaseTime)
			later, at := l.create()
			l.until(made.Add(l.idle))
			_, err := l.lookup("d", k, false)
			if (err != nil) != boastful {
				t.Errorf("used %v ago, boastful %v: %v", l.now().Sub(last), boastful, err)
			}
			if !boastful {
				l.until(last.Add(l.idle) - 1)
				l.accepted("d", k)
				l.accepted("d", later)
				l.endsAt(at.Add(l.idle+l.grace()), "a", "d", later) // within the margin
				final, at := l.create()
				l.endsAt(at.Add(l.idle), "a", "d", final)
			}
		}, instant, leasing(leaseTime))
	}
}

// What the lease machine does not know excuses nobody.
func TestServedNotKnown(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		l.nodes["b"].kill()
		time.Sleep(leaseTime + session.TouchSlack + second)
		k, made := l.create()
		l.mu.Lock()
		l.unknown = true
		l.mu.Unlock()
		l.endsAt(made.Add(l.idle+l.grace()), "a", "c", k)
	}, instant, leasing(leaseTime))
}

// A node that was restarted has forgotten what it knew. It does not matter for what it can't have served in either life,
// as long as it has not begun to serve again.
func TestRestartedNodeThatDoesNotServe(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		before, made := l.create()
		l.nodes["b"].kill()
		time.Sleep(leaseTime + session.TouchSlack + second)
		k, at := l.create()
		time.Sleep(time.Minute)
		l.nodes["b"].start()
		l.want("b", false)
		time.Sleep(time.Minute)
		l.until(made.Add(l.idle))
		l.accepted("c", before)
		time.Sleep(second)
		l.mu.Lock()
		l.served["b"] = at.Std().Add(-session.TouchSlack) // it had a lease for a moment when it came
		l.mu.Unlock()
		l.endsAt(at.Add(l.idle), "a", "c", k)
	}, instant, leasing(leaseTime))
}

// One that serves again may have served the session in its former life.
func TestRestartedNodeThatServes(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		time.Sleep(time.Minute)
		last := l.use("b", k)
		l.nodes["b"].kill()
		l.nodes["b"].start()
		l.until(last.Add(l.idle) - 1)
		l.accepted("c", k)
		l.endsAt(made.Add(l.idle+l.grace()), "c", "b", k)
	}, instant, leasing(leaseTime))
}

// A node that was taken out of the cluster may serve on until its lease runs out.
func TestRemovedNodeServesUntilItsLeaseIsOver(t *testing.T) {
	const long = 10 * time.Second
	inLab(t, []string{"a", "b", "c", "d"}, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.until(made.Add(l.granularity() + second))
		l.mu.Lock()
		l.stopRenewing = "d"
		l.mu.Unlock()
		go l.remove("d")
		time.Sleep(4 * second)
		l.cut("d", "a")
		rep := l.use("c", k)
		time.Sleep(second)
		if !l.nodes["d"].holds() || l.rep("", k) != rep {
			t.Fatal("this shows nothing")
		}
		l.use("d", k)
		l.nodes["d"].kill()
		l.until(rep.Add(l.idle))
		l.accepted("c", k)
	}, instant, leasing(long))
}

// A lookup that was held up between the moment at which it was allowed and its end counts as a use of the former: later
// its node is taken for one that serves nobody.
func TestUseCountsFromItsArrival(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.until(made.Add(l.granularity()))
		b := l.nodes["b"]
		arrived := l.now()
		used := b.keeper.Arrive()
		if err := b.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.cut("b", "a")
		l.cut("b", "c")
		time.Sleep(leaseTime + session.TouchSlack + second)
		rep := l.use("a", k)
		time.Sleep(second)
		view, _, err := b.keeper.Lookup(t.Context(), k, used, true)
		if err != nil {
			t.Fatal(err)
		}
		if last := b.keeper.LastUse(view.Session.Key, view.Session.LastUse); last != arrived {
			t.Errorf("the use is noted at %d, it arrived at %d", last, arrived)
		}
		l.endsAt(rep.Add(l.idle), "a", "c", k) // without b
	}, instant, leasing(leaseTime))
}

// A lookup that came before its node knew what time it was can't say when its use was.
func TestArrivalOnAColdClock(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, _ := l.create()
		b := l.nodes["b"]
		b.kill()
		l.cut("b", "a")
		b.start()
		used := b.keeper.Arrive()
		l.heal()
		time.Sleep(3 * second)
		if _, _, err := b.keeper.Lookup(t.Context(), k, used, true); !errors.Is(err, wire.ErrNoLeader) {
			t.Errorf("error %v", err)
		}
		if err := b.look(k, true, true); err != nil {
			t.Error(err)
		}
	}, instant)
}

// What a node has seen at level local, when it may have been taken for one that serves nobody, is no reason to accept a
// session elsewhere without a question.
func TestLocalUseIsAskedAbout(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		time.Sleep(time.Minute)
		l.nodes["b"].used(k)
		l.until(made.Add(l.idle))
		l.accepted("b", k)
		wantStats(t, l.nodes["b"].keeper, 1, 1, 0, 0)
		other, made := l.create()
		time.Sleep(time.Minute)
		l.nodes["b"].used(other)
		time.Sleep(time.Minute / 4)
		l.use("b", other)
		l.until(made.Add(l.idle))
		l.accepted("b", other)
		wantStats(t, l.nodes["b"].keeper, 1, 1, 0, 0)
	}, instant)
}

// A node that does not answer costs one tick for many questions.
func TestFenceIsShared(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		defer l.nodes["b"].stall()()
		time.Sleep(leaseTime + session.TouchSlack + second)
		l.populate(5000)
		made := l.now()
		before := len(commands[*session.Tick](l))
		l.until(made.Add(l.idle) + 10_000)
		ticks, ends := len(commands[*session.Tick](l))-before, len(commands[*session.Expire](l))
		if ends < 5000/idle.ExpireBatch || ticks == 0 || ticks > ends/4 {
			t.Errorf("%d ticks for %d ends", ticks, ends)
		}
	}, leasing(leaseTime))
}

// For hours sessions are used at random on the nodes that are left, while one is dead. None ends too early, none too late.
func TestHoursWithADeadNode(t *testing.T) {
	if raceEnabled {
		t.Skip("too long")
	}
	inLab(t, three, func(t *testing.T, l *lab) {
		l.nodes["b"].kill()
		time.Sleep(leaseTime + session.TouchSlack + second)
		var seen lives
		var group sync.WaitGroup
		end := time.Now().Add(3 * time.Hour)
		for i := range 10 {
			group.Go(func() { l.live(rand.New(rand.NewPCG(5, uint64(i))), []string{"a", "c"}, end, &seen) })
		}
		group.Wait()
		t.Logf("%d uses, %d sessions ended, %d of them looked up a millisecond before", seen.uses.Load(), seen.ended.Load(), seen.exact.Load())
		if seen.ended.Load() < 10 || seen.exact.Load() < seen.ended.Load()*8/10 {
			t.Error("too little happened")
		}
		if n := l.undecided(); n > 0 {
			t.Errorf("%d lookups came to no verdict", n)
		}
	}, leasing(leaseTime))
}
