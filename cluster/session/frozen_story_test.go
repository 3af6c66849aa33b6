package session

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// story is what the frozen logs tell: a cluster's life with every command, and every refusal. It returns the entry
// after which there is most to be told by a snapshot. The log of a version has the newest commands of that version.
func story(t *testing.T, version int) (s *script, mark uint64) {
	s = newScript(t)
	storyOfRecords(s)
	storyOfMembers(s, version)
	storyOfSessions(s)
	storyOfLimits(s)
	storyOfTime(s, version)
	storyOfEnds(s)
	if version >= 4 {
		storyOfQuotas(s)
		storyOfNames(s)
		storyOfEndAll(s)
	}
	mark = s.index
	storyOfSweeps(s, version)
	storyOfPace(s, version)
	if version >= 3 {
		s.ok(&Handover{})
		s.ok(&Tick{})
	}
	return s, mark
}

func storyOfRecords(s *script) {
	s.ok(&Genesis{ClusterID: "c1", RealmID: "x", AdminID: "y", ServiceID: "z"})
	s.fails(&Genesis{ClusterID: "c2", RealmID: "x", AdminID: "y", ServiceID: "z"}, ErrOtherCluster)
	s.pass(1500 * time.Millisecond)
	s.ok(&CreateRole{ID: "ro", Name: "ops", Desc: "operators"})
	s.ok(&UpdateRole{ID: "ro", Desc: "they operate"})
	s.ok(&CreateRole{ID: "rx", Name: "gone"})
	s.ok(&DeleteRole{ID: "rx"})
	s.fails(&DeleteRole{ID: "rx"}, ErrRoleNotFound)
	s.fails(&DeleteRole{ID: "rd"}, ErrRoleInUse)
	s.fails(&DeleteRole{ID: "ra"}, ErrRoleBuiltIn)
	s.fails(&CreateRole{ID: "rx", Name: "no/name"}, ErrBadRoleName)
	s.fails(&CreateRole{ID: "rx", Name: "ops"}, ErrRoleExists)
	s.fails(&CreateRole{ID: "rx", Name: "long", Desc: strings.Repeat("d", MaxDescription+1)}, ErrLimitDescription)

	s.fails(&CreateUser{ID: "u-first", Realm: NativeRealm, Username: "first", First: true}, ErrNotFirstUser)
	s.fails(&CreateUser{ID: "u-cyd", Realm: NativeRealm, Username: "c/yd"}, ErrBadUserName)
	s.fails(&CreateUser{ID: "u-cyd", Realm: NativeRealm, Username: "bob"}, ErrUserExists)
	s.ok(&CreateUser{ID: "u-cyd", Realm: NativeRealm, Username: "cyd", RoleNames: []string{"ops", "dev", "ops"}, PasswordHash: "h1"})
	s.ok(&UpdateUser{ID: "u-cyd", RoleNames: new([]string{"ops"})})
	s.ok(&UpdateUser{ID: "u-cyd", PasswordHash: new(Secret("h2"))})
	s.ok(&CreateUser{ID: "u-dan", Realm: NativeRealm, Username: "dan"})
	s.ok(&UpdateUser{ID: "u-dan", Disabled: new(true)})
	s.ok(&CreateUser{ID: "u-gone", Realm: NativeRealm, Username: "gone", RoleNames: []string{RoleAdmin}})
	s.ok(&DeleteUser{ID: "u-gone"})
	s.fails(&DeleteUser{ID: "u-gone"}, ErrUserNotFound)
	s.fails(&DeleteUser{ID: "u-ann"}, ErrLastAdmin)
	s.fails(&UpdateUser{ID: "u-ann", Disabled: new(true)}, ErrLastAdmin)

	s.ok(&CreateRealm{ID: "e2", Name: "lab", Type: "ldap", Enabled: true, RoleNames: []string{"ops"}, Config: []byte(`{"host":"h"}`)})
	s.ok(&UpdateRealm{ID: "e2", Enabled: true, RoleNames: []string{"dev", "ops"}, Config: []byte(`{}`)})
	s.ok(&CreateRealm{ID: "e3", Name: "off", Type: "ldap"})
	s.ok(&CreateRealm{ID: "e4", Name: "gone", Type: "ldap"})
	s.ok(&DeleteRealm{ID: "e4"})
	s.fails(&DeleteRealm{ID: "e4"}, ErrRealmNotFound)
	s.fails(&DeleteRealm{ID: "e0"}, ErrRealmBuiltIn)
	s.fails(&CreateRealm{ID: "e4", Name: "no/name", Type: "ldap"}, ErrBadRealmName)
	s.fails(&CreateRealm{ID: "e4", Name: "lab", Type: "ldap"}, ErrRealmExists)
	s.fails(&CreateRealm{ID: "e4", Name: "big", Type: "ldap", Config: make([]byte, MaxRealmConfig+1)}, ErrLimitRealmConfig)
}

