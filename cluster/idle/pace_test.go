package idle_test

import (
	"slices"
	"testing"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// crowd uses sessions on all nodes, more of them a second than the log may take.
func (l *lab) crowd(keys []session.Key, seconds int) {
	l.t.Helper()
	each := len(keys) / seconds
	for i := range seconds {
		for _, k := range keys[i*each : (i+1)*each] {
			if err := l.nodes[three[i%3]].look(k, true, true); err != nil {
				l.t.Fatal(err)
			}
		}
		time.Sleep(second)
	}
}

// paces returns the changes of pace in the log, and when they were.
func (l *lab) paces() (list []session.Pace, at []session.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.proposed {
		if c, ok := p.cmd.(*session.Pace); ok {
			list, at = append(list, *c), append(at, p.at)
		}
	}
	return list, at
}

// Under too much load the pace gets coarser, what expiry forgives first. When the load has gone it gets finer again, and
// what expiry forgives only when no session can be left whose last use was left out by the coarser one.
func TestPace(t *testing.T) {
	if raceEnabled {
		t.Skip("too many sessions")
	}
	inLab(t, three, func(t *testing.T, l *lab) {
		keys := l.populate(180_000)
		time.Sleep(l.granularity())
		l.crowd(keys, 25)
		raised := []session.Pace{{Grace: 3 * time.Minute}, {Touch: 3 * time.Minute, Grace: 3 * time.Minute}}
		if got, _ := l.paces(); !slices.Equal(got, raised) {
			t.Fatalf("paces %+v, want %+v", got, raised)
		}
		time.Sleep(time.Minute)
		k, made := l.create()
		l.until(made.Add(3*time.Minute) - 1000) // not due at the coarser pace
		last := l.use("b", k)
		time.Sleep(10 * time.Minute)
		lowered := append(raised, session.Pace{Grace: 3 * time.Minute})
		if got, _ := l.paces(); !slices.Equal(got, lowered) {
			t.Fatalf("paces %+v, want %+v", got, lowered)
		}
		l.nodes["b"].kill() // with a use that was never due
		l.until(last.Add(l.idle) - 1)
		l.accepted("c", k)
		time.Sleep(10 * time.Minute)
		lowered = append(lowered, session.Pace{})
		got, at := l.paces()
		if !slices.Equal(got, lowered) {
			t.Fatalf("paces %+v, want %+v", got, lowered)
		}
		if wait := at[3].Sub(at[2]); wait < l.idle {
			t.Errorf("the grace was lowered %v after the touches", wait)
		}
		l.boundHolds()
	}, shared, instant)
}

// As long as not all members know how, the pace stays, and uses wait for longer. Touches are never left out for longer
// than expiry forgives.
func TestPaceIsRefused(t *testing.T) {
	if raceEnabled {
		t.Skip("too many sessions")
	}
	inLab(t, three, func(t *testing.T, l *lab) {
		l.mu.Lock()
		l.refuse = func(cmd session.Command) error {
			if _, ok := cmd.(*session.Pace); ok {
				return wire.ErrOverloaded
			}
			return nil
		}
		l.mu.Unlock()
		keys := l.populate(180_000)
		time.Sleep(l.granularity())
		began := l.now()
		l.crowd(keys, 25)
		time.Sleep(30 * second)
		for _, k := range keys {
			if l.rep("", k) < began {
				t.Fatal("a use was not replicated")
			}
		}
		if got, _ := l.paces(); len(got) > 0 {
			t.Errorf("paces %+v", got)
		}
		l.boundHolds()
	}, shared, instant)
}
