package session

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// snapshotOf returns the bytes of a machine's snapshot.
func snapshotOf(t testing.TB, m *Machine) []byte {
	t.Helper()
	var buf bytes.Buffer
	n, err := m.Snapshot(nil).WriteTo(&buf)
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
	s.ok(&EndUser{Realm: NativeRealm, Username: "ann"})
	s.ok(&DeleteRealm{ID: "e2"})
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

// modern has what only version 3 can say: limits, who ended sessions and why, and sweeps of realms, there or gone, and of
// users in between.
func modern(t *testing.T) *script {
	s := paced(t)
	s.ok(&SetLimits{Limits: Limits{SessionsPerUser: 200, RefuseLogins: true, Sessions: 100_000, Attributes: 32, SessionBytes: 8 << 10}})
	c := s.create(8, "corp", "fay")
	c.Surface = SurfaceBearer
	s.ok(c)
	s.ok(s.create(9, NativeRealm, "cyd"))
	s.ok(&Invalidate{Key: key(9), Reason: EndedByAdmin, By: "ann@native"})
	s.ok(&EndAll{By: "control socket"})
	s.ok(s.create(10, "corp", "fay"))
	s.ok(s.create(11, NativeRealm, "bob"))
	s.ok(&EndUser{Realm: "corp", Username: "fay", Reason: EndedByRecheck, By: "node n1 (directory)"})
	s.ok(s.create(12, "corp", "fay"))
	s.ok(&EndAll{By: strings.Repeat("b", MaxBy)})
	s.ok(s.create(13, "corp", "fay"))
	s.ok(&DeleteUser{ID: "u-eve", By: "ann@native"})
	s.ok(&DeleteRealm{ID: "e1", By: "ann@native"})
	s.ok(&CreateRealm{ID: "e3", Name: "corp", Type: "ldap", Enabled: true})
	c = s.create(14, "corp", "fay")
	c.FixedRoles, c.Roles = true, []string{"dev"}
	s.ok(c)
	s.ok(&SetRoles{Realm: "corp", Username: "fay", Roles: []string{RoleService}})
	c = s.create(15, NativeRealm, "bob")
	c.Attrs = attrs(2, 10)
	s.ok(c)
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
	for _, s := range []*script{busy(t), paced(t), sweeping(t), modern(t)} {
		var keys []Key
		for k := range byte(20) {
			keys = append(keys, key(k))
		}
		for range 3 { // and as it goes on
			next := reread(t, s.m)
			want := describe(s.m, keys)
			for i, got := range describe(next, keys) {
				if got != want[i] {
					t.Errorf("got  %s\nwant %s", got, want[i])
				}
			}
			s.ok(&Sweep{})
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
	s := modern(t)
	s.ok(&SetLimits{})
	for i := range 200 { // more than the writer holds back: it must still be at work when the machine goes on
		c := s.create(0, "corp", fmt.Sprint("user", i%20))
		c.Key, c.Attrs = Key{byte(i), 1, 15: 9}, attrs(10, 200)
		s.ok(c)
	}
	last := s.create(0, "corp", "fay")
	last.Key, last.FixedRoles, last.Roles = Key{255, 15: 9}, true, []string{RoleService}
	s.ok(last)
	want := snapshotOf(t, s.m)
	var mu sync.RWMutex
	snap := s.m.Snapshot(mu.RLocker())
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
		mu.Lock()
		s.do(&Put{Key: k, Attrs: attrs(3, 3)}, c, &Invalidate{Key: k, Reason: EndedByLogout}, &EndUser{Realm: NativeRealm, Username: "ann"}, &Sweep{},
			&UpdateUser{ID: "u-bob", RoleNames: new([]string{})}, &Touch{Uses: []Use{{key(1), s.now}}},
			&SetRoles{Realm: "corp", Username: "fay", Roles: []string{"dev"}[:i%2]}, &SetLimits{Limits: Limits{Sessions: 1000 + i}})
		switch i % 40 {
		case 20:
			s.ok(&EndAll{By: "control socket"})
		case 30:
			r, _ := s.m.RealmByName("corp")
			s.ok(&DeleteRealm{ID: r.ID, By: "ann@native"})
			s.ok(&CreateRealm{ID: fmt.Sprint("c", i), Name: "corp", Type: "ldap", Enabled: true})
		}
		mu.Unlock()
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

func TestSnapshotWriteFails(t *testing.T) {
	full := errors.New("disk full")
	if _, err := busy(t).m.Snapshot(nil).WriteTo(failingWriter{full}); !errors.Is(err, full) {
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
