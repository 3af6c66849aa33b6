package session

import (
	"maps"
	"slices"
)

// cow is a map in shards that can be frozen at the price of copying one slice of pointers: a shard is copied when it
// is written for the first time after a freeze. The caller names the shard of each key, so that it may choose shards
// that follow the order of the keys.
type cow[K comparable, V any] struct {
	shards []*cowShard[K, V] // nil: empty
	epoch  uint64            // shards of an older epoch belong to a frozen view as well
	n      int
}

type cowShard[K comparable, V any] struct {
	epoch uint64
	m     map[K]V
}

func newCow[K comparable, V any](shards int) cow[K, V] {
	return cow[K, V]{shards: make([]*cowShard[K, V], shards)}
}

func (c *cow[K, V]) get(shard int, k K) (V, bool) {
	sh := c.shards[shard]
	if sh == nil {
		var none V
		return none, false
	}
	v, ok := sh.m[k]
	return v, ok
}

func (c *cow[K, V]) put(shard int, k K, v V) {
	m := c.writable(shard)
	before := len(m)
	m[k] = v
	c.n += len(m) - before
}

func (c *cow[K, V]) delete(shard int, k K) {
	if _, ok := c.get(shard, k); !ok {
		return
	}
	delete(c.writable(shard), k)
	c.n--
}

// freeze returns the shards as they are now; later writes go to copies. The slice is the caller's.
func (c *cow[K, V]) freeze() []*cowShard[K, V] {
	c.epoch++
	return append([]*cowShard[K, V](nil), c.shards...)
}

func (c *cow[K, V]) writable(shard int) map[K]V {
	sh := c.shards[shard]
	if sh != nil && sh.epoch == c.epoch {
		return sh.m
	}
	next := &cowShard[K, V]{epoch: c.epoch}
	if sh == nil {
		next.m = make(map[K]V)
	} else {
		next.m = maps.Clone(sh.m)
	}
	c.shards[shard] = next
	return next.m
}

// ascend calls fn with the values whose keys follow after, in the order of the keys, from the given shard on, until
// fn returns false. It presumes that shards follow the order of the keys; each is sorted when its turn comes, so a
// page costs its own length and one shard, not the map.
func ascend[K comparable, V any](shards []*cowShard[K, V], first int, after K, compare func(a, b K) int, fn func(V) bool) {
	var keys []K
	for _, sh := range shards[first:] {
		if sh == nil {
			continue
		}
		keys = keys[:0]
		for k := range sh.m {
			if compare(k, after) > 0 {
				keys = append(keys, k)
			}
		}
		slices.SortFunc(keys, compare)
		for _, k := range keys {
			if !fn(sh.m[k]) {
				return
			}
		}
	}
}