func storyOfMembers(s *script, version int) {
	mem := Member{ID: "n1", Name: "n1", Peer: "10.0.0.1:7000", HTTP: "10.0.0.1:8080", MinVersion: 1, MaxVersion: 1}
	s.ok(&PutMember{mem})
	s.pass(time.Second)
	mem.Peer = "10.0.0.9:7000" // moved: the time of joining stays
	s.ok(&PutMember{mem})
	s.ok(&PutMember{Member{ID: "n2", Name: "n2", ReadReplica: true, MinVersion: 1, MaxVersion: 1, Joined: 5}})
	s.ok(&PutMember{Member{ID: "n3", Name: "n3", MaxVersion: 1}})
	s.ok(&RemoveMember{"n3"})
	s.ok(&RemoveMember{"n4"})
	s.fails(&PutMember{Member{ID: "n5", Name: "n5", MinVersion: 2, MaxVersion: 1}}, ErrBadCommand)
	if version < 2 {
		return
	}
	s.ok(&PutMember{Member{ID: "n2", Name: "n2", ReadReplica: true, MinVersion: 1, MaxVersion: 2, Pin: PinVoter}})
	s.ok(&PutMember{Member{ID: "n6", Name: "n6", MinVersion: 1, MaxVersion: 2, Pin: PinNonVoter}})
	s.ok(&PutMember{Member{ID: "n7", Name: "n7", MinVersion: 1, MaxVersion: 2, Pin: PinNonVoter}})
	s.ok(&PutMember{Member{ID: "n7", Name: "n7", MinVersion: 1, MaxVersion: 2}}) // unpinned
	s.fails(&PutMember{Member{ID: "n8", Name: "n8", MaxVersion: 2, Pin: PinNonVoter + 1}}, ErrBadCommand)
	s.ok(&Pace{Touch: time.Minute, Grace: 4 * time.Minute})
	s.fails(&Pace{Touch: 5 * time.Minute, Grace: 4 * time.Minute}, ErrBadCommand)
	s.fails(&Pace{Touch: -1}, ErrBadCommand)
	s.fails(&Pace{Grace: MaxPace + 1}, ErrBadCommand)
}

