package gossip

import "encoding/binary"

// packed reads msgpack only to see that it is some, and how deep: the library that memberlist decodes with recurses, and
// makes room for what a length says.
type packed struct{ b []byte }

// onlyStruct wants one structure, and nothing behind it.
func (p *packed) onlyStruct() error {
	if err := p.structure(); err != nil {
		return err
	}
	if len(p.b) > 0 {
		return errContent
	}
	return nil
}

// structure goes behind a map with short names.
func (p *packed) structure() error {
	n, err := p.mapLen()
	if err != nil {
		return err
	}
	for range n {
		if _, err := p.text(); err != nil {
			return err
		}
		if err := p.skip(0); err != nil {
			return err
		}
	}
	return nil
}

// mapLen reads the head of a map of few members.
func (p *packed) mapLen() (int, error) {
	if len(p.b) == 0 || p.b[0] < 0x80 || p.b[0] > 0x8f {
		return 0, errContent
	}
	n := int(p.b[0] & 0x0f)
	p.b = p.b[1:]
	return n, nil
}

// text reads a short string.
func (p *packed) text() (string, error) {
	if len(p.b) == 0 || p.b[0] < 0xa0 || p.b[0] > 0xbf || len(p.b) <= int(p.b[0]&0x1f) {
		return "", errContent
	}
	n := int(p.b[0] & 0x1f)
	s := string(p.b[1 : 1+n])
	p.b = p.b[1+n:]
	return s, nil
}

// uint reads a number that is not negative.
func (p *packed) uint() (uint64, error) {
	if len(p.b) == 0 {
		return 0, errContent
	}
	lead := p.b[0]
	if lead < 0x80 {
		p.b = p.b[1:]
		return uint64(lead), nil
	}
	var signed bool
	switch {
	case lead >= 0xcc && lead <= 0xcf:
	case lead >= 0xd0 && lead <= 0xd3:
		signed = true
	default:
		return 0, errContent
	}
	b, err := p.take(1, 1<<((lead-0xcc)&3))
	if err != nil || signed && b[0] >= 0x80 {
		return 0, errContent
	}
	return bigEndian(b), nil
}

// skip goes behind a value that lies in so many others.
func (p *packed) skip(depth int) error {
	if len(p.b) == 0 || depth > maxDepth {
		return errContent
	}
	lead := p.b[0]
	var err error
	switch {
	case lead < 0x80, lead >= 0xe0, lead == 0xc0, lead == 0xc2, lead == 0xc3: // a small number, nil, false, true
		_, err = p.take(0, 1)
	case lead < 0x90:
		return p.skipMany(1, 2*uint64(lead&0x0f), depth)
	case lead < 0xa0:
		return p.skipMany(1, uint64(lead&0x0f), depth)
	case lead < 0xc0:
		_, err = p.take(1, int(lead&0x1f))
	case lead >= 0xc4 && lead <= 0xc6: // bytes
		err = p.skipLong(1<<(lead-0xc4), 0)
	case lead >= 0xc7 && lead <= 0xc9: // an extension
		err = p.skipLong(1<<(lead-0xc7), 1)
	case lead == 0xca || lead == 0xcb: // a float
		_, err = p.take(1, 4<<(lead-0xca))
	case lead >= 0xcc && lead <= 0xd3: // an integer
		_, err = p.take(1, 1<<((lead-0xcc)&3))
	case lead >= 0xd4 && lead <= 0xd8: // a short extension
		_, err = p.take(1, 1+1<<(lead-0xd4))
	case lead >= 0xd9 && lead <= 0xdb: // a string
		err = p.skipLong(1<<(lead-0xd9), 0)
	case lead >= 0xdc: // a long array or map
		size := 1 + 2<<(lead&1)
		if len(p.b) < size {
			return errContent
		}
		n := bigEndian(p.b[1:size])
		if lead >= 0xde {
			n *= 2
		}
		return p.skipMany(size, n, depth)
	default:
		return errContent
	}
	return err
}

// skipMany goes behind the head of an array or map, and n values in it.
func (p *packed) skipMany(head int, n uint64, depth int) error {
	p.b = p.b[head:]
	if n > uint64(len(p.b)) {
		return errContent
	}
	for range n {
		if err := p.skip(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// skipLong goes behind bytes whose length, in so many bytes, comes first.
func (p *packed) skipLong(size, more int) error {
	if len(p.b) < 1+size {
		return errContent
	}
	n := bigEndian(p.b[1 : 1+size])
	if n > uint64(len(p.b)) {
		return errContent
	}
	_, err := p.take(1+size, int(n)+more)
	return err
}

// take returns n bytes after so many that come before them, and goes behind them.
func (p *packed) take(head, n int) ([]byte, error) {
	if len(p.b) < head+n {
		return nil, errContent
	}
	b := p.b[head : head+n]
	p.b = p.b[head+n:]
	return b, nil
}

// bigEndian is the number that up to eight bytes stand for.
func bigEndian(b []byte) uint64 {
	var full [8]byte
	copy(full[8-len(b):], b)
	return binary.BigEndian.Uint64(full[:])
}
