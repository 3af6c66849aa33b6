package idle_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"cloakroom/cluster/idle"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// However often sessions are used, and on however many nodes, each costs one use in the log for each granularity; and
// what is not used costs nothing.
func TestTouchesAreFew(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		keys := l.populate(2000)
		const minutes = 20
		for range minutes * 6 {
			time.Sleep(10 * time.Second)
			for _, name := range three {
				for _, k := range keys[:1000] {
					l.use(name, k)
				}
				time.Sleep(time.Millisecond)
			}
		}
		uses := 0
		for _, n := range l.touched {
			uses += n
		}
		if limit := 1000 * minutes / int(l.granularity()/time.Minute); uses > limit || uses < limit*9/10 {
			t.Errorf("%d uses were replicated, of 1,000 sessions in %d minutes; want at most %d", uses, minutes, limit)
		}
		for _, k := range keys[1000:] {
			if n := l.usesInLog(k); n > 0 {
				t.Fatalf("%d uses of a session that was not used", n)
			}
		}
		var sum, coalesced uint64
		for _, name := range three {
			s := l.nodes[name].keeper.Stats()
			sum += s.Uses
			coalesced += s.Coalesced
		}
		if sum != 3*1000*minutes*6 || coalesced == 0 {
			t.Errorf("%d uses counted, %d coalesced", sum, coalesced)
		}
		commands := len(commands[*session.Touch](l))
		if commands > uses/100 {
			t.Errorf("%d uses in %d commands", uses, commands)
		}
	}, instant)
}

// Uses of one session that several nodes bring at the same moment are one use in the log, the latest.
func TestBoardMerges(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.until(made.Add(l.granularity()))
		var last session.Time
		for _, name := range three {
			last = l.use(name, k)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(second)
		if n, rep := l.usesInLog(k), l.rep("", k); n != 1 || rep < last-2 || rep > last {
			t.Errorf("%d uses in the log, replicated is %d, used at %d", n, rep, last)
		}
	}, instant)
}

// A use is due when the replicated one lags behind by the granularity, to the millisecond, and is replicated at once.
func TestUseIsDue(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.until(made.Add(l.granularity()) - 1)
		l.use("b", k)
		time.Sleep(time.Millisecond)
		due := l.use("c", k)
		time.Sleep(100 * time.Millisecond)
		if rep := l.rep("", k); rep != due || l.usesInLog(k) != 1 {
			t.Errorf("replicated is %d after %d touches, want the use at %d", rep, l.usesInLog(k), due)
		}
	})
}

// While there is no leader, due uses wait, and are not forgotten. The oldest one is told.
func TestUsesWaitForALeader(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		keys := l.populate(3000)
		time.Sleep(l.granularity())
		l.depose("a")
		b := l.nodes["b"].keeper
		for _, k := range keys {
			l.nodes["b"].used(k)
		}
		last := l.now()
		time.Sleep(10 * time.Second)
		if s := b.Stats(); s.OldestUnsent != 10 || s.Touched != 0 {
			t.Errorf("stats %+v", s)
		}
		l.elect("c")
		time.Sleep(3 * time.Second)
		for _, k := range keys {
			if rep := l.rep("", k); rep != last {
				t.Fatalf("replicated is %d, the use was at %d", rep, last)
			}
		}
		if s := b.Stats(); s.OldestUnsent != 0 || s.Touched != 3000 {
			t.Errorf("stats %+v", s)
		}
	})
}

// A touch that the leader's log refuses for a while is tried again.
func TestTouchIsTriedAgain(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		tries := 0
		l.mu.Lock()
		l.refuse = func(cmd session.Command) error {
			if _, ok := cmd.(*session.Touch); ok {
				if tries++; tries <= 5 {
					return wire.ErrOverloaded
				}
			}
			return nil
		}
		l.mu.Unlock()
		l.until(made.Add(l.granularity()))
		last := l.use("b", k)
		time.Sleep(5 * time.Second)
		if l.rep("", k) != last || tries != 6 {
			t.Errorf("replicated is %d after %d tries, want the use at %d", l.rep("", k), tries, last)
		}
	})
}

