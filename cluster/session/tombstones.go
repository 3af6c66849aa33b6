package session

// tombstones remembers ended sessions, oldest first.
type tombstones struct {
	queue fifo[Tombstone]
	byKey map[Key]int // position in queue
}

func newTombstones() tombstones { return tombstones{byKey: make(map[Key]int)} }

func (t *tombstones) add(ts Tombstone) { t.byKey[ts.Key] = t.queue.push(ts) }

func (t *tombstones) get(k Key) (Tombstone, bool) {
	pos, ok := t.byKey[k]
	if !ok {
		return Tombstone{}, false
	}
	return t.queue.at(pos), true
}

// prune forgets what is older than TombstoneLife, at most limit of them. It looks no further than the first that is
// younger: a swept session carries the time of its end and may stand behind later ones, which only keeps it longer.
func (t *tombstones) prune(clock Time, limit int) {
	for ; limit > 0 && t.queue.len() > 0; limit-- {
		oldest := t.queue.at(t.queue.head)
		if oldest.Ended.Add(TombstoneLife) > clock {
			return
		}
		delete(t.byKey, oldest.Key)
		t.queue.pop()
	}
}
