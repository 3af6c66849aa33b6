package session

import "time"

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
	if version >= snapshotV2 {
		dst = appendArray(dst, 16)
	} else {
		dst = appendArray(dst, 14)
	}
	dst = appendString(dst, st.clusterID)
	dst = appendTime(dst, st.clock)
	dst = appendUint(dst, st.seq)
	dst = appendBool(dst, st.everUser)
	dst = appendUint(dst, st.created)
	dst = appendArray(dst, len(st.endedCount))
	for _, n := range st.endedCount {
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
	return dst
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

	roles, realms, users, members, sweeps, sessions, tombs uint64
}

func (r *reader) meta(version uint64) meta {
	if version >= snapshotV2 {
		r.fields(16)
	} else {
		r.fields(14)
	}
	m := meta{clusterID: r.string(), clock: r.time(), seq: r.uint(), everUser: r.bool(), created: r.uint()}
	r.fields(reasonCount)
	for i := range m.endedCount {
		m.endedCount[i] = r.uint()
	}
	m.cursor = r.optKey()
	for _, n := range []*uint64{&m.roles, &m.realms, &m.users, &m.members, &m.sweeps, &m.sessions, &m.tombs} {
		*n = r.uint()
	}
	if version >= snapshotV2 {
		m.pace = Pace{Touch: time.Duration(r.int()), Grace: time.Duration(r.int())}
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
func (sw *sweep) append(dst []byte, done int) []byte {
	dst = appendString(appendArray(dst, 6), sw.realm.name)
	dst = appendString(dst, sw.username())
	dst = appendTime(appendUint(dst, sw.end.seq), sw.end.at)
	return appendKeys(appendUint(dst, sw.end.mod), sw.keys[done:])
}

// savedSweep is a sweep before its realm and account are found.
type savedSweep struct {
	realm, username string
	end             mark
	keys            []Key
}

func (r *reader) sweep() savedSweep {
	r.fields(6)
	return savedSweep{
		realm: r.string(), username: r.string(),
		end: mark{seq: r.uint(), at: r.time(), mod: r.uint()}, keys: r.keys(MaxSessionsPerUser),
	}
}

func (s *Session) append(dst []byte) []byte {
	dst = appendKey(appendArray(dst, 17), s.Key)
	dst = appendString(dst, s.Realm)
	dst = appendString(dst, s.Username)
	dst = appendString(dst, s.UserID)
	dst = appendStrings(dst, s.Roles)
	dst = appendUint(dst, uint64(s.Surface))
	dst = appendBool(dst, s.CSRFOff)
	dst = appendString(dst, s.Address)
	dst = appendString(dst, s.Agent)
	dst = appendTime(dst, s.Created)
	dst = appendTime(dst, s.LastUse)
	dst = appendTime(dst, s.Expires)
	dst = appendInt(dst, int64(s.Idle))
	dst = appendUint(dst, s.Seq)
	dst = appendUint(dst, s.Rev)
	dst = appendUint(dst, s.Mod)
	return appendAttrs(dst, s.Attrs)
}

func (r *reader) session() *Session {
	r.fields(17)
	return &Session{
		Key: r.key(), Realm: r.string(), Username: r.string(), UserID: r.string(), Roles: r.strings(),
		Surface: Surface(r.uint8()), CSRFOff: r.bool(), Address: r.string(), Agent: r.string(),
		Created: r.time(), LastUse: r.time(), Expires: r.time(), Idle: time.Duration(r.int()),
		Seq: r.uint(), Rev: r.uint(), Mod: r.uint(), Attrs: r.attrs(),
	}
}

func (t Tombstone) append(dst []byte) []byte {
	dst = appendTime(appendKey(appendArray(dst, 4), t.Key), t.Ended)
	return appendUint(appendUint(dst, uint64(t.Reason)), t.Mod)
}

func (r *reader) tombstone() Tombstone {
	r.fields(4)
	return Tombstone{Key: r.key(), Ended: r.time(), Reason: Reason(r.uint8()), Mod: r.uint()}
}
