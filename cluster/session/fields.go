package session

// Encodings of the values that commands and records have in common.

func appendKey(dst []byte, k Key) []byte { return appendBytes(dst, k[:]) }

func (r *reader) key() Key {
	b := r.bytes()
	if r.expect(len(b) == KeySize); r.bad {
		return Key{}
	}
	return Key(b)
}

// appendOptKey writes nil for the zero key.
func appendOptKey(dst []byte, k Key) []byte {
	if k.IsZero() {
		return appendNil(dst)
	}
	return appendKey(dst, k)
}

func (r *reader) optKey() Key {
	if r.isNil() {
		return Key{}
	}
	k := r.key()
	r.expect(!k.IsZero())
	return k
}

func appendTime(dst []byte, t Time) []byte { return appendInt(dst, int64(t)) }

func (r *reader) time() Time { return Time(r.int()) }

// appendStrings writes nil for a nil slice, which means something else than an empty one.
func appendStrings(dst []byte, list []string) []byte {
	if list == nil {
		return appendNil(dst)
	}
	dst = appendArray(dst, len(list))
	for _, s := range list {
		dst = appendString(dst, s)
	}
	return dst
}

func (r *reader) strings() []string {
	if r.isNil() {
		return nil
	}
	n := r.array(1)
	if r.bad {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = r.string()
	}
	return list
}

// appendAttrs writes keys and values in turn.
func appendAttrs(dst []byte, attrs []Attr) []byte {
	dst = appendArray(dst, 2*len(attrs))
	for _, a := range attrs {
		dst = appendString(appendString(dst, a.Key), a.Value)
	}
	return dst
}

func (r *reader) attrs() []Attr {
	n := r.array(1)
	if r.expect(n%2 == 0); r.bad || n == 0 {
		return nil
	}
	attrs := make([]Attr, n/2)
	for i := range attrs {
		attrs[i] = Attr{Key: r.string(), Value: r.string()}
	}
	return attrs
}

// blob returns a copy of bytes of which an empty slice means the same as none.
func (r *reader) blob() []byte {
	b := r.bytes()
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b...)
}

// appendMember writes the pin only where the form has a field for it.
func appendMember(dst []byte, m Member, pinned bool) []byte {
	if pinned {
		dst = appendArray(dst, 9)
	} else {
		dst = appendArray(dst, 8)
	}
	dst = appendString(dst, m.ID)
	dst = appendString(dst, m.Name)
	dst = appendString(dst, m.Peer)
	dst = appendString(dst, m.HTTP)
	dst = appendBool(dst, m.ReadReplica)
	dst = appendUint(dst, uint64(m.MinVersion))
	dst = appendUint(dst, uint64(m.MaxVersion))
	dst = appendTime(dst, m.Joined)
	if pinned {
		dst = appendUint(dst, uint64(m.Pin))
	}
	return dst
}

func (r *reader) member(pinned bool) Member {
	if pinned {
		r.fields(9)
	} else {
		r.fields(8)
	}
	m := Member{
		ID: r.string(), Name: r.string(), Peer: r.string(), HTTP: r.string(), ReadReplica: r.bool(),
		MinVersion: r.uint8(), MaxVersion: r.uint8(), Joined: r.time(),
	}
	if pinned {
		m.Pin = Pin(r.uint8())
	}
	return m
}
