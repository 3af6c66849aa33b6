package tries

import (
	"hash/maphash"
	"sync"
	"time"

	"cloakroom/cluster/session"
)

// Try is a login whose password is to be checked.
type Try struct {
	User, Address Key
	Known         bool // the user has a live session from this address
}

// grant is what the leader says to a try.
type grant struct {
	wait    time.Duration // above zero: refused
	counted uint8         // bits of the kinds that it was counted by
}

// Table is a node's copy of the counters. The leader's is the one that decides; those of the others follow by gossip. It
// has no clock: decisions bring the time with them, and news bring that of the sender.
type Table struct {
	seed maphash.Seed // of the lots

	mu      sync.Mutex
	kinds   [kinds]map[Key]counter
	turns   map[Key]turn
	pending map[Key]int  // changes to tell others of: how often each was sent
	latest  session.Time // latest time that was seen
	seq     uint64
	counts  tableCounts
}

// tableCounts counts since the start.
type tableCounts struct{ granted, refused, forgiven, evicted, heard, malformed uint64 }

// NewTable returns an empty table.
func NewTable() *Table {
	t := &Table{seed: maphash.MakeSeed(), turns: make(map[Key]turn), pending: make(map[Key]int)}
	for k := range t.kinds {
		t.kinds[k] = make(map[Key]counter)
	}
	return t
}

// reserve decides on tries, as leader of the term.
func (t *Table) reserve(now session.Time, term uint64, tries []Try) []grant {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latest = max(t.latest, now)
	grants := make([]grant, len(tries))
	for i, try := range tries {
		grants[i] = t.reserveLocked(now, term, try)
		if grants[i].wait > 0 {
			t.counts.refused++
		} else {
			t.counts.granted++
		}
	}
	return grants
}

func (t *Table) reserveLocked(now session.Time, term uint64, try Try) grant {
	pair := pairOf(try.User, try.Address)
	keys := []Key{pair}
	wait := t.getLocked(pair, now).wait(now)
	if !try.Known && t.getLocked(pair.as(kindKnown), now).empty <= now {
		keys = append(keys, try.Address, try.User)
		wait = max(wait, t.getLocked(try.Address, now).wait(now))
		wait = max(wait, t.turnLocked(now, try, pair, wait))
	}
	if wait > 0 {
		return grant{wait: wait}
	}
	g := grant{}
	for _, k := range keys {
		t.changeLocked(k, now, term, func(c *counter) { c.fail(k.kind(), now) })
		g.counted |= 1 << k.kind()
	}
	return g
}

// pardon is a try that was no failure.
type pardon struct {
	Try
	counted uint8  // bits of the kinds that are to be given back
	proven  bool   // the password was right: the address is known from now on
	term    uint64 // in which it was granted

	told chan struct{} // closed when it is over with; nil: nobody waits for that
}

func (p pardon) over() {
	if p.told != nil {
		close(p.told)
	}
}

// forgive takes tries back, as leader of the term. What another leader has counted is left as it is: whether this one has
// heard of it is not known, and nobody else's failure must be forgiven in its place.
func (t *Table) forgive(now session.Time, term uint64, pardons []pardon) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latest = max(t.latest, now)
	for _, p := range pardons {
		pair := pairOf(p.User, p.Address)
		if known := pair.as(kindKnown); p.proven && t.getLocked(known, now).empty < now.Add(KnownFor-knownStep) {
			t.changeLocked(known, now, term, func(c *counter) { c.empty = now.Add(KnownFor) })
		}
		if p.term != term {
			continue
		}
		t.counts.forgiven++
		for _, k := range []Key{pair, p.Address, p.User} {
			if _, counted := t.kinds[k.kind()][k]; counted && p.counted&(1<<k.kind()) != 0 {
				t.changeLocked(k, now, term, func(c *counter) { c.forgive(k.kind(), now) })
			}
		}
	}
}

// getLocked returns a counter, an empty one if there is none. One that can't be, by whatever was heard, is mended.
func (t *Table) getLocked(k Key, now session.Time) counter {
	c, there := t.kinds[k.kind()][k]
	if there && c.bound(k.kind(), now) {
		t.kinds[k.kind()][k] = c
	}
	return c
}

// changeLocked changes a counter and makes that news.
func (t *Table) changeLocked(k Key, now session.Time, term uint64, change func(*counter)) {
	c := t.getLocked(k, now)
	change(&c)
	t.seq++
	c.term, c.seq = term, t.seq
	t.putLocked(k, c, now)
	t.tellLocked(k, now)
}

func (t *Table) putLocked(k Key, c counter, now session.Time) {
	counters := t.kinds[k.kind()]
	if _, there := counters[k]; !there && len(counters) >= maxCounters {
		t.makeRoomLocked(k.kind(), now)
	}
	counters[k] = c
}

// makeRoomLocked forgets a counter. It looks at a few, wherever the map begins: those that are empty go, and if none is, the
// lowest. A look at all of them, at each try, would be what a flood is after.
func (t *Table) makeRoomLocked(k kind, now session.Time) {
	counters := t.kinds[k]
	looked, found, victim, lowest := 0, false, Key(0), counter{}
	for key, c := range counters {
		if c.level(k, now) == 0 {
			delete(counters, key)
			delete(t.turns, key)
		} else if !found || c.empty < lowest.empty { // all of a kind leak alike
			found, victim, lowest = true, key, c
		}
		if looked++; looked == scan {
			break
		}
	}
	if len(counters) >= maxCounters {
		delete(counters, victim)
		delete(t.turns, victim)
		t.counts.evicted++
	}
}
