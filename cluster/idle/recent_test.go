package idle

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"testing"

	"cloakroom/cluster/session"
)

// The table holds what a map would, whatever is put in and dropped, in whatever order, and gives back what it has grown by.
func TestRecent(t *testing.T) {
	for _, keys := range []int{1, 7, 100, 3000} {
		for _, spread := range []bool{true, false} {
			rng := rand.New(rand.NewPCG(1, uint64(keys)))
			var table recent
			model := map[session.Key]use{}
			key := func() (k session.Key) {
				n := rng.Uint64N(uint64(keys))
				if spread {
					n *= 0xD6E8FEB86659FD93
				}
				binary.LittleEndian.PutUint64(k[:], n)
				return k
			}
			for round := range 20 * keys {
				k := key()
				x := use{at: session.Time(1 + rng.Uint64N(1000)), queued: rng.Uint64N(2) == 0}
				found := table.find(k)
				want, known := model[k]
				switch {
				case (found != nil) != known, known && *found != want:
					t.Fatalf("%d keys, round %d: %v, want %v, %t", keys, round, found, want, known)
				case known && (rng.Uint64N(3) == 0 || round > 15*keys): // towards the end it empties
					table.drop(k)
					delete(model, k)
				case known:
					*found, model[k] = x, x
				case round < 15*keys:
					table.put(k, x)
					model[k] = x
				}
				if table.n != len(model) || 4*table.n > 3*len(table.slots) {
					t.Fatalf("%d keys: %d in %d slots, want %d", keys, table.n, len(table.slots), len(model))
				}
			}
			if got := maps.Collect(table.all()); !maps.Equal(got, model) {
				t.Fatalf("%d keys: %d and %d differ", keys, len(got), len(model))
			}
			for k := range model {
				table.drop(k)
			}
			if table.n != 0 || len(table.slots) > minRecent {
				t.Errorf("%d keys: %d left, in %d slots", keys, table.n, len(table.slots))
			}
		}
	}
}

func BenchmarkRecent(b *testing.B) {
	var shards [shardCount]recent
	plain := make([]map[session.Key]use, shardCount)
	for i := range plain {
		plain[i] = map[session.Key]use{}
	}
	const per = 64
	many := make([]session.Key, per*shardCount)
	for i := range many {
		binary.LittleEndian.PutUint64(many[i][:], rand.Uint64())
		binary.LittleEndian.PutUint64(many[i][8:], rand.Uint64())
		shard := (int(many[i][0])<<8 | int(many[i][1])) % shardCount
		shards[shard].put(many[i], use{at: 1})
		plain[shard][many[i]] = use{at: 1}
	}
	b.Run("table", func(b *testing.B) {
		for b.Loop() {
			k := many[rand.IntN(len(many))]
			shards[(int(k[0])<<8|int(k[1]))%shardCount].find(k).at++
		}
	})
	b.Run("map", func(b *testing.B) {
		for b.Loop() {
			k := many[rand.IntN(len(many))]
			m := plain[(int(k[0])<<8|int(k[1]))%shardCount]
			x := m[k]
			x.at++
			m[k] = x
		}
	})
}
