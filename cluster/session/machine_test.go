package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestUserShardsFollowTheOrderOfIDs(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	const letters = "-.0159@AFZ_abefgz"
	ids := []string{"", "0", "00", "000", "0000", "f", "ff", "fff", "ffff", "g", "fg", "-", "z"}
	for range 3000 {
		id := make([]byte, rnd.IntN(6))
		for i := range id {
			id[i] = letters[rnd.IntN(len(letters))]
		}
		ids = append(ids, string(id))
	}
	slices.Sort(ids)
	for i := 1; i < len(ids); i++ {
		a, b := userShard(ids[i-1]), userShard(ids[i])
		if a > b || a < 0 || b >= userShards {
			t.Fatalf("%q is in shard %d, %q in %d", ids[i-1], a, ids[i], b)
		}
	}
}

func TestApplyTwiceIsABug(t *testing.T) {
	s := newScript(t)
	defer func() {
		if r := recover(); r == nil || !strings.HasPrefix(fmt.Sprint(r), "BUG: ") {
			t.Errorf("recovered %v", r)
		}
	}()
	s.m.Apply(s.index, &Entry{})
}

func TestAdvance(t *testing.T) {
	s := newScript(t)
	before, at := s.m.Hash(), s.m.Applied()
	s.m.Advance(at + 5)
	s.m.Advance(at)
	if s.m.Applied() != at+5 || s.m.Hash() != before {
		t.Errorf("applied %d, want %d, state the same", s.m.Applied(), at+5)
	}
}

func TestClockNeverGoesBack(t *testing.T) {
	s := newScript(t)
	s.pass(-60_000_000_000)
	s.ok(&Tick{})
	if s.m.Clock() != start {
		t.Errorf("clock %d, want %d", s.m.Clock(), start)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	u := User{PasswordHash: "hush"}
	p := u.PasswordHash
	text := fmt.Sprintf("%v %+v %#v %v %s %q %x", u, u, u, &u, p, p, p)
	if strings.Contains(text, "hush") || strings.Contains(text, "68757368") {
		t.Errorf("printed: %s", text)
	}
}
