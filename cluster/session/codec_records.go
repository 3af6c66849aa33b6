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
	dst = appendString(appendFields(dst, c, 4), c.ID)
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
		dst = appendNil(dst)
	} else {
		dst = appendBool(dst, *c.Disabled)
	}
	return appendName(dst, c)
}

func (c *UpdateUser) readBody(r *reader) {
	r.fieldsOf(c, 4)
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
	r.name(c)
}

func (c *DeleteUser) appendBody(dst []byte) []byte {
	return appendName(appendString(appendFields(dst, c, 1), c.ID), c)
}

func (c *DeleteUser) readBody(r *reader) {
	r.fieldsOf(c, 1)
	c.ID = r.string()
	r.name(c)
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
	fields := 4
	if c.IfRev != 0 {
		fields++
	}
	dst = appendString(appendArray(dst, fields), c.ID)
	dst = appendBytes(appendStrings(appendBool(dst, c.Enabled), c.RoleNames), c.Config)
	if c.IfRev != 0 {
		dst = appendUint(dst, c.IfRev)
	}
	return dst
}

func (c *UpdateRealm) readBody(r *reader) {
	fields := 4
	if r.form == ifRevRealm {
		fields++
	}
	r.fields(fields)
	*c = UpdateRealm{ID: r.string(), Enabled: r.bool(), RoleNames: r.strings(), Config: r.blob()}
	if r.form == ifRevRealm {
		c.IfRev = r.uint()
		r.expect(c.IfRev != 0)
	}
}

func (c *DeleteRealm) appendBody(dst []byte) []byte {
	return appendName(appendString(appendFields(dst, c, 1), c.ID), c)
}

func (c *DeleteRealm) readBody(r *reader) {
	r.fieldsOf(c, 1)
	c.ID = r.string()
	r.name(c)
}

func (c *SetLimits) appendBody(dst []byte) []byte {
	dst = c.Limits.append(appendArray(dst, 2))
	if c.If == nil {
		return appendNil(dst)
	}
	return c.If.append(dst)
}

func (c *SetLimits) readBody(r *reader) {
	r.fields(2)
	c.Limits = r.limits()
	if !r.isNil() {
		before := r.limits()
		c.If = &before
	}
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

func (c *Handover) appendBody(dst []byte) []byte { return appendUint(appendArray(dst, 1), c.Term) }

func (c *Handover) readBody(r *reader) {
	r.fields(1)
	*c = Handover{Term: r.uint()}
}

func (c *Pace) appendBody(dst []byte) []byte {
	return appendInt(appendInt(appendArray(dst, 2), int64(c.Touch)), int64(c.Grace))
}

func (c *Pace) readBody(r *reader) {
	r.fields(2)
	*c = Pace{Touch: time.Duration(r.int()), Grace: time.Duration(r.int())}
}
