package session

import (
	"slices"
	"strings"
	"testing"
)

// limit sets the limits of a script's cluster.
func (s *script) limit(l Limits) {
	s.t.Helper()
	s.ok(&SetLimits{Limits: l})
}

// loggedIn logs a user of corp in once for each key.
func (s *script) loggedIn(who string, keys ...byte) {
	s.t.Helper()
	for _, k := range keys {
		s.ok(s.create(k, "corp", who))
	}
}

// has checks which sessions a user of corp has, oldest first.
func (s *script) has(who string, want ...byte) {
	s.t.Helper()
	var got []byte
	for _, x := range s.m.SessionsOf("corp", who) {
		got = append(got, x.Key[0])
	}
	if !slices.Equal(got, want) {
		s.t.Fatalf("%s has the sessions %v, want %v", who, got, want)
	}
}

func TestLimitsAreRefused(t *testing.T) {
	s := newScript(t)
	for _, bad := range []Limits{
		{SessionsPerUser: -1},
		{SessionsPerUser: MaxSessionsPerUser + 1},
		{Sessions: -1},
		{Sessions: MaxSessions + 1},
		{Attributes: -1},
		{Attributes: MaxAttributes + 1},
		{SessionBytes: -1},
		{SessionBytes: MaxSessionBytes + 1},
	} {
		s.fails(&SetLimits{Limits: bad}, ErrBadLimits)
		if bad.Valid() {
			t.Errorf("%+v is valid", bad)
		}
	}
	if s.m.Modern() {
		t.Error("a refused command made the machine modern")
	}
	standard := Limits{SessionsPerUser: 100, Attributes: 64, SessionBytes: 16384}
	if s.m.Limits() != standard {
		t.Errorf("limits %+v", s.m.Limits())
	}
	most := Limits{SessionsPerUser: 1000, RefuseLogins: true, Sessions: MaxSessions, Attributes: 64, SessionBytes: 16384}
	s.limit(most)
	if s.m.Limits() != most || reread(t, s.m).Limits() != most || !s.m.Modern() {
		t.Errorf("limits %+v, modern %v", s.m.Limits(), s.m.Modern())
	}
	s.limit(Limits{})
	if s.m.Limits() != standard {
		t.Errorf("limits %+v", s.m.Limits())
	}
}

func TestSessionsOfAUserAreLimited(t *testing.T) {
	s := newScript(t)
	s.limit(Limits{SessionsPerUser: 3})
	s.loggedIn("eve", 1, 2, 3)
	s.loggedIn("fay", 10)
	if res := s.ok(s.create(4, "corp", "eve")); res.Ended != 1 {
		t.Errorf("ended %d, want 1", res.Ended)
	}
	s.gone(1, EndedByEviction)
	s.has("eve", 2, 3, 4)
	s.has("fay", 10)

	c := s.create(5, "corp", "eve") // ends with the login and leaves its place: nobody has to go for it
	c.Replaces = key(3)
	if res := s.ok(c); res.Ended != 1 {
		t.Errorf("ended %d, want 1", res.Ended)
	}
	s.gone(3, EndedByLogin)
	s.has("eve", 2, 4, 5)
	c = s.create(6, "corp", "eve") // another user's leaves no place to this one
	c.Replaces = key(10)
	if res := s.ok(c); res.Ended != 2 {
		t.Errorf("ended %d, want 2", res.Ended)
	}
	s.gone(2, EndedByEviction)
	s.has("eve", 4, 5, 6)
	s.has("fay")

	// A lowered limit takes nothing away until the next login, which evicts down to it.
	s.limit(Limits{SessionsPerUser: 1})
	s.has("eve", 4, 5, 6)
	if res := s.ok(s.create(7, "corp", "eve")); res.Ended != 3 {
		t.Errorf("ended %d, want 3", res.Ended)
	}
	s.has("eve", 7)
	if res := s.ok(s.create(8, "corp", "eve")); res.Ended != 1 { // the only one
		t.Errorf("ended %d, want 1", res.Ended)
	}
	s.has("eve", 8)
	c = s.create(9, "corp", "eve")
	c.Replaces = key(8)
	if res := s.ok(c); res.Ended != 1 {
		t.Errorf("ended %d, want 1", res.Ended)
	}
	s.has("eve", 9)
	if res := s.ok(&EndUser{Realm: "corp", Username: "eve"}); res.Ended != 1 {
		t.Errorf("ended %d, want 1", res.Ended)
	}
	s.ok(s.create(11, "corp", "eve")) // what has ended and is to be swept takes no place
	s.has("eve", 11)
}

