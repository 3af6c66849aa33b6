package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestEndOfAllSessions(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  Command
		gone bool
	}{
		{"end user", &EndUser{Realm: NativeRealm, Username: "bob"}, true},
		{"another user", &EndUser{Realm: NativeRealm, Username: "ann"}, false},
		{"another realm", &EndUser{Realm: "corp", Username: "bob"}, false},
		{"unknown user", &EndUser{Realm: NativeRealm, Username: "eve"}, false},
		{"password", &UpdateUser{ID: "u-bob", PasswordHash: new(Secret("n"))}, true},
		{"disabled", &UpdateUser{ID: "u-bob", Disabled: new(true)}, true},
		{"enabled again", &UpdateUser{ID: "u-bob", Disabled: new(false)}, false},
		{"roles", &UpdateUser{ID: "u-bob", RoleNames: new([]string{})}, false},
		{"deleted", &DeleteUser{ID: "u-bob"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScript(t)
			before, during, after := s.create(1, NativeRealm, "bob"), s.create(2, NativeRealm, "bob"), s.create(3, "corp", "bob")
			s.ok(before)
			// Right before and right after it in one entry: the end index lies between them.
			res := s.do(during, tc.end, after)
			if want := map[bool]uint32{true: 2}[tc.gone]; res[1].Err != nil || res[1].Ended != want {
				t.Errorf("ended %d (%v), want %d", res[1].Ended, res[1].Err, want)
			}
			s.session(3)
			if tc.gone {
				s.gone(1, EndedByUser)
				s.gone(2, EndedByUser)
			} else {
				s.session(1)
				s.session(2)
			}
			if s.m.SweepPending() != tc.gone {
				t.Errorf("sweep pending: %v", s.m.SweepPending())
			}
		})
	}
}

func TestSessionsMadeAfterTheEndIndexLive(t *testing.T) {
	s := newScript(t)
	s.login(1)
	res := s.do(&EndUser{Realm: NativeRealm, Username: "bob"}, s.create(2, NativeRealm, "bob"), &EndUser{Realm: NativeRealm, Username: "bob"}, s.create(3, NativeRealm, "bob"))
	for i, r := range res {
		if r.Err != nil {
			t.Fatalf("command %d: %v", i, r.Err)
		}
	}
	s.gone(1, EndedByUser)
	s.gone(2, EndedByUser)
	s.session(3)
	if got := s.m.SessionsOf(NativeRealm, "bob"); len(got) != 1 || got[0].Key != key(3) {
		t.Errorf("sessions %v", got)
	}
	if st := s.m.Stats(); st.Sessions != 1 || st.Ended[EndedByUser] != 2 || st.Tombstones != 0 {
		t.Errorf("stats %+v", st)
	}
	if res := s.ok(&Sweep{}); res.Ended != 2 || res.More {
		t.Errorf("sweep %+v", res)
	}
	if st := s.m.Stats(); st.Sessions != 1 || st.Ended[EndedByUser] != 2 || st.Tombstones != 2 {
		t.Errorf("stats %+v", st)
	}
	s.gone(1, EndedByUser)
	s.session(3)
}

func TestUserWithoutRecordIsEnded(t *testing.T) {
	s := newScript(t)
	s.ok(s.create(1, "corp", "eve"))
	if res := s.ok(&EndUser{Realm: "corp", Username: "eve"}); res.Ended != 1 {
		t.Errorf("ended %d, want 1", res.Ended)
	}
	s.gone(1, EndedByUser)
	s.ok(s.create(2, "corp", "eve"))
	s.ok(&Sweep{})
	s.session(2)
}

