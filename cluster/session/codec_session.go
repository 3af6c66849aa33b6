package session

import "time"

// Encodings of the commands on sessions. Fields stand in the order of the type; a change of any of them is a new
// version of the kind.

func (*Tick) appendBody(dst []byte) []byte { return appendArray(dst, 0) }
func (*Tick) readBody(r *reader)           { r.fields(0) }

func (*Sweep) appendBody(dst []byte) []byte { return appendArray(dst, 0) }
func (*Sweep) readBody(r *reader)           { r.fields(0) }

func (c *Create) appendBody(dst []byte) []byte {
	dst = appendArray(dst, 19)
	dst = appendKey(dst, c.Key)
	dst = appendString(dst, c.Realm)
	dst = appendString(dst, c.Username)
	dst = appendString(dst, c.UserID)
	dst = appendUint(dst, c.UserRev)
	dst = appendUint(dst, c.RealmRev)
	dst = appendBool(dst, c.AutoCreate)
	dst = appendStrings(dst, c.Roles)
	dst = appendBool(dst, c.FixedRoles)
	dst = appendUint(dst, uint64(c.Surface))
	dst = appendBool(dst, c.CSRFOff)
	dst = appendString(dst, c.Address)
	dst = appendString(dst, c.Agent)
	dst = appendInt(dst, int64(c.Idle))
	dst = appendInt(dst, int64(c.Lifetime))
	dst = appendAttrs(dst, c.Attrs)
	dst = appendOptKey(dst, c.Replaces)
	dst = appendTime(dst, c.NotAfter)
	return appendBool(dst, c.NoAdmin)
}

func (c *Create) readBody(r *reader) {
	r.fields(19)
	*c = Create{
		Key: r.key(), Realm: r.string(), Username: r.string(), UserID: r.string(),
		UserRev: r.uint(), RealmRev: r.uint(), AutoCreate: r.bool(), Roles: r.strings(), FixedRoles: r.bool(),
		Surface: Surface(r.uint8()), CSRFOff: r.bool(), Address: r.string(), Agent: r.string(),
		Idle: time.Duration(r.int()), Lifetime: time.Duration(r.int()), Attrs: r.attrs(),
		Replaces: r.optKey(), NotAfter: r.time(), NoAdmin: r.bool(),
	}
}

func (c *Put) appendBody(dst []byte) []byte {
	dst = appendKey(appendArray(dst, 3), c.Key)
	return appendUint(appendAttrs(dst, c.Attrs), c.IfRev)
}

func (c *Put) readBody(r *reader) {
	r.fields(3)
	*c = Put{Key: r.key(), Attrs: r.attrs(), IfRev: r.uint()}
}

func (c *Delete) appendBody(dst []byte) []byte {
	dst = appendKey(appendArray(dst, 3), c.Key)
	return appendUint(appendStrings(dst, c.Names), c.IfRev)
}

func (c *Delete) readBody(r *reader) {
	r.fields(3)
	*c = Delete{Key: r.key(), Names: r.strings(), IfRev: r.uint()}
}

func (c *Invalidate) appendBody(dst []byte) []byte {
	dst = appendUint(appendKey(appendFields(dst, c, 2), c.Key), uint64(c.Reason))
	return appendName(dst, c)
}

func (c *Invalidate) readBody(r *reader) {
	r.fieldsOf(c, 2)
	*c = Invalidate{Key: r.key(), Reason: Reason(r.uint8())}
	r.name(c)
}

// appendFields begins the fields of a command that may say, after n others, who ends sessions.
func appendFields(dst []byte, c Command, n int) []byte {
	if formOf(c) == namedBy {
		n++
	}
	return appendArray(dst, n)
}

func appendName(dst []byte, c Command) []byte {
	if formOf(c) == namedBy {
		dst = appendString(dst, *nameIn(c))
	}
	return dst
}

func (r *reader) fieldsOf(c Command, n int) {
	if r.form == namedBy {
		n++
	}
	r.fields(n)
}

// name reads who ends sessions. One command has one encoding: the form that has the field is used only where it is set.
func (r *reader) name(c Command) {
	if r.form == namedBy {
		*nameIn(c) = r.string()
		r.expect(formOf(c) == namedBy)
	}
}

// Touch is an array of keys and times in turn, within the array of its one field.
func (c *Touch) appendBody(dst []byte) []byte {
	dst = appendArray(appendArray(dst, 1), 2*len(c.Uses))
	for _, u := range c.Uses {
		dst = appendTime(appendKey(dst, u.Key), u.At)
	}
	return dst
}

func (c *Touch) readBody(r *reader) {
	r.fields(1)
	n := r.array(1)
	if r.expect(n%2 == 0 && n <= 2*MaxTouches); r.bad || n == 0 {
		return
	}
	c.Uses = make([]Use, n/2)
	for i := range c.Uses {
		c.Uses[i] = Use{Key: r.key(), At: r.time()}
	}
}

func (c *Expire) appendBody(dst []byte) []byte {
	dst = appendTime(appendArray(dst, 2), c.Cutoff)
	return appendKeys(dst, c.Keys)
}

func (c *Expire) readBody(r *reader) {
	r.fields(2)
	*c = Expire{Cutoff: r.time(), Keys: r.keys(MaxExpire)}
}

func (c *EndUser) appendBody(dst []byte) []byte {
	if formOf(c) != namedBy {
		return appendString(appendString(appendArray(dst, 2), c.Realm), c.Username)
	}
	dst = appendString(appendString(appendArray(dst, 4), c.Realm), c.Username)
	return appendString(appendUint(dst, uint64(c.Reason)), c.By)
}

func (c *EndUser) readBody(r *reader) {
	if r.form != namedBy {
		r.fields(2)
		*c = EndUser{Realm: r.string(), Username: r.string()}
		return
	}
	r.fields(4)
	*c = EndUser{Realm: r.string(), Username: r.string(), Reason: Reason(r.uint8()), By: r.string()}
	r.expect(formOf(c) == namedBy)
}

func (c *EndAll) appendBody(dst []byte) []byte { return appendString(appendArray(dst, 1), c.By) }

func (c *EndAll) readBody(r *reader) {
	r.fields(1)
	c.By = r.string()
}

func (c *SetRoles) appendBody(dst []byte) []byte {
	return appendStrings(appendString(appendString(appendArray(dst, 3), c.Realm), c.Username), c.Roles)
}

func (c *SetRoles) readBody(r *reader) {
	r.fields(3)
	*c = SetRoles{Realm: r.string(), Username: r.string(), Roles: r.strings()}
}

func appendKeys(dst []byte, keys []Key) []byte {
	dst = appendArray(dst, len(keys))
	for _, k := range keys {
		dst = appendKey(dst, k)
	}
	return dst
}

func (r *reader) keys(limit int) []Key {
	n := r.array(2 + KeySize)
	if r.expect(n <= limit); r.bad || n == 0 {
		return nil
	}
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = r.key()
	}
	return keys
}
