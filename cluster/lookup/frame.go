package lookup

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"cloakroom/cluster/lease"
	"cloakroom/cluster/session"
)

// frameVersion is the first byte of every frame of the lease protocol. An array of numbers follows, each in its shortest
// form: so equal messages have equal bytes.
const frameVersion = 1

// maxFields bounds the numbers of a frame.
const maxFields = 8

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

// decode returns the numbers of a frame that has as many as are wanted, and takes exactly what encode makes.
func decode(b []byte, want int) (f [maxFields]uint64, err error) {
	if len(b) == 0 || b[0] != frameVersion {
		return f, badFrame("version")
	}
	r := bytes.NewReader(b[1:])
	d := msgpack.NewDecoder(r)
	if n, err := d.DecodeArrayLen(); err != nil || n != want {
		return f, badFrame("an array of %d fields, %v", n, err)
	}
	for i := range want {
		if f[i], err = d.DecodeUint64(); err != nil {
			return f, badFrame("field %d: %v", i, err)
		}
	}
	if !bytes.Equal(encode(f[:want]...), b) {
		return f, badFrame("not in its shortest form, or bytes left over")
	}
	return f, nil
}

func badFrame(format string, args ...any) error {
	return fmt.Errorf("decode lease message: %w: %s", session.ErrBadEncoding, fmt.Sprintf(format, args...))
}

// moment reads a time, and interval a duration; both travel as what is not negative.
func moment(n uint64) (lease.Time, error) {
	if n > math.MaxInt64 {
		return 0, badFrame("a time out of range")
	}
	return lease.Time(n), nil
}

func interval(n uint64) (time.Duration, error) {
	if n > math.MaxInt64 {
		return 0, badFrame("a duration out of range")
	}
	return time.Duration(n), nil
}

func encodeReport(m lease.Report) []byte {
	want := uint64(0)
	if m.Want {
		want = 1
	}
	return encode(m.Boot.Process, m.Boot.Serial, m.Applied, m.Stable, uint64(m.Sent), want, uint64(m.Duration))
}

func decodeReport(b []byte) (lease.Report, error) {
	f, err := decode(b, 7)
	if err != nil {
		return lease.Report{}, err
	}
	sent, err := moment(f[4])
	if err != nil {
		return lease.Report{}, err
	}
	if f[5] > 1 {
		return lease.Report{}, badFrame("a flag of %d", f[5])
	}
	duration, err := interval(f[6])
	if err != nil {
		return lease.Report{}, err
	}
	return lease.Report{
		Boot: lease.Boot{Process: f[0], Serial: f[1]}, Applied: f[2], Stable: f[3], Sent: sent, Want: f[5] == 1, Duration: duration,
	}, nil
}

func encodeGrant(m lease.Grant) []byte {
	return encode(m.Term, m.Boot.Process, m.Boot.Serial, uint64(m.Remaining), uint64(m.Echo), m.Min, m.Stable)
}

func decodeGrant(b []byte) (lease.Grant, error) {
	f, err := decode(b, 7)
	if err != nil {
		return lease.Grant{}, err
	}
	remaining, err := interval(f[3])
	if err != nil {
		return lease.Grant{}, err
	}
	echo, err := moment(f[4])
	if err != nil {
		return lease.Grant{}, err
	}
	return lease.Grant{
		Term: f[0], Boot: lease.Boot{Process: f[1], Serial: f[2]}, Remaining: remaining, Echo: echo, Min: f[5], Stable: f[6],
	}, nil
}

// encodeBoot is the frame of Over and of Recall.
func encodeBoot(b lease.Boot) []byte { return encode(b.Process, b.Serial) }

func decodeBoot(b []byte) (lease.Boot, error) {
	f, err := decode(b, 2)
	return lease.Boot{Process: f[0], Serial: f[1]}, err
}

func encodeStable(index uint64) []byte { return encode(index) }

func decodeStable(b []byte) (uint64, error) {
	f, err := decode(b, 1)
	return f[0], err
}

// pointAnswer answers KindPoint: an index for one read, and how far the log is stable.
type pointAnswer struct{ index, stable uint64 }

func (a pointAnswer) encode() []byte { return encode(a.index, a.stable) }

func decodePoint(b []byte) (pointAnswer, error) {
	f, err := decode(b, 2)
	return pointAnswer{index: f[0], stable: f[1]}, err
}