func TestSweepIsBounded(t *testing.T) {
	s := newScript(t)
	users := MaxSweep/DefaultSessionsPerUser + 2
	for u := range users {
		name := fmt.Sprint("user", u)
		for i := range DefaultSessionsPerUser {
			c := s.create(1, "corp", name)
			c.Key = Key{byte(i), byte(u), 15: 2}
			s.ok(c)
		}
		s.ok(&EndUser{Realm: "corp", Username: name})
	}
	left := users * DefaultSessionsPerUser
	for left > 0 {
		want := min(left, MaxSweep)
		left -= want
		if res := s.ok(&Sweep{}); res.Ended != uint32(want) || res.More != (left > 0) || s.m.SweepPending() != (left > 0) {
			t.Fatalf("sweep %+v with %d left", res, left)
		}
		s.m = reread(t, s.m) // in the midst of a user's sessions
	}
	if res := s.ok(&Sweep{}); res.Ended != 0 || res.More {
		t.Errorf("sweep of nothing: %+v", res)
	}
}

func TestRealmIsDeleted(t *testing.T) {
	s := newScript(t)
	s.fails(&DeleteRealm{ID: "e0"}, ErrRealmBuiltIn)
	s.fails(&DeleteRealm{ID: "e9"}, ErrRealmNotFound)
	s.ok(&CreateUser{ID: "u-eve", Realm: "corp", Username: "eve"})
	s.fails(&DeleteRealm{ID: "e1"}, ErrRealmInUse)
	s.ok(&DeleteUser{ID: "u-eve"})
	s.ok(s.create(1, "corp", "eve"))
	s.ok(&EndUser{Realm: "corp", Username: "eve"})
	s.ok(s.create(2, "corp", "eve"))
	s.ok(s.create(3, "corp", "eva"))
	s.login(4)
	if res := s.ok(&DeleteRealm{ID: "e1"}); res.Ended != 2 {
		t.Errorf("ended %d, want 2", res.Ended)
	}
	// A realm of the same name is another realm.
	s.ok(&CreateRealm{ID: "e2", Name: "corp", Type: "ldap", Enabled: true})
	s.ok(s.create(5, "corp", "eve"))
	for _, k := range []byte{1, 2, 3} {
		s.gone(k, EndedByUser)
	}
	s.session(4)
	s.session(5)
	if got := s.m.SessionsOf("corp", "eve"); len(got) != 1 {
		t.Errorf("%d sessions, want 1", len(got))
	}
	if res := s.ok(&Sweep{}); res.Ended != 3 || res.More {
		t.Errorf("sweep %+v", res)
	}
	for _, k := range []byte{1, 2, 3} {
		s.gone(k, EndedByUser)
	}
	s.session(5)
}

// A deleted realm's sessions are looked for in the whole table, some thousand records with each sweep.
func TestSweepOfARealmIsBounded(t *testing.T) {
	s := newScript(t)
	const others, own = 2*maxSweepScan + 100, MaxSweep + 10
	for i := range others + own {
		realm := NativeRealm
		if i%((others+own)/own) == 0 {
			realm = "corp"
		}
		c := s.create(1, realm, fmt.Sprint("user", i/50))
		c.Key = Key{byte(i >> 8), byte(i), 15: 3}
		s.ok(c)
	}
	total := s.ok(&DeleteRealm{ID: "e1"}).Ended
	if total < MaxSweep {
		t.Fatalf("only %d sessions in the realm", total)
	}
	sweeps := 0
	for more := true; more; sweeps++ {
		res := s.ok(&Sweep{})
		total -= res.Ended
		more = res.More
		s.m = reread(t, s.m)
	}
	if total != 0 || sweeps < 3 {
		t.Errorf("%d left after %d sweeps", total, sweeps)
	}
}

