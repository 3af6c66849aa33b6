package session

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

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
		fmt.Sprintf("modern %v limits %+v", m.Modern(), m.Limits()),
		fmt.Sprint("owners ", ownersOf(m, 7)),
	}
	for _, k := range keys {
		line := k.String() + ":"
		if v, ok := m.Lookup(k); ok {
			whole, ok := m.Session(k)
			if !ok || fmt.Sprintf("%+v", whole.Head) != fmt.Sprintf("%+v", v.Session) {
				line += fmt.Sprintf(" seen as %+v", v.Session)
			}
			line += fmt.Sprintf(" live %+v user %v realm %v mod %d roles %v admin %v",
				*whole, v.User != nil, v.Realm != nil, v.Mod, v.Roles(), v.HasRole("admin"))
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
			sessions := m.SessionsOf(realm, name)
			for _, s := range sessions {
				line += " " + s.Key.String()
				if !m.HasSessionFrom(realm, name, func(address string) bool { return address == s.Address }) {
					line += " from nowhere"
				}
			}
			var from []string
			m.HasSessionFrom(realm, name, func(address string) bool {
				from = append(from, strings.Clone(address))
				return false
			})
			if len(from) != len(sessions) || m.HasSessions(realm, name) != (len(sessions) > 0) {
				line += fmt.Sprintf(" from %q", from)
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

// ownersOf reads the owners in pages for which so many sessions are looked at.
func ownersOf(m *Machine, limit int) []Owner {
	all := []Owner{}
	var after Key
	for {
		page, next := m.Owners(after, limit)
		all = append(all, page...)
		if next.IsZero() {
			return all
		}
		after = next
	}
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
		fmt.Sprintf("modern %v limits %+v", md.modern, Limits{
			SessionsPerUser: md.mostOfAUser(), RefuseLogins: md.limits.RefuseLogins, Sessions: md.limits.Sessions,
			Attributes: or(md.limits.Attributes, 64), SessionBytes: or(md.limits.SessionBytes, 16384),
		}),
		fmt.Sprint("owners ", md.owners(live)),
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

func (md *model) owners(live []Session) []Owner {
	oldest := map[Owner]Session{}
	for _, s := range live {
		who := Owner{Realm: s.Realm, Username: s.Username}
		if first, ok := oldest[who]; !ok || s.Seq < first.Seq {
			oldest[who] = s
		}
	}
	all := []Owner{}
	for _, s := range live {
		who := Owner{Realm: s.Realm, Username: s.Username}
		if s.Realm != "native" && oldest[who].Key == s.Key {
			all = append(all, who)
		}
	}
	return all
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
