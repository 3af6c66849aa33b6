package session

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// table holds the sessions by key. It is the boundary of the memory layout: what is outside knows refs, and numbers of rows,
// and not how they are found or kept.
type table struct {
	mem      *memory
	rows     rows
	blobs    blobs
	index    index
	tombs    tombstones
	accounts *accounts
	roles    roleLists
	n        int

	epoch uint32  // of what is written now; each snapshot begins a new one
	walks []*walk // snapshots that are not written yet, or not whole
}

func newTable(all *accounts) *table {
	mem := new(memory)
	t := &table{mem: mem, accounts: all, rows: newRows(mem), blobs: newBlobs(mem)}
	all.names.blobs = &t.blobs
	t.index = index{slots: slots{blobs: &t.blobs}, keyOf: t.keyOf}
	return t
}

// keyOf returns where the key is that has a number in the index.
func (t *table) keyOf(n uint32) *Key {
	if n&graveBit != 0 {
		return &t.tombs.at(n).Key
	}
	return &t.rows.at(n).key
}

// get is what a lookup takes, so it does by itself what index.search does with a call for each key that it compares.
func (t *table) get(k Key) (ref, bool) {
	if t.index.shards == nil {
		return ref{}, false
	}
	sh := &t.index.shards[shardOf(&k)]
	if sh.n == 0 {
		return ref{}, false
	}
	slots, tag := t.index.of(sh), tagOf(&k)
	at := home(tag, sh.size)
	for s := slots[at]; s != 0; s = slots[at] {
		if n := uint32(s); uint32(s>>32) == tag && n&graveBit == 0 && t.rows.at(n).key == k {
			return t.ref(n), true
		}
		if at++; at == sh.size {
			at = 0
		}
	}
	return ref{}, false
}

func (t *table) ref(n uint32) ref {
	r := t.rows.at(n)
	return ref{row: r, n: n, a: t.accounts.at(r.account)}
}

func (t *table) len() int { return t.n }

// bytes returns how much of the slabs is in use.
func (t *table) bytes() int64 { return int64(t.n)*rowSize + t.blobs.used }

// tombstone returns what is remembered of an ended session.
func (t *table) tombstone(k Key) (Tombstone, bool) {
	n := t.index.find(&k)
	if n&graveBit == 0 {
		return Tombstone{}, false
	}
	return *t.tombs.at(n), true
}

// remember adds a tombstone of a session that is not in the table.
func (t *table) remember(ts Tombstone) {
	n := t.tombs.push(ts)
	t.index.put(&ts.Key, n)
}

// insert adds a session of an account, whose blob is made already and belongs to the table from now on.
func (t *table) insert(r *row, a *account) ref {
	n := t.add(r, a)
	at := t.rows.at(n)
	t.index.put(&at.key, n)
	return ref{row: at, n: n, a: a}
}

// add is insert but for the index.
func (t *table) add(r *row, a *account) uint32 {
	a.rows++
	r.account, r.epoch = a.number, t.epoch
	n := t.rows.take()
	*t.rows.at(n) = *r
	t.n++
	return n
}

// bury puts a tombstone in the place of a session. The ref is worth nothing afterwards.
func (t *table) bury(r ref, ts Tombstone) {
	t.preserve(r.row)
	t.index.put(&r.key, t.tombs.push(ts))
	t.blobs.drop(r.blob)
	t.roles.leave(r.roles)
	if r.a.rows--; r.a.rows == 0 {
		r.a.forgetIDs()
		t.accounts.giveUnused(r.a)
	}
	t.rows.give(r.n)
	t.n--
}

// head decodes into h, which is empty, what of a session is not in its blob. Its strings and lists are the account's and the
// roles', on the collector's heap: they may be kept.
func (t *table) head(r ref, h *Head) {
	x := r.row
	h.Key, h.Surface, h.CSRFOff = x.key, x.surface, x.csrfOff
	h.Created, h.LastUse, h.Expires, h.Idle = x.created, x.lastUse, x.expires, x.idle
	h.Seq, h.Rev, h.Mod = x.seq, x.rev, x.mod
	if x.roles != 0 {
		h.Roles = t.roles.names(x.roles)
	}
	h.Realm, h.Username = r.a.realm.name, r.a.name
	if x.userID != 0 {
		h.UserID = r.a.userID(x.userID)
	}
}

// session decodes a session.
func (t *table) session(r ref) *Session {
	in := &reader{b: t.blobs.get(r.blob)}
	s := &Session{Address: in.string(), Agent: in.string(), Attrs: in.attrs()}
	t.head(r, &s.Head)
	return s
}

// attrs appends the attributes of a session to dst. Their text is that in the blob: it is good until that changes.
func (t *table) attrs(dst []Attr, r ref) []Attr {
	_, attrs := split(t.blobs.get(r.blob))
	in := &reader{b: attrs}
	for range in.array(1) / 2 {
		dst = append(dst, Attr{Key: borrowed(in.text()), Value: borrowed(in.text())})
	}
	if in.bad || len(in.b) > 0 {
		panic("BUG: attributes in the table can't be read")
	}
	return dst
}

// appendRecord encodes a session for a snapshot, as Session.append does.
func (t *table) appendRecord(dst []byte, r *row) []byte {
	a := t.accounts.at(r.account)
	login, attrs := split(t.blobs.get(r.blob))
	dst = appendKey(appendArray(dst, 17), r.key)
	dst = appendString(dst, a.realm.name)
	dst = appendString(dst, a.name)
	dst = appendString(dst, a.userID(r.userID))
	dst = appendStrings(dst, t.roles.names(r.roles))
	dst = appendUint(dst, uint64(r.surface))
	dst = appendBool(dst, r.csrfOff)
	dst = append(dst, login...)
	dst = appendTime(dst, r.created)
	dst = appendTime(dst, r.lastUse)
	dst = appendTime(dst, r.expires)
	dst = appendInt(dst, int64(r.idle))
	dst = appendUint(dst, r.seq)
	dst = appendUint(dst, r.rev)
	dst = appendUint(dst, r.mod)
	return append(dst, attrs...)
}

// ascend calls fn with the sessions after a key, in the order of the keys, until it returns false. Fn must not change the
// table. Each shard is sorted when its turn comes, so a page costs its own length and one shard, not the table.
func (t *table) ascend(after Key, fn func(ref) bool) {
	var page []keyed
	for shard := shardOf(&after); shard < len(t.index.shards); shard++ {
		if t.index.shards[shard].n == 0 {
			continue
		}
		page = page[:0]
		t.index.each(shard, func(n uint32) {
			if k := &t.rows.at(n).key; compareKeys(*k, after) > 0 {
				page = append(page, keyed{key: *k, n: n})
			}
		})
		slices.SortFunc(page, compareKeyed)
		for _, x := range page {
			if !fn(t.ref(x.n)) {
				return
			}
		}
	}
}

// keyed is a session to be put in order: a row, or what a walk has saved of it.
type keyed struct {
	key   Key
	n     uint32
	saved []byte
}

func compareKeyed(a, b keyed) int {
	if c := cmp.Compare(binary.BigEndian.Uint64(a.key[:]), binary.BigEndian.Uint64(b.key[:])); c != 0 {
		return c
	}
	return cmp.Compare(binary.BigEndian.Uint64(a.key[8:]), binary.BigEndian.Uint64(b.key[8:]))
}

func compareKeys(a, b Key) int { return bytes.Compare(a[:], b[:]) }
