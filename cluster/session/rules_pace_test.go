package session

import (
	"testing"
	"time"
)

func TestGranularity(t *testing.T) {
	for _, tc := range []struct{ idle, pace, want time.Duration }{
		// At the normal pace a fifteenth of the timeout, up to two minutes.
		{15 * time.Millisecond, 0, time.Millisecond},
		{15 * time.Second, 0, time.Second},
		{15 * time.Minute, 0, time.Minute},
		{30 * time.Minute, 0, 2 * time.Minute},
		{30*time.Minute - 15*time.Second, 0, 2*time.Minute - time.Second},
		{31 * time.Minute, 0, 2 * time.Minute},
		{100 * 24 * time.Hour, 0, 2 * time.Minute},
		// The pace takes effect where it is more than that.
		{15 * time.Minute, 30 * time.Second, time.Minute},
		{15 * time.Minute, time.Minute, time.Minute},
		{15 * time.Minute, 3 * time.Minute, 3 * time.Minute},
		{8 * time.Hour, time.Minute, 2 * time.Minute},
		{8 * time.Hour, 119 * time.Second, 2 * time.Minute},
		{8 * time.Hour, 2 * time.Minute, 2 * time.Minute},
		{8 * time.Hour, 10 * time.Minute, 10 * time.Minute},
		{8 * time.Hour, 32 * time.Minute, 32 * time.Minute},
		{8 * time.Hour, 33 * time.Minute, 33 * time.Minute},
		// A quarter of the timeout is the end of it.
		{20 * time.Second, time.Hour, 5 * time.Second},
		{8 * time.Hour, 2 * time.Hour, 2 * time.Hour},
		{8 * time.Hour, 2*time.Hour + 1, 2 * time.Hour},
		{8 * time.Hour, MaxPace, 2 * time.Hour},
		{200 * 24 * time.Hour, MaxPace, MaxPace},
	} {
		if got := Granularity(tc.idle, tc.pace); got != tc.want {
			t.Errorf("idle timeout %s at pace %s: %s, want %s", tc.idle, tc.pace, got, tc.want)
		}
	}
}

// What is not worth a touch must never be more than what expiry forgives, and the machine never refuses before a leader
// would let the session end.
func TestGraceCoversGranularity(t *testing.T) {
	s := newScript(t)
	paces := []time.Duration{0, time.Second, time.Minute, 3 * time.Minute, time.Hour, MaxPace}
	for _, touch := range paces {
		for _, grace := range paces {
			if touch > grace {
				continue
			}
			s.ok(&Pace{Touch: touch, Grace: grace})
			for _, idle := range []time.Duration{time.Millisecond, time.Second, time.Minute, 30 * time.Minute, 8 * time.Hour, 90 * 24 * time.Hour} {
				if g := s.m.Granularity(idle); s.m.Grace(idle) < g+TouchSlack || s.m.Grace(idle) > idle/4+TouchSlack {
					t.Errorf("pace %s/%s, idle timeout %s: granularity %s, grace %s", touch, grace, idle, g, s.m.Grace(idle))
				}
			}
		}
	}
	s.ok(&Pace{Touch: time.Minute, Grace: 5 * time.Minute})
	if g, grace := s.m.Granularity(8*time.Hour), s.m.Grace(8*time.Hour); g != 2*time.Minute || grace != 5*time.Minute+TouchSlack {
		t.Errorf("granularity %s, grace %s", g, grace)
	}
	if normal := (&Machine{}).Grace(1000 * time.Hour); normal > IdleGrace {
		t.Errorf("normal grace %s, IdleGrace %s", normal, IdleGrace)
	}
}

func TestPaceIsRefused(t *testing.T) {
	s := newScript(t)
	s.ok(&Pace{Touch: time.Minute, Grace: 2 * time.Minute})
	for _, bad := range []Pace{
		{Touch: -1, Grace: time.Minute},
		{Touch: -2, Grace: -1},
		{Grace: -1},
		{Touch: 1},
		{Touch: time.Minute + 1, Grace: time.Minute},
		{Grace: MaxPace + 1},
		{Touch: MaxPace + 1, Grace: MaxPace + 1},
	} {
		s.fails(&bad, ErrBadCommand)
	}
	if s.m.Pace() != (Pace{Touch: time.Minute, Grace: 2 * time.Minute}) {
		t.Errorf("pace %+v", s.m.Pace())
	}
	for _, good := range []Pace{{Touch: MaxPace, Grace: MaxPace}, {Grace: 1}, {Touch: 1, Grace: 1}, {}} {
		s.ok(&good)
		if s.m.Pace() != good {
			t.Errorf("pace %+v, want %+v", s.m.Pace(), good)
		}
	}
}

