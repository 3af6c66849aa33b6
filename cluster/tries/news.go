package tries

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"cloakroom/cluster/gossip"
	"cloakroom/cluster/session"
)

var _ gossip.News = (*Table)(nil)

// tellLocked makes a counter news. It travels as it is when it is sent, so one counter is never there twice.
func (t *Table) tellLocked(k Key, now session.Time) {
	if _, there := t.pending[k]; !there && len(t.pending) >= maxPending && !t.dropNewsLocked(t.levelLocked(k, now), now) {
		return
	}
	t.pending[k] = 0
}

// dropNewsLocked makes room for news of a level: of some counters, the lowest goes, unless it is above that.
func (t *Table) dropNewsLocked(level int, now session.Time) bool {
	looked, victim, lowest := 0, Key(0), math.MaxInt
	for k := range t.pending {
		if l := t.levelLocked(k, now); l < lowest {
			victim, lowest = k, l
		}
		if looked++; looked == scan {
			break
		}
	}
	if lowest > level {
		return false
	}
	delete(t.pending, victim)
	return true
}

func (t *Table) levelLocked(k Key, now session.Time) int {
	return t.kinds[k.kind()][k].level(k.kind(), now)
}

// due is a counter that is to be told of.
type due struct {
	key         Key
	level, sent int
}

// Take implements gossip.News: the highest counters that were changed, those first that were sent less often.
func (t *Table) Take(limit, others int) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) == 0 {
		return nil
	}
	list := make([]due, 0, len(t.pending))
	for k, sent := range t.pending {
		list = append(list, due{k, t.levelLocked(k, t.latest), sent})
	}
	slices.SortFunc(list, func(a, b due) int {
		return cmp.Or(cmp.Compare(b.level, a.level), cmp.Compare(a.sent, b.sent), cmp.Compare(a.key, b.key))
	})
	fields := []uint64{uint64(t.latest)}
	size := 1 + 5 + sizeOf(fields[0]) // version and length of the array
	sends := min(max(minSends, 2*others), maxSends)
	for _, d := range list {
		c, there := t.kinds[d.key.kind()][d.key]
		if !there { // forgotten meanwhile
			delete(t.pending, d.key)
			continue
		}
		piece := c.piece(d.key, t.latest)
		for _, f := range piece {
			size += sizeOf(f)
		}
		if size > limit {
			break
		}
		fields = append(fields, piece[:]...)
		if t.pending[d.key] = d.sent + 1; d.sent+1 >= sends {
			delete(t.pending, d.key)
		}
	}
	if len(fields) == 1 {
		return nil
	}
	return encode(fields...)
}

// sizeOf returns the bytes of a number in its shortest form.
func sizeOf(n uint64) int {
	switch {
	case n < 1<<7:
		return 1
	case n < 1<<8:
		return 2
	case n < 1<<16:
		return 3
	case n < 1<<32:
		return 5
	}
	return 9
}

// State implements gossip.News: the highest counters of each kind.
func (t *Table) State() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	fields := []uint64{uint64(t.latest)}
	for k := range kind(kinds) {
		least, room := t.leastLocked(k), maxState
		for key, c := range t.kinds[k] {
			level := c.level(k, t.latest)
			if level == 0 || level < least || room == 0 {
				continue
			}
			room--
			piece := c.piece(key, t.latest)
			fields = append(fields, piece[:]...)
		}
	}
	if len(fields) == 1 {
		return nil
	}
	return encode(fields...)
}

// leastLocked returns the level of which, and above, there are no more counters than State has room for; if one level
// alone fills it, that level.
func (t *Table) leastLocked(k kind) int {
	levels := make(map[int]int)
	for _, c := range t.kinds[k] {
		levels[c.level(k, t.latest)]++
	}
	delete(levels, 0)
	least, sum := 1, 0
	for _, level := range slices.Backward(slices.Sorted(maps.Keys(levels))) {
		if sum += levels[level]; sum > maxState {
			if sum == levels[level] {
				return level
			}
			return level + 1
		}
		least = level
	}
	return least
}

// Hear implements gossip.News: what Take or State of another node has returned. The later change of a counter counts.
func (t *Table) Hear(b []byte) {
	f, err := decode(b, 1, newsFields, kinds*maxState)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil || f[0] > uint64(session.MaxTime) {
		t.counts.malformed++ // a node of a later version, or a broken one: it can't be answered
		return
	}
	from := session.Time(f[0])
	t.latest = max(t.latest, from)
	for f = f[1:]; len(f) > 0; f = f[newsFields:] {
		k, c, err := readPiece(f, from)
		if err != nil {
			t.counts.malformed++
			return
		}
		own, there := t.kinds[k.kind()][k]
		if there && own.before(c.term, c.seq) || !there && c.level(k.kind(), from) > 0 {
			t.putLocked(k, c, t.latest)
			t.counts.heard++
		}
	}
}
