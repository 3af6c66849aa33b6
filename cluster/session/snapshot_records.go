package session

import (
	"bytes"
	"time"
)

// Encodings of the records of a snapshot.

// head comes before everything else, so that a reader knows whether it can go on.
type head struct {
	magic          string
	version, index uint64
}

func (h head) append(dst []byte) []byte {
	dst = appendString(appendArray(dst, 3), h.magic)
	return appendUint(appendUint(dst, h.version), h.index)
}

func (r *reader) head() head {
	r.fields(3)
	return head{magic: r.string(), version: r.uint(), index: r.uint()}
}

func (st *state) appendMeta(dst []byte, version uint64) []byte {
	dst = appendArray(dst, metaFields(version))
	dst = appendString(dst, st.clusterID)
	dst = appendTime(dst, st.clock)
	dst = appendUint(dst, st.seq)
	dst = appendBool(dst, st.everUser)
	dst = appendUint(dst, st.created)
	reasons := reasonsOf(version)
	dst = appendArray(dst, reasons)
	for _, n := range st.endedCount[:reasons] {
		dst = appendUint(dst, n)
	}
	dst = appendOptKey(dst, st.cursor)
	for _, n := range []int{
		len(st.roles), len(st.realms), st.userCount, len(st.members), st.sweeps.len(), st.sessions.n, st.tombs.len(),
	} {
		dst = appendUint(dst, uint64(n))
	}
	if version >= snapshotV2 {
		dst = appendInt(appendInt(dst, int64(st.pace.Touch)), int64(st.pace.Grace))
	}
	if version >= snapshotV3 {
		dst = st.limits.append(dst)
	}
	return dst
}

// metaFields is how many fields meta has in a version.
func metaFields(version uint64) int {
	switch {
	case version >= snapshotV3:
		return 17
	case version == snapshotV2:
		return 16
	}
	return 14
}

// reasonsOf is how many reasons a version counts ends by.
func reasonsOf(version uint64) int {
	if version >= snapshotV3 {
		return reasonCount
	}
	return reasonCountV3
}

// userSessionsOf is how many sessions a user can have had at most.
func userSessionsOf(version uint64) int {
	if version >= snapshotV3 {
		return MaxSessionsPerUser
	}
	return DefaultSessionsPerUser
}

// meta is what Restore gets of state's small parts, and how much of the large ones follows.
type meta struct {
	clusterID  string
	clock      Time
	seq        uint64
	everUser   bool
	created    uint64
	endedCount [reasonCount]uint64
	cursor     Key
	pace       Pace
	limits     Limits

	roles, realms, users, members, sweeps, sessions, tombs uint64
}

func (r *reader) meta(version uint64) meta {
	r.fields(metaFields(version))
	m := meta{clusterID: r.string(), clock: r.time(), seq: r.uint(), everUser: r.bool(), created: r.uint()}
	reasons := reasonsOf(version)
	r.fields(reasons)
	for i := range reasons {
		m.endedCount[i] = r.uint()
	}
	m.cursor = r.optKey()
	for _, n := range []*uint64{&m.roles, &m.realms, &m.users, &m.members, &m.sweeps, &m.sessions, &m.tombs} {
		*n = r.uint()
	}
	if version >= snapshotV2 {
		m.pace = Pace{Touch: time.Duration(r.int()), Grace: time.Duration(r.int())}
	}
	if version >= snapshotV3 {
		m.limits = r.limits()
	}
	return m
}

func (x *Role) append(dst []byte) []byte {
	dst = appendString(appendArray(dst, 6), x.ID)
	dst = appendString(appendString(dst, x.Name), x.Desc)
	return appendUint(appendTime(appendTime(dst, x.Created), x.Updated), x.Mod)
}

func (r *reader) role() *Role {
	r.fields(6)
	return &Role{ID: r.string(), Name: r.string(), Desc: r.string(), Created: r.time(), Updated: r.time(), Mod: r.uint()}
}

func (x *Realm) append(dst []byte) []byte {
	dst = appendString(appendArray(dst, 10), x.ID)
	dst = appendString(appendString(dst, x.Name), x.Type)
	dst = appendStrings(appendBool(dst, x.Enabled), x.RoleNames)
	dst = appendBytes(dst, x.Config)
	dst = appendTime(appendTime(dst, x.Created), x.Updated)
	return appendUint(appendUint(dst, x.Rev), x.Mod)
}

func (r *reader) realm() *Realm {
	r.fields(10)
	return &Realm{
		ID: r.string(), Name: r.string(), Type: r.string(), Enabled: r.bool(), RoleNames: r.strings(), Config: r.blob(),
		Created: r.time(), Updated: r.time(), Rev: r.uint(), Mod: r.uint(),
	}
}

func (x *User) append(dst []byte) []byte {
	dst = appendString(appendArray(dst, 10), x.ID)
	dst = appendString(appendString(dst, x.Realm), x.Username)
	dst = appendString(appendStrings(dst, x.RoleNames), string(x.PasswordHash))
	dst = appendBool(dst, x.Disabled)
	dst = appendTime(appendTime(dst, x.Created), x.Updated)
	return appendUint(appendUint(dst, x.Rev), x.Mod)
}

