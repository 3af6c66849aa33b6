package session

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// What is frozen stays as it is: a file that is to change is removed by hand first.
var update = flag.Bool("update", false, "write the golden, frozen and corpus files that are missing")

// everyCommand has each kind once or more, with every field set somewhere.
func everyCommand() map[string]Command {
	return map[string]Command{
		"genesis": &Genesis{ClusterID: "c1", RealmID: "e0", AdminID: "ra", ServiceID: "rs"},
		"tick":    &Tick{},
		"create": &Create{
			Key: key(1), Realm: "corp", Username: "eve", UserID: "u-eve", UserRev: 300, RealmRev: 70_000, AutoCreate: true,
			Roles: []string{"dev"}, FixedRoles: true, Surface: SurfaceMMonit, CSRFOff: true, Address: "192.0.2.1",
			Agent: strings.Repeat("a", 40), Idle: 30 * time.Minute, Lifetime: 8 * time.Hour, Attrs: []Attr{{"k", "v"}},
			Replaces: key(2), NotAfter: start, NoAdmin: true,
		},
		"create-least": &Create{Key: key(1), Realm: "native", Username: "bob", Surface: SurfaceFusion, Idle: 1, Lifetime: 1},
		"put":          &Put{Key: key(1), Attrs: []Attr{{"k", strings.Repeat("v", 300)}, {"", ""}}, IfRev: math.MaxUint64},
		"delete":       &Delete{Key: key(1), Names: []string{"a", "b"}, IfRev: 7},
		"delete-all":   &Delete{Key: key(1)},
		"invalidate":   &Invalidate{Key: key(1), Reason: EndedByOrphan},
		"touch":        &Touch{Uses: []Use{{key(1), start}, {key(2), -1}}},
		"expire":       &Expire{Cutoff: start, Keys: []Key{key(1), key(2)}},
		"end-user":     &EndUser{Realm: "native", Username: "bob"},
		"sweep":        &Sweep{},
		"create-user": &CreateUser{
			ID: "u1", Realm: "native", Username: "ann", RoleNames: []string{"admin"}, PasswordHash: "$argon2id$v=19$x", First: true,
		},
		"update-user":      &UpdateUser{ID: "u1", RoleNames: new([]string{"dev"}), PasswordHash: new(Secret("h")), Disabled: new(true)},
		"update-user-none": &UpdateUser{ID: "u1"},
		"update-user-zero": &UpdateUser{ID: "u1", RoleNames: new([]string{}), PasswordHash: new(Secret("")), Disabled: new(false)},
		"delete-user":      &DeleteUser{ID: "u1"},
		"create-role":      &CreateRole{ID: "r1", Name: "dev", Desc: "developers"},
		"update-role":      &UpdateRole{ID: "r1", Desc: ""},
		"delete-role":      &DeleteRole{ID: "r1"},
		"create-realm":     &CreateRealm{ID: "e1", Name: "corp", Type: "ldap", Enabled: true, RoleNames: []string{"dev"}, Config: []byte(`{}`)},
		"update-realm":     &UpdateRealm{ID: "e1", Enabled: true, RoleNames: []string{"dev"}, Config: bytes.Repeat([]byte("x"), 300)},
		"delete-realm":     &DeleteRealm{ID: "e1"},
		"put-member": &PutMember{Member{
			ID: "n1", Name: "n1", Peer: "10.0.0.1:7000", HTTP: "10.0.0.1:8080", ReadReplica: true, MinVersion: 1, MaxVersion: 2, Joined: start,
		}},
		"put-member-pinned": &PutMember{Member{ID: "n1", Name: "n1", Peer: "10.0.0.1:7000", MaxVersion: 2, Pin: PinNonVoter}},
		"remove-member":     &RemoveMember{ID: "n1"},
		"pace":              &Pace{Touch: time.Minute, Grace: 5 * time.Minute},
		"pace-normal":       &Pace{},
		"handover":          &Handover{Term: 300},

		"create-bearer":   &Create{Key: key(1), Realm: "native", Username: "bob", Surface: SurfaceBearer, Idle: 1, Lifetime: 1},
		"invalidate-by":   &Invalidate{Key: key(1), Reason: EndedByRecheck, By: "node n1 (directory)"},
		"end-user-by":     &EndUser{Realm: "native", Username: "bob", By: "ann@native"},
		"end-user-why":    &EndUser{Realm: "native", Username: "bob", Reason: EndedByRecheck},
		"end-user-both":   &EndUser{Realm: "native", Username: "bob", Reason: EndedByRealm, By: strings.Repeat("b", MaxBy+1)},
		"update-user-by":  &UpdateUser{ID: "u1", RoleNames: new([]string{"dev"}), PasswordHash: new(Secret("h")), Disabled: new(true), By: "ann@native"},
		"delete-user-by":  &DeleteUser{ID: "u1", By: "ann@native"},
		"delete-realm-by": &DeleteRealm{ID: "e1", By: "ann@native"},
		"set-limits": &SetLimits{Limits: Limits{
			SessionsPerUser: 1000, RefuseLogins: true, Sessions: 70_000, Attributes: 64, SessionBytes: 300,
		}},
		"set-limits-none": &SetLimits{},
		"set-limits-if":   &SetLimits{Limits: Limits{Sessions: 5}, If: &Limits{Sessions: 4}},
		"update-realm-if": &UpdateRealm{ID: "e1", Enabled: true, RoleNames: []string{"dev"}, IfRev: 300},
		"set-limits-bad":  &SetLimits{Limits: Limits{SessionsPerUser: -1, Sessions: math.MaxInt32, Attributes: -200}},
		"end-all":         &EndAll{},
		"end-all-by":      &EndAll{By: "control socket"},
		"set-roles":       &SetRoles{Realm: "corp", Username: "eve", Roles: []string{"dev", "ops"}},
		"set-roles-none":  &SetRoles{Realm: "corp", Username: "eve"},
	}
}

