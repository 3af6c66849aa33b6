package tries

import (
	"encoding/binary"
	"hash/maphash"
	"time"

	"cloakroom/cluster/session"
)

// turn is the next try at a user whose counter has a delay: for which address it is kept.
type turn struct {
	at      session.Time // when the delay is over; another delay has another turn
	address Key
	rank    uint64 // the lowest of those who asked
}

// turnLocked returns how long a try has to wait for the user's counter. other is how long it has to wait for the counters of
// its address: who can't come at the time has no turn.
func (t *Table) turnLocked(now session.Time, try Try, pair Key, other time.Duration) time.Duration {
	next := t.getLocked(try.User, now).next
	kept, ok := t.turns[try.User]
	if ok && (kept.at != next || kept.at.Add(turnGrace) <= now) {
		delete(t.turns, try.User)
		ok = false
	}
	if now >= next {
		switch {
		case !ok || kept.address == try.Address:
			return 0
		default:
			return kept.at.Add(turnGrace).Sub(now)
		}
	}
	if now.Add(other) > next || !ok && !t.turnRoomLocked(now) {
		return next.Sub(now)
	}
	if rank := t.rankLocked(now, try, pair, next); !ok || rank < kept.rank {
		t.turns[try.User] = turn{at: next, address: try.Address, rank: rank}
	}
	return next.Sub(now)
}

// rankLocked draws the lot of an address for a turn: the same each time that it asks, and nobody can tell which. Those that
// have failed at this user come after those that have not.
func (t *Table) rankLocked(now session.Time, try Try, pair Key, next session.Time) uint64 {
	var b [24]byte
	for i, n := range []uint64{uint64(try.User), uint64(try.Address), uint64(next)} {
		binary.BigEndian.PutUint64(b[8*i:], n)
	}
	const failed = 1 << 63
	rank := maphash.Bytes(t.seed, b[:]) &^ failed
	if t.getLocked(pair, now).level(kindPair, now) > 0 {
		rank |= failed
	}
	return rank
}

func (t *Table) turnRoomLocked(now session.Time) bool {
	if len(t.turns) < maxTurns {
		return true
	}
	looked := 0
	for k, kept := range t.turns {
		if kept.at.Add(turnGrace) <= now {
			delete(t.turns, k)
		}
		if looked++; looked == scan {
			break
		}
	}
	return len(t.turns) < maxTurns
}
