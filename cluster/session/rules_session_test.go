package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCreateIsRefused(t *testing.T) {
	long := strings.Repeat("n", 129)
	for _, tc := range []struct {
		name   string
		before func(*script)
		change func(*script, *Create)
		want   *Error
	}{
		{"live key", func(s *script) { s.login(1) }, nil, ErrKeyUsed},
		{"ended key", func(s *script) { s.login(1); s.ok(&Invalidate{Key: key(1), Reason: EndedByLogout}) }, nil, ErrKeyUsed},
		{"key ended by index", func(s *script) { s.login(1); s.ok(&EndUser{Realm: NativeRealm, Username: "bob"}) }, nil, ErrKeyUsed},
		{"too late", nil, func(s *script, c *Create) { c.NotAfter = s.now - 1 }, ErrTooLate},
		{"too late comes first", func(s *script) { s.login(1) }, func(s *script, c *Create) { c.NotAfter = 1 }, ErrTooLate},
		{"unknown realm", nil, func(s *script, c *Create) { c.Realm = "lab" }, ErrRealmNotFound},
		{"disabled realm", func(s *script) { s.ok(&UpdateRealm{ID: "e1"}) }, func(s *script, c *Create) { *c = *s.create(1, "corp", "eve") }, ErrRealmDisabled},
		{"realm changed", nil, func(s *script, c *Create) { s.ok(&UpdateRealm{ID: "e0", Enabled: true}) }, ErrRevisionMoved},
		{"realm revision zero", nil, func(s *script, c *Create) { c.RealmRev = 0 }, ErrRevisionMoved},
		{"password changed meanwhile", nil, func(s *script, c *Create) { s.ok(&UpdateUser{ID: "u-bob", PasswordHash: new(Secret("n"))}) }, ErrRevisionMoved},
		{"user made meanwhile", nil, func(s *script, c *Create) {
			*c = *s.create(1, "corp", "eve")
			s.ok(&CreateUser{ID: "u-eve", Realm: "corp", Username: "eve"})
		}, ErrRevisionMoved},
		{"user removed meanwhile", nil, func(s *script, c *Create) { s.ok(&DeleteUser{ID: "u-bob"}) }, ErrRevisionMoved},
		{"no record claimed, but there is one", nil, func(s *script, c *Create) { c.UserRev = 0 }, ErrRevisionMoved},
		{"disabled user", nil, func(s *script, c *Create) {
			s.ok(&UpdateUser{ID: "u-bob", Disabled: new(true)})
			*c = *s.create(1, NativeRealm, "bob")
		}, ErrUserDisabled},
		{"bad name", nil, func(s *script, c *Create) { *c = *s.create(1, "corp", "e/ve") }, ErrBadUserName},
		{"long name", nil, func(s *script, c *Create) { *c = *s.create(1, "corp", long) }, ErrBadUserName},
		{"admin by record", nil, func(s *script, c *Create) { *c = *s.create(1, NativeRealm, "ann"); c.NoAdmin = true }, ErrPrivilegedUser},
		{
			"admin by realm", func(s *script) { s.ok(&UpdateRealm{ID: "e1", Enabled: true, RoleNames: []string{RoleAdmin}}) },
			func(s *script, c *Create) { *c = *s.create(1, "corp", "eve"); c.NoAdmin = true }, ErrPrivilegedUser,
		},
		{"admin by fixed roles", nil, func(s *script, c *Create) { c.FixedRoles, c.Roles, c.NoAdmin = true, []string{RoleAdmin}, true }, ErrPrivilegedUser},
		{"unknown fixed role", nil, func(s *script, c *Create) { c.FixedRoles, c.Roles = true, []string{"none"} }, ErrRoleNotFound},
		{"reserved attribute", nil, func(s *script, c *Create) { c.Attrs = []Attr{{"CSRFToken", "x"}} }, ErrReservedAttribute},
		{"too many attributes", nil, func(s *script, c *Create) { c.Attrs = attrs(65, 1) }, ErrLimitAttributes},
		{"no idle timeout", nil, func(s *script, c *Create) { c.Idle = 0 }, ErrBadCommand},
		{"no lifetime", nil, func(s *script, c *Create) { c.Lifetime = -time.Hour }, ErrBadCommand},
		{"no surface", nil, func(s *script, c *Create) { c.Surface = 0 }, ErrBadCommand},
		{"no key", nil, func(s *script, c *Create) { c.Key = Key{} }, ErrBadCommand},
		{"no id to make a user of", nil, func(s *script, c *Create) { *c = *s.create(1, "corp", "eve"); c.AutoCreate = true }, ErrBadCommand},
		{"another user's id", nil, func(s *script, c *Create) {
			*c = *s.create(1, "corp", "eve")
			c.AutoCreate, c.UserID = true, "u-bob"
		}, ErrBadCommand},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScript(t)
			if tc.before != nil {
				tc.before(s)
			}
			c := s.create(1, NativeRealm, "bob")
			if tc.change != nil {
				tc.change(s, c)
			}
			s.fails(c, tc.want)
		})
	}
}