func storyOfSessions(s *script) {
	c := s.create(1, NativeRealm, "bob")
	c.Attrs = []Attr{{"size", "1"}, {"colour", "blue"}, {"size", "2"}}
	c.Agent, c.Address, c.CSRFOff, c.Surface = strings.Repeat("a", MaxAgent-1)+"é", strings.Repeat("1", MaxAddress+1), true, SurfaceMMonit
	c.NotAfter = s.now
	s.ok(c)
	c = s.create(2, "lab", "eve")
	c.FixedRoles, c.Roles, c.AutoCreate, c.UserID, c.Surface, c.NoAdmin = true, []string{"ops", "dev"}, true, "u-eve", SurfaceService, true
	s.ok(c)
	c = s.create(3, "lab", "fay") // never has a record
	c.FixedRoles, c.UserID = true, "x-fay"
	s.ok(c)
	c = s.create(4, NativeRealm, "ann")
	c.Replaces = key(1)
	s.ok(c)

	refused := func(want *Error, realm, username string, change func(*Create)) {
		c := s.create(9, realm, username)
		change(c)
		s.fails(c, want)
	}
	refused(ErrKeyUsed, NativeRealm, "bob", func(c *Create) { c.Key = key(1) })
	refused(ErrKeyUsed, NativeRealm, "bob", func(c *Create) { c.Key = key(2) })
	refused(ErrTooLate, NativeRealm, "bob", func(c *Create) { c.NotAfter = s.now - 1 })
	refused(ErrRevisionMoved, NativeRealm, "bob", func(c *Create) { c.UserRev-- })
	refused(ErrRevisionMoved, "corp", "bob", func(c *Create) { c.RealmRev++ })
	refused(ErrPrivilegedUser, NativeRealm, "ann", func(c *Create) { c.NoAdmin = true })
	refused(ErrBadUserName, "corp", "b/ob", func(*Create) {})
	refused(ErrUserDisabled, NativeRealm, "dan", func(*Create) {})
	refused(ErrRealmDisabled, "off", "bob", func(*Create) {})
	refused(ErrRealmNotFound, "none", "bob", func(*Create) {})
	refused(ErrRoleNotFound, "corp", "bob", func(c *Create) { c.FixedRoles, c.Roles = true, []string{"none"} })
	refused(ErrBadCommand, "corp", "bob", func(c *Create) { c.AutoCreate = true })
	refused(ErrBadCommand, "corp", "bob", func(c *Create) { c.Idle = 0 })

	s.pass(10 * time.Second)
	rev := s.ok(&Put{Key: key(2), Attrs: []Attr{{"a", "1"}, {"b", "2"}, {"c", ""}}}).Rev
	s.ok(&Put{Key: key(2), Attrs: []Attr{{"a", "3"}}, IfRev: rev})
	s.fails(&Put{Key: key(2), Attrs: []Attr{{"a", "4"}}, IfRev: rev}, ErrConflict)
	s.fails(&Delete{Key: key(2), IfRev: rev}, ErrConflict)
	s.ok(&Delete{Key: key(2), Names: []string{"b", "none"}})
	s.ok(&Put{Key: key(4), Attrs: []Attr{{"x", "y"}}})
	s.ok(&Delete{Key: key(4)})
	s.ok(&Invalidate{Key: key(4), Reason: EndedByLogout})
	s.fails(&Invalidate{Key: key(4), Reason: EndedByLogout}, ErrSessionInvalid)
	s.fails(&Invalidate{Key: key(2), Reason: reasonCountV3}, ErrBadCommand)
	s.do(s.create(5, "corp", "eve"), &Invalidate{Key: key(5), Reason: EndedByOrphan}, s.create(6, "corp", "eve"), &Invalidate{Key: key(6), Reason: EndedByAdmin})
	var many []Command
	for i := range DefaultSessionsPerUser + 2 {
		c := s.create(0, "corp", "many")
		c.Key = Key{byte(i), 7, 15: 7}
		many = append(many, c)
	}
	s.do(many...)
}

func storyOfLimits(s *script) {
	for _, tc := range []struct {
		attrs []Attr
		want  *Error
	}{
		{[]Attr{{strings.Repeat("k", MaxAttributeKey+1), ""}}, ErrLimitAttributeKey},
		{[]Attr{{"", "x"}}, ErrLimitAttributeKey},
		{[]Attr{{"k", strings.Repeat("v", MaxAttributeValue+1)}}, ErrLimitAttributeValue},
		{attrs(MaxAttributes, 0), ErrLimitAttributes}, // with the one that is there
		{attrs(4, MaxAttributeValue), ErrLimitSessionBytes},
		{[]Attr{{ReservedAttribute, "x"}}, ErrReservedAttribute},
	} {
		s.fails(&Put{Key: key(2), Attrs: tc.attrs}, tc.want)
	}
	s.fails(&Delete{Key: key(2), Names: []string{"a", ReservedAttribute}}, ErrReservedAttribute)
	var names []string
	for i := range MaxRoles + 1 {
		names = append(names, fmt.Sprintf("role%02d", i))
		s.do(&CreateRole{ID: names[i], Name: names[i]})
	}
	s.fails(&UpdateUser{ID: "u-cyd", RoleNames: &names}, ErrLimitRoles)
	s.ok(&UpdateUser{ID: "u-cyd", RoleNames: new(names[1:])})
}

