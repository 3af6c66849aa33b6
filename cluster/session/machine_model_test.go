package session

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// twins are two machines and the model, given the same entries: one machine goes through snapshots, the other never
// does, and after each entry all three must show the same.
type twins struct {
	t        testing.TB
	md       *model
	plain    *Machine
	restored *Machine
	index    uint64
	reborn   Time // clock of the last restore
	heard    []string
}

func newTwins(t testing.TB) *twins {
	tw := &twins{t: t, md: newModel(), plain: New(), restored: New()}
	tw.plain.OnEnd(func(s *Session, ts Tombstone) { tw.heard = append(tw.heard, hears(s, ts)) })
	return tw
}

func (tw *twins) apply(e *Entry) {
	tw.t.Helper()
	encoded, err := EncodeEntry(nil, e)
	if err != nil {
		tw.t.Fatalf("encode: %v", err)
	}
	decoded, err := DecodeEntry(encoded)
	if err != nil {
		tw.t.Fatalf("decode: %v", err)
	}
	tw.index++
	want := tw.md.apply(tw.index, e)
	for name, got := range map[string][]Result{
		"plain": tw.plain.Apply(tw.index, e), "restored": tw.restored.Apply(tw.index, decoded),
	} {
		for i := range want {
			if !sameResult(got[i], want[i]) {
				tw.t.Fatalf("entry %d, %s machine: command %d %#v:\ngot  %s\nwant %s", tw.index, name, i, e.Commands[i], show(got[i]), show(want[i]))
			}
		}
	}
	if !slices.Equal(tw.heard, tw.md.heard) {
		tw.t.Fatalf("entry %d: ends told:\ngot  %v\nwant %v", tw.index, tw.heard, tw.md.heard)
	}
	tw.heard, tw.md.heard = nil, nil
}

func (tw *twins) restore() {
	tw.t.Helper()
	var buf, again bytes.Buffer
	if _, err := tw.restored.Snapshot(nil).WriteTo(&buf); err != nil {
		tw.t.Fatalf("snapshot: %v", err)
	}
	m, err := Restore(bytes.NewReader(buf.Bytes()))
	if err != nil {
		tw.t.Fatalf("entry %d: %v", tw.index, err)
	}
	if _, err := m.Snapshot(nil).WriteTo(&again); err != nil || !bytes.Equal(buf.Bytes(), again.Bytes()) {
		tw.t.Fatalf("entry %d: the restored machine writes another snapshot (%v)", tw.index, err)
	}
	tw.restored, tw.reborn = m, m.Clock()
}

// check compares everything that can be read.
func (tw *twins) check(keys []Key) {
	tw.t.Helper()
	if tw.plain.Hash() != tw.restored.Hash() {
		tw.t.Fatalf("entry %d: hashes differ", tw.index)
	}
	if tw.plain.LostAt() != tw.md.lostAt || tw.restored.LostAt() != max(tw.md.lostAt, tw.reborn) {
		tw.t.Fatalf("entry %d: a node was lost at %d, the machines say %d, and %d since %d",
			tw.index, tw.md.lostAt, tw.plain.LostAt(), tw.restored.LostAt(), tw.reborn)
	}
	want := tw.md.describe(keys)
	for name, m := range map[string]*Machine{"plain": tw.plain, "restored": tw.restored} {
		got := describe(m, keys)
		for i := range want {
			if got[i] != want[i] {
				tw.t.Fatalf("entry %d, %s machine:\ngot  %s\nwant %s", tw.index, name, got[i], want[i])
			}
		}
	}
}

// TestModel runs long random histories.
func TestModel(t *testing.T) {
	seeds := uint64(24)
	if testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			data := make([]byte, 8_000)
			for i := range data {
				data[i] = byte(rnd.Uint32())
			}
			runTwins(t, data, 10)
		})
	}
}

// runTwins applies what the bytes make, with a snapshot and restore once in so many entries.
func runTwins(t testing.TB, data []byte, every int) {
	tw := newTwins(t)
	tw.apply(&Entry{Stamp: 1_700_000_000_000, Commands: []Command{
		&Genesis{ClusterID: "c1", RealmID: "e0", AdminID: "ra", ServiceID: "rb"},
		&CreateUser{ID: "u1", Realm: "native", Username: "ann", RoleNames: []string{"admin"}, First: true},
		&CreateRealm{ID: "e1", Name: "corp", Type: "ldap", Enabled: true},
	}})
	g := &generator{data: data, md: tw.md}
	g.start(pick(g, 0, 0, 200, 1<<30))
	for g.more() {
		tw.apply(g.entry())
		shown := g.keys[max(0, len(g.keys)-60):]
		if g.rarely(every) {
			tw.restore()
			shown = g.keys
		}
		tw.check(shown)
	}
	tw.restore()
	tw.check(g.keys)
}