func TestMostSessionsOfAUser(t *testing.T) {
	s := newScript(t)
	s.limit(Limits{SessionsPerUser: MaxSessionsPerUser})
	login := func(i int) Result {
		c := s.create(0, "corp", "eve")
		c.Key = Key{byte(i), byte(i >> 8), 15: 4}
		return s.ok(c)
	}
	for i := range MaxSessionsPerUser {
		if res := login(i); res.Ended != 0 {
			t.Fatalf("session %d evicted %d", i, res.Ended)
		}
	}
	s.m = reread(t, s.m)
	if res := login(MaxSessionsPerUser); res.Ended != 1 {
		t.Errorf("ended %d, want 1", res.Ended)
	}
	s.limit(Limits{})
	if res := login(MaxSessionsPerUser + 1); res.Ended != MaxSessionsPerUser-DefaultSessionsPerUser+1 {
		t.Errorf("ended %d", res.Ended)
	}
	if n := len(s.m.SessionsOf("corp", "eve")); n != DefaultSessionsPerUser {
		t.Errorf("%d sessions", n)
	}
	// A sweep of as many at once goes through a snapshot.
	s.limit(Limits{SessionsPerUser: MaxSessionsPerUser})
	for i := range MaxSessionsPerUser {
		login(2000 + i)
	}
	s.ok(&EndUser{Realm: "corp", Username: "eve"})
	s.m = reread(t, s.m)
	if res := s.ok(&Sweep{}); res.Ended != MaxSessionsPerUser {
		t.Errorf("swept %d", res.Ended)
	}
}

func TestLoginsAreRefused(t *testing.T) {
	s := newScript(t)
	s.limit(Limits{SessionsPerUser: 2, RefuseLogins: true})
	s.loggedIn("eve", 1, 2)
	s.fails(s.create(3, "corp", "eve"), ErrLimitUserSessions)
	res := s.do(s.create(3, "corp", "eve"))[0]
	if !strings.Contains(res.Err.Message, " 2 ") {
		t.Errorf("it does not say how many: %s", res.Err.Message)
	}
	s.loggedIn("fay", 10)
	c := s.create(3, "corp", "eve")
	c.Replaces = key(10) // another user's is of no help, and stays
	s.fails(c, ErrLimitUserSessions)
	s.has("fay", 10)
	c.Replaces = key(1)
	s.ok(c)
	s.has("eve", 2, 3)
	s.ok(&Invalidate{Key: key(2), Reason: EndedByLogout})
	s.loggedIn("eve", 4)
	s.limit(Limits{SessionsPerUser: 1, RefuseLogins: true})
	s.has("eve", 3, 4)
	c = s.create(5, "corp", "eve")
	c.Replaces = key(3) // one too many even so
	s.fails(c, ErrLimitUserSessions)
	s.ok(&EndUser{Realm: "corp", Username: "eve"})
	s.loggedIn("eve", 6)
	s.ok(&EndAll{})
	s.loggedIn("eve", 7)
}

