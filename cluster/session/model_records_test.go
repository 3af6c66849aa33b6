package session

import (
	"regexp"
	"slices"
)

var (
	modelNames = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,128}$`)
	modelIDs   = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)
)

func modelName(s string) bool { return modelNames.MatchString(s) }
func modelID(s string) bool   { return modelIDs.MatchString(s) }

func (md *model) genesis(c *Genesis) Result {
	if md.clusterID != "" && md.clusterID == c.ClusterID {
		return Result{}
	}
	if md.clusterID != "" {
		return Result{Err: ErrOtherCluster}
	}
	_, a := md.roles[c.AdminID]
	_, b := md.roles[c.ServiceID]
	_, r := md.realms[c.RealmID]
	if a || b || r || c.AdminID == c.ServiceID || !modelID(c.ClusterID) || !modelID(c.RealmID) || !modelID(c.AdminID) || !modelID(c.ServiceID) {
		return Result{Err: ErrBadCommand}
	}
	md.clusterID = c.ClusterID
	now := md.clock
	md.roles[c.AdminID] = Role{ID: c.AdminID, Name: "admin", Desc: "administration of the cluster", Created: now, Updated: now, Mod: md.mod}
	md.roles[c.ServiceID] = Role{ID: c.ServiceID, Name: "service", Desc: "bulk checks, and sessions on behalf of users", Created: now, Updated: now, Mod: md.mod}
	md.realms[c.RealmID] = Realm{ID: c.RealmID, Name: "native", Type: "native", Enabled: true, Created: now, Updated: now, Rev: md.seq, Mod: md.mod}
	return Result{Rev: md.seq}
}

func (md *model) record(c Command) Result {
	switch c := c.(type) {
	case *CreateUser:
		return md.createUser(c)
	case *UpdateUser:
		return md.updateUser(c)
	case *DeleteUser:
		u, ok := md.users[c.ID]
		if !ok {
			return Result{Err: ErrUserNotFound}
		}
		before := md.admins()
		delete(md.users, c.ID)
		if before > 0 && md.admins() == 0 {
			md.users[c.ID] = u
			return Result{Err: ErrLastAdmin}
		}
		return Result{Ended: md.endUser(u.Realm, u.Username, EndedByDeleted, c.By)}
	case *CreateRole:
		return md.createRole(c)
	case *UpdateRole:
		r, ok := md.roles[c.ID]
		if !ok {
			return Result{Err: ErrRoleNotFound}
		}
		if len(c.Desc) > 1024 {
			return Result{Err: ErrLimitDescription}
		}
		r.Desc, r.Updated, r.Mod = c.Desc, md.clock, md.mod
		md.roles[c.ID] = r
		return Result{}
	case *DeleteRole:
		return md.deleteRole(c)
	case *CreateRealm:
		if !modelName(c.Name) {
			return Result{Err: ErrBadRealmName}
		}
		if _, ok := md.realm(c.Name); ok {
			return Result{Err: ErrRealmExists}
		}
		if c.Name == "native" {
			return Result{Err: ErrRealmBuiltIn}
		}
		if _, taken := md.realms[c.ID]; taken || !modelID(c.ID) || !modelName(c.Type) {
			return Result{Err: ErrBadCommand}
		}
		return md.setRealm(Realm{ID: c.ID, Name: c.Name, Type: c.Type, Enabled: c.Enabled, Created: md.clock}, c.RoleNames, c.Config)
	case *UpdateRealm:
		r, ok := md.realms[c.ID]
		if !ok {
			return Result{Err: ErrRealmNotFound}
		}
		if r.Name == "native" && !c.Enabled {
			return Result{Err: ErrRealmBuiltIn}
		}
		if c.IfRev != 0 && c.IfRev != r.Rev {
			return Result{Err: ErrRevisionMoved}
		}
		r.Enabled = c.Enabled
		return md.setRealm(r, c.RoleNames, c.Config)
	case *DeleteRealm:
		return md.deleteRealm(c)
	}
	panic("no such command")
}

func (md *model) createUser(c *CreateUser) Result {
	if c.First && md.everUser {
		return Result{Err: ErrNotFirstUser}
	}
	if _, ok := md.realm(c.Realm); !ok {
		return Result{Err: ErrRealmNotFound}
	}
	if !modelName(c.Username) {
		return Result{Err: ErrBadUserName}
	}
	if _, ok := md.user(c.Realm, c.Username); ok {
		return Result{Err: ErrUserExists}
	}
	if _, taken := md.users[c.ID]; taken || !modelID(c.ID) || len(c.PasswordHash) > 512 {
		return Result{Err: ErrBadCommand}
	}
	roles, err := md.roleSet(c.RoleNames)
	if err != nil {
		return Result{Err: err}
	}
	md.users[c.ID] = User{
		ID: c.ID, Realm: c.Realm, Username: c.Username, RoleNames: roles, PasswordHash: c.PasswordHash,
		Created: md.clock, Updated: md.clock, Rev: md.seq, Mod: md.mod,
	}
	md.everUser = true
	return Result{Rev: md.seq}
}

func (md *model) updateUser(c *UpdateUser) Result {
	old, ok := md.users[c.ID]
	if !ok {
		return Result{Err: ErrUserNotFound}
	}
	u := old
	if c.RoleNames != nil {
		roles, err := md.roleSet(*c.RoleNames)
		if err != nil {
			return Result{Err: err}
		}
		u.RoleNames = roles
	}
	if c.PasswordHash != nil {
		u.PasswordHash = *c.PasswordHash
		if len(u.PasswordHash) > 512 {
			return Result{Err: ErrBadCommand}
		}
	}
	if c.Disabled != nil {
		u.Disabled = *c.Disabled
	}
	u.Updated, u.Rev, u.Mod = md.clock, md.seq, md.mod
	before := md.admins()
	md.users[c.ID] = u
	if before > 0 && md.admins() == 0 {
		md.users[c.ID] = old
		return Result{Err: ErrLastAdmin}
	}
	res := Result{Rev: md.seq}
	if c.PasswordHash != nil || u.Disabled {
		why := EndedByPassword
		if u.Disabled {
			why = EndedByDisabled
		}
		res.Ended = md.endUser(u.Realm, u.Username, why, c.By)
	}
	return res
}

func (md *model) createRole(c *CreateRole) Result {
	if !modelName(c.Name) {
		return Result{Err: ErrBadRoleName}
	}
	if md.hasRole(c.Name) {
		return Result{Err: ErrRoleExists}
	}
	if c.Name == "admin" || c.Name == "service" {
		return Result{Err: ErrRoleBuiltIn}
	}
	if _, taken := md.roles[c.ID]; taken || !modelID(c.ID) {
		return Result{Err: ErrBadCommand}
	}
	if len(c.Desc) > 1024 {
		return Result{Err: ErrLimitDescription}
	}
	md.roles[c.ID] = Role{ID: c.ID, Name: c.Name, Desc: c.Desc, Created: md.clock, Updated: md.clock, Mod: md.mod}
	return Result{}
}

func (md *model) deleteRole(c *DeleteRole) Result {
	r, ok := md.roles[c.ID]
	if !ok {
		return Result{Err: ErrRoleNotFound}
	}
	if r.Name == "admin" || r.Name == "service" {
		return Result{Err: ErrRoleBuiltIn}
	}
	for _, u := range md.users {
		if slices.Contains(u.RoleNames, r.Name) {
			return Result{Err: ErrRoleInUse}
		}
	}
	for _, x := range md.realms {
		if slices.Contains(x.RoleNames, r.Name) {
			return Result{Err: ErrRoleInUse}
		}
	}
	delete(md.roles, c.ID)
	return Result{}
}

func (md *model) setRealm(r Realm, roleNames []string, config []byte) Result {
	roles, err := md.roleSet(roleNames)
	if err != nil {
		return Result{Err: err}
	}
	if len(config) > 16384 {
		return Result{Err: ErrLimitRealmConfig}
	}
	r.RoleNames, r.Config, r.Updated, r.Rev, r.Mod = roles, config, md.clock, md.seq, md.mod
	md.realms[r.ID] = r
	return Result{Rev: md.seq}
}

func (md *model) deleteRealm(c *DeleteRealm) Result {
	r, ok := md.realms[c.ID]
	if !ok {
		return Result{Err: ErrRealmNotFound}
	}
	if r.Name == "native" {
		return Result{Err: ErrRealmBuiltIn}
	}
	for _, u := range md.users {
		if u.Realm == r.Name {
			return Result{Err: ErrRealmInUse}
		}
	}
	delete(md.realms, c.ID)
	return Result{Ended: md.endWhere(func(s Session) bool { return s.Realm == r.Name }, nil, EndedByRealm, c.By)}
}

func (md *model) endUser(realm, name string, why Reason, by string) uint32 {
	return md.endWhere(func(s Session) bool { return s.Realm == realm && s.Username == name }, bySeq, why, by)
}

func (md *model) user(realm, name string) (User, bool) {
	for _, u := range md.users {
		if u.Realm == realm && u.Username == name {
			return u, true
		}
	}
	return User{}, false
}

func (md *model) realm(name string) (Realm, bool) {
	for _, r := range md.realms {
		if r.Name == name {
			return r, true
		}
	}
	return Realm{}, false
}

func (md *model) hasRole(name string) bool {
	for _, r := range md.roles {
		if r.Name == name {
			return true
		}
	}
	return false
}

func (md *model) roleSet(names []string) ([]string, *Error) {
	var set []string
	for _, name := range names {
		if !md.hasRole(name) {
			return nil, ErrRoleNotFound
		}
		if !slices.Contains(set, name) {
			set = append(set, name)
		}
	}
	if len(set) > 64 {
		return nil, ErrLimitRoles
	}
	slices.Sort(set)
	return set, nil
}

func (md *model) admins() int {
	n := 0
	for _, u := range md.users {
		if u.Realm == "native" && !u.Disabled && slices.Contains(u.RoleNames, "admin") {
			n++
		}
	}
	return n
}