func TestUsers(t *testing.T) {
	s := newScript(t)
	s.fails(&CreateUser{ID: "x", Realm: NativeRealm, Username: "ann"}, ErrUserExists)
	s.fails(&CreateUser{ID: "x", Realm: NativeRealm, Username: "a nn"}, ErrBadUserName)
	s.fails(&CreateUser{ID: "x", Realm: NativeRealm, Username: strings.Repeat("a", 129)}, ErrBadUserName)
	s.fails(&CreateUser{ID: "x", Realm: "lab", Username: "cyd"}, ErrRealmNotFound)
	s.fails(&CreateUser{ID: "x", Realm: NativeRealm, Username: "cyd", RoleNames: []string{"dev", "none"}}, ErrRoleNotFound)
	s.fails(&CreateUser{ID: "u-ann", Realm: NativeRealm, Username: "cyd"}, ErrBadCommand)
	s.fails(&CreateUser{ID: "", Realm: NativeRealm, Username: "cyd"}, ErrBadCommand)
	s.fails(&CreateUser{ID: "x", Realm: NativeRealm, Username: "cyd", PasswordHash: Secret(strings.Repeat("h", 513))}, ErrBadCommand)
	s.fails(&CreateUser{ID: "x", Realm: NativeRealm, Username: "cyd", First: true}, ErrNotFirstUser)
	s.fails(&UpdateUser{ID: "x"}, ErrUserNotFound)
	s.fails(&DeleteUser{ID: "x"}, ErrUserNotFound)
	res := s.ok(&CreateUser{ID: "x", Realm: NativeRealm, Username: "cyd", RoleNames: []string{"dev", RoleService, "dev"}})
	u, _ := s.m.UserByID("x")
	if !slices.Equal(u.RoleNames, []string{"dev", RoleService}) || u.Rev != res.Rev || u.Created != s.now {
		t.Errorf("user %+v", u)
	}
	s.pass(1e9)
	res = s.ok(&UpdateUser{ID: "x", RoleNames: new([]string{"dev"})})
	next, _ := s.m.UserByName(NativeRealm, "cyd")
	if next.Rev != res.Rev || next.Rev <= u.Rev || next.Updated != s.now || next.Created == s.now || len(u.RoleNames) != 2 {
		t.Errorf("user %+v, before %+v", next, u)
	}
}

func TestFirstUser(t *testing.T) {
	s := newScript(t)
	s.m = New()
	s.ok(&Genesis{ClusterID: "c1", RealmID: "e0", AdminID: "ra", ServiceID: "rs"})
	first := &CreateUser{ID: "u1", Realm: NativeRealm, Username: "ann", First: true}
	s.ok(first)
	s.ok(&DeleteUser{ID: "u1"})
	s.fails(first, ErrNotFirstUser) // there was one
	s.m = reread(t, s.m)
	s.fails(first, ErrNotFirstUser)
}

func TestLastAdmin(t *testing.T) {
	s := newScript(t)
	takes := []Command{
		&DeleteUser{ID: "u-ann"},
		&UpdateUser{ID: "u-ann", Disabled: new(true)},
		&UpdateUser{ID: "u-ann", RoleNames: new([]string{"dev"})},
	}
	none := func() {
		t.Helper()
		for _, c := range takes {
			s.fails(c, ErrLastAdmin)
		}
	}
	none()
	// Neither the realm's roles, nor another realm's admin, nor a disabled one counts.
	s.ok(&UpdateRealm{ID: "e0", Enabled: true, RoleNames: []string{RoleAdmin}})
	s.ok(&CreateUser{ID: "u2", Realm: "corp", Username: "ann", RoleNames: []string{RoleAdmin}})
	s.ok(&CreateUser{ID: "u3", Realm: NativeRealm, Username: "cyd", RoleNames: []string{RoleAdmin}})
	s.ok(&UpdateUser{ID: "u3", Disabled: new(true)})
	none()
	s.ok(&UpdateUser{ID: "u-ann", RoleNames: new([]string{RoleAdmin, "dev"}), PasswordHash: new(Secret("n"))})
	s.ok(&UpdateUser{ID: "u3", Disabled: new(false)})
	s.ok(takes[1])
	s.fails(&DeleteUser{ID: "u3"}, ErrLastAdmin)
	s.ok(takes[0])
}