func everyResult() map[string]Result {
	return map[string]Result{
		"ok":      {Rev: 9},
		"refused": {Err: ErrConflict},
		"sweep":   {Ended: math.MaxUint32, More: true},
	}
}

// TestGolden freezes the bytes of logs, of the stream between nodes, and of snapshots: nodes of different builds read
// each other's. A changed file means a new version byte and a decoder for both.
func TestGolden(t *testing.T) {
	for name, c := range everyCommand() {
		t.Run("command-"+name, func(t *testing.T) {
			golden(t, "command-"+name, mustAppend(t, c))
			got, rest, err := DecodeCommand(append(mustAppend(t, c), 0xff))
			if err != nil || !bytes.Equal(rest, []byte{0xff}) || !reflect.DeepEqual(got, c) {
				t.Errorf("decoded %#v, rest %x, %v", got, rest, err)
			}
		})
	}
	for name, res := range everyResult() {
		t.Run("result-"+name, func(t *testing.T) {
			b, err := AppendResult(nil, res)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "result-"+name, b)
			got, rest, err := DecodeResult(append(b, 1))
			if err != nil || !bytes.Equal(rest, []byte{1}) || !reflect.DeepEqual(got, res) {
				t.Errorf("decoded %#v, rest %x, %v", got, rest, err)
			}
			if res.Err != nil && !errors.Is(got.Err, ErrConflict) {
				t.Errorf("error %v is not the sentinel", got.Err)
			}
		})
	}
	t.Run("entry", func(t *testing.T) {
		e := &Entry{Stamp: start, Commands: []Command{&Tick{}, &EndUser{Realm: "native", Username: "bob"}}}
		b, err := EncodeEntry([]byte("before"), e)
		if err != nil || !bytes.HasPrefix(b, []byte("before")) {
			t.Fatal(err)
		}
		golden(t, "entry", b[len("before"):])
		if got, err := DecodeEntry(b[len("before"):]); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("decoded %#v, %v", got, err)
		}
	})
	for name, s := range map[string]*script{
		"snapshot": busy(t), "snapshot-2": paced(t), "snapshot-sweeping": sweeping(t), "snapshot-3": modern(t),
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name, snapshotOf(t, s.m))
			m, err := Restore(bytes.NewReader(readGolden(t, name)))
			if err != nil || m.Hash() != s.m.Hash() {
				t.Errorf("restored: %v", err)
			}
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	addMissing(t, goldenFile(name), hexLines(got))
	if want := readGolden(t, name); !bytes.Equal(got, want) {
		t.Errorf("%s:\ngot  %x\nwant %x", name, got, want)
	}
}

func readGolden(t *testing.T, name string) []byte {
	t.Helper()
	return readHex(t, goldenFile(name))
}

func goldenFile(name string) string { return filepath.Join("testdata", "golden", name+".hex") }

// Every kind that can be decoded must be among those that the other tests go through.
func TestEveryKindIsTested(t *testing.T) {
	tested := map[Kind]bool{}
	for _, c := range everyCommand() {
		tested[c.Kind()] = true
	}
	for kind := range uint64(256) {
		if c := newCommand(kind); c != nil && (!tested[Kind(kind)] || c.Kind() != Kind(kind)) {
			t.Errorf("kind %d is not tested, or decoded as %d", kind, c.Kind())
		}
	}
	if len(tested) != int(KindSetRoles) {
		t.Errorf("%d kinds tested, want %d", len(tested), KindSetRoles)
	}
}

