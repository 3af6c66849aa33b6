package session

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
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
}

func newTwins(t testing.TB) *twins {
	return &twins{t: t, md: newModel(), plain: New(), restored: New()}
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
}

func (tw *twins) restore() {
	tw.t.Helper()
	var buf, again bytes.Buffer
	if _, err := tw.restored.Snapshot().WriteTo(&buf); err != nil {
		tw.t.Fatalf("snapshot: %v", err)
	}
	m, err := Restore(bytes.NewReader(buf.Bytes()))
	if err != nil {
		tw.t.Fatalf("entry %d: %v", tw.index, err)
	}
	if _, err := m.Snapshot().WriteTo(&again); err != nil || !bytes.Equal(buf.Bytes(), again.Bytes()) {
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
	data := make([]byte, 200_000)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	m, md := New(), newModel()
	g := &generator{data: data, md: md}
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
			if res.More {
				seen["more"]++
			}
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
	} {
		if seen[want] == 0 {
			t.Errorf("never seen: %s", want)
		}
	}
	if md.late == 0 {
		t.Error("no session was ever saved by a raised pace")
	}
}

func sameResult(a, b Result) bool {
	if (a.Err == nil) != (b.Err == nil) || a.Err != nil && *a.Err != *b.Err {
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

var (
	shownRealms = []string{"native", "corp", "lab"}
	shownUsers  = []string{"ann", "bob", "cyd"}
)

// describe prints all that the machine's readers return.
func describe(m *Machine, keys []Key) []string {
	st := m.Stats()
	out := []string{
		fmt.Sprint("clock ", m.Clock(), " cluster ", m.ClusterID(), " sweep ", m.SweepPending()),
		fmt.Sprintf("sessions %d users %d roles %d realms %d tombstones %d bytes %d created %d ended %v",
			st.Sessions, st.Users, st.Roles, st.Realms, st.Tombstones, st.AttributeBytes, st.Created, st.Ended),
		fmt.Sprint("members ", m.Members()),
		fmt.Sprint("pace ", m.Pace(), m.Grace(time.Hour), m.Granularity(time.Hour)),
	}
	for _, k := range keys {
		line := k.String() + ":"
		if v, ok := m.Lookup(k); ok {
			line += fmt.Sprintf(" live %+v user %v realm %v mod %d roles %v admin %v",
				*v.Session, v.User != nil, v.Realm != nil, v.Mod, v.Roles(), v.HasRole("admin"))
		}
		if ts, ok := m.Tombstone(k); ok {
			line += fmt.Sprintf(" ended %+v", ts)
		}
		out = append(out, line)
	}
	for _, realm := range shownRealms {
		for _, name := range shownUsers {
			line := realm + "/" + name + ":"
			if u, ok := m.UserByName(realm, name); ok {
				byID, _ := m.UserByID(u.ID)
				line += fmt.Sprintf(" %+v %v", *u, byID == u)
			}
			for _, s := range m.SessionsOf(realm, name) {
				line += " " + s.Key.String()
			}
			out = append(out, line)
		}
	}
	out = append(out, "pages", pages(func(after Key, n int) []*Session { return m.Sessions(after, n) }, Key{}, func(s *Session) Key { return s.Key }))
	out = append(out, pages(func(after string, n int) []*User { return m.Users(after, n) }, "", func(u *User) string { return u.ID }))
	for _, r := range m.Roles() {
		byID, _ := m.RoleByID(r.ID)
		byName, _ := m.RoleByName(r.Name)
		out = append(out, fmt.Sprintf("%+v %v %v", *r, byID == r, byName == r))
	}
	for _, r := range m.Realms() {
		byID, _ := m.RealmByID(r.ID)
		byName, _ := m.RealmByName(r.Name)
		out = append(out, fmt.Sprintf("%+v %v %v", *r, byID == r, byName == r))
	}
	return append(out, "end")
}

// pages reads a listing in pages of two.
func pages[T any, K any](list func(K, int) []*T, after K, key func(*T) K) string {
	line := ""
	for {
		page := list(after, 2)
		for _, x := range page {
			after = key(x)
			line += fmt.Sprint(after, " ")
		}
		if len(page) < 2 {
			return line
		}
	}
}

// describe prints the same of the model.
func (md *model) describe(keys []Key) []string {
	var live []Session
	bytes := 0
	for _, s := range md.sessions {
		bytes += attrBytes(s.Attrs)
		if s.tomb == nil {
			live = append(live, s.Session)
		}
	}
	slices.SortFunc(live, byKey)
	out := []string{
		fmt.Sprint("clock ", md.clock, " cluster ", md.clusterID, " sweep ", len(md.queue) > 0),
		fmt.Sprintf("sessions %d users %d roles %d realms %d tombstones %d bytes %d created %d ended %v",
			len(live), len(md.users), len(md.roles), len(md.realms), len(md.tombs), bytes, md.created, md.ended),
		fmt.Sprint("members ", slices.SortedFunc(maps.Values(md.members), func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })),
		fmt.Sprint("pace ", md.pace, md.grace(time.Hour), modelGranularity(time.Hour, md.pace.Touch)),
	}
	for _, k := range keys {
		out = append(out, md.describeKey(k))
	}
	for _, realm := range shownRealms {
		for _, name := range shownUsers {
			line := realm + "/" + name + ":"
			if u, ok := md.user(realm, name); ok {
				line += fmt.Sprintf(" %+v true", u)
			}
			for _, s := range md.of(realm, name) {
				line += " " + s.Key.String()
			}
			out = append(out, line)
		}
	}
	line := ""
	for _, s := range live {
		line += s.Key.String() + " "
	}
	out = append(out, "pages", line)
	line = ""
	for _, id := range slices.Sorted(maps.Keys(md.users)) {
		line += id + " "
	}
	out = append(out, line)
	for _, r := range slices.SortedFunc(maps.Values(md.roles), func(a, b Role) int { return cmp.Compare(a.Name, b.Name) }) {
		out = append(out, fmt.Sprintf("%+v true true", r))
	}
	for _, r := range slices.SortedFunc(maps.Values(md.realms), func(a, b Realm) int { return cmp.Compare(a.Name, b.Name) }) {
		out = append(out, fmt.Sprintf("%+v true true", r))
	}
	return append(out, "end")
}

func (md *model) describeKey(k Key) string {
	line := k.String() + ":"
	if s := md.live(k); s != nil {
		user, hasUser := md.user(s.Realm, s.Username)
		realm, hasRealm := md.realm(s.Realm)
		hasUser = hasUser && user.ID == s.UserID
		if !hasUser {
			user = User{}
		}
		roles := slices.Concat(user.RoleNames, realm.RoleNames)
		if s.Roles != nil {
			roles = slices.Clone(s.Roles)
		}
		slices.Sort(roles)
		roles = slices.Compact(roles)
		line += fmt.Sprintf(" live %+v user %v realm %v mod %d roles %v admin %v",
			s.Session, hasUser, hasRealm, max(s.Mod, user.Mod, realm.Mod), roles, slices.Contains(roles, "admin"))
	}
	if s := md.sessions[k]; s != nil && s.tomb != nil {
		line += fmt.Sprintf(" ended %+v", *s.tomb)
	}
	for _, t := range md.tombs {
		if t.Key == k {
			line += fmt.Sprintf(" ended %+v", t)
		}
	}
	return line
}
