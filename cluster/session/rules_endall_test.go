package session

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestEndAll(t *testing.T) {
	s := newScript(t)
	s.ok(&CreateRealm{ID: "e2", Name: "lab", Type: "ldap", Enabled: true})
	s.login(1)
	s.loggedIn("eve", 2, 3)
	s.ok(s.create(4, "lab", "fay"))
	s.ok(&Invalidate{Key: key(3), Reason: EndedByLogout})
	before, after := s.create(5, "corp", "eve"), s.create(6, "corp", "eve")
	res := s.do(before, &EndAll{By: "control socket"}, after)
	if res[1].Err != nil || res[1].Ended != 4 || res[2].Err != nil {
		t.Fatalf("results %+v", res)
	}
	at, when := s.index, s.now
	s.pass(time.Minute)
	s.loggedIn("gus", 7) // logins at once, old and new
	s.loggedIn("eve", 8)

	check := func() {
		t.Helper()
		for _, k := range []byte{1, 2, 4, 5} {
			want := Tombstone{Key: key(k), Ended: when, Reason: EndedByEmergency, Mod: at, By: "control socket"}
			if got, ok := s.m.Tombstone(key(k)); !ok || got != want || s.m.ModOf(key(k)) != at {
				t.Fatalf("session %d: %+v, mod %d, want %+v", k, got, s.m.ModOf(key(k)), want)
			}
			s.gone(k, EndedByEmergency)
			s.fails(&Put{Key: key(k), Attrs: attrs(1, 1)}, ErrSessionInvalid)
			s.fails(&Invalidate{Key: key(k), Reason: EndedByLogout}, ErrSessionInvalid)
			s.fails(s.create(k, NativeRealm, "bob"), ErrKeyUsed)
		}
		s.gone(3, EndedByLogout)
		s.has("eve", 6, 8)
		s.has("gus", 7)
		var listed []byte
		for _, x := range s.m.Sessions(Key{}, 100) {
			listed = append(listed, x.Key[0])
		}
		if !slices.Equal(listed, []byte{6, 7, 8}) || len(s.m.SessionsOf(NativeRealm, "bob")) != 0 {
			t.Fatalf("sessions %v", listed)
		}
		if st := s.m.Stats(); st.Sessions != 3 || st.Ended[EndedByEmergency] != 4 {
			t.Fatalf("stats %+v", st)
		}
	}
	check()
	s.m = reread(t, s.m)
	check()
	if res := s.ok(&Sweep{}); res.Ended != 4 || res.More {
		t.Errorf("sweep %+v", res)
	}
	check()
	if st := s.m.Stats(); st.Tombstones != 5 {
		t.Errorf("stats %+v", st)
	}
	s.m = reread(t, s.m)
	check()
	if res := s.ok(&EndAll{}); res.Ended != 3 {
		t.Errorf("ended %d more", res.Ended)
	}
	if res := s.ok(&EndAll{}); res.Ended != 0 {
		t.Errorf("ended %d of none", res.Ended)
	}
	s.ok(&Sweep{})
	if s.m.SweepPending() || s.m.store.table.len() != 0 {
		t.Error("something is left")
	}
}