func TestRoles(t *testing.T) {
	s := newScript(t)
	s.fails(&CreateRole{ID: "x", Name: "dev"}, ErrRoleExists)
	s.fails(&CreateRole{ID: "x", Name: "d v"}, ErrBadRoleName)
	s.fails(&CreateRole{ID: "rd", Name: "ops"}, ErrBadCommand)
	s.fails(&CreateRole{ID: "x", Name: "ops", Desc: strings.Repeat("d", 1025)}, ErrLimitDescription)
	s.fails(&UpdateRole{ID: "x"}, ErrRoleNotFound)
	s.fails(&UpdateRole{ID: "rd", Desc: strings.Repeat("d", 1025)}, ErrLimitDescription)
	s.fails(&DeleteRole{"x"}, ErrRoleNotFound)
	s.fails(&DeleteRole{"ra"}, ErrRoleBuiltIn)
	s.fails(&DeleteRole{"rd"}, ErrRoleInUse)
	s.ok(&UpdateRole{ID: "ra", Desc: "all of it"})
	s.ok(&UpdateUser{ID: "u-bob", RoleNames: new([]string{})})
	s.fails(&DeleteRole{"rd"}, ErrRoleInUse) // the realm's
	s.ok(&UpdateRealm{ID: "e1", Enabled: true})
	s.ok(&DeleteRole{"rd"})
	s.fails(&UpdateUser{ID: "u-bob", RoleNames: new([]string{"dev"})}, ErrRoleNotFound)
	var many []string
	for i := range MaxRoles + 1 {
		name := fmt.Sprintf("role%02d", i)
		s.ok(&CreateRole{ID: name, Name: name})
		many = append(many, name)
	}
	s.fails(&UpdateUser{ID: "u-bob", RoleNames: &many}, ErrLimitRoles)
	s.ok(&UpdateUser{ID: "u-bob", RoleNames: new(append(many[1:], many[1]))})
}

func TestRealms(t *testing.T) {
	s := newScript(t)
	s.fails(&CreateRealm{ID: "x", Name: "corp", Type: "ldap"}, ErrRealmExists)
	s.fails(&CreateRealm{ID: "x", Name: "c/o", Type: "ldap"}, ErrBadRealmName)
	s.fails(&CreateRealm{ID: "e1", Name: "lab", Type: "ldap"}, ErrBadCommand)
	s.fails(&CreateRealm{ID: "x", Name: "lab"}, ErrBadCommand)
	s.fails(&CreateRealm{ID: "x", Name: "lab", Type: "ldap", RoleNames: []string{"none"}}, ErrRoleNotFound)
	s.fails(&CreateRealm{ID: "x", Name: "lab", Type: "ldap", Config: make([]byte, MaxRealmConfig+1)}, ErrLimitRealmConfig)
	s.fails(&UpdateRealm{ID: "x", Enabled: true}, ErrRealmNotFound)
	s.fails(&UpdateRealm{ID: "e0"}, ErrRealmBuiltIn)
	config := []byte("{}")
	res := s.ok(&UpdateRealm{ID: "e1", Enabled: true, RoleNames: []string{RoleService}, Config: config})
	config[0] = 'x'
	r, _ := s.m.RealmByID("e1")
	if string(r.Config) != "{}" || r.Rev != res.Rev || r.Type != "ldap" || !slices.Equal(r.RoleNames, []string{RoleService}) {
		t.Errorf("realm %+v", r)
	}
}