// A raised pace lets the replicated last use lag farther behind than IdleGrace: what the leader may not end yet must not
// be refused by the machine.
func TestGraceOfARaisedPace(t *testing.T) {
	const pace = 5 * time.Minute
	idleFor := func(t *testing.T, d time.Duration) *script {
		s := newScript(t)
		for k := range byte(3) {
			s.login(k + 1) // idle timeout 30 minutes
		}
		short := s.create(4, NativeRealm, "bob")
		short.Idle = 8 * time.Minute // a quarter is less than IdleGrace
		s.ok(short)
		s.ok(&Pace{Grace: pace})
		s.pass(d)
		return s
	}
	put := func(k byte) Command { return &Put{Key: key(k), Attrs: attrs(1, 1)} }
	end := 30*time.Minute + pace + TouchSlack

	s := idleFor(t, 30*time.Minute+IdleGrace+time.Second)
	s.ok(put(1))
	s = idleFor(t, end)
	s.ok(put(1))
	s.ok(&Delete{Key: key(2)})
	s.ok(&Invalidate{Key: key(3), Reason: EndedByLogout})
	s = idleFor(t, end+time.Millisecond)
	s.fails(put(1), ErrSessionIdle)
	s.fails(&Delete{Key: key(2)}, ErrSessionIdle)
	s.fails(&Invalidate{Key: key(3), Reason: EndedByLogout}, ErrSessionIdle)

	// IdleGrace is the least.
	s = idleFor(t, 8*time.Minute+IdleGrace)
	s.ok(put(4))
	s = idleFor(t, 8*time.Minute+IdleGrace+time.Millisecond)
	s.fails(put(4), ErrSessionIdle)

	// It is the grace that counts, as it is when the command is applied, and not the granularity of touches.
	s = idleFor(t, end)
	s.ok(&Pace{})
	s.fails(put(1), ErrSessionIdle)
	s.ok(&Pace{Touch: pace, Grace: 2 * pace})
	s.pass(30*time.Minute/4 - pace)
	s.ok(put(1))
	// It forgives nothing to an Expire, whose cutoff is the leader's judgement, nor to the lifetime.
	s = idleFor(t, 30*time.Minute)
	if res := s.ok(&Expire{Cutoff: s.now, Keys: []Key{key(1)}}); res.Ended != 1 {
		t.Errorf("ended %d, want 1", res.Ended)
	}
	s.ok(&Pace{Touch: MaxPace, Grace: MaxPace})
	s.ok(&Touch{Uses: []Use{{key(2), s.now}}})
	s.pass(8 * time.Hour)
	s.fails(put(2), ErrSessionInvalid)
}

func TestLostAt(t *testing.T) {
	s := newScript(t)
	is := func(want Time) {
		t.Helper()
		if got := s.m.LostAt(); got != want {
			t.Fatalf("lost at %d, want %d", got-start, want-start)
		}
	}
	s.ok(&PutMember{Member{ID: "n1", Name: "n1"}})
	s.ok(&PutMember{Member{ID: "n2", Name: "n2"}})
	s.pass(time.Minute)
	is(0)
	s.ok(&RemoveMember{"n1"})
	is(s.now)
	s.pass(time.Minute)
	s.ok(&RemoveMember{"n3"}) // had no entry yet
	lost := s.now
	is(lost)
	s.pass(time.Minute)
	s.ok(&PutMember{Member{ID: "n2", Name: "n2", Peer: "moved"}})
	is(lost)
	// Neither a part of the state nor of a snapshot: a restored machine takes the worst for true.
	before := s.m.Hash()
	s.m.lostAt++
	if s.m.Hash() != before {
		t.Error("it is in the hash")
	}
	s.pass(time.Minute)
	s.ok(&Tick{})
	s.m = reread(t, s.m)
	is(s.now)
	s.pass(time.Minute)
	s.ok(&RemoveMember{"n2"})
	is(s.now)
	if New().LostAt() != 0 || reread(t, New()).LostAt() != 0 {
		t.Error("a new machine has lost something")
	}
}

func TestPins(t *testing.T) {
	s := newScript(t)
	mem := Member{ID: "n1", Name: "n1", MaxVersion: 2}
	for _, pin := range []Pin{PinVoter, PinNonVoter, PinNone} {
		mem.Pin = pin
		s.ok(&PutMember{mem})
		s.m = reread(t, s.m)
		if got, _ := s.m.Member("n1"); got.Pin != pin {
			t.Errorf("pin %d, want %d", got.Pin, pin)
		}
	}
	for _, pin := range []Pin{PinNonVoter + 1, 255} {
		mem.Pin = pin
		s.fails(&PutMember{mem}, ErrBadCommand)
	}
}
