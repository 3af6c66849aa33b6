package session

import "bytes"

// tableShards is how many parts the table has, each one the keys with the same leading bits. At ten million sessions
// a shard holds some 2,400: what a page of a listing sorts, and what a write after a snapshot copies.
const (
	tableShards    = 1 << tableShardBits
	tableShardBits = 12
)

// table holds the records by key. It is the boundary of the memory layout: nothing outside it depends on how records
// are found or kept, only on get, put, delete, len, and iteration in the order of the keys.
type table struct {
	cow cow[Key, ref]
}

// ref is a record with what belongs to it on this node.
type ref struct {
	s *Session
	a *account // whose session it is: holds the end index
	n *node    // its place in the expiry wheel
}

// ended reports whether the session is over by an end index, and merely not yet swept.
func (r ref) ended() bool { return r.s.Seq <= r.a.end.seq || r.s.Seq <= r.a.realm.end.seq }

func newTable() table { return table{cow: newCow[Key, ref](tableShards)} }

func (t *table) get(k Key) (ref, bool) { return t.cow.get(tableShard(k), k) }

func (t *table) put(r ref) { t.cow.put(tableShard(r.s.Key), r.s.Key, r) }

func (t *table) delete(k Key) { t.cow.delete(tableShard(k), k) }

func (t *table) len() int { return t.cow.n }

// ascend calls fn with the records after a key, in the order of the keys, until it returns false.
func (t *table) ascend(after Key, fn func(ref) bool) { t.view().ascend(after, fn) }

// view reads the table as it is, and is good only as long as nobody writes it; freeze is good for ever.
func (t *table) view() tableView { return tableView{shards: t.cow.shards, n: t.cow.n} }

func (t *table) freeze() tableView { return tableView{shards: t.cow.freeze(), n: t.cow.n} }

type tableView struct {
	shards []*cowShard[Key, ref]
	n      int
}

func (v tableView) ascend(after Key, fn func(ref) bool) {
	ascend(v.shards, tableShard(after), after, compareKeys, fn)
}

func tableShard(k Key) int { return (int(k[0])<<8 | int(k[1])) >> (16 - tableShardBits) }

func compareKeys(a, b Key) int { return bytes.Compare(a[:], b[:]) }