func TestSessionsInTotalAreLimited(t *testing.T) {
	s := newScript(t)
	s.limit(Limits{SessionsPerUser: 2, Sessions: 4})
	s.loggedIn("eve", 1, 2)
	s.loggedIn("fay", 3)
	s.loggedIn("gus", 4)
	s.fails(s.create(5, "corp", "hal"), ErrLimitSessions)
	s.fails(s.create(5, NativeRealm, "bob"), ErrLimitSessions)
	s.fails(s.create(5, "corp", "fay"), ErrLimitSessions)
	if res := s.do(s.create(5, "corp", "fay"))[0]; !strings.Contains(res.Err.Message, " 4 ") {
		t.Errorf("it does not say how many: %s", res.Err.Message)
	}
	s.loggedIn("eve", 5) // her oldest goes for it
	s.has("eve", 2, 5)
	c := s.create(6, "corp", "hal")
	c.Replaces = key(3)
	s.ok(c)
	s.has("hal", 6)
	s.ok(&Invalidate{Key: key(4), Reason: EndedByLogout})
	s.loggedIn("gus", 7)
	s.fails(s.create(8, "corp", "fay"), ErrLimitSessions)

	// Those that an end index has ended do not count, swept or not.
	s.ok(&EndUser{Realm: "corp", Username: "hal"})
	s.loggedIn("fay", 8)
	s.m = reread(t, s.m)
	s.fails(s.create(9, "corp", "fay"), ErrLimitSessions)
	s.ok(&Sweep{})
	s.fails(s.create(9, "corp", "fay"), ErrLimitSessions)

	// A lowered limit takes nothing away.
	s.limit(Limits{SessionsPerUser: 2, Sessions: 2})
	s.has("eve", 2, 5)
	s.fails(s.create(9, "corp", "eve"), ErrLimitSessions) // one goes, one comes, and there were too many
	s.has("eve", 2, 5)
	s.limit(Limits{SessionsPerUser: 1, Sessions: 3})
	if res := s.ok(s.create(9, "corp", "eve")); res.Ended != 2 {
		t.Errorf("ended %d, want 2", res.Ended)
	}
	s.ok(&EndAll{})
	s.loggedIn("eve", 11)
	s.loggedIn("fay", 12)
	s.loggedIn("gus", 13)
	s.fails(s.create(14, "corp", "hal"), ErrLimitSessions)
	s.limit(Limits{})
	s.loggedIn("hal", 14)
}

// Of the logins in one entry none can pass the limit beside the others.
func TestLimitsHoldWithinAnEntry(t *testing.T) {
	s := newScript(t)
	s.limit(Limits{Sessions: 3, SessionsPerUser: 2, RefuseLogins: true})
	var cmds []Command
	for k, who := range []string{"eve", "eve", "eve", "fay", "gus"} {
		cmds = append(cmds, s.create(byte(k+1), "corp", who))
	}
	var got []string
	for _, res := range s.do(cmds...) {
		got = append(got, show(res))
	}
	if got[2] != ErrLimitUserSessions.Code || got[4] != ErrLimitSessions.Code || s.m.Stats().Sessions != 3 {
		t.Errorf("results %v", got)
	}
}

func TestAttributesAreLimited(t *testing.T) {
	s := newScript(t)
	s.login(1)
	s.ok(&Put{Key: key(1), Attrs: attrs(5, 6)}) // 50 bytes
	s.limit(Limits{Attributes: 3, SessionBytes: 20})
	if n := len(s.session(1).Attrs); n != 5 {
		t.Errorf("%d attributes", n)
	}
	s.fails(&Put{Key: key(1), Attrs: []Attr{{"k000", ""}}}, ErrLimitAttributes)
	s.ok(&Delete{Key: key(1), Names: []string{"k000"}}) // less is always possible
	s.fails(&Put{Key: key(1), Attrs: []Attr{{"k001", ""}}}, ErrLimitAttributes)
	s.ok(&Delete{Key: key(1), Names: []string{"k001"}})
	s.fails(&Put{Key: key(1), Attrs: []Attr{{"k002", "vvvvv"}}}, ErrLimitSessionBytes)
	s.ok(&Put{Key: key(1), Attrs: []Attr{{"k002", ""}, {"k003", ""}}}) // 18 bytes
	s.ok(&Put{Key: key(1), Attrs: []Attr{{"k002", "vv"}}})
	s.fails(&Put{Key: key(1), Attrs: []Attr{{"k002", "vvv"}}}, ErrLimitSessionBytes)
	s.fails(&Put{Key: key(1), Attrs: []Attr{{"x", ""}}}, ErrLimitAttributes)

	c := s.create(2, NativeRealm, "bob")
	c.Attrs = attrs(4, 0)
	s.fails(c, ErrLimitAttributes)
	c.Attrs = attrs(3, 3)
	s.fails(c, ErrLimitSessionBytes)
	for _, tc := range []struct {
		attrs []Attr
		want  string
	}{{attrs(4, 0), " 3 "}, {[]Attr{{"k002", "vvv"}}, " 20 "}, {attrs(65, 0), " 64 "}} {
		if res := s.do(&Put{Key: key(1), Attrs: tc.attrs})[0]; !strings.Contains(res.Err.Message, tc.want) {
			t.Errorf("it does not say%s: %s", tc.want, res.Err.Message)
		}
	}
	c.Attrs = attrs(3, 2)
	s.ok(c)
	// Ended for nothing: a login that is refused leaves what it would replace.
	c = s.create(3, NativeRealm, "bob")
	c.Attrs, c.Replaces = attrs(4, 0), key(2)
	s.fails(c, ErrLimitAttributes)
	s.session(2)
	s.limit(Limits{})
	s.ok(&Put{Key: key(1), Attrs: attrs(64, 200)})
}