// Touches that have to be proposed again count for the rate like any other.
func TestRepeatedTouchesAreBounded(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		keys := l.populate(30_000)
		time.Sleep(l.granularity())
		refused := false
		l.mu.Lock()
		l.refuse = func(cmd session.Command) error {
			if _, ok := cmd.(*session.Touch); ok {
				if refused = !refused; refused {
					return wire.ErrOverloaded
				}
			}
			return nil
		}
		l.mu.Unlock()
		began := l.now()
		for i, k := range keys {
			l.nodes[three[i%3]].used(k)
		}
		time.Sleep(30 * second)
		for _, k := range keys {
			if l.rep("", k) < began {
				t.Fatal("a use was not replicated")
			}
		}
		l.boundHolds()
	}, shared, instant)
}

// A use that its node has handed over counts although the node is dead and the entry not yet in the log.
func TestBoardIsAsked(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.until(made.Add(l.idle) - 1000)
		l.mu.Lock()
		l.refuse = func(cmd session.Command) error {
			if _, ok := cmd.(*session.Touch); ok && l.now() < made.Add(l.idle+l.grace()+time.Minute) {
				return wire.ErrOverloaded
			}
			return nil
		}
		l.mu.Unlock()
		last := l.use("b", k)
		time.Sleep(500 * time.Millisecond)
		l.nodes["b"].kill()
		l.until(made.Add(l.idle + l.grace() + 2*time.Minute))
		l.accepted("c", k)
		if rep := l.rep("", k); rep != last {
			t.Errorf("replicated is %d, the use was at %d", rep, last)
		}
	})
}

// A use that was handed to a leader that dies with it is handed to the next one.
func TestLeaderDiesWithUses(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.mu.Lock()
		l.refuse = func(cmd session.Command) error {
			if _, ok := cmd.(*session.Touch); ok && l.leader == "a" {
				return wire.ErrOverloaded
			}
			return nil
		}
		l.mu.Unlock()
		l.until(made.Add(l.granularity()))
		last := l.use("b", k)
		time.Sleep(second)
		l.nodes["a"].kill()
		time.Sleep(3 * time.Second)
		l.elect("c")
		time.Sleep(second)
		if rep := l.rep("", k); rep != last {
			t.Errorf("replicated is %d, the use was at %d", rep, last)
		}
	})
}

// touches is a KindTouch request.
func touches(backlog uint32, uses ...session.Use) []byte {
	b := binary.BigEndian.AppendUint32([]byte{1}, backlog)
	for _, u := range uses {
		b = binary.BigEndian.AppendUint64(append(b, u.Key[:]...), uint64(u.At))
	}
	return b
}

// A full board refuses a whole batch, and serves on.
func TestFullBoardRefuses(t *testing.T) {
	if raceEnabled {
		t.Skip("too many sessions")
	}
	inLab(t, three, func(t *testing.T, l *lab) {
		keys := l.populate(idle.MaxBoard + 1)
		time.Sleep(second)
		l.mu.Lock()
		l.refuse = func(cmd session.Command) error { return wire.ErrOverloaded } // nothing leaves the board
		l.mu.Unlock()
		refused := make(chan error, 100)
		for at := 0; at < idle.MaxBoard; at += session.MaxTouches {
			var batch []session.Use
			for _, k := range keys[at : at+session.MaxTouches] {
				batch = append(batch, session.Use{Key: k, At: l.now()})
			}
			go func() {
				err := error(idle.ErrOnBoard)
				for errors.Is(err, idle.ErrOnBoard) {
					_, err = l.nodes["b"].Call(t.Context(), "a", idle.KindTouch, touches(0, batch...))
				}
				refused <- err
			}()
		}
		time.Sleep(time.Minute)
		_, err := l.nodes["c"].Call(t.Context(), "a", idle.KindTouch, touches(0, session.Use{Key: keys[idle.MaxBoard], At: l.now()}))
		if !errors.Is(err, idle.ErrBoardFull) || len(refused) > 0 {
			t.Errorf("error %v, %d refused before", err, len(refused))
		}
		l.mu.Lock()
		l.refuse = nil
		l.mu.Unlock()
		for range idle.MaxBoard / session.MaxTouches {
			if err := <-refused; err != nil {
				t.Fatal(err)
			}
		}
		l.boundHolds()
	}, shared)
}

