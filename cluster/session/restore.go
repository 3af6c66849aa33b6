package session

import (
	"fmt"
	"io"
	"runtime"
)

// Restore reads a snapshot to its end and returns the machine that it was taken of. Everything in it is checked, the
// relations between records too: what Apply could not have made is ErrBadEncoding. A snapshot of a newer version is
// ErrUnknownKind; errors of the reader itself come back as they are.
func Restore(r io.Reader) (*Machine, error) {
	rs := &restorer{
		in:      newSnapshotReader(r),
		m:       New(),
		pending: make(map[Key]*sweep),
		gone:    make(map[string]*realmState),
	}
	defer runtime.KeepAlive(rs)
	defer rs.in.blocks.stop()
	if err := rs.run(); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	return rs.m, nil
}

// restorer rebuilds a machine record by record.
type restorer struct {
	in      *snapshotReader
	version uint64
	m       *Machine
	meta    meta
	last    string // id of the record before, within its kind
	lastKey Key    // of the session before
	pending map[Key]*sweep
	gone    map[string]*realmState // by name: deleted realms
	realm   *realmState            // of the session before
	slots   []uint64               // of the present shard of the index, which are not in it yet
	sink    uint64                 // keeps the compiler from leaving out what is read ahead of its need
}

func (rs *restorer) run() error {
	for _, section := range []func() error{
		func() error { return restoreEach(rs, "head", 1, (*reader).head, rs.takeHead) },
		func() error { return restoreEach(rs, "meta", 1, rs.readMeta, rs.takeMeta) },
		func() error { return restoreEach(rs, "role", rs.meta.roles, (*reader).role, rs.takeRole) },
		func() error { return restoreEach(rs, "realm", rs.meta.realms, (*reader).realm, rs.takeRealm) },
		func() error { return restoreEach(rs, "user", rs.meta.users, (*reader).user, rs.takeUser) },
		func() error { return restoreEach(rs, "member", rs.meta.members, rs.readMember, rs.takeMember) },
		func() error { return restoreEach(rs, "sweep", rs.meta.sweeps, rs.readSweep, rs.takeSweep) },
		rs.checkCursor,
		rs.takeSessions,
		func() error {
			return restoreEach(rs, "tombstone", rs.meta.tombs, rs.readTombstone, rs.takeTombstone)
		},
		rs.finish,
		rs.in.end,
	} {
		if err := section(); err != nil {
			return err
		}
	}
	return nil
}

// restoreEach reads n records and hands each to take.
func restoreEach[T any](rs *restorer, name string, n uint64, decode func(*reader) T, take func(T) error) error {
	rs.last = ""
	for i := range n {
		b, err := rs.in.record()
		if err != nil {
			return fmt.Errorf("%s %d: %w", name, i, err)
		}
		r := &reader{b: b}
		x := decode(r)
		if r.bad || len(r.b) > 0 {
			return fmt.Errorf("%s %d: %w", name, i, ErrBadEncoding)
		}
		if err := take(x); err != nil {
			return fmt.Errorf("%s %d: %w", name, i, err)
		}
	}
	return nil
}

// broken says what about a record is not as Apply makes it.
func broken(what string) error { return fmt.Errorf("%w: %s", ErrBadEncoding, what) }

func (rs *restorer) takeHead(h head) error {
	if h.magic != snapshotMagic {
		return broken("not a snapshot")
	}
	if h.version < snapshotV1 || h.version > snapshotV3 {
		return fmt.Errorf("version %d: %w", h.version, ErrUnknownKind)
	}
	if h.index > maxNumber {
		return broken("index out of range")
	}
	rs.version, rs.m.applied, rs.m.modern = h.version, h.index, h.version >= snapshotV3
	rs.m.store.table.tombs.forgotten = h.index
	return nil
}

func (rs *restorer) readMeta(r *reader) meta { return r.meta(rs.version) }

func (rs *restorer) readMember(r *reader) Member { return r.member(rs.version >= snapshotV2) }

func (rs *restorer) readSweep(r *reader) savedSweep { return r.sweep(rs.version) }

func (rs *restorer) readTombstone(r *reader) Tombstone { return r.tombstone(rs.version) }

func (rs *restorer) takeMeta(x meta) error {
	m := rs.m
	if x.clusterID != "" && !validID(x.clusterID) || x.clock < 0 || x.clock > MaxTime || x.seq > maxNumber || m.modern && x.seq == 0 ||
		x.endedCount[0] != 0 || !x.pace.valid() || !x.limits.Valid() {
		return broken("field out of range")
	}
	rs.meta = x
	m.clusterID, m.clock, m.seq, m.everUser = x.clusterID, x.clock, x.seq, x.everUser
	m.pace, m.limits = x.pace, x.limits
	m.lostAt = x.clock // nobody knows any more: the latest that it can be
	m.store.created, m.store.endedCount, m.store.cursor = x.created, x.endedCount, x.cursor
	m.store.wheel.base = second(x.clock)
	return nil
}

