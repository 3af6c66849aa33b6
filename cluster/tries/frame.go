package tries

import (
	"bytes"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"cloakroom/cluster/session"
)

// frameVersion is the first byte of every frame of this package. An array of numbers follows, each in its shortest form.
const frameVersion = 1

// The numbers of one try, grant, pardon and piece of news.
const (
	tryFields    = 3
	grantFields  = 2
	pardonFields = 5
	newsFields   = 5
)

func encode(fields ...uint64) []byte {
	var buf bytes.Buffer
	buf.WriteByte(frameVersion)
	e := msgpack.NewEncoder(&buf)
	err := e.EncodeArrayLen(len(fields))
	for _, f := range fields {
		if err == nil {
			err = e.EncodeUint(f)
		}
	}
	if err != nil {
		panic("BUG: a number can't be written to memory: " + err.Error())
	}
	return buf.Bytes()
}

// decode returns the numbers of a frame: first some, and then groups of each some, of which there are at most limit.
func decode(b []byte, first, each, limit int) ([]uint64, error) {
	if len(b) == 0 || b[0] != frameVersion {
		return nil, badFrame("version")
	}
	r := bytes.NewReader(b[1:])
	d := msgpack.NewDecoder(r)
	n, err := d.DecodeArrayLen()
	if err != nil || n < first || (n-first)%each != 0 || (n-first)/each > limit || n > r.Len() {
		return nil, badFrame("an array of %d numbers, %v", n, err)
	}
	fields := make([]uint64, n)
	for i := range fields {
		if fields[i], err = d.DecodeUint64(); err != nil {
			return nil, badFrame("number %d: %v", i, err)
		}
	}
	if r.Len() > 0 {
		return nil, badFrame("bytes left over")
	}
	return fields, nil
}

func badFrame(format string, args ...any) error {
	return fmt.Errorf("decode login tries: %w: %s", session.ErrBadEncoding, fmt.Sprintf(format, args...))
}