// boundHolds looks at the uses that were proposed in each second.
func (l *lab) boundHolds() (highest int) {
	l.t.Helper()
	for at, n := range l.touched {
		if highest = max(highest, n); n > idle.MaxTouchRate {
			l.t.Errorf("%d uses were proposed in second %d", n, at)
		}
	}
	return highest
}

// A node that stops in order leaves nothing behind that it alone knew.
func TestFlush(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		keys := l.populate(2500)
		time.Sleep(time.Minute) // nothing is due yet
		for _, k := range keys {
			l.use("b", k)
		}
		last := l.now()
		b := l.nodes["b"]
		b.keeper.Flush(t.Context())
		b.kill()
		for _, k := range keys {
			if rep := l.rep("", k); rep != last {
				t.Fatalf("replicated is %d, the use was at %d", rep, last)
			}
		}
		l.boundHolds()
	})
}

// Without a leader the last flush gives up soon.
func TestFlushGivesUp(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		keys := l.populate(5000)
		time.Sleep(time.Minute)
		for _, k := range keys {
			l.use("b", k)
		}
		l.depose("a")
		began := time.Now()
		since := l.nodes["b"].keeper.Flush(t.Context())
		if took := time.Since(began); took > idle.FlushPatience+second {
			t.Errorf("it took %v", took)
		}
		if since != 0 {
			t.Errorf("what is lost is vouched for, since %d", since)
		}
	})
}

// A million active sessions, each used once a minute or so: more touches than are allowed at the normal pace. The rate
// stays within its bound, the pace gets coarser until the demand does too, and no use is lost.
func TestMillionActiveSessions(t *testing.T) {
	const count = 1_000_000
	if testing.Short() || raceEnabled {
		t.Skip("takes long, and too long under the race detector; TestPace shows the same with fewer")
	}
	inLab(t, three, func(t *testing.T, l *lab) {
		const every = 60
		crowd := make([][]session.Key, every)
		for at := range 2 * every { // over one granularity, or all would come due at once
			crowd[at%every] = append(crowd[at%every], l.populate(count/every/2)...)
			time.Sleep(second)
		}
		r := rand.New(rand.NewPCG(4, 4))
		pace := func() (p session.Pace) {
			l.nodes["a"].Read(func(m *session.Machine) { p = m.Pace() })
			return p
		}
		for at := range 4 * every {
			name := three[at%3]
			for _, k := range crowd[r.IntN(every)] {
				if err := l.nodes[name].look(k, true, true); err != nil {
					t.Fatalf("after %d s: %v", at, err)
				}
			}
			time.Sleep(second)
			if p := pace(); p.Grace < p.Touch {
				t.Fatalf("pace %+v", p)
			}
		}
		time.Sleep(30 * second)
		highest := l.boundHolds()
		lag := session.Granularity(l.idle, pace().Touch)
		worst := time.Duration(0)
		for _, some := range crowd {
			for _, k := range some {
				worst = max(worst, l.now().Sub(l.rep("a", k)))
			}
		}
		t.Logf("at most %d uses a second, touches every %v, the oldest replicated use is %v old", highest, lag, worst)
		if highest < idle.MaxTouchRate*8/10 || lag == l.granularity() {
			t.Error("the load was too low to show anything")
		}
		if worst > lag+every*second+30*second {
			t.Errorf("uses have waited for %v", worst)
		}
	}, shared, instant)
}
