package session

import (
	"testing"
	"time"
)

// start is the moment of the first entry in most tests.
const start Time = 1_700_000_000_000

// script applies commands one entry each, at a clock that the test moves.
type script struct {
	t     *testing.T
	m     *Machine
	now   Time
	index uint64
	log   []*Entry
}

// newScript has a formed cluster: native with ann (admin) and bob, and the external realm corp without a user.
func newScript(t *testing.T) *script {
	s := &script{t: t, m: New(), now: start}
	s.ok(&Genesis{ClusterID: "c1", RealmID: "e0", AdminID: "ra", ServiceID: "rs"})
	s.ok(&CreateRole{ID: "rd", Name: "dev"})
	s.ok(&CreateUser{ID: "u-ann", Realm: NativeRealm, Username: "ann", RoleNames: []string{RoleAdmin}, PasswordHash: "h"})
	s.ok(&CreateUser{ID: "u-bob", Realm: NativeRealm, Username: "bob", RoleNames: []string{"dev"}, PasswordHash: "h"})
	s.ok(&CreateRealm{ID: "e1", Name: "corp", Type: "ldap", Enabled: true, RoleNames: []string{"dev"}})
	return s
}

func (s *script) pass(d time.Duration) { s.now = s.now.Add(d) }

func (s *script) do(cmds ...Command) []Result {
	e := &Entry{Stamp: s.now, Commands: cmds}
	s.log = append(s.log, e)
	s.index++
	return s.m.Apply(s.index, e)
}

func (s *script) ok(cmd Command) Result {
	s.t.Helper()
	res := s.do(cmd)[0]
	if res.Err != nil {
		s.t.Fatalf("%#v: %v", cmd, res.Err)
	}
	return res
}

// fails expects an error, and that nothing but the command number moved.
func (s *script) fails(cmd Command, want *Error) {
	s.t.Helper()
	s.do(&Tick{}) // the clock may move, and tombstones go, with any entry
	before := s.m.Hash()
	res := s.do(cmd)[0]
	if res.Err == nil || res.Err.Code != want.Code {
		s.t.Fatalf("%#v: got %v, want %s", cmd, res.Err, want.Code)
	}
	if res.Rev != 0 || res.Ended != 0 || res.More {
		s.t.Fatalf("%#v: a failure with a result: %+v", cmd, res)
	}
	s.m.seq--
	after := s.m.Hash()
	s.m.seq++
	if after != before {
		s.t.Fatalf("%#v: failed and changed something", cmd)
	}
}

// create returns a plain Create of that user with the revisions of today.
func (s *script) create(k byte, realm, username string) *Create {
	c := &Create{
		Key: key(k), Realm: realm, Username: username, Surface: SurfaceFusion,
		Idle: 30 * time.Minute, Lifetime: 8 * time.Hour,
	}
	if r, ok := s.m.RealmByName(realm); ok {
		c.RealmRev = r.Rev
	}
	if u, ok := s.m.UserByName(realm, username); ok {
		c.UserRev = u.Rev
	}
	return c
}

// login creates a session of bob's.
func (s *script) login(k byte) Result {
	s.t.Helper()
	return s.ok(s.create(k, NativeRealm, "bob"))
}

func (s *script) session(k byte) *Session {
	s.t.Helper()
	x, ok := s.m.Session(key(k))
	if !ok {
		s.t.Fatalf("session %d is not there", k)
	}
	return x
}

func (s *script) gone(k byte, why Reason) {
	s.t.Helper()
	if _, ok := s.m.Lookup(key(k)); ok {
		s.t.Fatalf("session %d is still there", k)
	}
	if ts, ok := s.m.Tombstone(key(k)); !ok || ts.Reason != why {
		s.t.Fatalf("session %d: tombstone %+v %v, want reason %s", k, ts, ok, why)
	}
}

func key(k byte) Key { return Key{k, 15: 1} }