// TestMessagePack has the library read what we write: it is MessagePack, not something like it.
func TestMessagePack(t *testing.T) {
	var stream []byte
	for _, c := range everyCommand() {
		stream = append(stream, mustAppend(t, c)...)
	}
	stream = append(stream, snapshotOf(t, busy(t).m)...)
	dec := msgpack.NewDecoder(bytes.NewReader(stream))
	values := 0
	for ; ; values++ {
		if _, err := dec.DecodeInterface(); err != nil {
			if err.Error() != "EOF" {
				t.Fatalf("value %d: %v", values, err)
			}
			break
		}
	}
	if values < 3*len(everyCommand()) {
		t.Errorf("only %d values", values)
	}
	var want bytes.Buffer
	enc := msgpack.NewEncoder(&want)
	enc.UseCompactInts(true)
	var got []byte
	for _, n := range numbers() {
		if err := errors.Join(enc.EncodeInt(n), enc.EncodeUint(uint64(n))); err != nil {
			t.Fatal(err)
		}
		got = appendUint(appendInt(got, n), uint64(n))
	}
	for _, n := range []int{0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536} {
		s := strings.Repeat("s", n)
		if err := errors.Join(enc.EncodeString(s), enc.EncodeBytes([]byte(s)), enc.EncodeArrayLen(n)); err != nil {
			t.Fatal(err)
		}
		got = appendArray(appendBytes(appendString(got, s), []byte(s)), n)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("numbers, strings or lengths are not encoded as the library does")
	}
}

func numbers() []int64 {
	var all []int64
	for shift := range 64 {
		for d := int64(-2); d <= 2; d++ {
			all = append(all, 1<<shift+d, -(1<<shift)+d)
		}
	}
	return all
}

func TestNumbersAreReadBack(t *testing.T) {
	for _, n := range numbers() {
		r := &reader{b: appendUint(appendInt(nil, n), uint64(n))}
		if i, u := r.int(), r.uint(); i != n || u != uint64(n) || r.bad || len(r.b) != 0 {
			t.Errorf("%d: read %d and %d", n, i, u)
		}
	}
}

// Only the shortest form of a value is read: one state has one encoding.
func TestOnlyTheShortestFormIsRead(t *testing.T) {
	for _, tc := range []struct {
		hex  string
		read func(*reader)
	}{
		{"cc7f", func(r *reader) { r.uint() }},
		{"cd00ff", func(r *reader) { r.uint() }},
		{"ce0000ffff", func(r *reader) { r.uint() }},
		{"cf00000000ffffffff", func(r *reader) { r.uint() }},
		{"ff", func(r *reader) { r.uint() }},
		{"c0", func(r *reader) { r.uint() }},
		{"d0e0", func(r *reader) { r.int() }},
		{"d005", func(r *reader) { r.int() }},
		{"d1ff80", func(r *reader) { r.int() }},
		{"d2ffff8000", func(r *reader) { r.int() }},
		{"d3ffffffff80000000", func(r *reader) { r.int() }},
		{"cf8000000000000000", func(r *reader) { r.int() }},
		{"d91f" + strings.Repeat("61", 31), func(r *reader) { _ = r.string() }},
		{"c40161", func(r *reader) { _ = r.string() }},
		{"c5000161", func(r *reader) { r.bytes() }},
		{"a161", func(r *reader) { r.bytes() }},
		{"dc0001c0", func(r *reader) { r.array(1) }},
		{"80", func(r *reader) { r.array(1) }},
		{"91", func(r *reader) { r.array(1) }},
		{"00", func(r *reader) { r.bool() }},
		{"c0", func(r *reader) { r.bool() }},
		{"c410" + strings.Repeat("00", 16), func(r *reader) { r.optKey() }},
		{"c40f" + strings.Repeat("01", 15), func(r *reader) { r.key() }},
		{"cd0100", func(r *reader) { r.uint8() }},
		{"cf0000000100000000", func(r *reader) { r.uint32() }},
		{"91a161", func(r *reader) { r.attrs() }},
		{"", func(r *reader) { r.isNil(); r.next() }},
	} {
		b, err := hex.DecodeString(tc.hex)
		if err != nil {
			t.Fatal(err)
		}
		r := &reader{b: b}
		if tc.read(r); !r.bad {
			t.Errorf("%s was read", tc.hex)
		}
	}
}