// TestModelReachesEverything guards the generator: a history that never gets to a rule tests nothing.
func TestModelReachesEverything(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	data := make([]byte, 300_000)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	m, md := New(), newModel()
	g := &generator{data: data, md: md}
	g.start(8000)
	seen := map[string]int{}
	for index := uint64(1); g.more(); index++ {
		e := g.entry()
		md.apply(index, e)
		for i, res := range m.Apply(index, e) {
			outcome := "ok"
			if res.Err != nil {
				outcome = res.Err.Code
			}
			seen[fmt.Sprintf("%T %s", e.Commands[i], outcome)]++
			if !m.Modern() {
				seen[fmt.Sprintf("old %T %s", e.Commands[i], outcome)]++
			}
			if res.More {
				seen["more"]++
			}
		}
		for _, what := range pendingOf(m) {
			seen[what]++
		}
	}
	for r := EndedByLogout; r < reasonCount; r++ {
		if m.Stats().Ended[r] == 0 {
			t.Errorf("no session ended by %s", r)
		}
	}
	for _, want := range []string{
		"*session.Create ok", "*session.Create key-used", "*session.Create too-late", "*session.Create revision-moved",
		"*session.Create user-disabled", "*session.Create realm-disabled", "*session.Create privileged-user",
		"*session.Put ok", "*session.Put precondition-failed", "*session.Put session-idle-timeout",
		"*session.Put session-invalid", "*session.Put limit-attributes", "*session.Put reserved-attribute",
		"*session.Delete ok", "*session.Invalidate ok", "*session.UpdateUser last-admin", "*session.DeleteUser ok",
		"*session.DeleteUser last-admin", "*session.DeleteRole role-in-use", "*session.DeleteRole ok",
		"*session.DeleteRealm ok", "*session.DeleteRealm realm-in-use", "*session.CreateUser not-first-user",
		"*session.Pace ok", "*session.Pace bad-command", "*session.PutMember ok", "*session.PutMember bad-command", "*session.RemoveMember ok",
		"*session.Handover ok", "*session.Tick ok",
		"*session.EndAll ok", "*session.SetRoles ok", "*session.SetRoles role-not-found", "*session.SetLimits ok",
		"*session.SetLimits bad-limits", "*session.Create limit-sessions", "*session.Create limit-user-sessions",
		"*session.Create limit-attributes", "*session.Create limit-session-bytes", "*session.Put limit-session-bytes",
		"*session.EndUser bad-command", "old *session.DeleteRealm ok", "old *session.DeleteUser ok", "old *session.UpdateUser ok",
		"old *session.Invalidate bad-command", "two realms of one name to be swept", "a realm that is still there to be swept twice",
		"a realm made again with its sessions to be swept", "a user ended between two ends of all",
	} {
		if seen[want] == 0 {
			t.Errorf("never seen: %s", want)
		}
	}
	if md.late == 0 {
		t.Error("no session was ever saved by a raised pace")
	}
}

// pendingOf names what is hard to restore about a machine's sweeps.
func pendingOf(m *Machine) []string {
	var found []string
	whole := map[string][]*sweep{}
	var user *sweep
	m.store.sweeps.each(func(sw *sweep) bool {
		if sw.a != nil {
			user = sw
			return true
		}
		for _, before := range whole[sw.realm.name] {
			switch {
			case before.realm != sw.realm:
				found = append(found, "two realms of one name to be swept")
			case sw.realm.realm != nil:
				found = append(found, "a realm that is still there to be swept twice")
			}
			if user != nil && user.realm == sw.realm && before.end.seq < user.end.seq {
				found = append(found, "a user ended between two ends of all")
			}
		}
		if now := m.realms[sw.realm.name]; now != nil && now != sw.realm {
			found = append(found, "a realm made again with its sessions to be swept")
		}
		whole[sw.realm.name] = append(whole[sw.realm.name], sw)
		return true
	})
	return found
}

func sameResult(a, b Result) bool {
	if (a.Err == nil) != (b.Err == nil) || a.Err != nil && a.Err.Code != b.Err.Code {
		return false
	}
	return a.Rev == b.Rev && a.Ended == b.Ended && a.More == b.More
}

func show(r Result) string {
	if r.Err != nil {
		return r.Err.Code
	}
	return fmt.Sprintf("%+v", r)
}
