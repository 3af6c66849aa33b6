package session

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// corpus is what the fuzz targets start from, by target and name. The files under testdata/fuzz hold it, so that
// plain test runs go through it too.
func corpus(t testing.TB) map[string]map[string][]byte {
	c := map[string]map[string][]byte{
		"FuzzDecodeEntry": {}, "FuzzDecodeCommand": {}, "FuzzDecodeResult": {}, "FuzzRestore": {}, "FuzzApply": {},
	}
	for name, cmd := range everyCommand() {
		entry, err := EncodeEntry(nil, &Entry{Stamp: start, Commands: []Command{&Tick{}, cmd}})
		if err != nil {
			t.Fatal(err)
		}
		c["FuzzDecodeEntry"][name], c["FuzzDecodeCommand"][name] = entry, mustAppend(t, cmd)
	}
	for name, res := range everyResult() {
		b, err := AppendResult(nil, res)
		if err != nil {
			t.Fatal(err)
		}
		c["FuzzDecodeResult"][name] = b
	}
	for name, m := range map[string]*Machine{"empty": New(), "formed": formed(), "paced": pacedMachine(), "modern": modernMachine()} {
		c["FuzzRestore"][name] = unsummed(snapshotOf(t, m))
	}
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 11))
		data := make([]byte, 400)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		c["FuzzApply"][fmt.Sprint("random-", seed)] = data
		tw := newTwins(t)
		g := &generator{data: bytes.Repeat(data, 3), md: tw.md}
		tw.apply(&Entry{Stamp: start, Commands: []Command{&Genesis{ClusterID: "c1", RealmID: "e0", AdminID: "ra", ServiceID: "rb"}}})
		for g.more() {
			tw.apply(g.entry())
		}
		c["FuzzRestore"][fmt.Sprint("random-", seed)] = unsummed(snapshotOf(t, tw.plain))
	}
	return c
}

func formed() *Machine {
	m := New()
	m.Apply(1, &Entry{Stamp: start, Commands: []Command{&Genesis{ClusterID: "c1", RealmID: "e0", AdminID: "ra", ServiceID: "rs"}}})
	return m
}

// pacedMachine is a small one whose snapshot is of version 2.
func pacedMachine() *Machine {
	m := formed()
	m.Apply(2, &Entry{Stamp: start, Commands: []Command{
		&Pace{Grace: time.Minute}, &PutMember{Member{ID: "n1", Name: "n1", Pin: PinVoter}}, &PutMember{Member{ID: "n2", Name: "n2"}},
	}})
	return m
}

// modernMachine is a small one whose snapshot is of version 3, with sweeps of all kinds.
func modernMachine() *Machine {
	m := formed()
	login := func(k byte, realm, who string) {
		r, _ := m.RealmByName(realm)
		m.Apply(m.Applied()+1, &Entry{Stamp: start, Commands: []Command{&Create{
			Key: key(k), Realm: realm, RealmRev: r.Rev, Username: who, Surface: SurfaceBearer, FixedRoles: true, Idle: time.Minute, Lifetime: time.Hour,
		}}})
	}
	do := func(cmds ...Command) { m.Apply(m.Applied()+1, &Entry{Stamp: start, Commands: cmds}) }
	do(&CreateRealm{ID: "e1", Name: "corp", Type: "ldap", Enabled: true}, &SetLimits{Limits: Limits{SessionsPerUser: 3, Sessions: 50}})
	login(1, "corp", "eve")
	login(2, "native", "eve")
	do(&EndAll{By: "x"})
	login(3, "corp", "eve")
	do(&EndUser{Realm: "corp", Username: "eve", Reason: EndedByRecheck, By: "n1"})
	login(4, "corp", "eve")
	do(&EndAll{})
	login(5, "corp", "eve")
	do(&DeleteRealm{ID: "e1"}, &CreateRealm{ID: "e2", Name: "corp", Type: "ldap", Enabled: true})
	login(6, "corp", "eve")
	login(7, "corp", "eve")
	do(&Invalidate{Key: key(7), Reason: EndedByAdmin, By: "ann@native"})
	return m
}

// unsummed cuts off the checksum: the fuzzer can't make one, the target does.
func unsummed(snapshot []byte) []byte { return snapshot[:len(snapshot)-34] }