func TestCreate(t *testing.T) {
	s := newScript(t)
	c := s.create(1, NativeRealm, "bob")
	c.Attrs = []Attr{{"b", "1"}, {"a", "2"}, {"b", "3"}}
	c.Agent, c.Address, c.NotAfter, c.CSRFOff = strings.Repeat("a", 255)+"é", "192.0.2.1", s.now, true
	res := s.ok(c)
	want := Session{
		Head: Head{
			Key: key(1), Realm: NativeRealm, Username: "bob", UserID: "u-bob", Surface: SurfaceFusion, CSRFOff: true,
			Created: s.now, LastUse: s.now, Expires: s.now.Add(8 * time.Hour), Idle: 30 * time.Minute,
			Seq: res.Rev, Rev: res.Rev, Mod: s.index,
		},
		Address: "192.0.2.1", Agent: strings.Repeat("a", 255), Attrs: []Attr{{"a", "2"}, {"b", "3"}},
	}
	if got := s.session(1); fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
	if v, _ := s.m.Lookup(key(1)); !slices.Equal(v.Roles(), []string{"dev"}) || !v.HasRole("dev") || v.HasRole(RoleAdmin) || v.User == nil {
		t.Errorf("view %+v with roles %v", v, v.Roles())
	}
}

func TestCreateMakesTheUser(t *testing.T) {
	s := newScript(t)
	c := s.create(1, "corp", "eve")
	c.AutoCreate, c.UserID = true, "u-eve"
	res := s.ok(c)
	u, ok := s.m.UserByName("corp", "eve")
	if !ok || u.ID != "u-eve" || u.Rev != res.Rev || s.session(1).UserID != "u-eve" {
		t.Fatalf("user %+v %v", u, ok)
	}
	// The next login has a record to check against.
	s.ok(s.create(2, "corp", "eve"))
	if got := len(s.m.SessionsOf("corp", "eve")); got != 2 {
		t.Errorf("%d sessions, want 2", got)
	}
}

// What has ended is no session, by whatever it was ended and before it is swept, and neither is another user's.
func TestSessionsFromAnAddress(t *testing.T) {
	s := newScript(t)
	from := func(username, address string, want bool) {
		t.Helper()
		for range 2 {
			if got := s.m.HasSessionFrom("corp", username, func(a string) bool { return a == address }); got != want {
				t.Errorf("%s from %s: %v", username, address, got)
			}
			s.m = reread(t, s.m)
		}
	}
	for i, address := range []string{"192.0.2.1", "", "2001:db8::1"} {
		c := s.create(byte(i+1), "corp", "eve")
		c.Address = address
		s.ok(c)
	}
	s.loggedIn("gus", 9)
	from("eve", "192.0.2.1", true)
	from("eve", "", true)
	from("eve", "2001:db8::1", true)
	from("eve", "2001:db8::2", false)
	from("Eve", "192.0.2.1", false)
	from("gus", "192.0.2.1", false)
	if s.m.HasSessionFrom("none", "eve", func(string) bool { return true }) || s.m.HasSessions("none", "eve") || s.m.HasSessions("corp", "Eve") {
		t.Error("a session of nobody")
	}
	s.ok(&Invalidate{Key: key(1), Reason: EndedByLogout})
	from("eve", "192.0.2.1", false)
	from("eve", "2001:db8::1", true)
	s.ok(&EndUser{Realm: "corp", Username: "eve"})
	from("eve", "2001:db8::1", false)
	if s.m.HasSessions("corp", "eve") || !s.m.HasSessions("corp", "gus") {
		t.Error("the wrong user has sessions")
	}
	s.ok(&EndAll{})
	from("gus", "", false)
	if s.m.HasSessions("corp", "gus") || !s.m.SweepPending() {
		t.Error("a session after the end of all")
	}
}

