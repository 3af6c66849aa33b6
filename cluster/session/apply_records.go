package session

import "slices"

// records carries out the commands on users, roles and realms.
type records struct{ step }

func (s records) run(c Command) Result {
	switch c := c.(type) {
	case *CreateUser:
		return s.createUser(c)
	case *UpdateUser:
		return s.updateUser(c)
	case *DeleteUser:
		return s.deleteUser(c)
	case *CreateRole:
		return s.createRole(c)
	case *UpdateRole:
		return s.updateRole(c)
	case *DeleteRole:
		return s.deleteRole(c)
	case *CreateRealm:
		return s.createRealm(c)
	case *UpdateRealm:
		return s.updateRealm(c)
	case *DeleteRealm:
		return s.deleteRealm(c)
	}
	panic(unknown(c))
}

func (s records) genesis(c *Genesis) Result {
	if s.clusterID != "" {
		if c.ClusterID != s.clusterID {
			return refuse(ErrOtherCluster)
		}
		return Result{}
	}
	ids := []string{c.ClusterID, c.RealmID, c.AdminID, c.ServiceID}
	_, adminTaken := s.RoleByID(c.AdminID)
	_, serviceTaken := s.RoleByID(c.ServiceID)
	_, realmTaken := s.RealmByID(c.RealmID)
	if !allValidIDs(ids) || c.AdminID == c.ServiceID || adminTaken || serviceTaken || realmTaken {
		return refuse(ErrBadCommand)
	}
	s.clusterID = c.ClusterID
	s.setRole(&Role{ID: c.AdminID, Name: RoleAdmin, Desc: "administration of the cluster", Created: s.clock, Updated: s.clock, Mod: s.mod})
	s.setRole(&Role{ID: c.ServiceID, Name: RoleService, Desc: "bulk checks, and sessions on behalf of users", Created: s.clock, Updated: s.clock, Mod: s.mod})
	s.setRealm(&Realm{ID: c.RealmID, Name: NativeRealm, Type: NativeRealm, Enabled: true, Created: s.clock, Updated: s.clock, Rev: s.seq, Mod: s.mod})
	return Result{Rev: s.seq}
}

func (s records) createUser(c *CreateUser) Result {
	if c.First && s.everUser {
		return refuse(ErrNotFirstUser)
	}
	rs := s.realms[c.Realm]
	if rs == nil {
		return refuse(ErrRealmNotFound)
	}
	if !ValidName(c.Username) {
		return refuse(ErrBadUserName)
	}
	if _, ok := s.UserByName(c.Realm, c.Username); ok {
		return refuse(ErrUserExists)
	}
	if _, taken := s.UserByID(c.ID); taken || !validID(c.ID) || len(c.PasswordHash) > MaxPasswordHash {
		return refuse(ErrBadCommand)
	}
	roles, err := s.roleSet(c.RoleNames)
	if err != nil {
		return refuse(err)
	}
	a := rs.account(c.Username)
	s.setUser(a, &User{
		ID: c.ID, Realm: rs.name, Username: a.name, RoleNames: roles, PasswordHash: c.PasswordHash,
		Created: s.clock, Updated: s.clock, Rev: s.seq, Mod: s.mod,
	})
	return Result{Rev: s.seq}
}

func (s records) updateUser(c *UpdateUser) Result {
	old, ok := s.UserByID(c.ID)
	if !ok {
		return refuse(ErrUserNotFound)
	}
	next := *old
	if c.RoleNames != nil {
		roles, err := s.roleSet(*c.RoleNames)
		if err != nil {
			return refuse(err)
		}
		next.RoleNames = roles
	}
	if c.PasswordHash != nil {
		if len(*c.PasswordHash) > MaxPasswordHash {
			return refuse(ErrBadCommand)
		}
		next.PasswordHash = *c.PasswordHash
	}
	if c.Disabled != nil {
		next.Disabled = *c.Disabled
	}
	if s.lastAdmin(old, &next) {
		return refuse(ErrLastAdmin)
	}
	a := s.account(old.Realm, old.Username)
	next.Updated, next.Rev, next.Mod = s.clock, s.seq, s.mod
	s.setUser(a, &next)
	var ended uint32
	if c.PasswordHash != nil || next.Disabled {
		why := EndedByDisabled
		if !next.Disabled {
			why = EndedByPassword
		}
		ended = s.store.endAll(a, s.here(why, c.By))
	}
	return Result{Rev: next.Rev, Ended: ended}
}