// storyOfTime has sessions come to their ends, and not to, by a millisecond.
func storyOfTime(s *script, version int) {
	t0 := s.now
	for k, idle := range []time.Duration{30, 30, 30, 30, 10} {
		c := s.create(byte(20+k), NativeRealm, "bob")
		c.Idle = idle * time.Minute
		s.ok(c)
	}
	old := s.create(25, NativeRealm, "bob")
	old.Lifetime = 29 * time.Minute
	s.ok(old)
	s.pass(time.Minute)
	s.ok(&Touch{Uses: []Use{{key(20), s.now.Add(-20 * time.Second)}, {key(21), s.now.Add(time.Hour)}, {key(99), s.now}, {key(22), t0 - 1}}})
	s.now = t0.Add(10*time.Minute + IdleGrace)
	s.ok(&Put{Key: key(24), Attrs: []Attr{{"late", "but not too late"}}})
	s.now = t0.Add(29 * time.Minute)
	s.fails(&Put{Key: key(25), Attrs: []Attr{{"x", "y"}}}, ErrSessionInvalid)
	s.now = t0.Add(30 * time.Minute)
	all := []Key{key(20), key(21), key(22), key(23), key(24), key(25), key(99)}
	s.ok(&Expire{Cutoff: s.now - 1, Keys: all}) // by lifetime 25, by idleness 24
	s.ok(&Expire{Cutoff: s.now.Add(time.Hour), Keys: []Key{key(22), key(20)}})
	// By what the pace forgives, and no more.
	grace := IdleGrace
	if version >= 2 {
		grace = 4*time.Minute + TouchSlack
	}
	s.now = t0.Add(30*time.Minute + grace)
	s.ok(&Put{Key: key(23), Attrs: []Attr{{"late", "but not too late"}}})
	s.now = t0.Add(30 * time.Minute).Add(40 * time.Second).Add(grace).Add(time.Millisecond)
	s.fails(&Put{Key: key(20), Attrs: []Attr{{"too", "late"}}}, ErrSessionIdle)
	s.fails(&Invalidate{Key: key(20), Reason: EndedByLogout}, ErrSessionIdle)
	s.now-- // an entry stamped earlier: the clock stands
	s.fails(&Delete{Key: key(20)}, ErrSessionIdle)
	s.now++
	s.pass(TombstoneLife) // the first tombstones go
	s.ok(&Tick{})
}

// storyOfEnds leaves sweeps of users and of a realm behind, half in use again.
func storyOfEnds(s *script) {
	for k, who := range []string{"ann", "ann", "bob", "cyd"} {
		s.ok(s.create(byte(40+k), NativeRealm, who))
	}
	for k, who := range []string{"eve", "fay", "fay"} {
		s.ok(s.create(byte(50+k), "lab", who))
	}
	s.ok(s.create(53, "corp", "eve"))
	s.do(s.create(44, NativeRealm, "ann"), &EndUser{Realm: NativeRealm, Username: "ann"}, s.create(45, NativeRealm, "ann"))
	s.ok(&EndUser{Realm: "corp", Username: "none"})
	s.ok(&EndUser{Realm: "lab", Username: "fay"})
	s.ok(s.create(54, "lab", "fay"))
	s.ok(&UpdateUser{ID: "u-bob", PasswordHash: new(Secret("h3"))})
	s.ok(&UpdateUser{ID: "u-cyd", Disabled: new(true)})
	s.fails(&DeleteRealm{ID: "e2"}, ErrRealmInUse)
	s.ok(&DeleteUser{ID: "u-eve"})
	s.ok(&DeleteRealm{ID: "e2"})
	s.ok(&CreateRealm{ID: "e5", Name: "lab", Type: "ldap", Enabled: true})
	s.ok(s.create(55, "lab", "fay"))
	s.ok(s.create(46, NativeRealm, "bob"))
	s.ok(&Put{Key: key(55), Attrs: []Attr{{"colour", "green"}}})
	s.do(s.create(47, NativeRealm, "ann"), &Invalidate{Key: key(47), Reason: EndedByLogout})
	s.do(s.create(48, NativeRealm, "ann"), &Invalidate{Key: key(48), Reason: EndedByAdmin})
	s.do(s.create(49, NativeRealm, "ann"), &Invalidate{Key: key(49), Reason: EndedByOrphan})
}