func TestCreateReplaces(t *testing.T) {
	s := newScript(t)
	s.login(1)
	c := s.create(2, NativeRealm, "ann") // the cookie may be another user's
	c.Replaces = key(1)
	if res := s.ok(c); res.Ended != 1 {
		t.Errorf("ended %d, want 1", res.Ended)
	}
	s.gone(1, EndedByLogin)
	c = s.create(3, NativeRealm, "ann")
	c.Replaces = key(1) // over already
	if res := s.ok(c); res.Ended != 0 {
		t.Errorf("ended %d, want 0", res.Ended)
	}
	c = s.create(4, NativeRealm, "ann")
	c.Replaces, c.RealmRev = key(3), 0
	s.fails(c, ErrRevisionMoved)
	s.session(3)
}

func TestCreateEvictsTheOldest(t *testing.T) {
	s := newScript(t)
	for i := range DefaultSessionsPerUser {
		s.login(byte(i + 1))
	}
	s.ok(s.create(201, NativeRealm, "ann"))
	s.ok(&Put{Key: key(1), Attrs: attrs(1, 1)}) // a use makes it no younger
	c := s.create(202, NativeRealm, "bob")
	c.Replaces = key(50) // makes room itself
	if res := s.ok(c); res.Ended != 1 {
		t.Errorf("ended %d, want 1", res.Ended)
	}
	s.session(1)
	if res := s.login(203); res.Ended != 1 {
		t.Errorf("ended %d, want 1", res.Ended)
	}
	s.gone(1, EndedByEviction)
	s.session(2)
	s.session(201)
	if got := len(s.m.SessionsOf(NativeRealm, "bob")); got != DefaultSessionsPerUser {
		t.Errorf("%d sessions, want %d", got, DefaultSessionsPerUser)
	}
}

func TestOnEndedSessions(t *testing.T) {
	ends := map[string]func(*script){
		"never was":      func(s *script) {},
		"logged out":     func(s *script) { s.login(1); s.ok(&Invalidate{Key: key(1), Reason: EndedByLogout}) },
		"ended by index": func(s *script) { s.login(1); s.ok(&EndUser{Realm: NativeRealm, Username: "bob"}) },
		"swept":          func(s *script) { s.login(1); s.ok(&EndUser{Realm: NativeRealm, Username: "bob"}); s.ok(&Sweep{}) },
		"expired":        func(s *script) { s.login(1); s.pass(time.Hour); s.ok(&Expire{Cutoff: s.now, Keys: []Key{key(1)}}) },
		"lifetime over":  func(s *script) { s.login(1); s.pass(8 * time.Hour) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			end(s)
			s.fails(&Put{Key: key(1), Attrs: attrs(1, 1)}, ErrSessionInvalid)
			s.fails(&Delete{Key: key(1)}, ErrSessionInvalid)
			s.fails(&Invalidate{Key: key(1), Reason: EndedByLogout}, ErrSessionInvalid)
			if name == "lifetime over" {
				return // the record is there until Expire
			}
			s.ok(&Touch{Uses: []Use{{key(1), s.now}}})
			if _, ok := s.m.Lookup(key(1)); ok {
				t.Error("it came back")
			}
		})
	}
}

func TestIdleGrace(t *testing.T) {
	s := newScript(t)
	s.login(1)
	s.login(2)
	s.pass(30*time.Minute + IdleGrace)
	s.ok(&Put{Key: key(1), Attrs: attrs(1, 1)})
	s.pass(time.Millisecond)
	s.fails(&Put{Key: key(2), Attrs: attrs(1, 1)}, ErrSessionIdle)
	s.fails(&Delete{Key: key(2)}, ErrSessionIdle)
	s.fails(&Invalidate{Key: key(2), Reason: EndedByLogout}, ErrSessionIdle)
	s.ok(&Put{Key: key(1), Attrs: attrs(1, 1)}) // the put before was a use
}

