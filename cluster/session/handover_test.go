package session

import "testing"

// A tick tells a hand-over only when no other command has come between, in an entry of its own or in the same one.
func TestHandoverIsToldByTheTickAfterIt(t *testing.T) {
	s := newScript(t)
	tick := func(want bool, why string) {
		t.Helper()
		if got := s.ok(&Tick{}).Handed; got != want {
			t.Errorf("%s: handed %v, want %v", why, got, want)
		}
	}
	tick(false, "nothing was handed over")
	s.ok(&Handover{})
	tick(true, "right after it")
	tick(false, "a second tick")
	s.ok(&Handover{})
	s.ok(&RemoveMember{"n9"})
	tick(false, "a command came between")
	s.ok(&Handover{})
	s.fails(&Invalidate{Key: key(9), Reason: EndedByLogout}, ErrSessionInvalid)
	tick(false, "a refused command came between")

	s.ok(&Handover{})
	s.index++
	s.m.Advance(s.index)
	tick(true, "an entry without a command came between")

	s.ok(&Handover{Term: 1})
	tick(false, "it came into another term than its own")

	s.ok(&Handover{})
	before := s.m.Hash()
	s.m = reread(t, s.m)
	if s.m.Hash() != before {
		t.Error("the hand-over is part of the state")
	}
	tick(false, "a restored machine can't know")
}

// What is shown of a key, and so whether it may be shown yet, depends on the last of all changes behind it.
func TestModOf(t *testing.T) {
	s := newScript(t)
	mod := func(k byte, want uint64, why string) {
		t.Helper()
		if got := s.m.ModOf(key(k)); got != want {
			t.Errorf("%s: %d, want %d", why, got, want)
		}
	}
	mod(1, 0, "never heard of")
	s.ok(s.create(1, NativeRealm, "bob"))
	s.ok(s.create(2, NativeRealm, "bob"))
	mod(1, s.index-1, "created")
	s.ok(&Put{Key: key(1), Attrs: []Attr{{"a", "b"}}})
	mod(1, s.index, "put")
	put := s.index
	s.ok(&Touch{Uses: []Use{{Key: key(1), At: s.now}}})
	mod(1, put, "a touch changes nothing that is shown")
	s.ok(&Invalidate{Key: key(1), Reason: EndedByLogout})
	mod(1, s.index, "ended")
	ended := s.index
	s.ok(&Tick{})
	mod(1, ended, "ended a while ago")

	s.ok(&EndUser{Realm: NativeRealm, Username: "bob"})
	mod(2, s.index, "ended with its user, not swept")
	all := s.index
	s.ok(&Sweep{})
	mod(2, all, "swept")
	mod(3, 0, "still never heard of")

	s.pass(TombstoneLife)
	s.ok(&Tick{})
	if _, ok := s.m.Tombstone(key(1)); ok {
		t.Fatal("the end is still remembered")
	}
	mod(1, all, "forgotten: it may be the last of those forgotten")
	mod(3, all, "nobody can tell it from one forgotten")

	s.m = reread(t, s.m)
	mod(3, s.m.Applied(), "restored: it may have been forgotten at any time")
}