func (rs *restorer) takeRole(x *Role) error {
	_, taken := rs.m.RoleByName(x.Name)
	if taken || !ValidName(x.Name) || len(x.Desc) > MaxDescription || !rs.stamped(x.Created, x.Updated, x.Mod) {
		return broken("field out of range")
	}
	rs.m.setRole(x)
	return rs.inOrder(x.ID)
}

func (rs *restorer) takeRealm(x *Realm) error {
	_, taken := rs.m.RealmByName(x.Name)
	if taken || !ValidName(x.Name) || !ValidName(x.Type) || len(x.Config) > MaxRealmConfig ||
		x.Name == NativeRealm && !x.Enabled || !rs.stamped(x.Created, x.Updated, x.Mod) || !rs.numbered(x.Rev) {
		return broken("field out of range")
	}
	if err := rs.internRoles(x.RoleNames); err != nil {
		return err
	}
	rs.m.setRealm(x)
	return rs.inOrder(x.ID)
}

func (rs *restorer) takeUser(x *User) error {
	realm := rs.m.realms[x.Realm]
	if realm == nil {
		return broken("no such realm")
	}
	if !ValidName(x.Username) || len(x.PasswordHash) > MaxPasswordHash || !rs.meta.everUser ||
		!rs.stamped(x.Created, x.Updated, x.Mod) || !rs.numbered(x.Rev) {
		return broken("field out of range")
	}
	if err := rs.internRoles(x.RoleNames); err != nil {
		return err
	}
	a := realm.account(x.Username)
	if a.user != nil {
		return broken("name taken")
	}
	x.Realm, x.Username = realm.name, a.name
	rs.m.setUser(a, x)
	return rs.inOrder(x.ID)
}

func (rs *restorer) takeMember(x Member) error {
	if !validMember(x) || !rs.past(x.Joined) {
		return broken("field out of range")
	}
	rs.m.members[x.ID] = x
	return rs.inOrder(x.ID)
}

func (rs *restorer) takeTombstone(t Tombstone) error {
	if t.Key.IsZero() || rs.m.store.knows(t.Key) || !rs.knows(t.Reason) || len(t.By) > MaxBy || !rs.past(t.Ended) || !rs.indexed(t.Mod) {
		return broken("field out of range")
	}
	rs.m.store.table.remember(t)
	return nil
}

// knows reports whether a reason is one of the snapshot's version.
func (rs *restorer) knows(why Reason) bool { return why.Valid() && int(why) < reasonsOf(rs.version) }

// internRoles checks the role names of a record and makes them share the memory of the roles.
func (rs *restorer) internRoles(names []string) error {
	if !validRoleSet(names) || names != nil && len(names) == 0 {
		return broken("role names out of order")
	}
	for i, name := range names {
		role, ok := rs.m.RoleByName(name)
		if !ok {
			return broken("no such role")
		}
		names[i] = role.Name
	}
	return nil
}

// inOrder checks that ids ascend, and so that none comes twice.
func (rs *restorer) inOrder(id string) error {
	if !validID(id) || id <= rs.last {
		return broken("id invalid or out of order")
	}
	rs.last = id
	return nil
}

func (rs *restorer) stamped(created, updated Time, mod uint64) bool {
	return rs.past(created) && rs.past(updated) && created <= updated && rs.indexed(mod)
}

func (rs *restorer) past(t Time) bool { return t >= 0 && t <= rs.meta.clock }

func (rs *restorer) numbered(rev uint64) bool { return rev > 0 && rev <= rs.meta.seq }

func (rs *restorer) indexed(mod uint64) bool { return mod > 0 && mod <= rs.m.applied }

// validRoleSet reports whether role names are sorted, without duplicates, and few enough.
func validRoleSet(names []string) bool {
	for i, name := range names {
		if !ValidName(name) || i > 0 && name <= names[i-1] {
			return false
		}
	}
	return len(names) <= MaxRoles
}

// finish checks what can be seen only at the end, and derives what needs all records.
func (rs *restorer) finish() error {
	m := rs.m
	if st := m.state(); st.version() != rs.version {
		return broken("a version without need")
	}
	if err := rs.checkBuiltIns(); err != nil {
		return err
	}
	if err := rs.checkSweeps(); err != nil {
		return err
	}
	var ended uint64
	for _, n := range rs.meta.endedCount {
		ended += n
	}
	if live := uint64(m.store.table.len() - m.store.unswept); rs.meta.created != ended+live {
		return broken("counts of sessions made and ended do not add up")
	}
	if err := rs.sortAccounts(); err != nil {
		return err
	}
	m.store.wheel.sortQueues()
	return nil
}

func (rs *restorer) checkBuiltIns() error {
	formed := rs.meta.clusterID != ""
	_, native := rs.m.RealmByName(NativeRealm)
	_, admin := rs.m.RoleByName(RoleAdmin)
	_, service := rs.m.RoleByName(RoleService)
	if native != formed || admin != formed || service != formed {
		return broken("built-in realm or role missing")
	}
	return nil
}