func TestOwners(t *testing.T) {
	s := newScript(t)
	s.ok(&CreateRealm{ID: "e2", Name: "lab", Type: "ldap", Enabled: true})
	s.loggedIn("eve", 5, 3, 7)
	s.ok(s.create(4, "lab", "eve"))
	s.loggedIn("fay", 6, 8)
	s.login(1)
	eve, labsEve, fay := Owner{"corp", "eve"}, Owner{"lab", "eve"}, Owner{"corp", "fay"}
	owners := func(want ...Owner) {
		t.Helper()
		for limit := 1; limit < 10; limit++ {
			if got := ownersOf(s.m, limit); !slices.Equal(got, want) {
				t.Fatalf("owners %v, want %v", got, want)
			}
		}
	}
	owners(labsEve, eve, fay) // at the keys 4, 5, 6
	if page, next := s.m.Owners(Key{}, 3); len(page) != 1 || next != key(4) {
		t.Errorf("a page of three sessions: %v %s", page, next)
	}
	if page, next := s.m.Owners(key(4), 2); len(page) != 2 || next != key(6) {
		t.Errorf("the next page: %v %s", page, next)
	}
	for _, limit := range []int{0, -1} {
		if page, next := s.m.Owners(key(4), limit); len(page) != 0 || next != key(4) {
			t.Errorf("a page of %d: %v %s", limit, page, next)
		}
	}
	s.ok(&Invalidate{Key: key(5), Reason: EndedByLogout})
	owners(eve, labsEve, fay) // eve's oldest is 3 now
	s.ok(&EndUser{Realm: "corp", Username: "fay"})
	owners(eve, labsEve)
	s.ok(&DeleteRealm{ID: "e2"})
	owners(eve)
	s.ok(&EndAll{})
	owners()
	s.loggedIn("fay", 20)
	owners(fay)
	s.ok(&Sweep{})
	owners(fay)
}

// Of two who have read the same, the one that comes second is told: what the first has set is not undone.
func TestChangesOfWhatHasChanged(t *testing.T) {
	s := busy(t)
	before := s.m.SetLimits()
	s.ok(&SetLimits{Limits: Limits{SessionsPerUser: 7}, If: &before})
	s.fails(&SetLimits{Limits: Limits{Sessions: 9}, If: &before}, ErrRevisionMoved)
	if got := s.m.SetLimits(); got != (Limits{SessionsPerUser: 7}) {
		t.Errorf("%+v", got)
	}
	realm, _ := s.m.RealmByName(NativeRealm)
	s.ok(&UpdateRealm{ID: realm.ID, Enabled: true, IfRev: realm.Rev, Config: []byte("{}")})
	s.fails(&UpdateRealm{ID: realm.ID, Enabled: true, IfRev: realm.Rev}, ErrRevisionMoved)
	if now, _ := s.m.RealmByName(NativeRealm); string(now.Config) != "{}" || now.Rev == realm.Rev {
		t.Errorf("%+v", now)
	}
}
