package idle_test

import (
	"errors"
	"testing"
	"time"

	"cloakroom/cluster/idle"
	"cloakroom/cluster/session"
)

// A lookup tells the index that has to be stable before its answer may be told.
func TestMod(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		b := l.nodes["b"]
		index := func() uint64 {
			l.mu.Lock()
			defer l.mu.Unlock()
			return uint64(len(l.log))
		}
		look := func(what string, k session.Key, use, exact bool, want error, wantMod uint64) {
			t.Helper()
			time.Sleep(time.Millisecond) // until it is applied here
			if _, mod, err := b.keeper.Lookup(t.Context(), k, b.arrive(use), exact); !errors.Is(err, want) || mod != wantMod {
				t.Errorf("%s: mod %d, error %v, want %d, %v", what, mod, err, wantMod, want)
			}
		}
		created := index()
		look("live", k, false, true, nil, created)
		look("unknown", key(1000), false, true, session.ErrSessionInvalid, 0)

		l.until(made.Add(l.granularity()))
		l.use("b", k) // a touch moves nothing
		time.Sleep(second)
		if index() == created {
			t.Fatal("not touched")
		}
		look("touched", k, true, true, nil, created)

		time.Sleep(time.Minute)
		last := l.use("c", k)
		l.until(last.Add(l.idle) - 10)
		look("asked about, and used elsewhere", k, false, true, nil, created)
		l.until(last.Add(l.idle))
		_, mod, err := b.keeper.Lookup(t.Context(), k, idle.Arrival{}, true)
		if ends := index(); !errors.Is(err, session.ErrSessionIdle) || mod != ends {
			t.Errorf("over: mod %d, error %v, the end has index %d", mod, err, ends)
		}
		look("ended for idleness", k, false, true, session.ErrSessionIdle, mod)

		k, _ = l.create()
		l.must("a", &session.Invalidate{Key: k, Reason: session.EndedByLogout})
		look("logged out", k, false, true, session.ErrSessionInvalid, index())

		c := l.creation(key(2000), "v")
		c.Lifetime = time.Minute
		l.must("a", c)
		time.Sleep(time.Minute)
		look("over by its lifetime", c.Key, false, true, session.ErrSessionInvalid, 0)

		k, made = l.create()
		time.Sleep(time.Millisecond)
		l.nodes["b"].stall()
		l.until(made.Add(l.idle + l.grace()))
		look("over at level local", k, false, false, session.ErrSessionIdle, 0)
	}, instant)
}

// A session that is let pass after a question has its index too.
func TestModOfWhatIsUndecided(t *testing.T) {
	inLab(t, three, func(t *testing.T, l *lab) {
		k, made := l.create()
		l.mu.Lock()
		created := uint64(len(l.log))
		l.mu.Unlock()
		l.nodes["c"].kill()
		l.until(made.Add(l.idle))
		for _, use := range []bool{false, true} {
			b := l.nodes["b"]
			if _, mod, err := b.keeper.Lookup(t.Context(), k, b.arrive(use), true); err != nil || mod != created {
				t.Errorf("mod %d, error %v, want %d", mod, err, created)
			}
		}
	}, instant)
}
