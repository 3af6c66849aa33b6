package session

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRestoreRefusesDamage(t *testing.T) {
	good := snapshotOf(t, busy(t).m)
	for i := range good {
		for _, flip := range []byte{1, 0x80} {
			bad := bytes.Clone(good)
			bad[i] ^= flip
			if _, err := Restore(bytes.NewReader(bad)); err == nil {
				t.Fatalf("byte %d changed: no error", i)
			}
		}
		if _, err := Restore(bytes.NewReader(good[:i])); !errors.Is(err, ErrBadEncoding) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	if _, err := Restore(bytes.NewReader(append(bytes.Clone(good), 0))); !errors.Is(err, ErrBadEncoding) {
		t.Errorf("a byte too many: %v", err)
	}
	broken := errors.New("disk")
	if _, err := Restore(io.MultiReader(bytes.NewReader(good[:100]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("broken reader: %v", err)
	}
}

// What a checksum does not find: records that are well-formed and contradict each other.
func TestRestoreRefusesContradictions(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(*spoiler)
	}{
		{"user of an unknown realm", func(st *spoiler) { st.user("u-bob").Realm = "none" }},
		{"two users of one name", func(st *spoiler) { st.user("u-bob").Username = "ann" }},
		{"unknown role", func(st *spoiler) { st.user("u-bob").RoleNames = []string{"none"} }},
		{"unsorted roles", func(st *spoiler) { st.user("u-ann").RoleNames = []string{"dev", RoleAdmin} }},
		{"user with a bad name", func(st *spoiler) { st.user("u-bob").Username = "b/ob" }},
		{"user of the future", func(st *spoiler) { st.user("u-bob").Created = st.clock + 1 }},
		{"revision of the future", func(st *spoiler) { st.user("u-bob").Rev = st.seq + 1 }},
		{"users, but never one", func(st *spoiler) { st.everUser = false }},
		{"disabled user with a session", func(st *spoiler) { st.user("u-bob").Disabled = true }},
		{"no realm native", func(st *spoiler) { st.realms[0].Name = "other" }},
		{"native disabled", func(st *spoiler) { st.realms[0].Enabled = false }},
		{"no role admin", func(st *spoiler) { st.roles[0].Name = "other" }},
		{"formed without an id", func(st *spoiler) { st.clusterID = "" }},
		{"session of an unknown realm", func(st *spoiler) { st.session(1).Realm = "none" }},
		{"session without a key", func(st *spoiler) { st.session(1).Key = Key{} }},
		{"session used in the future", func(st *spoiler) { st.session(1).LastUse = st.clock + 1 }},
		{"session used before it was", func(st *spoiler) { st.session(1).LastUse = st.session(1).Created - 1 }},
		{"session made by a later command", func(st *spoiler) { st.session(1).Seq = st.seq + 1 }},
		{"session changed before it was", func(st *spoiler) { st.session(1).Rev = st.session(1).Seq - 1 }},
		{"session that never ends", func(st *spoiler) { st.session(1).Idle = 0 }},
		{"attributes out of order", func(st *spoiler) { a := st.session(1).Attrs; a[0], a[1] = a[1], a[0] }},
		{"reserved attribute", func(st *spoiler) { st.session(1).Attrs[0].Key = ReservedAttribute }},
		{"two sessions by one command", func(st *spoiler) { *st.session(1) = withKey(*st.session(7), key(1)) }},
		{"ended session that no sweep names", func(st *spoiler) { st.session(7).Seq = st.session(4).Seq }},
		{"sweep of a live session", func(st *spoiler) { st.sweep(0).keys[0] = key(1) }},
		{"sweep of a missing session", func(st *spoiler) { st.sweep(0).keys[0] = key(99) }},
		{"sweep names a session twice", func(st *spoiler) { st.sweep(0).keys[0] = st.sweep(0).keys[1] }},
		{"sweep out of order", func(st *spoiler) { k := st.sweep(0).keys; k[0], k[1] = k[1], k[0] }},
		{"sweep before its sessions", func(st *spoiler) { st.sweep(0).end.seq = st.session(4).Seq - 1 }},
		{"sweeps out of order", func(st *spoiler) { st.sweep(1).end.seq = st.sweep(0).end.seq }},
		{"sweep of a realm without sessions", func(st *spoiler) { st.sweep(1).realm = newRealmState("void", new(accounts)) }},
		{"cursor without a realm's sweep", func(st *spoiler) { st.cursor = key(1) }},
		{"tombstone of a session in use", func(st *spoiler) { st.tombs.chunks[0][st.tombs.head].Key = key(1) }},
		{"tombstone without a reason", func(st *spoiler) { st.tombs.chunks[0][st.tombs.head].Reason = 0 }},
		{"tombstone of the future", func(st *spoiler) { st.tombs.chunks[0][st.tombs.head].Ended = st.clock + 1 }},
		{"more sessions made than there were", func(st *spoiler) { st.created++ }},
		{"member without an id", func(st *spoiler) { st.members[0].ID = "" }},
		{"clock beyond all times", func(st *spoiler) { st.clock = MaxTime + 1 }},
		{"unknown pin", func(st *spoiler) { st.members[0].Pin = PinNonVoter + 1 }},
		{"negative pace", func(st *spoiler) { st.pace = Pace{Touch: -1} }},
		{"pace of touches beyond the grace", func(st *spoiler) { st.pace = Pace{Touch: 2, Grace: 1} }},
		{"pace out of bounds", func(st *spoiler) { st.pace = Pace{Grace: MaxPace + 1} }},
		{"bearer session before version 3", func(st *spoiler) { st.session(1).Surface = SurfaceBearer }},
		{"ended for a reason of version 3", func(st *spoiler) { st.tombs.chunks[0][st.tombs.head].Reason = EndedByRecheck }},
	} {
		t.Run(tc.name, func(t *testing.T) { contradicts(t, busy, tc.spoil) })
	}
}

// The same of what only version 3 can say.
func TestRestoreRefusesNewContradictions(t *testing.T) {
	const ( // the sweeps of modern, after those of busy
		corpsFirst = iota + 3
		nativesFirst
		faysUser
		corpsSecond
		nativesSecond
		corpsEnd
	)
	for _, tc := range []struct {
		name  string
		spoil func(*spoiler)
	}{
		{"negative limit", func(st *spoiler) { st.limits.SessionsPerUser = -1 }},
		{"limit above the most", func(st *spoiler) { st.limits.SessionsPerUser = MaxSessionsPerUser + 1 }},
		{"limit of sessions above the most", func(st *spoiler) { st.limits.Sessions = MaxSessions + 1 }},
		{"limit of attributes above the most", func(st *spoiler) { st.limits.Attributes = MaxAttributes + 1 }},
		{"limit of bytes above the most", func(st *spoiler) { st.limits.SessionBytes = MaxSessionBytes + 1 }},
		{"no command at all", func(st *spoiler) { *st.state = state{modern: true, sessions: New().store.table.view()} }},
		{"unknown surface", func(st *spoiler) { st.session(15).Surface = SurfaceBearer + 1 }},
		{"tombstone for an unknown reason", func(st *spoiler) { st.tombs.chunks[0][st.tombs.head].Reason = reasonCount }},
		{"tombstone by a long name", func(st *spoiler) { st.tombs.chunks[0][st.tombs.head].By = strings.Repeat("b", MaxBy+1) }},
		{"sweep for an unknown reason", func(st *spoiler) { st.sweep(faysUser).end.why = reasonCount }},
		{"sweep without a reason", func(st *spoiler) { st.sweep(faysUser).end.why = 0 }},
		{"sweep by a long name", func(st *spoiler) { st.sweep(corpsEnd).end.by = strings.Repeat("b", MaxBy+1) }},
		{"native deleted", func(st *spoiler) {
			for _, sw := range []int{corpsFirst, nativesFirst} {
				st.sweep(sw).end.why, st.sweep(sw).end.seq = EndedByRealm, st.sweep(sw).end.seq+uint64(sw-nativesFirst)
			}
		}},
		{"all ended, but for another reason", func(st *spoiler) {
			st.sweep(corpsFirst).end.why, st.sweep(nativesFirst).end.why = EndedByRealm, EndedByRealm
		}},
		{"realm deleted for another reason", func(st *spoiler) { st.sweep(corpsEnd).end.why = EndedByLogout }},
		{"realm ended under another name", func(st *spoiler) { st.sweep(nativesFirst).realm = newRealmState("other", new(accounts)) }},
		{"one end of all at two times", func(st *spoiler) { st.sweep(corpsFirst).end.at-- }},
		{"one end of all by two", func(st *spoiler) { st.sweep(nativesFirst).end.by = "other" }},
		{"one realm twice by one end of all", func(st *spoiler) { *st.sweep(nativesFirst) = *st.sweep(corpsFirst) }},
		{"realms of one end of all out of order", func(st *spoiler) {
			*st.sweep(corpsFirst), *st.sweep(nativesFirst) = *st.sweep(nativesFirst), *st.sweep(corpsFirst)
		}},
		{"realm of a user's sweep ended by the same command", func(st *spoiler) { st.sweep(faysUser).end.seq = st.sweep(nativesFirst).end.seq }},
		{"session that its realm ended, in its user's sweep", func(st *spoiler) { st.sweep(faysUser).keys[0] = key(8) }},
		{"user's sweep of what a realm's has ended before", func(st *spoiler) { st.session(10).Seq = st.session(8).Seq - 1 }},
		{"session of a user's sweep that the sweep does not name", func(st *spoiler) { st.session(12).Seq = st.sweep(faysUser).end.seq - 1 }},
		{"realm without a session by its second end", func(st *spoiler) { st.session(11).Seq = st.session(1).Seq + 1 }},
		{"live session of a realm that has ended", func(st *spoiler) { st.session(14).Seq = st.sweep(corpsEnd).end.seq }},
		{"second sweep without a session", func(st *spoiler) { st.sweep(nativesSecond).end.seq = st.session(11).Seq - 1 }},
		{"more sessions ended than there were", func(st *spoiler) { st.endedCount[EndedByEmergency]++ }},
	} {
		t.Run(tc.name, func(t *testing.T) { contradicts(t, modern, tc.spoil) })
	}
}

// Two sweeps of a user that name each other's sessions.
func TestRestoreRefusesSweepsInTheWrongOrder(t *testing.T) {
	twice := func(t *testing.T) *script {
		s := newScript(t)
		for k := range byte(2) {
			s.login(k + 1)
			s.ok(&EndUser{Realm: NativeRealm, Username: "bob"})
		}
		return s
	}
	contradicts(t, twice, func(st *spoiler) { st.sweep(0).keys[0], st.sweep(1).keys[0] = key(2), key(1) })
	contradicts(t, twice, func(st *spoiler) { st.sweep(0).end.seq = st.session(2).Seq })
	contradicts(t, sweeping, func(st *spoiler) { st.cursor = key(2) }) // beyond the session that it is to find
}

// Only EndAll ends more than one by one command.
func TestRestoreRefusesTwoSweepsOfOneCommand(t *testing.T) {
	with := func(cmds ...Command) func(*testing.T) *script {
		return func(t *testing.T) *script {
			s := newScript(t)
			s.ok(&CreateRealm{ID: "e2", Name: "lab", Type: "ldap", Enabled: true})
			s.ok(&SetLimits{})
			s.loggedIn("eve", 1)
			s.ok(s.create(2, "lab", "eve"))
			for _, c := range cmds {
				s.ok(c)
			}
			return s
		}
	}
	same := func(st *spoiler) { st.sweep(1).end = st.sweep(0).end }
	eve := func(realm string) Command { return &EndUser{Realm: realm, Username: "eve", Reason: EndedByEmergency} }
	reread(t, with(&EndAll{})(t).m)
	contradicts(t, with(&DeleteRealm{ID: "e1"}, &DeleteRealm{ID: "e2"}), same)
	contradicts(t, with(eve("corp"), eve("lab")), same)
	contradicts(t, with(eve("corp"), &EndAll{}), same)
	contradicts(t, with(&DeleteRealm{ID: "e1"}, eve("lab")), func(st *spoiler) {
		st.sweep(0).end.why = EndedByEmergency
		same(st)
	})
}

// Older versions let a user have fewer sessions.
func TestRestoreRefusesMoreSessionsThanTheVersionAllows(t *testing.T) {
	for _, ended := range []bool{false, true} {
		s := newScript(t)
		s.limit(Limits{SessionsPerUser: DefaultSessionsPerUser + 1})
		for k := range DefaultSessionsPerUser + 1 {
			s.login(byte(k))
		}
		s.limit(Limits{})
		if ended {
			s.ok(&EndUser{Realm: NativeRealm, Username: "bob"})
		}
		reread(t, s.m)
		s.m.modern = false
		if _, err := Restore(bytes.NewReader(snapshotOf(t, s.m))); !errors.Is(err, ErrBadEncoding) {
			t.Errorf("ended %v: restored: %v", ended, err)
		}
	}
}

func contradicts(t *testing.T, made func(*testing.T) *script, spoil func(*spoiler)) {
	snap := made(t).m.Snapshot(nil)
	reread(t, made(t).m)
	st := &spoiler{state: &snap.state, sessions: map[Key]*Session{}}
	spoil(st)
	st.save()
	var buf bytes.Buffer
	if _, err := snap.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(&buf); !errors.Is(err, ErrBadEncoding) {
		t.Errorf("restored: %v", err)
	}
}

// spoiler gives access to the records of a state, for spoiling them: the machine it belongs to is not used any more.
type spoiler struct {
	*state
	sessions map[Key]*Session // to be written in place of the table's
}

func (st *spoiler) user(id string) *User { u, _ := lookupShard(st.users, userShard(id), id); return u }

func (st *spoiler) session(k byte) *Session {
	s := st.sessions[key(k)]
	if s == nil {
		t := st.state.sessions.table
		r, _ := t.get(key(k))
		s = t.session(r)
		st.sessions[key(k)] = s
	}
	return s
}

func (st *spoiler) sweep(i int) *sweep { return st.sweeps.at(st.sweeps.head + i) }

// save puts the spoiled sessions where a walk finds what was changed after it had begun.
func (st *spoiler) save() {
	w := st.state.sessions
	for k, s := range st.sessions {
		r, _ := w.table.get(k)
		w.table.preserve(r.row)
		for i, saved := range w.saved[shardOf(&k)] {
			if saved.key == k {
				w.saved[shardOf(&k)][i].saved = s.append(nil)
			}
		}
	}
}

// append encodes a whole session as a snapshot has it.
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

func lookupShard[K comparable, V any](shards []*cowShard[K, V], shard int, k K) (V, bool) {
	v, ok := shards[shard].m[k]
	return v, ok
}

func withKey(s Session, k Key) Session {
	s.Key = k
	return s
}

func TestRestoreOfANewerVersion(t *testing.T) {
	body := appendBytes(nil, head{magic: snapshotMagic, version: snapshotV3 + 1}.append(nil))
	if _, err := Restore(bytes.NewReader(body)); !errors.Is(err, ErrUnknownKind) {
		t.Errorf("got %v", err)
	}
}
