package session

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// snapshotOf returns the bytes of a machine's snapshot.
func snapshotOf(t testing.TB, m *Machine) []byte {
	t.Helper()
	var buf bytes.Buffer
	n, err := m.Snapshot().WriteTo(&buf)
	if err != nil || n != int64(buf.Len()) {
		t.Fatalf("wrote %d of %d bytes: %v", n, buf.Len(), err)
	}
	return buf.Bytes()
}

// reread sends a machine through a snapshot.
func reread(t testing.TB, m *Machine) *Machine {
	t.Helper()
	next, err := Restore(iotest.OneByteReader(bytes.NewReader(snapshotOf(t, m))))
	if err != nil {
		t.Fatal(err)
	}
	if next.Hash() != m.Hash() || next.Applied() != m.Applied() {
		t.Fatal("the restored machine is another one")
	}
	return next
}

// busy has one of everything, and sweeps half done.
func busy(t *testing.T) *script {
	s := newScript(t)
	c := s.create(1, NativeRealm, "bob")
	c.Attrs = []Attr{{"colour", "blue"}, {"size", strings.Repeat("x", 300)}}
	c.Agent, c.Address, c.CSRFOff = "curl/8", "192.0.2.1", true
	s.ok(c)
	c = s.create(2, "corp", "eve")
	c.FixedRoles, c.Roles, c.AutoCreate, c.UserID = true, []string{"dev"}, true, "u-eve"
	s.ok(c)
	s.ok(&CreateRealm{ID: "e2", Name: "lab", Type: "ldap", Enabled: true, Config: []byte(`{"host":"h"}`)})
	s.ok(s.create(3, "lab", "fay"))
	s.ok(s.create(4, NativeRealm, "ann"))
	s.ok(s.create(5, NativeRealm, "ann"))
	s.ok(&EndUser{NativeRealm, "ann"})
	s.ok(&DeleteRealm{"e2"})
	s.pass(time.Second)
	s.ok(s.create(6, NativeRealm, "ann"))
	s.ok(&Invalidate{Key: key(6), Reason: EndedByLogout})
	s.ok(&PutMember{Member{ID: "n1", Name: "n1", Peer: "10.0.0.1:7000", HTTP: "10.0.0.1:8080", MinVersion: 1, MaxVersion: 1}})
	s.ok(&UpdateUser{ID: "u-eve", Disabled: new(true)})
	s.ok(s.create(7, NativeRealm, "ann"))
	return s
}

// paced is busy with what only version 2 can say: a pace, and members with and without a pin.
func paced(t *testing.T) *script {
	s := busy(t)
	s.ok(&Pace{Touch: 3 * time.Minute, Grace: 7 * time.Minute})
	s.ok(&PutMember{Member{ID: "n2", Name: "n2", MaxVersion: 2, Pin: PinNonVoter}})
	s.ok(&PutMember{Member{ID: "n3", Name: "n3", MaxVersion: 2, ReadReplica: true, Pin: PinVoter}})
	return s
}

// sweeping is as a Sweep leaves it that has looked at some of the table for the sessions of a deleted realm.
func sweeping(t *testing.T) *script {
	s := newScript(t)
	s.ok(s.create(1, NativeRealm, "bob"))
	s.ok(s.create(2, "corp", "eve"))
	s.ok(&DeleteRealm{ID: "e1"})
	s.m.store.cursor = key(1)
	return s
}

func TestSnapshotAndRestore(t *testing.T) {
	s := busy(t)
	next := reread(t, s.m)
	keys := []Key{key(1), key(2), key(3), key(4), key(5), key(6), key(7)}
	want := describe(s.m, keys)
	for i, got := range describe(next, keys) {
		if got != want[i] {
			t.Errorf("got  %s\nwant %s", got, want[i])
		}
	}
	empty := reread(t, New())
	if empty.Applied() != 0 || empty.Clock() != 0 {
		t.Error("an empty machine has something")
	}
}

