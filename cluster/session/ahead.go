package session

import "runtime"

// aheadKeys is how many sessions are brought near at a time: what belongs to them fits into a processor's first cache.
const aheadKeys = 32

// Ahead reads what Lookup will look at for these sessions, each step for all of them before the next step of any, so that
// the processor waits for memory once a step and not once a session. What it returns means nothing: without it the compiler
// would leave the reading out.
func (m *Machine) Ahead(keys []Key) (sum uint64) {
	defer runtime.KeepAlive(m)
	for len(keys) > aheadKeys {
		sum += m.store.table.ahead(keys[:aheadKeys])
		keys = keys[aheadKeys:]
	}
	return sum + m.store.table.ahead(keys)
}

func (t *table) ahead(keys []Key) (sum uint64) {
	if t.index.shards == nil {
		return 0
	}
	var shards [aheadKeys]shard
	for i := range keys {
		shards[i] = t.index.shards[shardOf(&keys[i])]
	}
	var numbers [aheadKeys]uint32
	for i := range keys {
		if sh := &shards[i]; sh.n > 0 {
			numbers[i] = uint32(t.index.of(sh)[home(tagOf(&keys[i]), sh.size)])
		}
	}
	var found [aheadKeys]*row
	for i := range keys {
		if n := numbers[i]; n != 0 && n&graveBit == 0 {
			found[i] = t.rows.at(n)
			sum += found[i].mod
		}
	}
	var owners [aheadKeys]*account
	for i := range keys {
		if r := found[i]; r != nil {
			owners[i] = t.accounts.at(r.account)
			sum += owners[i].end
		}
	}
	for i := range keys {
		if a := owners[i]; a != nil {
			if a.user != nil { // its roles are the next that a caller wants
				sum += a.user.Mod
			}
			if len(a.id) > 0 {
				sum += uint64(a.id[0])
			}
			if len(a.name) > 0 {
				sum += uint64(a.name[0])
			}
		}
	}
	return sum
}