// Several ends that a session falls under: the first has ended it, and it is told so before and after the sweeps, in
// whatever order they and snapshots come.
func TestTheFirstEndCounts(t *testing.T) {
	for _, restored := range []string{"never", "at once", "while sweeping"} {
		t.Run(restored, func(t *testing.T) {
			s := newScript(t)
			fay := &EndUser{Realm: "corp", Username: "fay", By: "ann@native"}
			want := map[Key]Tombstone{}
			end := func(c Command, why Reason, by string, keys ...byte) {
				t.Helper()
				if res := s.ok(c); int(res.Ended) != len(keys) {
					t.Fatalf("%#v ended %d, want %d", c, res.Ended, len(keys))
				}
				for _, k := range keys {
					want[key(k)] = Tombstone{Key: key(k), Ended: s.now, Reason: why, Mod: s.index, By: by}
				}
				s.pass(time.Second)
			}
			s.loggedIn("fay", 31, 2)
			s.loggedIn("eve", 33)
			end(&EndAll{By: "x"}, EndedByEmergency, "x", 31, 2, 33)
			s.loggedIn("fay", 4, 25)
			end(fay, EndedByUser, "ann@native", 4, 25)
			s.loggedIn("fay", 16)
			end(fay, EndedByUser, "ann@native", 16)
			s.loggedIn("fay", 7)
			s.loggedIn("eve", 28)
			end(&EndAll{By: "y"}, EndedByEmergency, "y", 7, 28)
			s.loggedIn("fay", 9)
			end(&EndAll{}, EndedByEmergency, "", 9)
			s.loggedIn("fay", 10)
			end(fay, EndedByUser, "ann@native", 10)
			s.loggedIn("fay", 11)
			end(&DeleteRealm{ID: "e1", By: "z"}, EndedByRealm, "z", 11)
			s.ok(&CreateRealm{ID: "e2", Name: "corp", Type: "ldap", Enabled: true})
			s.loggedIn("fay", 12)
			end(&EndAll{By: "v"}, EndedByEmergency, "v", 12)
			s.loggedIn("fay", 13)
			end(&DeleteRealm{ID: "e2"}, EndedByRealm, "", 13)
			s.ok(&CreateRealm{ID: "e1", Name: "corp", Type: "ldap", Enabled: true})
			s.loggedIn("fay", 14)
			end(fay, EndedByUser, "ann@native", 14)
			s.loggedIn("fay", 15)

			check := func() {
				t.Helper()
				for k, ts := range want {
					if got, ok := s.m.Tombstone(k); !ok || got != ts || s.m.ModOf(k) != ts.Mod {
						t.Fatalf("session %d: %+v, want %+v", k[0], got, ts)
					}
				}
				s.has("fay", 15)
				s.has("eve")
			}
			check()
			for i := 0; s.m.SweepPending(); i++ {
				if restored == "at once" && i == 0 || restored == "while sweeping" {
					s.m = reread(t, s.m)
					check()
				}
				s.m.store.sweepOne()
				check()
			}
			if s.m.Stats().Tombstones != len(want) {
				t.Errorf("%d tombstones, want %d", s.m.Stats().Tombstones, len(want))
			}
			s.m = reread(t, s.m)
			check()
		})
	}
}

// sweepOne is Sweep for no more than one session.
func (st *store) sweepOne() {
	if sw := st.sweeps.at(st.sweeps.head); sw.a != nil {
		st.unswept -= st.sweepAccount(sw, 1)
	} else {
		n, _ := st.sweepRealm(sw, 1, maxSweepScan)
		st.unswept -= n
	}
}

// The price of the command is that of the realms; that of the sessions is paid by the sweeps.
func TestEndAllCostsNoMoreForMoreSessions(t *testing.T) {
	m, keys := filled(t, 20_000)
	var res Result
	if n := bytesAllocated(func() {
		res = m.Apply(m.Applied()+1, &Entry{Stamp: start, Commands: []Command{&EndAll{By: "x"}}})[0]
	}); n > 64<<10 {
		t.Errorf("%d bytes allocated", n)
	}
	if res.Ended != 20_000 || m.Stats().Sessions != 0 || m.store.table.len() != 20_000 || m.store.sweeps.len() != 1 {
		t.Fatalf("ended %+v, stats %+v", res, m.Stats())
	}
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := m.Lookup(keys[i]); ok {
			t.Fatal("still there")
		}
		if ts, ok := m.Tombstone(keys[i]); !ok || ts.Reason != EndedByEmergency || m.ModOf(keys[i]) != m.Applied() {
			t.Fatal("no end")
		}
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	sweeps := 0
	for m.SweepPending() {
		res := m.Apply(m.Applied()+1, &Entry{Stamp: start, Commands: []Command{&Sweep{}}})[0]
		if res.Ended > MaxSweep {
			t.Fatalf("sweep %+v", res)
		}
		sweeps++
	}
	corp := m.realms["corp"]
	if sweeps < 20_000/MaxSweep || m.Stats().Tombstones != 20_000 || corp.accounts != 0 || len(corp.ended) != 0 {
		t.Errorf("%d sweeps, stats %+v, %d accounts, %d ends", sweeps, m.Stats(), corp.accounts, len(corp.ended))
	}
}

