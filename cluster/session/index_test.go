package session

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// TestIndexIsAMap holds the index against a map, with keys that crowd into few shards and few homes.
func TestIndexIsAMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	for _, shards := range []int{1, 3, 1 << 16} {
		var keys []Key // by number
		blobs := newBlobs(new(memory))
		x := index{slots: slots{blobs: &blobs}, keyOf: func(n uint32) *Key { return &keys[n&^graveBit] }}
		keys = append(keys, Key{})
		for range 3000 {
			var k Key
			binary.BigEndian.PutUint16(k[:], uint16(rnd.IntN(shards)))
			binary.BigEndian.PutUint64(k[8:], rnd.Uint64())
			keys = append(keys, k)
		}
		want := map[Key]uint32{}
		for step := range 60_000 {
			n := uint32(1 + rnd.IntN(len(keys)-1))
			if step/10_000%2 == 1 {
				n = 1 + n/30 // few keys, again and again
			}
			k := keys[n]
			switch {
			case want[k] == 0:
				x.put(&k, n)
				want[k] = n
			case rnd.IntN(3) == 0:
				want[k] ^= graveBit
				x.put(&k, want[k])
			default:
				x.delete(&k)
				delete(want, k)
			}
			if probe := keys[1+rnd.IntN(len(keys)-1)]; x.find(&probe) != want[probe] || x.find(&k) != want[k] {
				t.Fatalf("step %d: found %d, want %d", step, x.find(&probe), want[probe])
			}
		}
		rows := 0
		for shard := range indexShards {
			x.each(shard, func(n uint32) {
				if rows++; want[keys[n]] != n || shardOf(&keys[n]) != shard {
					t.Fatalf("number %d in shard %d", n, shard)
				}
			})
		}
		for _, n := range want {
			if n&graveBit == 0 {
				rows--
			}
		}
		if rows != 0 {
			t.Errorf("%d rows too many", rows)
		}
	}
}
