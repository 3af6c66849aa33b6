package session

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestVersionOf(t *testing.T) {
	for name, c := range everyCommand() {
		want := uint8(1)
		switch name {
		case "pace", "pace-normal", "put-member-pinned":
			want = 2
		case "handover":
			want = 3
		case "create-bearer", "invalidate-by", "end-user-by", "end-user-why", "end-user-both", "update-user-by", "delete-user-by",
			"delete-realm-by", "set-limits", "set-limits-none", "set-limits-if", "update-realm-if", "set-limits-bad", "end-all", "end-all-by", "set-roles", "set-roles-none":
			want = 4
		}
		if got := VersionOf(c); got != want {
			t.Errorf("%s: version %d, want %d", name, got, want)
		}
		if VersionOf(c) > MaxVersion {
			t.Errorf("%s: version %d, but this build announces %d", name, VersionOf(c), MaxVersion)
		}
	}
}

// A kind's forms are known one by one: a newer form of one kind says nothing about the others.
func TestFormsOfCommands(t *testing.T) {
	forms := map[string]byte{}
	for name, c := range everyCommand() {
		b := mustAppend(t, c)
		forms[name] = b[1]
		known := map[byte]bool{1: true}
		switch c.Kind() {
		case KindPutMember, KindInvalidate, KindEndUser, KindUpdateUser, KindDeleteUser, KindDeleteRealm, KindUpdateRealm:
			known[2] = true
		}
		for form := range byte(5) {
			b[1] = form
			_, _, err := DecodeCommand(b)
			if unknown := errors.Is(err, ErrUnknownKind); unknown == known[form] {
				t.Errorf("%s as form %d: %v", name, form, err)
			}
			if form != forms[name] && err == nil {
				t.Errorf("%s of form %d was read as form %d", name, forms[name], form)
			}
		}
	}
	second := []string{
		"put-member-pinned", "invalidate-by", "end-user-by", "end-user-why", "end-user-both", "update-user-by", "delete-user-by",
		"delete-realm-by", "update-realm-if",
	}
	for name, form := range forms {
		if want := map[bool]byte{false: 1, true: 2}[slices.Contains(second, name)]; form != want {
			t.Errorf("%s is written in form %d, want %d", name, form, want)
		}
	}
}