func TestDecodersRefuse(t *testing.T) {
	tick := mustAppend(t, &Tick{})
	entry := func(version, stamp uint64, n int, commands ...byte) []byte {
		return append(appendArray(appendUint(appendUint(nil, version), stamp), n), commands...)
	}
	for _, tc := range []struct {
		name  string
		bytes []byte
		want  *Error
	}{
		{"nothing", nil, ErrBadEncoding},
		{"newer entry", entry(2, 1, 1, tick...), ErrUnknownKind},
		{"unknown kind", entry(1, 1, 1, 99, 1, 0x90), ErrUnknownKind},
		{"kind beyond a byte", entry(1, 1, 1, 0xcd, 1, 2, 1, 0x90), ErrUnknownKind},
		{"unknown version of a kind", entry(1, 1, 1, 2, 9, 0x90), ErrUnknownKind},
		{"bytes left", append(entry(1, 1, 1, tick...), 0), ErrBadEncoding},
		{"command missing", entry(1, 1, 2, tick...), ErrBadEncoding},
		{"a field too many", entry(1, 1, 1, 2, 1, 0x91, 1), ErrBadEncoding},
		{"stamp out of range", entry(1, uint64(MaxTime)+1, 0), ErrBadEncoding},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := DecodeEntry(tc.bytes); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
	if _, err := DecodeEntry(entry(1, 1, 1, tick...)); err != nil {
		t.Errorf("a good one: %v", err)
	}
	for name, c := range everyCommand() {
		whole := mustAppend(t, c)
		for i := range whole {
			if _, _, err := DecodeCommand(whole[:i]); !errors.Is(err, ErrBadEncoding) {
				t.Errorf("%s cut to %d bytes: %v", name, i, err)
			}
		}
	}
	for name, res := range everyResult() {
		whole, err := AppendResult(nil, res)
		if err != nil {
			t.Fatal(err)
		}
		for i := range whole {
			if _, _, err := DecodeResult(whole[:i]); !errors.Is(err, ErrBadEncoding) {
				t.Errorf("%s cut to %d bytes: %v", name, i, err)
			}
		}
	}
	if _, _, err := DecodeResult([]byte{2}); !errors.Is(err, ErrUnknownKind) {
		t.Errorf("newer result: %v", err)
	}
}

// What can't be decoded must not get into a log.
func TestEncodersRefuse(t *testing.T) {
	for name, c := range map[string]Command{
		"touch":   &Touch{Uses: make([]Use, MaxTouches+1)},
		"expire":  &Expire{Keys: make([]Key, MaxExpire+1)},
		"foreign": foreign{},
	} {
		if b, err := EncodeEntry([]byte("x"), &Entry{Commands: []Command{&Tick{}, c}}); err == nil || string(b) != "x" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	for _, stamp := range []Time{-1, MaxTime + 1} {
		if _, err := EncodeEntry(nil, &Entry{Stamp: stamp}); !errors.Is(err, ErrBadEncoding) {
			t.Errorf("stamp %d: %v", stamp, err)
		}
	}
	for _, e := range []*Error{{}, {Code: strings.Repeat("c", 65)}, {Code: "c", Message: strings.Repeat("m", 1025)}} {
		if _, err := AppendResult(nil, Result{Err: e}); !errors.Is(err, ErrBadEncoding) {
			t.Errorf("%+v: %v", e, err)
		}
	}
	for _, c := range []Command{&Touch{Uses: make([]Use, MaxTouches)}, &Expire{Keys: make([]Key, MaxExpire)}} {
		if _, _, err := DecodeCommand(mustAppend(t, c)); err != nil {
			t.Errorf("%T of full length: %v", c, err)
		}
	}
}

type foreign struct{}

func (foreign) Kind() Kind { return KindTick }

// A short hostile input must not make a decoder allocate much: lengths are checked against what is there.
func TestHostileLengthsAllocateNothing(t *testing.T) {
	huge := []byte{0xdd, 0x7f, 0xff, 0xff, 0xff} // an array of two thousand million
	for name, b := range map[string][]byte{
		"commands": append(appendUint(appendUint(nil, 1), 1), huge...),
		"touch":    append(appendArray(appendArray(appendUint(appendUint(nil, 1), 1), 1), 0), append([]byte{7, 1, 0x91}, huge...)...),
		"names":    append(appendKey([]byte{1, 1, 0x91, 5, 1, 0x93}, key(1)), huge...),
		"roles":    append([]byte{1, 1, 0x91, 26, 1, 0x93, 0xa1, 'r', 0xa1, 'u'}, huge...),
		"by":       append([]byte{1, 1, 0x91, 25, 1, 0x91, 0xdb}, huge[1:]...),
		"attrs":    append(appendKey([]byte{1, 1, 0x91, 4, 1, 0x93}, key(1)), huge...),
		"string":   append([]byte{1, 1, 0x91, 13, 1, 0x91, 0xdb}, huge[1:]...),
	} {
		least := uint64(math.MaxUint64)
		for range 5 { // others allocate too: the least counts
			least = min(least, bytesAllocated(func() {
				if _, err := DecodeEntry(b); err == nil {
					t.Errorf("%s: no error", name)
				}
			}))
		}
		if least > 4096 {
			t.Errorf("%s: %d bytes allocated for %d of input", name, least, len(b))
		}
	}
}

func mustAppend(t testing.TB, c Command) []byte {
	t.Helper()
	b, err := AppendCommand(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
