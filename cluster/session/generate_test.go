package session

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// generator turns bytes into entries that are worth applying: mostly possible, sometimes wrong in one field. It looks
// at the model for what exists. The bytes are a fuzzer's or a seeded random source's.
type generator struct {
	data []byte
	md   *model
	keys []Key // every key ever used
	made int
	old  int // so many commands are of a cluster that may have older nodes
}

// start has the first commands be without anything of version 4.
func (g *generator) start(old int) { g.old = old }

// newer is true when something of version 4 may come; then rarely says how often it does.
func (g *generator) newer(k int) bool { return g.old <= 0 && g.rarely(k) }

// by is nobody, most of the time.
func (g *generator) by() string {
	if !g.newer(4) {
		return ""
	}
	return pick(g, "ann@native", "node n1 (directory)", strings.Repeat("b", 330))
}

func (g *generator) more() bool { return len(g.data) > 0 }

// n returns a number below limit.
func (g *generator) n(limit int) int {
	if len(g.data) == 0 {
		return 0
	}
	v := int(g.data[0])
	g.data = g.data[1:]
	if limit > 256 && len(g.data) > 0 {
		v = v<<8 | int(g.data[0])
		g.data = g.data[1:]
	}
	return v % limit
}

// rarely is true once in k.
func (g *generator) rarely(k int) bool { return g.n(k) == k-1 }

func pick[T any](g *generator, from ...T) T { return from[g.n(len(from))] }

func (g *generator) entry() *Entry {
	ms := pick[Time](g, 0, 0, 1, 1, 400, 1000, 5000, 30_000, 59_999, 120_000, 300_000, 601_000, -5000)
	e := &Entry{Stamp: max(0, g.md.clock+ms)}
	if g.rarely(40) {
		like := g.create(g.username())
		for range 20 + g.n(100) { // near and over the limit of sessions
			c := *like
			c.Key, c.UserID = g.newKey(), ""
			e.Commands = append(e.Commands, &c)
		}
	}
	if g.rarely(25) {
		e.Commands = append(e.Commands, g.remade(pick(g, "corp", "lab"))...)
	}
	for range 1 + g.n(4) {
		e.Commands = append(e.Commands, g.command())
	}
	return e
}

// remade removes a realm with all that is in it, and makes another one of that name, perhaps of that id.
func (g *generator) remade(name string) []Command {
	var cmds []Command
	for _, id := range slices.Sorted(maps.Keys(g.md.users)) {
		if g.md.users[id].Realm == name {
			cmds = append(cmds, &DeleteUser{ID: id, By: g.by()})
		}
	}
	if r, ok := g.md.realm(name); ok {
		cmds = append(cmds, &DeleteRealm{ID: r.ID, By: g.by()})
	}
	return append(cmds, &CreateRealm{ID: pick(g, "e1", "e2", "e3", "e4"), Name: name, Type: "ldap", Enabled: true})
}

func (g *generator) command() Command {
	g.old--
	if g.newer(12) {
		return g.newerCommand()
	}
	switch g.n(32) {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		return g.create(g.username())
	case 8, 9, 10, 11:
		return &Put{Key: g.key(), Attrs: g.attrs(), IfRev: g.ifRev()}
	case 12, 13:
		return &Delete{Key: g.key(), Names: g.names(), IfRev: g.ifRev()}
	case 14:
		return &Invalidate{Key: g.key(), Reason: pick(g, EndedByLogout, EndedByAdmin, EndedByOrphan, 0, 9, 14, 15), By: g.by()}
	case 15, 16:
		t := &Touch{}
		for range g.n(5) {
			t.Uses = append(t.Uses, Use{Key: g.key(), At: g.near()})
		}
		return t
	case 17, 18:
		x := &Expire{Cutoff: g.near()}
		for range g.n(6) {
			x.Keys = append(x.Keys, g.key())
		}
		return x
	case 19, 20:
		c := &EndUser{Realm: g.realm(), Username: g.username(), By: g.by()}
		if g.newer(4) {
			c.Reason = pick(g, EndedByRecheck, EndedByAdmin, EndedByUser, EndedByEmergency, 15)
		}
		return c
	case 21:
		return &Sweep{}
	case 22:
		switch g.n(4) {
		case 0, 1:
			return &Pace{Touch: g.pace(), Grace: g.pace()}
		case 2:
			return &Handover{}
		}
		return &Tick{}
	case 23:
		m := Member{ID: pick(g, "m1", "m2", "m3", ""), Name: "n1", Peer: "10.0.0.1:7000", MinVersion: uint8(g.n(3)), MaxVersion: 1}
		m.Pin = pick(g, PinNone, PinNone, PinVoter, PinNonVoter, 3)
		if g.rarely(3) {
			return &RemoveMember{ID: m.ID}
		}
		return &PutMember{Member: m}
	}
	return g.recordCommand()
}

