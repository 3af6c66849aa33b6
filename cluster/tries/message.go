package tries

import (
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// The requests of this package.
const (
	// KindReserve asks the leader to grant tries. Answer: its term, and a word on each.
	KindReserve wire.Kind = 65
	// KindForgive tells the leader of tries that were no failures. Answer: empty.
	KindForgive wire.Kind = 66
)

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func encodeTries(tries []Try) []byte {
	fields := make([]uint64, 0, tryFields*len(tries))
	for _, t := range tries {
		fields = append(fields, uint64(t.User), uint64(t.Address), bit(t.Known))
	}
	return encode(fields...)
}

func decodeTries(b []byte) ([]Try, error) {
	f, err := decode(b, 0, tryFields, MaxBatch)
	if err != nil {
		return nil, err
	}
	tries := make([]Try, 0, len(f)/tryFields)
	for ; len(f) > 0; f = f[tryFields:] {
		t := Try{User: Key(f[0]), Address: Key(f[1]), Known: f[2] == 1}
		if !t.valid() || f[2] > 1 {
			return nil, badFrame("a try with keys %x and %x and a flag of %d", f[0], f[1], f[2])
		}
		tries = append(tries, t)
	}
	return tries, nil
}

func (t Try) valid() bool { return t.User.kind() == kindUser && t.Address.kind() == kindAddress }

// decision is the leader's answer to a batch of tries.
type decision struct {
	term   uint64
	grants []grant
}

func (d decision) encode() []byte {
	fields := []uint64{d.term}
	for _, g := range d.grants {
		fields = append(fields, uint64(g.wait.Milliseconds()), uint64(g.counted))
	}
	return encode(fields...)
}

func decodeDecision(b []byte, want int) (decision, error) {
	f, err := decode(b, 1, grantFields, MaxBatch)
	if err != nil {
		return decision{}, err
	}
	d := decision{term: f[0]}
	for f = f[1:]; len(f) > 0; f = f[grantFields:] {
		if f[0] > uint64(time.Hour.Milliseconds()) || f[1] >= 1<<kinds {
			return decision{}, badFrame("a grant of %d and %d", f[0], f[1])
		}
		d.grants = append(d.grants, grant{wait: time.Duration(f[0]) * time.Millisecond, counted: uint8(f[1])})
	}
	if len(d.grants) != want {
		return decision{}, badFrame("%d answers to %d tries", len(d.grants), want)
	}
	return d, nil
}

func encodePardons(pardons []pardon) []byte {
	fields := make([]uint64, 0, pardonFields*len(pardons))
	for _, p := range pardons {
		fields = append(fields, uint64(p.User), uint64(p.Address), uint64(p.counted), bit(p.proven), p.term)
	}
	return encode(fields...)
}

func decodePardons(b []byte) ([]pardon, error) {
	f, err := decode(b, 0, pardonFields, MaxBatch)
	if err != nil {
		return nil, err
	}
	pardons := make([]pardon, 0, len(f)/pardonFields)
	for ; len(f) > 0; f = f[pardonFields:] {
		p := pardon{Try: Try{User: Key(f[0]), Address: Key(f[1])}, counted: uint8(f[2]), proven: f[3] == 1, term: f[4]}
		if !p.valid() || f[2] >= 1<<kinds || f[3] > 1 {
			return nil, badFrame("a pardon with keys %x and %x, %d and %d", f[0], f[1], f[2], f[3])
		}
		pardons = append(pardons, p)
	}
	return pardons, nil
}

// piece is one counter as it travels, its times counted from that of the frame.
func (c counter) piece(k Key, from session.Time) [newsFields]uint64 {
	return [newsFields]uint64{uint64(k), c.term, c.seq, uint64(max(0, c.empty-from)), uint64(max(0, c.next-from))}
}

// readPiece is the reverse of counter.piece. A counter that was empty stays so.
func readPiece(f []uint64, from session.Time) (Key, counter, error) {
	if longest := uint64(KnownFor.Milliseconds()); f[3] > longest || f[4] > longest {
		return 0, counter{}, badFrame("times of %d and %d", f[3], f[4])
	}
	return Key(f[0]), counter{term: f[1], seq: f[2], empty: from + session.Time(f[3]), next: from + session.Time(f[4])}, nil
}