// Who ends sessions is told in form 2 and never else, and form 2 tells it.
func TestNamesAreCanonical(t *testing.T) {
	form := func(kind Kind, version uint64, fields ...[]byte) []byte {
		b := appendArray(appendUint(appendUint(nil, uint64(kind)), version), len(fields))
		return append(b, bytes.Join(fields, nil)...)
	}
	text := func(s string) []byte { return appendString(nil, s) }
	num := func(n uint64) []byte { return appendUint(nil, n) }
	k, none := appendKey(nil, key(1)), appendNil(nil)
	for _, tc := range []struct {
		name  string
		bytes []byte
		want  *Error // nil: good
	}{
		{"invalidate 1", form(KindInvalidate, 1, k, num(1)), nil},
		{"invalidate 1 for a reason of version 4", form(KindInvalidate, 1, k, num(9)), nil}, // older builds read it, and refuse it
		{"invalidate 2", form(KindInvalidate, 2, k, num(1), text("x")), nil},
		{"invalidate 1 by", form(KindInvalidate, 1, k, num(1), text("x")), ErrBadEncoding},
		{"invalidate 2 without", form(KindInvalidate, 2, k, num(1)), ErrBadEncoding},
		{"invalidate 2 by nobody", form(KindInvalidate, 2, k, num(1), text("")), ErrBadEncoding},
		{"invalidate 2 by nobody for a reason of version 4", form(KindInvalidate, 2, k, num(9), text("")), ErrBadEncoding},
		{"invalidate 3", form(KindInvalidate, 3, k, num(1), text("x")), ErrUnknownKind},
		{"end-user 1", form(KindEndUser, 1, text("r"), text("u")), nil},
		{"end-user 2", form(KindEndUser, 2, text("r"), text("u"), num(9), text("x")), nil},
		{"end-user 2 why", form(KindEndUser, 2, text("r"), text("u"), num(7), text("")), nil},
		{"end-user 2 by", form(KindEndUser, 2, text("r"), text("u"), num(0), text("x")), nil},
		{"end-user 2 neither", form(KindEndUser, 2, text("r"), text("u"), num(0), text("")), ErrBadEncoding},
		{"end-user 2 without", form(KindEndUser, 2, text("r"), text("u")), ErrBadEncoding},
		{"end-user 1 with", form(KindEndUser, 1, text("r"), text("u"), num(9), text("x")), ErrBadEncoding},
		{"end-user 2, reason beyond a byte", form(KindEndUser, 2, text("r"), text("u"), num(256), text("x")), ErrBadEncoding},
		{"update-user 1", form(KindUpdateUser, 1, text("u"), none, none, none), nil},
		{"update-user 2", form(KindUpdateUser, 2, text("u"), none, none, none, text("x")), nil},
		{"update-user 2 by nobody", form(KindUpdateUser, 2, text("u"), none, none, none, text("")), ErrBadEncoding},
		{"delete-user 1", form(KindDeleteUser, 1, text("u")), nil},
		{"delete-user 2", form(KindDeleteUser, 2, text("u"), text("x")), nil},
		{"delete-user 2 by nobody", form(KindDeleteUser, 2, text("u"), text("")), ErrBadEncoding},
		{"delete-realm 1", form(KindDeleteRealm, 1, text("e")), nil},
		{"delete-realm 2", form(KindDeleteRealm, 2, text("e"), text("x")), nil},
		{"delete-realm 2 by nobody", form(KindDeleteRealm, 2, text("e"), text("")), ErrBadEncoding},
		{"end-all 1 by nobody", form(KindEndAll, 1, text("")), nil},
		{"end-all 2", form(KindEndAll, 2, text("x")), ErrUnknownKind},
		{"sweep 2", form(KindSweep, 2), ErrUnknownKind},
		{"create-user 2", form(KindCreateUser, 2), ErrUnknownKind},
		{"set-limits of four", form(KindSetLimits, 1, form(0, 0, num(1), none, num(1), num(1))[2:]), ErrBadEncoding},
		{"set-roles without the array", form(KindSetRoles, 1, text("r"), text("u")), ErrBadEncoding},
	} {
		c, _, err := DecodeCommand(tc.bytes)
		switch {
		case tc.want != nil:
			if !errors.Is(err, tc.want) {
				t.Errorf("%s: %#v, %v, want %v", tc.name, c, err, tc.want)
			}
		case err != nil || !bytes.Equal(mustAppend(t, c), tc.bytes):
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// What is proposed to a cluster with older nodes ends what it is to end, and they can read it.
func TestForVersion(t *testing.T) {
	same := func(c Command) Command { return c }
	for _, tc := range []struct {
		name string
		want func(Command) Command // nil: can't be said to older builds
	}{
		{"invalidate", same},
		{"invalidate-by", func(Command) Command { return &Invalidate{Key: key(1), Reason: EndedByAdmin} }},
		{"end-user", same},
		{"end-user-by", func(Command) Command { return &EndUser{Realm: "native", Username: "bob"} }},
		{"end-user-why", func(Command) Command { return &EndUser{Realm: "native", Username: "bob"} }},
		{"end-user-both", func(Command) Command { return &EndUser{Realm: "native", Username: "bob"} }},
		{"update-user", same},
		{"update-user-by", func(Command) Command { return everyCommand()["update-user"] }},
		{"update-user-none", same},
		{"delete-user", same},
		{"delete-user-by", func(Command) Command { return &DeleteUser{ID: "u1"} }},
		{"delete-realm", same},
		{"delete-realm-by", func(Command) Command { return &DeleteRealm{ID: "e1"} }},
		{"create", same},
		{"create-bearer", nil},
		{"set-limits", nil},
		{"end-all-by", nil},
		{"set-roles", nil},
	} {
		c := everyCommand()[tc.name]
		for version := uint8(1); version <= MaxVersion; version++ {
			got, want := ForVersion(c, version), c
			if version < 4 && tc.want != nil {
				want = tc.want(c)
				if VersionOf(got) > version {
					t.Errorf("%s for version %d: %#v is of version %d", tc.name, version, got, VersionOf(got))
				}
			}
			if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(c, everyCommand()[tc.name]) {
				t.Errorf("%s for version %d: %#v, want %#v, and the command itself as it was: %#v", tc.name, version, got, want, c)
			}
		}
	}
	for why := range Reason(255) {
		got := ForVersion(&Invalidate{Key: key(1), Reason: why}, 3).(*Invalidate)
		if want := map[bool]Reason{true: EndedByAdmin, false: why}[why > 8 && why < 15]; got.Reason != want {
			t.Errorf("reason %d becomes %d, want %d", why, got.Reason, want)
		}
	}
}

// The pin is told in form 2 and never else: one command has one encoding.
func TestPutMemberIsCanonical(t *testing.T) {
	mem := Member{ID: "n1", Name: "n1", Peer: "p", HTTP: "h", MaxVersion: 2}
	form := func(version uint64, m Member, pinned bool) []byte {
		return appendMember(appendArray(appendUint(appendUint(nil, uint64(KindPutMember)), version), 1), m, pinned)
	}
	pinned := mem
	pinned.Pin = PinVoter
	for _, tc := range []struct {
		name  string
		bytes []byte
		want  *Error // nil: good
	}{
		{"form 1", form(1, mem, false), nil},
		{"form 2", form(2, pinned, true), nil},
		{"form 2 without a pin", form(2, mem, true), ErrBadEncoding},
		{"form 2 without the field", form(2, mem, false), ErrBadEncoding},
		{"form 1 with the field", form(1, mem, true), ErrBadEncoding},
		{"form 1 with a pin", form(1, pinned, true), ErrBadEncoding},
		{"form 3", form(3, pinned, true), ErrUnknownKind},
		{"form 0", form(0, mem, false), ErrUnknownKind},
	} {
		c, _, err := DecodeCommand(tc.bytes)
		switch {
		case tc.want != nil:
			if !errors.Is(err, tc.want) {
				t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
			}
		case err != nil || !bytes.Equal(mustAppend(t, c), tc.bytes):
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// headOf returns the version that a snapshot says it is of.
func headOf(t *testing.T, snapshot []byte) uint64 {
	t.Helper()
	outer := &reader{b: snapshot}
	inner := &reader{b: outer.bytes()}
	h := inner.head()
	if outer.bad || inner.bad || h.magic != snapshotMagic {
		t.Fatalf("no head: %x", snapshot[:min(len(snapshot), 40)])
	}
	return h.version
}

// A snapshot is of version 2 for as long as the state has something that version 1 can't say.
func TestSnapshotVersionFollowsTheState(t *testing.T) {
	s := busy(t)
	plain := s.m.Hash()
	is := func(want uint64) {
		t.Helper()
		if got := headOf(t, snapshotOf(t, s.m)); got != want {
			t.Fatalf("version %d, want %d", got, want)
		}
		before := s.m
		s.m = reread(t, s.m)
		if s.m.Pace() != before.Pace() || len(s.m.Members()) != len(before.Members()) {
			t.Fatalf("pace %+v, members %+v", s.m.Pace(), s.m.Members())
		}
		for i, mem := range s.m.Members() {
			if mem != before.Members()[i] {
				t.Fatalf("member %+v, want %+v", mem, before.Members()[i])
			}
		}
	}
	older := s.m
	s.m = reread(t, s.m)
	s.ok(&Pace{Grace: time.Minute})
	s.ok(&EndAll{})
	is(3)
	s.ok(&Pace{})
	is(3)
	s.m, s.index = older, older.Applied()
	mem, _ := s.m.Member("n1")
	is(1)
	s.ok(&Pace{Grace: time.Minute})
	is(2)
	s.ok(&Pace{Touch: time.Second, Grace: time.Minute})
	is(2)
	s.ok(&Pace{})
	is(1)
	mem.Pin = PinVoter
	s.ok(&PutMember{mem})
	is(2)
	s.ok(&Pace{Grace: 1})
	is(2)
	mem.Pin = PinNone
	s.ok(&PutMember{mem})
	is(2)
	s.ok(&Pace{})
	is(1)
	// Back where it was but for the command number: the newer commands have left nothing behind.
	s.m.seq -= 7
	if s.m.Hash() != plain {
		t.Error("the state is another one")
	}
}

// Each part of what is new counts in the hash.
func TestHashSeesWhatIsNew(t *testing.T) {
	seen := map[[32]byte]bool{}
	for _, c := range []Command{
		&Tick{},
		&Pace{Grace: time.Minute},
		&Pace{Grace: 2 * time.Minute},
		&Pace{Touch: time.Minute, Grace: time.Minute},
		&PutMember{Member{ID: "n1", Name: "n1"}},
		&PutMember{Member{ID: "n1", Name: "n1", Pin: PinVoter}},
		&PutMember{Member{ID: "n1", Name: "n1", Pin: PinNonVoter}},
		&SetLimits{},
		&SetLimits{Limits: Limits{SessionsPerUser: 7}},
		&SetLimits{Limits: Limits{RefuseLogins: true}},
		&SetLimits{Limits: Limits{Sessions: 7}},
		&SetLimits{Limits: Limits{Attributes: 7}},
		&SetLimits{Limits: Limits{SessionBytes: 7}},
		&EndUser{Realm: NativeRealm, Username: "ann"},
		&EndUser{Realm: NativeRealm, Username: "ann", Reason: EndedByRecheck},
		&EndUser{Realm: NativeRealm, Username: "ann", By: "x"},
		&EndUser{Realm: NativeRealm, Username: "ann", By: "y"},
		&Invalidate{Key: key(1), Reason: EndedByAdmin},
		&Invalidate{Key: key(1), Reason: EndedByAdmin, By: "x"},
		&EndAll{},
		&EndAll{By: "x"},
	} {
		s := newScript(t)
		s.ok(s.create(1, NativeRealm, "ann"))
		s.ok(c)
		if h := s.m.Hash(); seen[h] {
			t.Errorf("%+v: a hash like another", c)
		} else {
			seen[h] = true
		}
	}
}

// A version byte that the state has no need of, or too much for, is no snapshot of ours.
func TestRestoreRefusesTheWrongVersion(t *testing.T) {
	write := func(m *Machine, head uint64, body uint64) []byte {
		var buf bytes.Buffer
		w := snapshotWriter{w: &buf, sum: sha256.New()}
		st := m.state()
		w.record(headRecord(head, m.Applied()))
		if err := errors.Join(w.state(&st, body), w.checksum()); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	for _, tc := range []struct {
		name       string
		m          *Machine
		head, body uint64
		want       *Error
	}{
		{"version 1", busy(t).m, 1, 1, nil},
		{"version 2", paced(t).m, 2, 2, nil},
		{"version 2 without need", busy(t).m, 2, 2, ErrBadEncoding},
		{"version 1 with a pace", paced(t).m, 1, 2, ErrBadEncoding},
		{"version 2 without a pace", paced(t).m, 2, 1, ErrBadEncoding},
		{"version 3", modern(t).m, 3, 3, nil},
		{"version 2 with what version 3 tells", modern(t).m, 2, 3, ErrBadEncoding},
		{"version 3 without what it tells", modern(t).m, 3, 2, ErrBadEncoding},
		{"version 3 as version 2 tells it", paced(t).m, 3, 2, ErrBadEncoding},
		{"version 4", modern(t).m, 4, 3, ErrUnknownKind},
		{"version 0", busy(t).m, 0, 1, ErrUnknownKind},
	} {
		_, err := Restore(bytes.NewReader(write(tc.m, tc.head, tc.body)))
		if tc.want == nil && err != nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

func headRecord(version, index uint64) []byte {
	return head{magic: snapshotMagic, version: version, index: index}.append(nil)
}