// A snapshot that is being written shows the moment of its capture, whatever is applied meanwhile. Under the race
// detector this shows too that the writer shares nothing that changes.
func TestSnapshotWhileApplying(t *testing.T) {
	s := busy(t)
	for i := range 200 { // more than the writer holds back: it must still be at work when the machine goes on
		c := s.create(0, "corp", fmt.Sprint("user", i%20))
		c.Key, c.Attrs = Key{byte(i), 1, 15: 9}, attrs(10, 200)
		s.ok(c)
	}
	want := snapshotOf(t, s.m)
	snap := s.m.Snapshot()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := snap.WriteTo(w)
		done <- errors.Join(err, w.Close())
	}()
	got := make([]byte, 1)
	if _, err := io.ReadFull(r, got); err != nil { // it has begun
		t.Fatal(err)
	}
	for i := range 300 {
		k := Key{byte(i), 1, 15: 9}
		c := s.create(0, "corp", fmt.Sprint("user", i%20))
		c.Key = Key{byte(i), 2, 15: 9}
		s.do(&Put{Key: k, Attrs: attrs(3, 3)}, c, &Invalidate{Key: k, Reason: EndedByLogout}, &EndUser{NativeRealm, "ann"}, &Sweep{},
			&UpdateUser{ID: "u-bob", RoleNames: new([]string{})}, &Touch{Uses: []Use{{key(1), s.now}}})
		s.pass(time.Second)
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(append(got, rest...), want) {
		t.Error("the snapshot is not of the moment of its capture")
	}
	if snap.Index() == s.m.Applied() {
		t.Error("nothing was applied")
	}
	reread(t, s.m)
}

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
		spoil func(*state)
	}{
		{"user of an unknown realm", func(st *state) { st.user("u-bob").Realm = "none" }},
		{"two users of one name", func(st *state) { st.user("u-bob").Username = "ann" }},
		{"unknown role", func(st *state) { st.user("u-bob").RoleNames = []string{"none"} }},
		{"unsorted roles", func(st *state) { st.user("u-ann").RoleNames = []string{"dev", RoleAdmin} }},
		{"user with a bad name", func(st *state) { st.user("u-bob").Username = "b/ob" }},
		{"user of the future", func(st *state) { st.user("u-bob").Created = st.clock + 1 }},
		{"revision of the future", func(st *state) { st.user("u-bob").Rev = st.seq + 1 }},
		{"users, but never one", func(st *state) { st.everUser = false }},
		{"disabled user with a session", func(st *state) { st.user("u-bob").Disabled = true }},
		{"no realm native", func(st *state) { st.realms[0].Name = "other" }},
		{"native disabled", func(st *state) { st.realms[0].Enabled = false }},
		{"no role admin", func(st *state) { st.roles[0].Name = "other" }},
		{"formed without an id", func(st *state) { st.clusterID = "" }},
		{"session of an unknown realm", func(st *state) { st.session(1).Realm = "none" }},
		{"session without a key", func(st *state) { st.session(1).Key = Key{} }},
		{"session used in the future", func(st *state) { st.session(1).LastUse = st.clock + 1 }},
		{"session used before it was", func(st *state) { st.session(1).LastUse = st.session(1).Created - 1 }},
		{"session made by a later command", func(st *state) { st.session(1).Seq = st.seq + 1 }},
		{"session changed before it was", func(st *state) { st.session(1).Rev = st.session(1).Seq - 1 }},
		{"session that never ends", func(st *state) { st.session(1).Idle = 0 }},
		{"attributes out of order", func(st *state) { a := st.session(1).Attrs; a[0], a[1] = a[1], a[0] }},
		{"reserved attribute", func(st *state) { st.session(1).Attrs[0].Key = ReservedAttribute }},
		{"two sessions by one command", func(st *state) { *st.session(1) = withKey(*st.session(7), key(1)) }},
		{"ended session that no sweep names", func(st *state) { st.session(7).Seq = st.session(4).Seq }},
		{"sweep of a live session", func(st *state) { st.sweep(0).keys[0] = key(1) }},
		{"sweep of a missing session", func(st *state) { st.sweep(0).keys[0] = key(99) }},
		{"sweep names a session twice", func(st *state) { st.sweep(0).keys[0] = st.sweep(0).keys[1] }},
		{"sweep out of order", func(st *state) { k := st.sweep(0).keys; k[0], k[1] = k[1], k[0] }},
		{"sweep before its sessions", func(st *state) { st.sweep(0).end.seq = st.session(4).Seq - 1 }},
		{"sweeps out of order", func(st *state) { st.sweep(1).end.seq = st.sweep(0).end.seq }},
		{"sweep of a realm without sessions", func(st *state) { st.sweep(1).realm.name = "void" }},
		{"cursor without a realm's sweep", func(st *state) { st.cursor = key(1) }},
		{"tombstone of a session in use", func(st *state) { st.tombs.chunks[0][st.tombs.head].Key = key(1) }},
		{"tombstone without a reason", func(st *state) { st.tombs.chunks[0][st.tombs.head].Reason = 0 }},
		{"tombstone of the future", func(st *state) { st.tombs.chunks[0][st.tombs.head].Ended = st.clock + 1 }},
		{"more sessions made than there were", func(st *state) { st.created++ }},
		{"member without an id", func(st *state) { st.members[0].ID = "" }},
		{"clock beyond all times", func(st *state) { st.clock = MaxTime + 1 }},
		{"unknown pin", func(st *state) { st.members[0].Pin = PinNonVoter + 1 }},
		{"negative pace", func(st *state) { st.pace = Pace{Touch: -1} }},
		{"pace of touches beyond the grace", func(st *state) { st.pace = Pace{Touch: 2, Grace: 1} }},
		{"pace out of bounds", func(st *state) { st.pace = Pace{Grace: MaxPace + 1} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			snap := busy(t).m.Snapshot()
			reread(t, busy(t).m)
			tc.spoil(&snap.state)
			var buf bytes.Buffer
			if _, err := snap.WriteTo(&buf); err != nil {
				t.Fatal(err)
			}
			if _, err := Restore(&buf); !errors.Is(err, ErrBadEncoding) {
				t.Errorf("restored: %v", err)
			}
		})
	}
}