// TestCorpus writes missing files when asked to, and sees to it that no command is without one.
func TestCorpus(t *testing.T) {
	for target, entries := range corpus(t) {
		dir := filepath.Join("testdata", "fuzz", target)
		for name, data := range entries {
			file := filepath.Join(dir, name)
			addMissing(t, file, fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", data))
			if _, err := os.Stat(file); err != nil {
				t.Error(err)
			}
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEntry(data)
		if err != nil {
			refusal(t, err)
			return
		}
		again, err := EncodeEntry(nil, e)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x is encoded again as %x (%v)", data, again, err)
		}
	})
}

func FuzzDecodeCommand(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		c, rest, err := DecodeCommand(data)
		if err != nil {
			refusal(t, err)
			return
		}
		again, err := AppendCommand(nil, c)
		if err != nil || !bytes.Equal(append(again, rest...), data) {
			t.Fatalf("%x is encoded again as %x (%v)", data, again, err)
		}
		m := formed() // whatever can be decoded can be applied
		m.Apply(2, &Entry{Stamp: start, Commands: []Command{c}})
		reread(t, m)
	})
}

func FuzzDecodeResult(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		res, rest, err := DecodeResult(data)
		if err != nil {
			refusal(t, err)
			return
		}
		again, err := AppendResult(nil, res)
		if err != nil || !bytes.Equal(append(again, rest...), data) {
			t.Fatalf("%x is encoded again as %x (%v)", data, again, err)
		}
	})
}

// FuzzRestore takes a snapshot without its checksum. What Restore accepts must be a state that works, and is written
// again as it was read.
func FuzzRestore(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := Restore(bytes.NewReader(data)); err != nil {
			refusal(t, err)
		}
		summed := resum(data)
		m, err := Restore(bytes.NewReader(summed))
		if err != nil {
			refusal(t, err)
			return
		}
		if again := snapshotOf(t, m); !bytes.Equal(again, summed) {
			t.Fatalf("%x is written again as %x", summed, again)
		}
		useUp(t, m)
	})
}

// useUp ends everything that a machine holds, in all the ways there are.
func useUp(t *testing.T, m *Machine) {
	index := m.Applied()
	apply := func(c Command) Result {
		index++
		return m.Apply(index, &Entry{Stamp: m.Clock(), Commands: []Command{c}})[0]
	}
	sessions := m.Sessions(Key{}, 200)
	for _, s := range sessions {
		if v, ok := m.Lookup(s.Key); !ok || v.Session.Key != s.Key || v.Session.Rev != s.Rev {
			t.Fatalf("session %s is listed, but not found", s.Key)
		}
	}
	for i, s := range sessions {
		switch i % 3 {
		case 0:
			apply(&Put{Key: s.Key, Attrs: []Attr{{"k", "v"}}})
		case 1:
			apply(&Invalidate{Key: s.Key, Reason: EndedByLogout})
		}
		if i%5 == 4 {
			apply(&EndAll{By: "x"})
		}
		apply(&SetRoles{Realm: s.Realm, Username: s.Username})
		apply(&EndUser{Realm: s.Realm, Username: s.Username})
	}
	for _, s := range sessions {
		if _, ok := m.Lookup(s.Key); ok {
			t.Fatalf("session %s has not ended", s.Key)
		}
	}
	m.Due(m.Clock(), 100)
	if owners := ownersOf(m, 5); len(owners) > 0 && len(sessions) < 200 {
		t.Fatalf("owners %v of no session", owners)
	}
	apply(&EndAll{})
	apply(&Sweep{})
	reread(t, m)
	for _, r := range m.Realms() {
		apply(&DeleteRealm{ID: r.ID})
	}
	for _, u := range m.Users("", 100) {
		apply(&DeleteUser{ID: u.ID})
	}
	for i := 0; m.SweepPending(); i++ {
		if apply(&Sweep{}); i > 10_000 {
			t.Fatal("the sweep never ends")
		}
	}
	reread(t, m)
}

// FuzzApply turns bytes into commands and holds the machine against the model, with snapshots in between.
func FuzzApply(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		runTwins(t, data[:min(len(data), 2000)], 5)
	})
}

// refusal checks that a decoder's error is one that its callers know.
func refusal(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrBadEncoding) && !errors.Is(err, ErrUnknownKind) {
		t.Fatalf("error %v", err)
	}
}
