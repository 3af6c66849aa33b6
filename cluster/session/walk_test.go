package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// meddler is a lock that has the machine change whenever it is let go.
type meddler struct {
	*script
	rnd   *rand.Rand
	keys  []Key
	held  bool
	depth int // snapshots being written
	wrote int
}

// deepest is how many snapshots are written at the same time.
const deepest = 3

func (md *meddler) Lock() {
	if md.held {
		md.t.Fatal("locked twice")
	}
	md.held = true
}

func (md *meddler) Unlock() {
	md.held = false
	if md.t.Failed() { // on the way out
		return
	}
	for range md.rnd.IntN(30) {
		md.change()
	}
	if md.depth == deepest {
		return
	}
	switch md.rnd.IntN(15) {
	case 0:
		md.snapshot()
	case 1: // abandoned
		depth := md.depth
		md.depth = deepest
		snap := md.m.Snapshot(md)
		md.change()
		snap.Release()
		md.depth = depth
	}
}

// snapshot writes a snapshot, while the machine goes on, and compares it with the state of its moment.
func (md *meddler) snapshot() {
	if md.depth >= deepest {
		return
	}
	md.depth++
	defer func() { md.depth-- }()
	want := snapshotOf(md.t, md.m)
	snap := md.m.Snapshot(md)
	for range md.rnd.IntN(200) {
		md.change()
	}
	var got bytes.Buffer
	if _, err := snap.WriteTo(&got); err != nil {
		md.t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		md.t.Fatal("the snapshot is not of the moment of its capture")
	}
	md.wrote++
}

func (md *meddler) change() {
	k := Key{1}
	if len(md.keys) > 0 {
		k = md.keys[md.rnd.IntN(len(md.keys))]
	}
	switch md.rnd.IntN(12) {
	case 0, 1, 2:
		md.create()
	case 3:
		md.do(&Put{Key: k, Attrs: attrs(md.rnd.IntN(5), md.rnd.IntN(60))})
	case 4:
		md.do(&Delete{Key: k})
	case 5, 6:
		md.do(&Invalidate{Key: k, Reason: EndedByLogout})
	case 7:
		md.do(&SetRoles{Realm: "corp", Username: fmt.Sprint("user", md.rnd.IntN(50)), Roles: []string{"dev"}[:md.rnd.IntN(2)]})
	case 8:
		if md.rnd.IntN(20) == 0 {
			md.do(&EndUser{Realm: "corp", Username: fmt.Sprint("user", md.rnd.IntN(50))})
		}
		md.do(&Sweep{})
	default:
		md.pass(time.Millisecond)
		md.do(&Touch{Uses: []Use{{k, md.now}}})
	}
}

func (md *meddler) create() {
	c := md.script.create(0, "corp", fmt.Sprint("user", md.rnd.IntN(50)))
	// Half of them crowd into some shards, which grow on the way.
	binary.BigEndian.PutUint64(c.Key[:], md.rnd.Uint64())
	if md.rnd.IntN(2) == 0 {
		binary.BigEndian.PutUint16(c.Key[:], uint16(md.rnd.IntN(8)*9000))
	}
	c.Key[15] = 1
	c.Attrs = attrs(md.rnd.IntN(5), md.rnd.IntN(60))
	c.FixedRoles, c.Roles = md.rnd.IntN(2) == 0, []string{"dev"}
	md.keys = append(md.keys, c.Key)
	md.do(c)
}

func TestSnapshotsWhileMeddledWith(t *testing.T) {
	for seed := range uint64(4) {
		md := &meddler{script: newScript(t), rnd: rand.New(rand.NewPCG(seed, 9))}
		md.limit(Limits{SessionsPerUser: MaxSessionsPerUser})
		for range 1500 {
			md.create()
		}
		for range 3 {
			md.snapshot()
		}
		table := md.m.store.table
		md.m.Snapshot(nil).Release()
		md.do(&Touch{Uses: []Use{{md.m.Sessions(Key{}, 1)[0].Key, md.now.Add(time.Hour)}}})
		md.pass(time.Hour)
		md.create()
		md.do(&Put{Key: md.keys[len(md.keys)-1], Attrs: attrs(1, 1)})
		for _, w := range table.walks {
			if w.saved != nil {
				t.Error("something is saved for a snapshot that is over")
			}
		}
		if md.wrote < 5 {
			t.Errorf("%d snapshots", md.wrote)
		}
		reread(t, md.m)
	}
}

func TestSnapshotIsWrittenOnce(t *testing.T) {
	s := busy(t)
	snap := s.m.Snapshot(nil)
	snap.Release()
	defer func() {
		if recover() == nil {
			t.Error("it is written after its release")
		}
	}()
	_, _ = snap.WriteTo(failingWriter{})
}