// Accounts with sessions of before and after an end of all keep only what is live, and none is kept for nothing.
func TestAccountsAfterEndAll(t *testing.T) {
	s := newScript(t)
	s.loggedIn("eve", 1, 2)
	s.loggedIn("fay", 3)
	s.login(4)
	s.ok(&EndAll{})
	s.loggedIn("eve", 5)
	c := s.create(6, "corp", "gus")
	c.Replaces = key(1) // over already
	if res := s.ok(c); res.Ended != 0 {
		t.Errorf("ended %d", res.Ended)
	}
	if res := s.ok(&EndUser{Realm: "corp", Username: "fay"}); res.Ended != 0 {
		t.Errorf("ended %d", res.Ended)
	}
	if res := s.ok(&Expire{Cutoff: s.now, Keys: []Key{key(1), key(2), key(3)}}); res.Ended != 0 {
		t.Errorf("ended %d", res.Ended)
	}
	s.ok(&Touch{Uses: []Use{{key(1), s.now}}})
	s.has("eve", 5)
	s.ok(&Sweep{})
	corp := s.m.realms["corp"]
	if corp.accounts != 2 || corp.live != 2 || s.m.account(NativeRealm, "bob").live() != 0 {
		t.Errorf("%d accounts, %d live", corp.accounts, corp.live)
	}
	s.has("eve", 5)
	s.ok(&Invalidate{Key: key(5), Reason: EndedByLogout})
	s.ok(&Invalidate{Key: key(6), Reason: EndedByLogout})
	if corp.accounts != 0 || corp.live != 0 {
		t.Errorf("%d accounts, %d live", corp.accounts, corp.live)
	}
	// A user who comes back while the sweep is still to come is found after it.
	s.loggedIn("eve", 7)
	s.ok(&EndAll{})
	s.loggedIn("eve", 8)
	s.ok(&Sweep{})
	s.has("eve", 8)
}

// The sweeps of many realms after one end of all share the bounds of a Sweep, and go through snapshots at any point.
func TestSweepAfterEndAllIsBounded(t *testing.T) {
	s := newScript(t)
	for i := range 4 {
		s.ok(&CreateRealm{ID: fmt.Sprint("r", i), Name: fmt.Sprint("realm", i), Type: "ldap", Enabled: true})
	}
	const n = 3000
	for i := range n {
		c := s.create(1, fmt.Sprint("realm", i%4), fmt.Sprint("user", i/200))
		c.Key = Key{byte(i >> 8), byte(i), 15: 3}
		s.ok(c)
	}
	s.login(1)
	if res := s.ok(&EndAll{}); res.Ended != n+1 {
		t.Fatalf("ended %d", res.Ended)
	}
	left, sweeps := n+1, 0
	for ; s.m.SweepPending(); sweeps++ {
		s.m = reread(t, s.m)
		res := s.ok(&Sweep{})
		if left -= int(res.Ended); res.Ended > MaxSweep || res.More != (left > 0) || sweeps > 10 {
			t.Fatalf("sweep %+v with %d left", res, left)
		}
		s.ok(s.create(byte(100+sweeps), "realm0", "user0")) // what is made meanwhile lives
	}
	if left != 0 || sweeps < 3 || s.m.Stats().Sessions != sweeps {
		t.Errorf("%d left after %d sweeps, stats %+v", left, sweeps, s.m.Stats())
	}
}
