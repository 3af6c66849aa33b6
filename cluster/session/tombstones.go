package session

// tombstones remembers ended sessions, oldest first. The index finds them.
type tombstones struct {
	queue     fifo[Tombstone]
	forgotten uint64 // the latest Mod of what was pruned. No part of the state: after Restore the snapshot's index
}

// push adds a tombstone and returns its number for the index: its position in the queue, which is never as long as there
// are numbers.
func (t *tombstones) push(ts Tombstone) uint32 {
	return graveBit | uint32(t.queue.push(ts))
}

func (t *tombstones) at(n uint32) *Tombstone {
	behind := (n - uint32(t.queue.head)) &^ graveBit
	return t.queue.ref(t.queue.head + int(behind))
}

// prune forgets what is older than TombstoneLife, or if all nodes know to (modern) than WhyLife, as long as there is room;
// at most limit of them. It looks no further than the first that is younger: a swept session carries the time of its end and
// may stand behind later ones, which only keeps it longer.
func (t *table) prune(clock Time, modern bool, limit int) {
	tombs := &t.tombs
	for ; limit > 0 && tombs.queue.len() > 0; limit-- {
		oldest := tombs.queue.ref(tombs.queue.head)
		life := TombstoneLife
		if modern && tombs.queue.len() <= maxTombstones {
			life = WhyLife
		}
		if oldest.Ended.Add(life) > clock {
			return
		}
		t.index.delete(&oldest.Key)
		tombs.forgotten = max(tombs.forgotten, oldest.Mod)
		tombs.queue.pop()
	}
}
