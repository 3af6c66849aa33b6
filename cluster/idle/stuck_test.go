package idle_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"cloakroom/cluster/idle"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// mute keeps uses from reaching the leader from a node.
func (l *lab) mute(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.block = func(kind wire.Kind, from, _ string) bool { return kind == idle.KindTouch && from == name }
}

// wanted returns what a node has said about its lease since it started.
func (l *lab) wanted(name string) []wanting {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.nodes[name].wanted)
}

// nobodyGaveBack holds if all nodes have kept their leases.
func (l *lab) nobodyGaveBack() {
	l.t.Helper()
	for name, n := range l.nodes {
		if w := l.wanted(name); len(w) > 0 || !n.holds() {
			l.t.Fatalf("%s has given its lease back: %v", name, w)
		}
	}
}

// A node that can't bring a use to the leader gives its lease back within δ of the use, and takes one again when it can.
func TestStuckUsesCostTheLease(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.until(made.Add(l.granularity()))
		l.mute("b")
		used := time.Now()
		l.use("b", k)
		time.Sleep(session.TouchSlack)
		w := l.wanted("b")
		if len(w) != 1 || w[0].want || w[0].at.Sub(used) > session.TouchSlack || w[0].at.Sub(used) < session.TouchSlack/2 {
			t.Fatalf("used at %v, then %v", used, w)
		}
		if time.Sleep(10 * time.Second); l.nodes["b"].holds() {
			t.Fatal("b has a lease")
		}
		l.hearing()
		time.Sleep(second)
		if w := l.wanted("b"); len(w) != 2 || !w[1].want || !l.nodes["b"].holds() {
			t.Fatalf("the leader has the use, b has said %v", w)
		}
	}, leasing(leaseTime))
}

// So does one that is cut off, whose lease would last for longer; and one that no leader answers.
func TestCutOffNodeGivesItsLeaseBack(t *testing.T) {
	const long = 20 * time.Second
	for _, deposed := range []bool{false, true} {
		inLab(t, three, func(t *testing.T, l *lab) {
			k, made := l.create()
			l.until(made.Add(l.granularity()))
			if deposed {
				l.depose("a")
			} else {
				l.cut("b", "a")
			}
			if !l.nodes["b"].holds() {
				t.Fatal("this shows nothing")
			}
			l.use("b", k)
			time.Sleep(session.TouchSlack)
			if w := l.wanted("b"); len(w) != 1 || w[0].want || l.nodes["b"].holds() {
				t.Fatalf("b has said %v", w)
			}
		}, leasing(long))
	}
}

// A cut-off node without uses that are due keeps its lease until that has run out: it keeps nothing from anybody.
func TestCutOffNodeWithNothingToSay(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, _ := l.create()
		time.Sleep(second)
		l.cut("b", "a")
		l.use("b", k)
		time.Sleep(5 * time.Second)
		if !l.nodes["b"].holds() || len(l.wanted("b")) > 0 {
			t.Fatalf("b has said %v", l.wanted("b"))
		}
	}, leasing(20*time.Second))
}

// A log that takes no uses for long, while the leader has them on its board: nobody gives a lease back.
func TestBacklogCostsNoLease(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		keys := l.populate(6000)
		time.Sleep(l.granularity())
		l.refuseTouches(true)
		for i, k := range keys {
			l.use(three[i%3], k)
		}
		last := l.now()
		for range 100 {
			time.Sleep(300 * time.Millisecond)
			l.nobodyGaveBack()
		}
		if waited := l.nodes["b"].keeper.Stats().OldestUnsent; waited < 30 {
			t.Fatalf("the oldest use waits for %v s, which shows nothing", waited)
		}
		l.refuseTouches(false)
		time.Sleep(10 * second)
		for _, k := range keys {
			if l.rep("", k) < last.Add(-second) {
				t.Fatal("a use was not replicated")
			}
		}
		if s := l.nodes["a"].keeper.Stats(); s.Coalesced != 0 {
			t.Errorf("%d uses count as merged that were brought several times", s.Coalesced)
		}
	}, instant, leasing(leaseTime))
}

// Nor does a board without room, which tells that the leader is there and can ask.
func TestFullBoardCostsNoLease(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		keys := l.populate(idle.MaxBoard + 1)
		time.Sleep(l.granularity())
		l.refuseTouches(true)
		for at := 0; at < idle.MaxBoard; at += session.MaxTouches {
			var batch []session.Use
			for _, k := range keys[at : at+session.MaxTouches] {
				batch = append(batch, session.Use{Key: k, At: l.now()})
			}
			if _, err := l.nodes["c"].Call(t.Context(), "a", idle.KindTouch, touches(0, batch...)); !errors.Is(err, idle.ErrOnBoard) {
				t.Fatal(err)
			}
		}
		l.use("b", keys[idle.MaxBoard])
		for range 30 {
			time.Sleep(300 * time.Millisecond)
			l.nobodyGaveBack()
		}
		if waited := l.nodes["b"].keeper.Stats().OldestUnsent; waited < 8 {
			t.Fatalf("the use of b waits for %v s, which shows nothing", waited)
		}
	}, shared, instant, leasing(leaseTime))
}

// The leader that a node's uses were with dies, and no other takes them: from then on only that node knows of them.
func TestLeaderDiesWithTheBoard(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.until(made.Add(l.granularity()))
		l.refuseTouches(true)
		l.use("b", k)
		time.Sleep(10 * second)
		l.nobodyGaveBack()
		l.nodes["a"].kill()
		time.Sleep(session.TouchSlack)
		if w := l.wanted("b"); len(w) != 1 || w[0].want {
			t.Fatalf("b has said %v", w)
		}
		l.refuseTouches(false)
		l.elect("c")
		time.Sleep(3 * second)
		if w := l.wanted("b"); len(w) != 2 || !w[1].want || !l.nodes["b"].holds() {
			t.Fatalf("b has said %v", w)
		}
	}, leasing(leaseTime))
}

// A node that is stuck can still get points. What is used on it then is in the log before it is answered, if it would have
// to be brought there: the node may die.
func TestStuckNodeKeepsNothingToItself(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		keys := l.populate(3)
		time.Sleep(l.granularity())
		l.mute("b")
		l.use("b", keys[0])
		time.Sleep(session.TouchSlack)
		last := l.use("b", keys[1])
		if rep := l.rep("", keys[1]); rep < last {
			t.Errorf("replicated is %d, the use was at %d", rep, last)
		}
		made := l.now()
		l.use("b", keys[1]) // not due: this may be kept
		if s := l.nodes["b"].keeper.Stats(); s.Questions != 1 {
			t.Errorf("%d questions", s.Questions)
		}
		l.refuseTouches(true)
		if _, err := l.lookup("b", keys[2], true); err == nil {
			t.Error("a use was accepted that nobody else knows of")
		}
		if _, err := l.lookup("b", keys[2], false); err != nil {
			t.Error(err)
		}
		l.refuseTouches(false)
		l.nodes["b"].kill()
		l.until(made.Add(l.idle) - 1)
		l.accepted("c", keys[1])
	}, instant, leasing(leaseTime))
}
