package storage

import (
	"slices"
	"sync"

	"cloakroom/cluster/keyring"
)

// cover says what an entry or a snapshot is sealed under; the zero cover: it is plain.
type cover struct {
	sealed bool
	id     keyring.ID
}

// usage knows which entries of the log are sealed under which key. Keys change rarely, so it holds few runs.
type usage struct {
	mu   sync.Mutex
	runs []run // ascending, next to each other
}

type run struct {
	first, last uint64
	cover       cover
}

// add notes entries at the end of the log.
func (u *usage) add(first, last uint64, c cover) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := len(u.runs)
	if n > 0 && u.runs[n-1].last >= first {
		u.cutLocked(first, ^uint64(0))
		n = len(u.runs)
	}
	if n > 0 && u.runs[n-1].last+1 == first && u.runs[n-1].cover == c {
		u.runs[n-1].last = last
		return
	}
	u.runs = append(u.runs, run{first, last, c})
}

// cut forgets entries: from the end, or from the front.
func (u *usage) cut(first, last uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cutLocked(first, last)
}

func (u *usage) cutLocked(first, last uint64) {
	var left []run
	for _, r := range u.runs {
		if r.first < first {
			left = append(left, run{r.first, min(r.last, first-1), r.cover})
		}
		if r.last > last {
			left = append(left, run{max(r.first, last+1), r.last, r.cover})
		}
	}
	u.runs = left
}

// cover changes what a range is sealed under.
func (u *usage) cover(first, last uint64, c cover) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var next []run
	put := func(r run) {
		if r.first > r.last {
			return
		}
		if n := len(next); n > 0 && next[n-1].cover == r.cover && next[n-1].last+1 == r.first {
			next[n-1].last = r.last
			return
		}
		next = append(next, r)
	}
	for _, r := range u.runs {
		if r.last < first || r.first > last {
			put(r)
			continue
		}
		if r.first < first {
			put(run{r.first, first - 1, r.cover})
		}
		put(run{max(r.first, first), min(r.last, last), c})
		if r.last > last {
			put(run{last + 1, r.last, r.cover})
		}
	}
	u.runs = next
}

// other returns the first entry from an index on that has another cover.
func (u *usage) other(from uint64, c cover) (index uint64, found bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, r := range u.runs {
		if r.cover != c && r.last >= from {
			return max(from, r.first), true
		}
	}
	return 0, false
}

// lastRun returns the last entries in a row that have a cover. Indexes begin with 1.
func (u *usage) lastRun(c cover) (first, last uint64, found bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, r := range slices.Backward(u.runs) {
		if r.cover == c {
			return r.first, r.last, true
		}
	}
	return 0, 0, false
}

// count returns how many entries are under each cover.
func (u *usage) count() map[cover]uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	counts := make(map[cover]uint64)
	for _, r := range u.runs {
		counts[r.cover] += r.last - r.first + 1
	}
	return counts
}