func TestPutAndDelete(t *testing.T) {
	s := newScript(t)
	first := s.login(1).Rev
	if first == 0 {
		t.Fatal("no revision")
	}
	s.pass(time.Minute)
	// Two puts in one entry have different revisions, or If-Match would let a lost update through.
	res := s.do(
		&Put{Key: key(1), Attrs: []Attr{{"b", "1"}, {"a", "1"}}, IfRev: first},
		&Put{Key: key(1), Attrs: []Attr{{"a", "2"}, {"c", "1"}, {"c", "2"}}, IfRev: first},
		&Put{Key: key(1), Attrs: []Attr{{"a", "3"}}},
	)
	if res[0].Err != nil || res[1].Err != ErrConflict || res[2].Err != nil || res[2].Rev <= res[0].Rev {
		t.Fatalf("results %+v", res)
	}
	got := s.session(1)
	if !slices.Equal(got.Attrs, []Attr{{"a", "3"}, {"b", "1"}}) || got.LastUse != s.now || got.Mod != s.index || got.Rev != res[2].Rev {
		t.Fatalf("session %+v", got)
	}
	if v, ok := got.Attr("b"); !ok || v != "1" {
		t.Errorf("attribute b: %q %v", v, ok)
	}
	s.fails(&Delete{Key: key(1), Names: []string{"a"}, IfRev: first}, ErrConflict)
	s.fails(&Delete{Key: key(1), Names: []string{"a", "CSRFToken"}}, ErrReservedAttribute)
	s.ok(&Delete{Key: key(1), Names: []string{"a", "none"}, IfRev: got.Rev})
	if after := s.session(1); !slices.Equal(after.Attrs, []Attr{{"b", "1"}}) || after.Rev <= got.Rev {
		t.Errorf("session %+v", after)
	}
	if !slices.Equal(got.Attrs, []Attr{{"a", "3"}, {"b", "1"}}) {
		t.Error("a record that was handed out has changed")
	}
	s.ok(&Put{Key: key(1), Attrs: attrs(3, 1)})
	s.ok(&Delete{Key: key(1)})
	if after := s.session(1); len(after.Attrs) != 0 || s.m.Stats().AttributeBytes != 0 {
		t.Errorf("session %+v, %d bytes", after, s.m.Stats().AttributeBytes)
	}
}

func TestAttributeLimits(t *testing.T) {
	for _, tc := range []struct {
		name  string
		attrs []Attr
		want  *Error
	}{
		{"longest key", []Attr{{strings.Repeat("k", 128), ""}}, nil},
		{"key too long", []Attr{{strings.Repeat("k", 129), ""}}, ErrLimitAttributeKey},
		{"no key", []Attr{{"", "x"}}, ErrLimitAttributeKey},
		{"longest value", []Attr{{"k", strings.Repeat("v", 4096)}}, nil},
		{"value too long", []Attr{{"k", strings.Repeat("v", 4097)}}, ErrLimitAttributeValue},
		{"most", attrs(64, 1), nil},
		{"too many", attrs(65, 1), ErrLimitAttributes},
		{"one pair wrong of many", append(attrs(3, 1), Attr{"CSRFToken", ""}), ErrReservedAttribute},
		{"bytes full", attrs(4, 4096-4), nil},
		{"bytes over", append(attrs(4, 4096-4), Attr{"x", ""}), ErrLimitSessionBytes},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScript(t)
			s.login(1)
			if tc.want == nil {
				s.ok(&Put{Key: key(1), Attrs: tc.attrs})
				return
			}
			s.fails(&Put{Key: key(1), Attrs: tc.attrs}, tc.want)
		})
	}
	// Over the limit only together with what is there; a pair in place of another counts for the difference.
	s := newScript(t)
	s.login(1)
	s.ok(&Put{Key: key(1), Attrs: attrs(64, 1)})
	s.fails(&Put{Key: key(1), Attrs: []Attr{{"k000", "new"}, {"one-more", ""}}}, ErrLimitAttributes)
	s.ok(&Put{Key: key(1), Attrs: []Attr{{"k000", "new"}}})
}