// Access to the records of a state, for spoiling them: the machine it belongs to is not used any more.

func (st *state) user(id string) *User { u, _ := lookupShard(st.users, userShard(id), id); return u }

func (st *state) session(k byte) *Session {
	r, _ := lookupShard(st.sessions.shards, tableShard(key(k)), key(k))
	return r.s
}

func (st *state) sweep(i int) *sweep { return st.sweeps.at(st.sweeps.head + i) }

func lookupShard[K comparable, V any](shards []*cowShard[K, V], shard int, k K) (V, bool) {
	v, ok := shards[shard].m[k]
	return v, ok
}

func withKey(s Session, k Key) Session {
	s.Key = k
	return s
}

func TestRestoreOfANewerVersion(t *testing.T) {
	body := appendBytes(nil, head{magic: snapshotMagic, version: snapshotV2 + 1}.append(nil))
	if _, err := Restore(bytes.NewReader(body)); !errors.Is(err, ErrUnknownKind) {
		t.Errorf("got %v", err)
	}
}

func TestSnapshotWriteFails(t *testing.T) {
	full := errors.New("disk full")
	if _, err := busy(t).m.Snapshot().WriteTo(failingWriter{full}); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// resum puts the right checksum under a body.
func resum(body []byte) []byte {
	sum := sha256.Sum256(body)
	return appendBytes(bytes.Clone(body), sum[:])
}

func TestSecretsStayOutOfJSON(t *testing.T) {
	b, err := json.Marshal(User{PasswordHash: "hush"})
	if err != nil || strings.Contains(string(b), "hush") {
		t.Errorf("%s %v", b, err)
	}
}