// storyOfQuotas has logins and attributes come to the limits of the cluster, and not to, by one.
func storyOfQuotas(s *script) {
	login := func(k byte, who string) *Create { return s.create(k, "corp", who) }
	live := s.m.Stats().Sessions
	s.fails(&SetLimits{Limits: Limits{SessionsPerUser: MaxSessionsPerUser + 1}}, ErrBadLimits)
	s.fails(&SetLimits{Limits: Limits{Sessions: -1}}, ErrBadLimits)
	s.fails(&Invalidate{Key: key(55), Reason: EndedByRecheck}, ErrBadCommand) // of version 3 to the end
	s.ok(&SetLimits{Limits: Limits{SessionsPerUser: 2, Sessions: live + 4, Attributes: 3, SessionBytes: 20}})
	s.ok(login(70, "gil"))
	s.ok(login(71, "gil"))
	s.ok(login(72, "gil")) // evicts
	s.ok(login(73, "hal"))
	s.ok(login(74, "ida"))
	s.fails(login(75, "joe"), ErrLimitSessions)
	s.ok(login(75, "gil")) // evicts, and so has room
	c := login(76, "joe")
	c.Replaces = key(74)
	s.ok(c)
	s.ok(&SetLimits{Limits: Limits{SessionsPerUser: 1, RefuseLogins: true, Attributes: 3, SessionBytes: 20}})
	s.fails(login(77, "joe"), ErrLimitUserSessions)
	s.fails(login(77, "gil"), ErrLimitUserSessions)
	c = login(77, "joe")
	c.Replaces, c.Attrs, c.Surface = key(76), []Attr{{"a", "1"}, {"b", "2"}, {"c", "3"}}, SurfaceBearer
	s.ok(c)
	s.fails(&Put{Key: key(77), Attrs: []Attr{{"d", "4"}}}, ErrLimitAttributes)
	s.ok(&Put{Key: key(77), Attrs: []Attr{{"c", strings.Repeat("v", 15)}}})
	s.fails(&Put{Key: key(77), Attrs: []Attr{{"c", strings.Repeat("v", 16)}}}, ErrLimitSessionBytes)
	c = login(78, "kim")
	c.Attrs = attrs(4, 0)
	s.fails(c, ErrLimitAttributes)
	s.ok(&SetLimits{Limits: Limits{SessionsPerUser: 1}})
	s.ok(login(78, "gil")) // evicts what is over the lowered limit
	s.ok(&SetLimits{Limits: Limits{SessionsPerUser: MaxSessionsPerUser}})
	var many []Command
	for i := range DefaultSessionsPerUser + 2 {
		c := login(0, "kim")
		c.Key = Key{byte(i), 8, 15: 7}
		many = append(many, c)
	}
	s.do(many...)
	s.fails(&SetLimits{If: &Limits{Sessions: 1}}, ErrRevisionMoved)
	s.ok(&SetLimits{})
	s.ok(login(79, "kim")) // evicts three
}

// storyOfNames has sessions ended by somebody, for each reason that is new.
func storyOfNames(s *script) {
	s.ok(&Invalidate{Key: key(78), Reason: EndedByAdmin, By: "ann@native"})
	s.ok(&Invalidate{Key: key(79), Reason: EndedByRecheck})
	s.ok(&Invalidate{Key: key(77), Reason: EndedByOrphan, By: "node n1"})
	s.fails(&EndUser{Realm: "corp", Username: "kim", Reason: reasonCount}, ErrBadCommand)
	s.ok(&EndUser{Realm: "corp", Username: "kim", Reason: EndedByRecheck, By: strings.Repeat("b", MaxBy-1) + "é"})
	s.ok(&EndUser{Realm: "corp", Username: "hal", By: "ann@native"})
	s.ok(s.create(80, NativeRealm, "bob"))
	s.ok(&UpdateUser{ID: "u-bob", PasswordHash: new(Secret("h4")), By: "bob@native"})
	s.ok(s.create(81, NativeRealm, "bob"))
	s.ok(&UpdateUser{ID: "u-bob", PasswordHash: new(Secret("h5")), Disabled: new(true), By: "ann@native"})
	s.ok(&CreateUser{ID: "u-gus", Realm: NativeRealm, Username: "gus"})
	s.ok(s.create(82, NativeRealm, "gus"))
	s.ok(&DeleteUser{ID: "u-gus", By: "ann@native"})
	s.ok(&UpdateUser{ID: "u-bob", Disabled: new(false)})
	s.ok(s.create(83, NativeRealm, "bob"))
	s.ok(&CreateRealm{ID: "e6", Name: "pub", Type: "ldap", Enabled: true})
	s.ok(s.create(84, "pub", "lea"))
	s.ok(&DeleteRealm{ID: "e6", By: "ann@native"})

	c := s.create(85, "corp", "lea")
	c.FixedRoles, c.Roles = true, []string{"dev"}
	s.ok(c)
	s.ok(s.create(86, "corp", "lea"))
	s.ok(&SetRoles{Realm: "corp", Username: "lea", Roles: []string{"ops", "dev", "ops"}})
	s.ok(&SetRoles{Realm: "corp", Username: "lea", Roles: []string{"dev", "ops"}}) // moves nothing
	s.ok(&SetRoles{Realm: "corp", Username: "nobody"})
	s.fails(&SetRoles{Realm: "corp", Username: "lea", Roles: []string{"none"}}, ErrRoleNotFound)
}