func (g *generator) newerCommand() Command {
	switch g.n(8) {
	case 0, 1, 2:
		return &EndAll{By: pick(g, "", "control socket", strings.Repeat("b", 330))}
	case 3, 4, 5:
		return &SetRoles{Realm: g.realm(), Username: g.username(), Roles: g.roleNames()}
	}
	l := Limits{RefuseLogins: g.n(4) == 0}
	switch g.n(6) {
	case 0, 1:
		l.SessionsPerUser = pick(g, 1, 3, 30, 120, 1000, 1001, -1)
	case 2:
		l.Sessions = pick(g, 1, 20, 60, 200, 1<<30, 1<<30+1, -1)
	case 3:
		l.Attributes = pick(g, 1, 3, 41, 64, 65, -1)
	case 4:
		l.SessionBytes = pick(g, 1, 5, 4200, 16384, 16385, -1)
	}
	if g.rarely(4) {
		return &SetLimits{Limits: l, If: &Limits{SessionsPerUser: g.n(3)}}
	}
	return &SetLimits{Limits: l}
}

func (g *generator) recordCommand() Command {
	id := pick(g, "u1", "u2", "u3", "u4", "u5", "", "é")
	switch g.n(16) {
	case 0, 1, 2:
		return &CreateUser{
			ID: id, Realm: g.realm(), Username: g.username(), RoleNames: g.roleNames(),
			PasswordHash: "$argon2id$x", First: g.rarely(4),
		}
	case 3, 4, 5, 6:
		u := &UpdateUser{ID: id, By: g.by()}
		if names := g.roleNames(); g.n(2) == 0 {
			u.RoleNames = &names
		}
		if hash := Secret("$argon2id$y"); g.n(3) == 0 {
			u.PasswordHash = &hash
		}
		if disabled := g.n(2) == 0; g.n(3) == 0 {
			u.Disabled = &disabled
		}
		return u
	case 7, 8:
		return &DeleteUser{ID: id, By: g.by()}
	case 9:
		return &CreateRole{ID: pick(g, "ra", "rb", "r3", "r4"), Name: g.role(), Desc: pick(g, "", "x", strings.Repeat("d", 1025))}
	case 10:
		return &UpdateRole{ID: pick(g, "ra", "r3", "r4"), Desc: pick(g, "y", "z")}
	case 11:
		return &DeleteRole{ID: pick(g, "ra", "rb", "r3", "r4")}
	case 12:
		return &CreateRealm{
			ID: pick(g, "e0", "e1", "e2"), Name: g.realm(), Type: "ldap", Enabled: !g.rarely(4), RoleNames: g.roleNames(), Config: []byte(pick(g, "", "{}")),
		}
	case 13:
		return &UpdateRealm{ID: pick(g, "e0", "e1", "e2", "e3"), Enabled: !g.rarely(4), RoleNames: g.roleNames()}
	case 14:
		return &DeleteRealm{ID: pick(g, "e0", "e1", "e2"), By: g.by()}
	}
	return &Genesis{ClusterID: pick(g, "c1", "c2"), RealmID: "e0", AdminID: "ra", ServiceID: "rb"}
}

func (g *generator) pace() time.Duration {
	return pick(g, 0, 0, time.Minute, 4*time.Minute, 10*time.Minute, MaxPace, MaxPace+1, -1)
}

