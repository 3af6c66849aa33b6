package storage

import (
	"math/rand/v2"
	"testing"

	"cloakroom/cluster/keyring"
)

// TestUsage compares the runs with a list of all entries.
func TestUsage(t *testing.T) {
	covers := []cover{{}, {true, keyring.ID{1}}, {true, keyring.ID{2}}}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		u, model := &usage{}, map[uint64]cover{}
		next := uint64(1 + random.IntN(5))
		for range 60 {
			c := covers[random.IntN(len(covers))]
			from := 1 + random.Uint64N(next)
			to := from + random.Uint64N(8)
			switch random.IntN(4) {
			case 0: // the end is replaced
				if random.IntN(2) == 0 {
					next = max(1, next-min(next-1, random.Uint64N(4)))
				}
				fallthrough
			case 1:
				last := next + random.Uint64N(6)
				u.add(next, last, c)
				for i := range model {
					if i >= next {
						delete(model, i)
					}
				}
				for ; next <= last; next++ {
					model[next] = c
				}
			case 2:
				u.cover(from, to, c)
				for i := from; i <= to; i++ {
					if _, ok := model[i]; ok {
						model[i] = c
					}
				}
			case 3:
				if random.IntN(2) == 0 {
					from = 0 // the front
				} else {
					to = ^uint64(0)
					next = min(next, from)
				}
				u.cut(from, to)
				for i := range model {
					if i >= from && i <= to {
						delete(model, i)
					}
				}
			}
			compareUsage(t, seed, u, model, next, covers)
		}
	}
}

func compareUsage(t *testing.T, seed uint64, u *usage, model map[uint64]cover, next uint64, covers []cover) {
	t.Helper()
	want := map[cover]uint64{}
	for _, c := range model {
		want[c]++
	}
	got := u.count()
	for _, c := range covers {
		if got[c] != want[c] {
			t.Fatalf("seed %d: %d entries under %v, want %d: %v", seed, got[c], c, want[c], u.runs)
		}
		for from := range next + 2 {
			index, found := uint64(0), false
			for i := from; i < next && !found; i++ {
				if has, ok := model[i]; ok && has != c {
					index, found = i, true
				}
			}
			if at, ok := u.other(from, c); at != index || ok != found {
				t.Fatalf("seed %d: other from %d on: %d, want %d: %v", seed, from, at, index, u.runs)
			}
		}
	}
	for i := 1; i < len(u.runs); i++ {
		if u.runs[i].first <= u.runs[i-1].last {
			t.Fatalf("seed %d: %v", seed, u.runs)
		}
	}
}
