package session

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"
	"time"
)

func TestVersionOf(t *testing.T) {
	for name, c := range everyCommand() {
		want := uint8(1)
		switch name {
		case "pace", "pace-normal", "put-member-pinned":
			want = 2
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
		if c.Kind() == KindPutMember {
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
	for name, form := range forms {
		if want := map[bool]byte{false: 1, true: 2}[name == "put-member-pinned"]; form != want {
			t.Errorf("%s is written in form %d, want %d", name, form, want)
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
func TestHashSeesPaceAndPins(t *testing.T) {
	seen := map[[32]byte]bool{}
	for _, c := range []Command{
		&Tick{},
		&Pace{Grace: time.Minute},
		&Pace{Grace: 2 * time.Minute},
		&Pace{Touch: time.Minute, Grace: time.Minute},
		&PutMember{Member{ID: "n1", Name: "n1"}},
		&PutMember{Member{ID: "n1", Name: "n1", Pin: PinVoter}},
		&PutMember{Member{ID: "n1", Name: "n1", Pin: PinNonVoter}},
	} {
		s := newScript(t)
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
		{"version 3", paced(t).m, 3, 2, ErrUnknownKind},
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
