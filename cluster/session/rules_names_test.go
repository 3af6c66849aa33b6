package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// Why a session ended and by whom, before its sweep and after it.
func TestWhySessionsEnd(t *testing.T) {
	long := strings.Repeat("b", MaxBy-1)
	for _, tc := range []struct {
		name string
		end  Command
		why  Reason
		by   string
	}{
		{"by its handle", &Invalidate{Key: key(1), Reason: EndedByAdmin, By: "ann@native"}, EndedByAdmin, "ann@native"},
		{"recheck of one", &Invalidate{Key: key(1), Reason: EndedByRecheck, By: "node n1"}, EndedByRecheck, "node n1"},
		{"long name", &Invalidate{Key: key(1), Reason: EndedByAdmin, By: long + "é"}, EndedByAdmin, long},
		{"end user", &EndUser{Realm: "corp", Username: "eve", By: "ann@native"}, EndedByUser, "ann@native"},
		{"end user, why", &EndUser{Realm: "corp", Username: "eve", Reason: EndedByRecheck}, EndedByRecheck, ""},
		{"end user, why and by whom", &EndUser{Realm: "corp", Username: "eve", Reason: EndedByAdmin, By: long + "é"}, EndedByAdmin, long},
		{"password", &UpdateUser{ID: "u-eve", PasswordHash: new(Secret("h")), By: "eve@corp"}, EndedByPassword, "eve@corp"},
		{"disabled", &UpdateUser{ID: "u-eve", Disabled: new(true), By: "ann@native"}, EndedByDisabled, "ann@native"},
		{"disabled with a password", &UpdateUser{ID: "u-eve", Disabled: new(true), PasswordHash: new(Secret("h")), By: "ann@native"}, EndedByDisabled, "ann@native"},
		{"removed", &DeleteUser{ID: "u-eve", By: "ann@native"}, EndedByDeleted, "ann@native"},
		{"all", &EndAll{By: long + "é"}, EndedByEmergency, long},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScript(t)
			s.ok(&CreateUser{ID: "u-eve", Realm: "corp", Username: "eve"})
			s.loggedIn("eve", 1)
			if res := s.ok(tc.end); res.Ended != 1 {
				t.Errorf("ended %d", res.Ended)
			}
			want := Tombstone{Key: key(1), Ended: s.now, Reason: tc.why, Mod: s.index, By: tc.by}
			for range 3 {
				if got, _ := s.m.Tombstone(key(1)); got != want {
					t.Fatalf("%+v, want %+v", got, want)
				}
				s.m = reread(t, s.m)
				s.ok(&Sweep{})
			}
			if st := s.m.Stats(); st.Ended[tc.why] != 1 || !s.m.Modern() {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// Before anything of version 4 was carried out, the state holds nothing of it: older nodes apply the same commands.
func TestReasonsOfOlderVersions(t *testing.T) {
	s := newScript(t)
	s.ok(&CreateUser{ID: "u-eve", Realm: "corp", Username: "eve"})
	for _, tc := range []struct {
		end  Command
		why  Reason // once it is modern
		then Command
	}{
		{&EndUser{Realm: "corp", Username: "eve"}, EndedByUser, nil},
		{&UpdateUser{ID: "u-eve", PasswordHash: new(Secret("h"))}, EndedByPassword, nil},
		{&UpdateUser{ID: "u-eve", Disabled: new(true)}, EndedByDisabled, &UpdateUser{ID: "u-eve", Disabled: new(false)}},
		{&DeleteUser{ID: "u-eve"}, EndedByDeleted, &CreateUser{ID: "u-eve", Realm: "corp", Username: "eve"}},
	} {
		for _, modern := range []bool{false, true} {
			s := &script{t: t, m: reread(t, s.m), now: s.now, index: s.index}
			want := EndedByUser
			if modern {
				s.ok(&SetLimits{})
				want = tc.why
			}
			s.loggedIn("eve", 1)
			s.ok(tc.end)
			s.gone(1, want)
			if tc.then != nil {
				s.ok(tc.then)
			}
			s.ok(&SetLimits{}) // too late for it
			s.gone(1, want)
			s.ok(&Sweep{})
			s.gone(1, want)
		}
	}
	s.ok(&DeleteUser{ID: "u-eve"})
	s.loggedIn("fay", 2)
	s.ok(&DeleteRealm{ID: "e1"})
	s.gone(2, EndedByUser)
	s.m = reread(t, s.m)
	s.login(3)
	for why := EndedByRecheck; why <= reasonCount; why++ {
		s.fails(&Invalidate{Key: key(3), Reason: why}, ErrBadCommand)
	}
	s.fails(&Invalidate{Key: key(9), Reason: EndedByAdmin, By: "x"}, ErrSessionInvalid)
	s.fails(&EndUser{Realm: NativeRealm, Username: "bob", Reason: reasonCount}, ErrBadCommand)
	s.fails(&EndUser{Realm: NativeRealm, Username: "bob", Reason: 255, By: "x"}, ErrBadCommand)
	s.fails(&SetRoles{Roles: []string{"none"}}, ErrRoleNotFound)
	s.fails(&DeleteUser{ID: "none", By: "x"}, ErrUserNotFound)
	if s.m.Modern() {
		t.Error("modern without anything new carried out")
	}
	s.ok(&EndUser{Realm: NativeRealm, Username: "nobody", By: "x"}) // no session, but carried out
	if !s.m.Modern() || !reread(t, s.m).Modern() {
		t.Error("not modern")
	}
	s.ok(&Invalidate{Key: key(3), Reason: EndedByRecheck})
	s.gone(3, EndedByRecheck)
}

func TestWhatMakesAMachineModern(t *testing.T) {
	for name, c := range everyCommand() {
		s := newScript(t)
		res := s.do(c)[0]
		if want := VersionOf(c) >= 4 && res.Err == nil; s.m.Modern() != want {
			t.Errorf("%s (%v): modern %v", name, res.Err, s.m.Modern())
		}
		if !s.m.Modern() && res.Err == nil && VersionOf(c) < 4 && headOf(t, snapshotOf(t, s.m)) > 2 {
			t.Errorf("%s: an older build can't read the snapshot", name)
		}
	}
	s := newScript(t)
	before := s.m.state()
	s.ok(&SetRoles{}) // of nobody: nothing else changes by it
	after := s.m.state()
	if !s.m.Modern() || after.version() != 3 || after.limits != before.limits || s.m.SweepPending() {
		t.Error("not modern, or more than that")
	}
	s = newScript(t)
	c := s.create(1, NativeRealm, "bob")
	c.Surface = SurfaceBearer
	s.ok(c)
	if !s.m.Modern() || reread(t, s.m).Hash() != s.m.Hash() || s.session(1).Surface != SurfaceBearer {
		t.Error("a bearer session is not kept")
	}
	c = s.create(2, NativeRealm, "bob")
	c.Surface = SurfaceBearer + 1
	s.fails(c, ErrBadCommand)
}

func TestTombstonesTellWhyForAnHour(t *testing.T) {
	s := newScript(t)
	s.login(1)
	s.login(2)
	s.ok(&Invalidate{Key: key(1), Reason: EndedByLogout})
	s.pass(TombstoneLife - time.Millisecond)
	s.ok(&Invalidate{Key: key(2), Reason: EndedByAdmin, By: "ann@native"}) // modern from here on
	s.pass(WhyLife - TombstoneLife)
	s.ok(&Tick{})
	s.gone(1, EndedByLogout)
	s.fails(s.create(1, NativeRealm, "bob"), ErrKeyUsed)
	s.m = reread(t, s.m)
	s.pass(time.Millisecond)
	s.ok(&Tick{})
	if _, ok := s.m.Tombstone(key(1)); ok {
		t.Error("it is still there")
	}
	s.gone(2, EndedByAdmin)
	s.now = s.m.Clock() - 1 + Time(TombstoneLife/time.Millisecond)
	s.ok(&Tick{})
	if _, ok := s.m.Tombstone(key(2)); ok {
		t.Error("it is still there")
	}
}

// Over maxTombstones, those go that are older than TombstoneLife, the oldest first, until there is room again.
func TestTombstonesAreBounded(t *testing.T) {
	table := newTable(new(accounts))
	for i := range maxTombstones + 2500 {
		table.remember(Tombstone{Key: dueKey(i), Ended: start + Time(i/1000), Mod: uint64(i + 1)})
	}
	ts := &table.tombs
	young, old := start.Add(TombstoneLife), start.Add(TombstoneLife+time.Minute)
	table.prune(young-1, true, maxPrune)
	if ts.queue.len() != maxTombstones+2500 {
		t.Fatalf("%d are left of those that are needed", ts.queue.len())
	}
	table.prune(young, true, maxPrune)
	if ts.queue.len() != maxTombstones+1500 || ts.forgotten != 1000 {
		t.Fatalf("%d are left, forgotten up to %d", ts.queue.len(), ts.forgotten)
	}
	table.prune(old, true, 100)
	if ts.queue.len() != maxTombstones+1400 {
		t.Fatalf("%d are left", ts.queue.len())
	}
	for range 2 {
		table.prune(old, true, maxPrune)
		if _, ok := table.tombstone(dueKey(2499)); ok || ts.queue.len() != maxTombstones {
			t.Fatalf("%d are left", ts.queue.len())
		}
	}
	table.prune(start.Add(WhyLife)+2, true, maxPrune)
	if _, ok := table.tombstone(dueKey(2999)); ok || ts.queue.len() != maxTombstones-500 {
		t.Fatalf("%d are left", ts.queue.len())
	}
	table.prune(old, false, maxPrune) // before version 4
	if ts.queue.len() != maxTombstones-500-maxPrune {
		t.Fatalf("%d are left", ts.queue.len())
	}
}

func TestSetRoles(t *testing.T) {
	s := newScript(t)
	s.ok(&CreateRole{ID: "ro", Name: "ops"})
	fixed := func(k byte, realm, who string, roles ...string) {
		t.Helper()
		c := s.create(k, realm, who)
		c.FixedRoles, c.Roles = true, roles
		s.ok(c)
	}
	fixed(1, "corp", "eve", "dev")
	fixed(2, "corp", "eve", "ops", "dev")
	fixed(3, "corp", "eve")
	s.loggedIn("eve", 4) // follows the records
	fixed(5, "corp", "fay", "dev")
	fixed(6, NativeRealm, "eve", "dev")
	fixed(7, "corp", "eve", "dev")
	s.ok(&EndUser{Realm: "corp", Username: "gus"})
	s.pass(time.Minute)
	before, handedOut := map[byte]Session{}, s.session(1)
	for k := byte(1); k <= 7; k++ {
		before[k] = *s.session(k)
	}
	set := func(want map[byte][]string, roles ...string) {
		t.Helper()
		if res := s.ok(&SetRoles{Realm: "corp", Username: "eve", Roles: roles}); res != (Result{}) {
			t.Errorf("result %+v", res)
		}
		s.m = reread(t, s.m)
		for k := byte(1); k <= 7; k++ {
			was, is := before[k], *s.session(k)
			if roles, moved := want[k]; moved {
				was.Roles, was.Mod = roles, s.index
			}
			if is.Mod != was.Mod || (is.Roles == nil) != (was.Roles == nil) || !slices.Equal(is.Roles, was.Roles) ||
				is.Rev != was.Rev || is.LastUse != was.LastUse || is.Seq != was.Seq {
				t.Errorf("session %d: %+v, want %+v", k, is, was)
			}
			if s.m.ModOf(key(k)) < is.Mod {
				t.Errorf("session %d: mod %d", k, s.m.ModOf(key(k)))
			}
			before[k] = is
		}
	}
	both := []string{"dev", "ops"}
	set(map[byte][]string{1: both, 3: both, 7: both}, "ops", "dev", "ops") // as 2 was already
	set(nil, "dev", "ops")
	set(map[byte][]string{1: {}, 2: {}, 3: {}, 7: {}})
	if v, _ := s.m.Lookup(key(1)); v.HasRole("dev") || len(v.Roles()) != 0 {
		t.Errorf("roles %v", v.Roles())
	}
	if v, _ := s.m.Lookup(key(4)); !v.HasRole("dev") || v.Session.Roles != nil {
		t.Errorf("roles %v", v.Roles())
	}
	set(nil)
	if !slices.Equal(handedOut.Roles, []string{"dev"}) || handedOut.Mod == s.session(1).Mod {
		t.Error("a record that was handed out has changed")
	}
	var many []string
	for i := range MaxRoles + 1 {
		name := fmt.Sprintf("role%02d", i)
		s.ok(&CreateRole{ID: name, Name: name})
		many = append(many, name)
	}
	s.fails(&SetRoles{Realm: "corp", Username: "eve", Roles: many}, ErrLimitRoles)
	s.fails(&SetRoles{Realm: "corp", Username: "eve", Roles: []string{"dev", "none"}}, ErrRoleNotFound)
	s.ok(&SetRoles{Realm: "none", Username: "eve", Roles: []string{"dev"}})
	// Those that have ended are left as they were.
	s.ok(&EndAll{})
	s.ok(&SetRoles{Realm: "corp", Username: "eve", Roles: []string{"dev"}})
	if r, _ := s.m.store.table.get(key(1)); len(s.m.store.table.session(r).Roles) != 0 {
		t.Errorf("roles %v", s.m.store.table.session(r).Roles)
	}
}

// Each session that ends by itself is told of, as it was and with its end; those that end with others are not.
func TestOnEnd(t *testing.T) {
	s := newScript(t)
	var told []string
	s.m.OnEnd(func(x *Session, ts Tombstone) {
		if x.Key != ts.Key || ts.Mod != s.index || ts.Ended != s.now || x.Username != "eve" && x.Username != "bob" {
			t.Errorf("%+v %+v", x, ts)
		}
		told = append(told, x.Key.String()[:2]+" "+ts.Reason.String()+" "+ts.By)
	})
	s.limit(Limits{SessionsPerUser: 2})
	s.loggedIn("eve", 1, 2, 3)
	c := s.create(4, "corp", "eve")
	c.Replaces = key(2)
	s.ok(c)
	s.ok(&Invalidate{Key: key(3), Reason: EndedByAdmin, By: "ann@native"})
	s.fails(&Invalidate{Key: key(3), Reason: EndedByAdmin, By: "ann@native"}, ErrSessionInvalid)
	s.ok(&EndUser{Realm: "corp", Username: "eve"})
	s.loggedIn("eve", 5)
	s.ok(&EndAll{})
	s.ok(&Sweep{})
	s.login(6)
	s.pass(time.Hour)
	s.ok(&Expire{Cutoff: s.now, Keys: []Key{key(6), key(5)}})
	want := []string{"01 eviction ", "02 login ", "03 admin ann@native", "06 idle "}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
