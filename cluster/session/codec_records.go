package session

import "time"

// Encodings of the commands on users, roles, realms, the roster and the pace. Fields stand in the order of the type.

func (c *Genesis) appendBody(dst []byte) []byte {
	dst = appendString(appendArray(dst, 4), c.ClusterID)
	return appendString(appendString(appendString(dst, c.RealmID), c.AdminID), c.ServiceID)
}

func (c *Genesis) readBody(r *reader) {
	r.fields(4)
	*c = Genesis{ClusterID: r.string(), RealmID: r.string(), AdminID: r.string(), ServiceID: r.string()}
}

func (c *CreateUser) appendBody(dst []byte) []byte {
	dst = appendString(appendArray(dst, 6), c.ID)
	dst = appendString(appendString(dst, c.Realm), c.Username)
	dst = appendString(appendStrings(dst, c.RoleNames), string(c.PasswordHash))
	return appendBool(dst, c.First)
}

func (c *CreateUser) readBody(r *reader) {
	r.fields(6)
	*c = CreateUser{
		ID: r.string(), Realm: r.string(), Username: r.string(), RoleNames: r.strings(),
		PasswordHash: Secret(r.string()), First: r.bool(),
	}
}

// UpdateUser has nil for a field that stays as it is.
func (c *UpdateUser) appendBody(dst []byte) []byte {
	dst = appendString(appendArray(dst, 4), c.ID)
	switch {
	case c.RoleNames == nil:
		dst = appendNil(dst)
	case *c.RoleNames == nil:
		dst = appendArray(dst, 0)
	default:
		dst = appendStrings(dst, *c.RoleNames)
	}
	if c.PasswordHash == nil {
		dst = appendNil(dst)
	} else {
		dst = appendString(dst, string(*c.PasswordHash))
	}
	if c.Disabled == nil {
		return appendNil(dst)
	}
	return appendBool(dst, *c.Disabled)
}

func (c *UpdateUser) readBody(r *reader) {
	r.fields(4)
	c.ID = r.string()
	if !r.isNil() {
		names := r.strings()
		c.RoleNames = &names
	}
	if !r.isNil() {
		hash := Secret(r.string())
		c.PasswordHash = &hash
	}
	if !r.isNil() {
		disabled := r.bool()
		c.Disabled = &disabled
	}
}

func (c *DeleteUser) appendBody(dst []byte) []byte { return appendString(appendArray(dst, 1), c.ID) }

func (c *DeleteUser) readBody(r *reader) {
	r.fields(1)
	c.ID = r.string()
}

func (c *CreateRole) appendBody(dst []byte) []byte {
	return appendString(appendString(appendString(appendArray(dst, 3), c.ID), c.Name), c.Desc)
}

func (c *CreateRole) readBody(r *reader) {
	r.fields(3)
	*c = CreateRole{ID: r.string(), Name: r.string(), Desc: r.string()}
}

func (c *UpdateRole) appendBody(dst []byte) []byte {
	return appendString(appendString(appendArray(dst, 2), c.ID), c.Desc)
}

func (c *UpdateRole) readBody(r *reader) {
	r.fields(2)
	*c = UpdateRole{ID: r.string(), Desc: r.string()}
}

func (c *DeleteRole) appendBody(dst []byte) []byte { return appendString(appendArray(dst, 1), c.ID) }

func (c *DeleteRole) readBody(r *reader) {
	r.fields(1)
	c.ID = r.string()
}

func (c *CreateRealm) appendBody(dst []byte) []byte {
	dst = appendString(appendArray(dst, 6), c.ID)
	dst = appendString(appendString(dst, c.Name), c.Type)
	dst = appendStrings(appendBool(dst, c.Enabled), c.RoleNames)
	return appendBytes(dst, c.Config)
}

func (c *CreateRealm) readBody(r *reader) {
	r.fields(6)
	*c = CreateRealm{
		ID: r.string(), Name: r.string(), Type: r.string(), Enabled: r.bool(), RoleNames: r.strings(), Config: r.blob(),
	}
}

func (c *UpdateRealm) appendBody(dst []byte) []byte {
	dst = appendString(appendArray(dst, 4), c.ID)
	return appendBytes(appendStrings(appendBool(dst, c.Enabled), c.RoleNames), c.Config)
}

func (c *UpdateRealm) readBody(r *reader) {
	r.fields(4)
	*c = UpdateRealm{ID: r.string(), Enabled: r.bool(), RoleNames: r.strings(), Config: r.blob()}
}

func (c *DeleteRealm) appendBody(dst []byte) []byte { return appendString(appendArray(dst, 1), c.ID) }

func (c *DeleteRealm) readBody(r *reader) {
	r.fields(1)
	c.ID = r.string()
}

func (c *PutMember) appendBody(dst []byte) []byte {
	return appendMember(appendArray(dst, 1), c.Member, formOf(c) == pinnedMember)
}

func (c *PutMember) readBody(r *reader) {
	r.fields(1)
	pinned := r.form == pinnedMember
	c.Member = r.member(pinned)
	r.expect(pinned == (c.Member.Pin != PinNone))
}

func (c *RemoveMember) appendBody(dst []byte) []byte { return appendString(appendArray(dst, 1), c.ID) }

func (c *RemoveMember) readBody(r *reader) {
	r.fields(1)
	c.ID = r.string()
}

func (c *Pace) appendBody(dst []byte) []byte {
	return appendInt(appendInt(appendArray(dst, 2), int64(c.Touch)), int64(c.Grace))
}

func (c *Pace) readBody(r *reader) {
	r.fields(2)
	*c = Pace{Touch: time.Duration(r.int()), Grace: time.Duration(r.int())}
}
