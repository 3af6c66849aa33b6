package idle_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// At level local nobody is asked: a session is accepted for as long as somebody else may know of a use.
func TestLocal(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		time.Sleep(second)
		for _, name := range three {
			l.nodes[name].stall()
		}
		local := func(want error) {
			t.Helper()
			if err := l.nodes["b"].look(k, false, false); !errors.Is(err, want) {
				t.Errorf("at %v: error %v, want %v", l.now().Std(), err, want)
			}
		}
		l.until(made.Add(l.idle))
		local(nil)
		l.until(made.Add(l.idle+l.grace()) - 1)
		local(nil)
		l.until(made.Add(l.idle + l.grace()))
		local(session.ErrSessionIdle)
		if s := l.nodes["b"].keeper.Stats(); s.Questions != 0 {
			t.Error("somebody was asked")
		}
	}, instant)
}

// Its own use counts at level local too, for all of the idle timeout.
func TestLocalUse(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.until(made.Add(l.idle) - 1)
		l.nodes["b"].stall() // so that it stays here
		if err := l.nodes["b"].look(k, true, false); err != nil {
			t.Fatal(err)
		}
		last := l.now()
		l.until(last.Add(l.idle) - 1)
		if err := l.nodes["b"].look(k, false, false); err != nil {
			t.Error(err)
		}
		l.until(last.Add(l.idle))
		if err := l.nodes["b"].look(k, false, false); !errors.Is(err, session.ErrSessionIdle) {
			t.Errorf("error %v", err)
		}
	}, instant)
}

// Without a leader nobody is logged out for idleness: nobody knows. Nor is anybody let in.
func TestNobodyToAsk(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.depose("a")
		for _, at := range []session.Time{made.Add(l.idle), made.Add(l.idle + l.grace())} {
			l.until(at)
			if err := l.nodes["b"].look(k, true, true); !errors.Is(err, wire.ErrNoLeader) {
				t.Errorf("error %v, want %v", err, wire.ErrNoLeader)
			}
		}
	})
}

// The absolute lifetime holds however active a session is.
func TestLifetime(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k := key(1)
		c := l.creation(k, "u")
		c.Lifetime = time.Hour
		l.must("a", c)
		end := l.rep("", k).Add(time.Hour)
		for l.now() < end-1 {
			l.use(three[rand.IntN(3)], k)
			time.Sleep(min(10*time.Minute, (end - 1).Sub(l.now())))
		}
		l.accepted("b", k)
		l.until(end)
		l.refused("b", k, session.ErrSessionInvalid)
		l.must("a", &session.Tick{}) // the machine looks at lifetimes by the latest stamp
		time.Sleep(2 * time.Second)
		if l.rep("", k) != 0 {
			t.Error("the session was not ended")
		}
	})
}