func (s records) deleteUser(c *DeleteUser) Result {
	old, ok := s.UserByID(c.ID)
	if !ok {
		return refuse(ErrUserNotFound)
	}
	if s.lastAdmin(old, nil) {
		return refuse(ErrLastAdmin)
	}
	a := s.account(old.Realm, old.Username)
	n := s.store.endAll(a, s.here(EndedByDeleted, c.By))
	s.setUser(a, nil)
	a.realm.drop(a)
	return Result{Ended: n}
}

// lastAdmin reports whether nobody could administrate any more if next took the place of old; nil is no user.
func (s records) lastAdmin(old, next *User) bool {
	return s.admins-adminCount(old)+adminCount(next) == 0 && s.admins > 0
}

func (s records) createRole(c *CreateRole) Result {
	if !ValidName(c.Name) {
		return refuse(ErrBadRoleName)
	}
	if _, ok := s.RoleByName(c.Name); ok {
		return refuse(ErrRoleExists)
	}
	if c.Name == RoleAdmin || c.Name == RoleService {
		return refuse(ErrRoleBuiltIn) // they are Genesis's to make
	}
	if _, taken := s.RoleByID(c.ID); taken || !validID(c.ID) {
		return refuse(ErrBadCommand)
	}
	if len(c.Desc) > MaxDescription {
		return refuse(ErrLimitDescription)
	}
	s.setRole(&Role{ID: c.ID, Name: c.Name, Desc: c.Desc, Created: s.clock, Updated: s.clock, Mod: s.mod})
	return Result{}
}

func (s records) updateRole(c *UpdateRole) Result {
	old, ok := s.RoleByID(c.ID)
	if !ok {
		return refuse(ErrRoleNotFound)
	}
	if len(c.Desc) > MaxDescription {
		return refuse(ErrLimitDescription)
	}
	next := *old
	next.Desc, next.Updated, next.Mod = c.Desc, s.clock, s.mod
	s.setRole(&next)
	return Result{}
}

func (s records) deleteRole(c *DeleteRole) Result {
	old, ok := s.RoleByID(c.ID)
	switch {
	case !ok:
		return refuse(ErrRoleNotFound)
	case old.Name == RoleAdmin || old.Name == RoleService:
		return refuse(ErrRoleBuiltIn)
	case s.roleUses[old.Name] > 0:
		return refuse(ErrRoleInUse)
	}
	delete(s.roles, old.Name)
	delete(s.roleIDs, old.ID)
	return Result{}
}

func (s records) createRealm(c *CreateRealm) Result {
	if !ValidName(c.Name) {
		return refuse(ErrBadRealmName)
	}
	if _, ok := s.RealmByName(c.Name); ok {
		return refuse(ErrRealmExists)
	}
	if c.Name == NativeRealm {
		return refuse(ErrRealmBuiltIn) // it is Genesis's to make
	}
	if _, taken := s.RealmByID(c.ID); taken || !validID(c.ID) || !ValidName(c.Type) {
		return refuse(ErrBadCommand)
	}
	return s.putRealm(Realm{ID: c.ID, Name: c.Name, Type: c.Type, Enabled: c.Enabled, Created: s.clock}, c.RoleNames, c.Config)
}

func (s records) updateRealm(c *UpdateRealm) Result {
	old, ok := s.RealmByID(c.ID)
	if !ok {
		return refuse(ErrRealmNotFound)
	}
	if old.Name == NativeRealm && !c.Enabled {
		return refuse(ErrRealmBuiltIn)
	}
	if c.IfRev != 0 && c.IfRev != old.Rev {
		return refuse(ErrRevisionMoved)
	}
	next := *old
	next.Enabled = c.Enabled
	return s.putRealm(next, c.RoleNames, c.Config)
}

func (s records) putRealm(r Realm, roleNames []string, config []byte) Result {
	roles, err := s.roleSet(roleNames)
	if err != nil {
		return refuse(err)
	}
	if len(config) > MaxRealmConfig {
		return refuse(ErrLimitRealmConfig)
	}
	r.RoleNames, r.Config = roles, slices.Clone(config)
	r.Updated, r.Rev, r.Mod = s.clock, s.seq, s.mod
	s.setRealm(&r)
	return Result{Rev: r.Rev}
}

func (s records) deleteRealm(c *DeleteRealm) Result {
	old, ok := s.RealmByID(c.ID)
	if !ok {
		return refuse(ErrRealmNotFound)
	}
	if old.Name == NativeRealm {
		return refuse(ErrRealmBuiltIn)
	}
	rs := s.realms[old.Name]
	if rs.users > 0 {
		return refuse(ErrRealmInUse)
	}
	s.directory.deleteRealm(rs)
	return Result{Ended: s.store.endRealm(rs, s.here(EndedByRealm, c.By))}
}

func allValidIDs(ids []string) bool {
	for _, id := range ids {
		if !validID(id) {
			return false
		}
	}
	return true
}
