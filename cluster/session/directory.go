package session

import (
	"maps"
	"slices"
	"strings"
)

// directory holds users, roles and realms, and the accounts below the realms.
type directory struct {
	users    cow[string, *User] // by id
	roles    map[string]*Role   // by name
	roleIDs  map[string]*Role
	roleUses map[string]int // by name: users and realms that have the role
	realms   map[string]*realmState
	realmIDs map[string]*realmState
	all      *accounts
	admins   int  // enabled users of the realm native with the role admin among their own
	everUser bool // there was a user once
}

func newDirectory(all *accounts) directory {
	return directory{
		all:      all,
		users:    newCow[string, *User](userShards),
		roles:    make(map[string]*Role),
		roleIDs:  make(map[string]*Role),
		roleUses: make(map[string]int),
		realms:   make(map[string]*realmState),
		realmIDs: make(map[string]*realmState),
	}
}

// UserByName returns a user's record.
func (d *directory) UserByName(realm, name string) (*User, bool) {
	a := d.account(realm, name)
	if a == nil || a.user == nil {
		return nil, false
	}
	return a.user, true
}

// UserByID returns a user's record.
func (d *directory) UserByID(id string) (*User, bool) { return d.users.get(userShard(id), id) }

// Users returns up to limit users whose ids follow after, in the order of their ids.
func (d *directory) Users(after string, limit int) []*User {
	var page []*User
	if limit <= 0 {
		return page
	}
	ascend(d.users.shards, userShard(after), after, strings.Compare, func(u *User) bool {
		page = append(page, u)
		return len(page) < limit
	})
	return page
}

// RealmByName returns a realm's record.
func (d *directory) RealmByName(name string) (*Realm, bool) { return record(d.realms[name]) }

// RealmByID returns a realm's record.
func (d *directory) RealmByID(id string) (*Realm, bool) { return record(d.realmIDs[id]) }

// Realms returns all realms in the order of their names.
func (d *directory) Realms() []*Realm {
	realms := make([]*Realm, 0, len(d.realms))
	for _, name := range slices.Sorted(maps.Keys(d.realms)) {
		realms = append(realms, d.realms[name].realm)
	}
	return realms
}

// RoleByName returns a role's record.
func (d *directory) RoleByName(name string) (*Role, bool) {
	r, ok := d.roles[name]
	return r, ok
}

// RoleByID returns a role's record.
func (d *directory) RoleByID(id string) (*Role, bool) {
	r, ok := d.roleIDs[id]
	return r, ok
}

// Roles returns all roles in the order of their names.
func (d *directory) Roles() []*Role {
	roles := make([]*Role, 0, len(d.roles))
	for _, name := range slices.Sorted(maps.Keys(d.roles)) {
		roles = append(roles, d.roles[name])
	}
	return roles
}

// account returns the account of a user name, nil where there is none.
func (d *directory) account(realm, name string) *account {
	rs := d.realms[realm]
	if rs == nil {
		return nil
	}
	return rs.find(name)
}

// setUser makes u the record of an account; nil takes it away.
func (d *directory) setUser(a *account, u *User) {
	if old := a.user; old != nil {
		d.useRoles(old.RoleNames, -1)
		d.users.delete(userShard(old.ID), old.ID)
		a.realm.users--
		d.admins -= adminCount(old)
	}
	a.setUser(u)
	if u == nil {
		return
	}
	d.useRoles(u.RoleNames, 1)
	d.users.put(userShard(u.ID), u.ID, u)
	a.realm.users++
	d.admins += adminCount(u)
	d.everUser = true
}

func (d *directory) setRole(r *Role) {
	d.roles[r.Name], d.roleIDs[r.ID] = r, r
}

// setRealm makes r the record of its realm; a realm of a new name gets its state.
func (d *directory) setRealm(r *Realm) *realmState {
	rs := d.realms[r.Name]
	if rs == nil {
		rs = newRealmState(r.Name, d.all)
		d.realms[r.Name], d.realmIDs[r.ID] = rs, rs
	} else {
		d.useRoles(rs.realm.RoleNames, -1)
	}
	rs.realm = r
	d.useRoles(r.RoleNames, 1)
	return rs
}

func (d *directory) deleteRealm(rs *realmState) {
	d.useRoles(rs.realm.RoleNames, -1)
	delete(d.realms, rs.name)
	delete(d.realmIDs, rs.realm.ID)
	rs.realm = nil
}

func (d *directory) useRoles(names []string, by int) {
	for _, name := range names {
		if d.roleUses[name] += by; d.roleUses[name] == 0 {
			delete(d.roleUses, name)
		}
	}
}

// roleSet returns role names sorted and without duplicates; each must be a role's.
func (d *directory) roleSet(names []string) ([]string, *Error) {
	var set []string
	for _, name := range names {
		r := d.roles[name]
		if r == nil {
			return nil, ErrRoleNotFound
		}
		set = append(set, r.Name) // not name: the role's own string is in memory anyway
	}
	slices.Sort(set)
	set = slices.Compact(set)
	if len(set) > MaxRoles {
		return nil, ErrLimitRoles
	}
	return slices.Clip(set), nil
}

func record(rs *realmState) (*Realm, bool) {
	if rs == nil {
		return nil, false
	}
	return rs.realm, true
}

// adminCount is 1 for a user that can administrate on its own account, whatever the realm grants, and else 0.
func adminCount(u *User) int {
	if u != nil && u.Realm == NativeRealm && !u.Disabled && slices.Contains(u.RoleNames, RoleAdmin) {
		return 1
	}
	return 0
}

// userShards is how many parts the users have: by the first three digits of an id, which is mostly a random UUID.
const userShards = 16 * 16 * 16

// userShard follows the order of ids, whatever they look like: what is no hexadecimal digit counts as the next one
// followed by zeros, or as the very last shard.
func userShard(id string) int {
	shard, place := 0, userShards
	for i := 0; i < len(id) && place > 1; i++ {
		place /= 16
		switch c := id[i]; {
		case '0' <= c && c <= '9':
			shard += int(c-'0') * place
		case 'a' <= c && c <= 'f':
			shard += int(c-'a'+10) * place
		case c < '0':
			return shard
		case c < 'a':
			return shard + 10*place
		default:
			return shard + 16*place - 1
		}
	}
	return shard
}