func (g *generator) create(username string) *Create {
	c := &Create{
		Key: g.newKey(), Realm: g.realm(), Username: username, Surface: pick(g, SurfaceFusion, SurfaceMMonit, SurfaceService),
		Address: "192.0.2.1", Agent: "test", Attrs: nil,
		Idle:     pick(g, 30*time.Minute, 30*time.Second, 400*time.Millisecond, time.Hour),
		Lifetime: pick(g, 8*time.Hour, 8*time.Hour, 10*time.Minute, time.Second),
	}
	if r, ok := g.md.realm(c.Realm); ok {
		c.RealmRev = r.Rev
	}
	if u, ok := g.md.user(c.Realm, username); ok {
		c.UserRev = u.Rev
	} else if c.Realm != NativeRealm && g.n(3) == 0 {
		c.AutoCreate, c.UserID = true, pick(g, "u3", "u4", "u5", "u6", "")
	}
	if c.Realm != NativeRealm && g.n(3) == 0 {
		c.FixedRoles, c.Roles = true, g.roleNames()
	}
	switch g.n(24) {
	case 0:
		c.Key = g.key()
	case 1:
		c.UserRev--
	case 2:
		c.RealmRev++
	case 3:
		c.NotAfter = g.near()
	case 4, 5, 6:
		c.Replaces = g.key()
	case 7, 8:
		c.Attrs = g.attrs()
	case 9, 10:
		c.NoAdmin = true
	case 11:
		c.Surface = pick[Surface](g, 0, 5)
		if g.newer(2) {
			c.Surface = SurfaceBearer
		}
	case 12:
		c.Agent, c.Address = strings.Repeat("a", 300), strings.Repeat("b", 70)
	case 13:
		c.UserRev = 0
	}
	return c
}

func (g *generator) newKey() Key {
	g.made++
	var k Key
	binary.BigEndian.PutUint64(k[:], uint64(g.made)*0x9e3779b97f4a7c15) // spread over the table's shards
	binary.BigEndian.PutUint64(k[8:], uint64(g.made))
	g.keys = append(g.keys, k)
	return k
}

// key returns a key that was used, with a preference for the latest ones.
func (g *generator) key() Key {
	if len(g.keys) == 0 || g.rarely(50) {
		return Key{15: byte(g.n(2))}
	}
	recent := min(len(g.keys), 40)
	if g.rarely(4) {
		recent = len(g.keys)
	}
	return g.keys[len(g.keys)-1-g.n(recent)]
}

// near returns a moment around now.
func (g *generator) near() Time {
	return g.md.clock + pick[Time](g, 0, 1, -1, -400, -1000, -30_000, -60_000, -1_800_000, 500, 1_000_000)
}

func (g *generator) username() string { return pick(g, "ann", "bob", "cyd", "ann", "bob", "a/b", "") }

func (g *generator) realm() string { return pick(g, "native", "native", "corp", "lab", "corp", "x y") }
func (g *generator) role() string  { return pick(g, "admin", "dev", "ops", "service", "!") }

func (g *generator) roleNames() []string {
	var names []string
	for range g.n(3) {
		names = append(names, pick(g, "admin", "admin", "dev", "ops", "none"))
	}
	return names
}

func (g *generator) ifRev() uint64 {
	if g.n(4) != 0 {
		return 0
	}
	if s := g.md.live(g.key()); s != nil {
		return s.Rev
	}
	return g.md.seq
}

func (g *generator) attrs() []Attr {
	var attrs []Attr
	for range g.n(4) {
		attrs = append(attrs, Attr{pick(g, "a", "b", "c", "d", "long"), pick(g, "", "1", "2", strings.Repeat("v", 4096))})
	}
	switch g.n(16) {
	case 0:
		attrs = append(attrs, pick(g, Attr{"CSRFToken", "x"}, Attr{"", "x"}, Attr{strings.Repeat("k", 129), ""}, Attr{"a", strings.Repeat("v", 4097)}))
	case 1:
		for i := range 40 + g.n(40) {
			attrs = append(attrs, Attr{fmt.Sprintf("k%02d", i), "x"})
		}
	}
	return attrs
}

func (g *generator) names() []string {
	var names []string
	for range g.n(3) {
		names = append(names, pick(g, "a", "b", "c", "long", "missing"))
	}
	if g.rarely(20) {
		names = append(names, "CSRFToken")
	}
	return names
}