func TestGenesis(t *testing.T) {
	s := newScript(t)
	s.ok(&Genesis{ClusterID: "c1"})
	s.fails(&Genesis{ClusterID: "c2", RealmID: "a", AdminID: "b", ServiceID: "c"}, ErrOtherCluster)
	r, ok := s.m.RealmByName(NativeRealm)
	if !ok || !r.Enabled || r.ID != "e0" || s.m.ClusterID() != "c1" {
		t.Errorf("realm %+v", r)
	}
	s.m = New()
	s.fails(&Genesis{RealmID: "a", AdminID: "b", ServiceID: "c"}, ErrBadCommand)
	s.fails(&Genesis{ClusterID: "c", RealmID: "a", AdminID: "b", ServiceID: "b"}, ErrBadCommand)
	s.fails(&CreateRole{ID: "x", Name: RoleAdmin}, ErrRoleBuiltIn)
	s.fails(&CreateRealm{ID: "x", Name: NativeRealm, Type: "ldap"}, ErrRealmBuiltIn)
	s.fails(s.create(1, NativeRealm, "bob"), ErrRealmNotFound)
}

func TestMembers(t *testing.T) {
	s := newScript(t)
	joined := s.now
	s.ok(&PutMember{Member{ID: "n2", Name: "n2", Peer: "a:1", MaxVersion: 1}})
	s.ok(&PutMember{Member{ID: "n1", Name: "n1", Joined: 5}})
	s.pass(1e9)
	s.ok(&PutMember{Member{ID: "n2", Name: "n2", Peer: "b:1", MaxVersion: 1}})
	if m, ok := s.m.Member("n2"); !ok || m.Joined != joined || m.Peer != "b:1" {
		t.Errorf("member %+v", m)
	}
	if all := s.m.Members(); len(all) != 2 || all[0].ID != "n1" || all[0].Joined != joined {
		t.Errorf("members %+v", all)
	}
	for _, bad := range []Member{
		{Name: "n"},
		{ID: "n"},
		{ID: "n", Name: "n", Peer: strings.Repeat("p", 256)},
		{ID: "n", Name: "n", HTTP: strings.Repeat("p", 256)},
		{ID: "n", Name: "n", MinVersion: 2, MaxVersion: 1},
	} {
		s.fails(&PutMember{bad}, ErrBadCommand)
	}
	s.ok(&RemoveMember{"n2"})
	s.ok(&RemoveMember{"n2"})
	if _, ok := s.m.Member("n2"); ok {
		t.Error("it is still there")
	}
}

// Sessions made while a name had no record must not get the rights of a user who is given that name later.
func TestRolesFollowTheRecordThatLoggedIn(t *testing.T) {
	s := newScript(t)
	s.ok(s.create(1, NativeRealm, "eve"))
	s.ok(&CreateUser{ID: "u-eve", Realm: NativeRealm, Username: "eve", RoleNames: []string{RoleAdmin}})
	if v, _ := s.m.Lookup(key(1)); v.User != nil || v.HasRole(RoleAdmin) {
		t.Errorf("view %+v", v)
	}
	s.ok(s.create(2, NativeRealm, "eve"))
	mod := s.index
	v, _ := s.m.Lookup(key(2))
	if !v.HasRole(RoleAdmin) || v.Mod != mod {
		t.Errorf("view %+v", v)
	}
	s.ok(&UpdateUser{ID: "u-eve", RoleNames: new([]string{"dev"})})
	if v, _ = s.m.Lookup(key(2)); v.HasRole(RoleAdmin) || v.Mod != s.index {
		t.Errorf("view %+v", v)
	}
	s.ok(&UpdateRealm{ID: "e0", Enabled: true, RoleNames: []string{RoleService, "dev"}})
	if v, _ = s.m.Lookup(key(2)); !slices.Equal(v.Roles(), []string{"dev", RoleService}) || v.Mod != s.index {
		t.Errorf("view %+v with roles %v", v, v.Roles())
	}
	// Fixed roles follow nothing, not even when there are none of them.
	c := s.create(3, NativeRealm, "eve")
	c.FixedRoles = true
	s.ok(c)
	s.m = reread(t, s.m)
	if v, _ = s.m.Lookup(key(3)); len(v.Roles()) != 0 || v.HasRole("dev") {
		t.Errorf("roles %v", v.Roles())
	}
}