func TestTouch(t *testing.T) {
	s := newScript(t)
	s.login(1)
	before := *s.session(1)
	s.pass(time.Minute)
	for _, tc := range []struct {
		at, want Time
	}{
		{start - 1000, start},
		{start + 20_000, start + 20_000},
		{start + 10_000, start + 20_000}, // never back
		{start + 999_000, start + 60_000},
	} {
		s.ok(&Touch{Uses: []Use{{key(9), tc.at}, {key(1), tc.at}}})
		if got := s.session(1).LastUse; got != tc.want {
			t.Errorf("touched at %d: last use %d, want %d", tc.at-start, got-start, tc.want-start)
		}
	}
	after := *s.session(1)
	if after.Rev != before.Rev || after.Mod != before.Mod {
		t.Errorf("a touch moved the revision or mod: %+v", after)
	}
}

func TestExpire(t *testing.T) {
	for _, tc := range []struct {
		name   string
		do     func(*script)
		cutoff time.Duration // after start
		want   Reason        // 0: it goes on
	}{
		{"idle", func(s *script) { s.pass(30 * time.Minute) }, 30 * time.Minute, EndedByIdle},
		{"not yet", func(s *script) { s.pass(time.Hour) }, 30*time.Minute - time.Millisecond, 0},
		{"touched first", func(s *script) {
			s.pass(time.Hour)
			s.ok(&Touch{Uses: []Use{{key(1), start + 1}}})
		}, 30 * time.Minute, 0},
		{"cutoff in the future", func(s *script) { s.pass(29 * time.Minute) }, 31 * time.Minute, 0},
		{"lifetime", func(s *script) {
			s.pass(8*time.Hour - time.Minute)
			s.ok(&Touch{Uses: []Use{{key(1), s.now}}})
			s.pass(time.Minute)
		}, 0, EndedByLifetime},
		{"both, idle first", func(s *script) { s.pass(9 * time.Hour) }, 9 * time.Hour, EndedByIdle},
		{"both, lifetime first", func(s *script) {
			s.pass(8*time.Hour - time.Minute)
			s.ok(&Touch{Uses: []Use{{key(1), s.now}}})
			s.pass(time.Hour)
		}, 9 * time.Hour, EndedByLifetime},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScript(t)
			s.login(1)
			tc.do(s)
			res := s.ok(&Expire{Cutoff: start.Add(tc.cutoff), Keys: []Key{key(9), key(1), key(1)}})
			if tc.want == 0 {
				s.session(1)
			} else {
				s.gone(1, tc.want)
			}
			if want := uint32(min(tc.want, 1)); res.Ended != want {
				t.Errorf("ended %d, want %d", res.Ended, want)
			}
		})
	}
}

func TestTombstonesAreForgotten(t *testing.T) {
	s := newScript(t)
	s.login(1)
	s.ok(&Invalidate{Key: key(1), Reason: EndedByLogout})
	s.pass(TombstoneLife - time.Millisecond)
	s.fails(s.create(1, NativeRealm, "bob"), ErrKeyUsed)
	s.pass(time.Millisecond)
	s.ok(&Tick{})
	if _, ok := s.m.Tombstone(key(1)); ok || s.m.Stats().Tombstones != 0 {
		t.Error("it is still there")
	}
}

func TestTombstonesAreForgottenInBoundedSteps(t *testing.T) {
	s := newScript(t)
	const n = maxPrune + 10
	var k Key
	for i := range n {
		k[0], k[1], k[2] = byte(i), byte(i>>8), 1
		c := s.create(0, "corp", "eve")
		c.Key = k
		s.do(c, &Invalidate{Key: k, Reason: EndedByLogout})
	}
	s.pass(time.Hour)
	for _, want := range []int{n - maxPrune, 0} {
		s.ok(&Tick{})
		if got := s.m.Stats().Tombstones; got != want {
			t.Errorf("%d tombstones left, want %d", got, want)
		}
	}
}

// attrs returns n attributes with keys of four bytes and values of that size.
func attrs(n, size int) []Attr {
	var out []Attr
	for i := range n {
		out = append(out, Attr{fmt.Sprintf("k%03d", i), strings.Repeat("v", size)})
	}
	return out
}