func (r *reader) user() *User {
	r.fields(10)
	return &User{
		ID: r.string(), Realm: r.string(), Username: r.string(), RoleNames: r.strings(),
		PasswordHash: Secret(r.string()), Disabled: r.bool(),
		Created: r.time(), Updated: r.time(), Rev: r.uint(), Mod: r.uint(),
	}
}

// append leaves out the keys that are done. A sweep of a whole realm has no user name and no keys.
func (sw *sweep) append(dst []byte, done int, version uint64) []byte {
	fields := 6
	if version >= snapshotV3 {
		fields = 8
	}
	dst = appendString(appendArray(dst, fields), sw.realm.name)
	dst = appendString(dst, sw.username())
	dst = appendTime(appendUint(dst, sw.end.seq), sw.end.at)
	dst = appendKeys(appendUint(dst, sw.end.mod), sw.keys[done:])
	if version >= snapshotV3 {
		dst = appendString(appendUint(dst, uint64(sw.end.why)), sw.end.by)
	}
	return dst
}

// savedSweep is a sweep before its realm and account are found.
type savedSweep struct {
	realm, username string
	end             mark
	keys            []Key
}

func (r *reader) sweep(version uint64) savedSweep {
	if version < snapshotV3 {
		r.fields(6)
	} else {
		r.fields(8)
	}
	x := savedSweep{
		realm: r.string(), username: r.string(),
		end: mark{seq: r.uint(), at: r.time(), mod: r.uint(), why: EndedByUser}, keys: r.keys(userSessionsOf(version)),
	}
	if version >= snapshotV3 {
		x.end.why, x.end.by = Reason(r.uint8()), r.string()
	}
	return x
}

// savedSession is a session as a snapshot has it. Its slices are the reader's input, of which those of roles, login and
// attrs are still encoded: as they will be kept.
type savedSession struct {
	row
	realm, username, userID []byte
	roles                   []byte // nil: they follow the records
	login, attrs            []byte
	hash                    uint64 // of the username
}

// session decodes into s, whatever was there.
func (r *reader) session(s *savedSession) {
	*s = savedSession{}
	r.fields(17)
	s.key, s.realm, s.username, s.userID = r.key(), r.text(), r.text(), r.text()
	if !r.isNil() {
		before := r.b
		r.validRoleSet()
		s.roles = r.since(before)
	}
	s.surface, s.csrfOff = Surface(r.uint8()), r.bool()
	before := r.b
	address, agent := r.text(), r.text()
	r.expect(len(address) <= MaxAddress && len(agent) <= MaxAgent)
	s.login = r.since(before)
	s.created, s.lastUse, s.expires, s.idle = r.time(), r.time(), r.time(), time.Duration(r.int())
	s.seq, s.rev, s.mod = r.uint(), r.uint(), r.uint()
	before = r.b
	s.attrBytes = r.validAttrs()
	s.attrs = r.since(before)
}

// since returns what was taken from the front of the input since it was before.
func (r *reader) since(before []byte) []byte {
	if r.bad {
		return nil
	}
	return before[:len(before)-len(r.b)]
}

// validRoleSet takes role names, which must be sorted, without duplicates, and few enough.
func (r *reader) validRoleSet() {
	n := r.array(1)
	r.expect(n <= MaxRoles)
	var last []byte
	for i := 0; i < n && !r.bad; i++ {
		name := r.text()
		r.expect(ValidName(string(name)) && bytes.Compare(name, last) > 0)
		last = name
	}
}

// validAttrs takes attributes, which must be such as a session can have, and returns the bytes of keys and values.
func (r *reader) validAttrs() uint32 {
	n := r.array(1)
	r.expect(n%2 == 0 && n <= 2*MaxAttributes)
	var last []byte
	size := 0
	for i := 0; i < n && !r.bad; i += 2 {
		key, value := r.text(), r.text()
		r.expect(checkAttr(key, value) == nil && bytes.Compare(key, last) > 0)
		last = key
		size += len(key) + len(value)
	}
	r.expect(size <= MaxSessionBytes)
	return uint32(size)
}

func (t Tombstone) append(dst []byte, version uint64) []byte {
	fields := 4
	if version >= snapshotV3 {
		fields = 5
	}
	dst = appendTime(appendKey(appendArray(dst, fields), t.Key), t.Ended)
	dst = appendUint(appendUint(dst, uint64(t.Reason)), t.Mod)
	if version >= snapshotV3 {
		dst = appendString(dst, t.By)
	}
	return dst
}

func (r *reader) tombstone(version uint64) Tombstone {
	fields := 4
	if version >= snapshotV3 {
		fields = 5
	}
	r.fields(fields)
	t := Tombstone{Key: r.key(), Ended: r.time(), Reason: Reason(r.uint8()), Mod: r.uint()}
	if version >= snapshotV3 {
		t.By = r.string()
	}
	return t
}
