package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// recycler is a lock that has the machine change whenever it is let go: keys end, are forgotten and used again, and so are
// rows, blocks, accounts and lists of roles.
type recycler struct {
	*script
	rnd *rand.Rand
}

func (r *recycler) Lock() {}

func (r *recycler) Unlock() {
	for range r.rnd.IntN(200) {
		r.change()
	}
}

func (r *recycler) key() Key {
	var k Key
	binary.BigEndian.PutUint16(k[:], uint16(r.rnd.IntN(40)*1600))
	k[15] = byte(1 + r.rnd.IntN(40))
	return k
}

func (r *recycler) change() {
	k, user := r.key(), fmt.Sprint("user", r.rnd.IntN(30))
	switch r.rnd.IntN(16) {
	case 0, 1, 2, 3, 4, 5:
		c := r.create(0, "corp", user)
		c.Key, c.Attrs = k, attrs(r.rnd.IntN(6), r.rnd.IntN(200))
		c.UserID = fmt.Sprint("id", r.rnd.IntN(3))
		c.FixedRoles, c.Roles = r.rnd.IntN(2) == 0, []string{"dev", "ops"}[:r.rnd.IntN(3)]
		r.do(c)
	case 6, 7:
		r.do(&Put{Key: k, Attrs: attrs(r.rnd.IntN(6), r.rnd.IntN(200))})
	case 8, 9, 10:
		r.do(&Invalidate{Key: k, Reason: EndedByLogout})
	case 11:
		r.do(&SetRoles{Realm: "corp", Username: user, Roles: []string{"dev", "ops"}[:r.rnd.IntN(3)]})
	case 12:
		r.do(&EndUser{Realm: "corp", Username: user})
	case 13:
		if r.rnd.IntN(30) == 0 {
			r.do(&EndAll{By: "op"})
		}
		r.do(&Sweep{})
	case 14:
		r.do(&Touch{Uses: []Use{{k, r.now}}})
	default:
		r.pass(TombstoneLife / 20)
		r.do(&Expire{Cutoff: r.now, Keys: []Key{k, r.key(), r.key()}})
	}
}

// TestSnapshotsOfWhatIsUsedAgain compares snapshots that are written while everything changes with those of their moment,
// and the state with the one that is restored of it.
func TestSnapshotsOfWhatIsUsedAgain(t *testing.T) {
	for seed := range uint64(6) {
		r := &recycler{script: newScript(t), rnd: rand.New(rand.NewPCG(seed, 3))}
		r.do(&CreateRole{ID: "role-ops", Name: "ops"})
		for round := range 12 {
			for range 1500 {
				r.change()
			}
			want := snapshotOf(t, r.m)
			snaps := []*Snapshot{r.m.Snapshot(r)}
			for range 300 {
				r.change()
			}
			later := snapshotOf(t, r.m)
			snaps = append(snaps, r.m.Snapshot(r))
			for i, expect := range [][]byte{want, later} {
				var got bytes.Buffer
				if _, err := snaps[i].WriteTo(&got); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Bytes(), expect) {
					t.Fatalf("seed %d, round %d: snapshot %d is not of its moment", seed, round, i)
				}
			}
			back, err := Restore(bytes.NewReader(snapshotOf(t, r.m)))
			if err != nil {
				t.Fatal(err)
			}
			if back.Hash() != r.m.Hash() {
				t.Fatal("another state")
			}
			if round%3 == 2 { // go on with slabs of another history
				r.m = back
			}
			r.pass(time.Minute)
		}
	}
}