// storyOfEndAll leaves sweeps of realms behind, there and gone, some ended twice, with sweeps of users in between.
func storyOfEndAll(s *script) {
	s.ok(&EndAll{By: "control socket"})
	s.ok(&EndAll{})
	s.ok(s.create(87, "corp", "lea"))
	s.ok(s.create(88, "corp", "mia"))
	s.ok(s.create(89, NativeRealm, "ann"))
	s.ok(s.create(90, NativeRealm, "bob"))
	s.ok(&EndUser{Realm: "corp", Username: "lea"})
	s.ok(s.create(91, "corp", "lea"))
	s.ok(s.create(92, "lab", "fay"))
	s.do(s.create(93, "lab", "gus"), &EndAll{}, s.create(94, "lab", "gus"))
	s.ok(s.create(95, "corp", "lea"))
	s.ok(&EndUser{Realm: "corp", Username: "lea", By: "ann@native"})
	s.ok(&DeleteRealm{ID: "e5"})
	s.ok(&CreateRealm{ID: "e5", Name: "lab", Type: "ldap", Enabled: true}) // of the same id even
	s.ok(s.create(96, "lab", "gus"))
	s.ok(s.create(97, "corp", "mia"))
	c := s.create(98, NativeRealm, "bob")
	c.Attrs = attrs(2, 3)
	s.ok(c)
	s.fails(&Put{Key: key(89), Attrs: attrs(1, 1)}, ErrSessionInvalid)
}

func storyOfSweeps(s *script, version int) {
	s.fails(&Put{Key: key(54), Attrs: []Attr{{"x", "y"}}}, ErrSessionInvalid)
	s.fails(s.create(44, NativeRealm, "ann"), ErrKeyUsed)
	s.ok(&EndUser{Realm: "lab", Username: "fay"})
	s.ok(&Sweep{})
	s.ok(&Sweep{})
	s.ok(&UpdateUser{ID: "u-cyd", Disabled: new(false)})
	s.fails(s.create(43, NativeRealm, "bob"), ErrKeyUsed) // cyd's is remembered
	life := TombstoneLife
	if version >= 4 {
		life = WhyLife
		s.pass(life - time.Millisecond)
		s.fails(s.create(43, NativeRealm, "bob"), ErrKeyUsed)
		life = time.Millisecond
	}
	s.pass(life)
	s.ok(&Tick{})
	s.ok(s.create(43, NativeRealm, "bob"))
}

// storyOfPace has sessions that are used at the last moment that each pace leaves them, and just after it.
func storyOfPace(s *script, version int) {
	for k := range byte(4) {
		c := s.create(60+k, NativeRealm, "ann")
		c.Idle, c.Lifetime = 4*time.Hour, 100*time.Hour
		s.ok(c)
	}
	t0 := s.now
	put := func(k byte) Command { return &Put{Key: key(k), Attrs: []Attr{{"x", "y"}}} }
	atMost := func(grace time.Duration, k byte) {
		s.now = t0.Add(4 * time.Hour).Add(grace)
		s.ok(put(k))
		s.pass(time.Millisecond)
		s.fails(put(k+1), ErrSessionIdle)
	}
	if version < 2 {
		atMost(IdleGrace, 60)
		return
	}
	s.ok(&Pace{})
	atMost(IdleGrace, 60)
	s.ok(&Pace{Touch: time.Minute, Grace: 5 * time.Minute})
	atMost(5*time.Minute+TouchSlack, 61)
	s.ok(&Pace{Touch: MaxPace, Grace: MaxPace})
	atMost(time.Hour+TouchSlack, 62) // a quarter of the timeout
	s.ok(&RemoveMember{"n6"})
	s.ok(&Pace{})
	s.ok(&PutMember{Member{ID: "n2", Name: "n2", ReadReplica: true, MaxVersion: 2}}) // nothing of version 2 is left
}
