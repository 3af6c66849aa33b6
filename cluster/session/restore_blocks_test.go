package session

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// crowd has sessions of many sizes, of users with one to many sessions and several ids, of which some have ended: a snapshot
// of several blocks, and records that begin in one and end in another.
func crowd(t *testing.T) *script {
	s := newScript(t)
	rnd := rand.New(rand.NewPCG(8, 8))
	for i := range 6000 {
		c := s.create(0, "corp", fmt.Sprint("user", rnd.IntN(i+1)*rnd.IntN(2)))
		c.Key, c.Attrs = dueKey(i*77_777+1), attrs(rnd.IntN(6), rnd.IntN(100))
		if i%3 == 0 {
			c.UserID = fmt.Sprint("id", i%5)
		}
		s.do(c)
	}
	s.do(&EndUser{Realm: "corp", Username: "user0"})
	s.login(9)
	return s
}

// The machine that comes out is the same wherever the reader's pieces and the blocks begin, and so is what it does next.
func TestRestoreInPieces(t *testing.T) {
	s := crowd(t)
	data := snapshotOf(t, s.m)
	if len(data) < 3*blockSize {
		t.Fatalf("%d bytes are too few blocks", len(data))
	}
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(data), "halves": iotest.HalfReader(bytes.NewReader(data)),
		"bytes": iotest.OneByteReader(bytes.NewReader(data)), "last with the end": iotest.DataErrReader(bytes.NewReader(data)),
	} {
		m, err := Restore(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if m.Hash() != s.m.Hash() || !bytes.Equal(snapshotOf(t, m), data) {
			t.Fatalf("%s: another machine", name)
		}
		for _, v := range s.m.SessionsOf("corp", "user7") {
			if got, ok := m.Session(v.Key); !ok || got.Seq != v.Seq || got.UserID != v.UserID {
				t.Fatalf("%s: session %v: %+v", name, v.Key, got)
			}
		}
		if a, b := s.m.SessionsOf("corp", "user1"), m.SessionsOf("corp", "user1"); fmt.Sprint(a) == "[]" || len(a) != len(b) || a[0].Key != b[0].Key {
			t.Fatalf("%s: %d sessions of a user, want %d", name, len(b), len(a))
		}
	}
}

// Wherever a large snapshot is cut or changed, it is refused, and no goroutine is left waiting.
func TestRestoreRefusesDamageToBlocks(t *testing.T) {
	data := snapshotOf(t, crowd(t).m)
	rnd := rand.New(rand.NewPCG(9, 9))
	cuts := []int{blockSize - 1, blockSize, blockSize + 1, 2 * blockSize, len(data) - checksumSize, len(data) - 1}
	for range 10 {
		cuts = append(cuts, rnd.IntN(len(data)))
	}
	disk := errors.New("disk")
	for _, at := range cuts {
		if _, err := Restore(bytes.NewReader(data[:at])); !errors.Is(err, ErrBadEncoding) {
			t.Errorf("cut to %d of %d bytes: %v", at, len(data), err)
		}
		if _, err := Restore(io.MultiReader(bytes.NewReader(data[:at]), iotest.ErrReader(disk))); !errors.Is(err, disk) {
			t.Errorf("reader broken after %d of %d bytes: %v", at, len(data), err)
		}
		bad := bytes.Clone(data)
		bad[at%len(data)] ^= 4
		if _, err := Restore(bytes.NewReader(bad)); err == nil {
			t.Errorf("byte %d changed: no error", at)
		}
	}
	for _, more := range []int{1, blockSize} {
		if _, err := Restore(bytes.NewReader(append(bytes.Clone(data), make([]byte, more)...))); !errors.Is(err, ErrBadEncoding) {
			t.Errorf("%d bytes too many: %v", more, err)
		}
	}
}

// Accounts are found by realm and name, whoever came and went before.
func TestAccountsAreFound(t *testing.T) {
	rnd := rand.New(rand.NewPCG(10, 10))
	all := newAccounts()
	table := newTable(all)
	realms := []*realmState{newRealmState("a", all), newRealmState("b", all)}
	want := map[string]*account{} // by realm and name
	for range 40_000 {
		rs, name := realms[rnd.IntN(2)], fmt.Sprint("user", rnd.IntN(5000))
		key := rs.name + name
		if got := rs.find(name); got != want[key] {
			t.Fatalf("found %+v, want %+v", got, want[key])
		}
		switch a := want[key]; {
		case a == nil:
			want[key] = rs.account(name)
			if rs.account(name) != want[key] {
				t.Fatal("made twice")
			}
		case rnd.IntN(2) == 0:
			rs.drop(a)
			delete(want, key)
		}
	}
	if n := realms[0].accounts + realms[1].accounts; n != len(want) {
		t.Errorf("%d accounts, want %d", n, len(want))
	}
	for _, rs := range realms {
		for i := range 5000 {
			if a := rs.find(fmt.Sprint("user", i)); a != nil {
				rs.drop(a)
			}
		}
	}
	if table.blobs.used != 0 || len(all.free) != int(all.next) {
		t.Errorf("%d bytes and %d accounts are kept", table.blobs.used, int(all.next)-len(all.free))
	}
}
