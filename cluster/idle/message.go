package idle

import (
	"encoding/binary"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// The requests of this package, besides those of the clock. Every body begins with a version byte.
const (
	// KindTouch brings the leader uses to replicate. Answer, when they are: the index to wait for. Before that ErrOnBoard,
	// if it takes longer than BoardHold: ask again.
	KindTouch wire.Kind = 50
	// KindAsk asks a node which uses it knows of. Only the leader asks.
	KindAsk wire.Kind = 51
	// KindGrey asks the leader whether sessions are over. Answer: a verdict for each, and the index to wait for.
	KindGrey wire.Kind = 52
)

const messageVersion = 1

// How the leader stands to uses that are not in the log yet. Both tell that it knows of them, or can ask for them.
var (
	ErrOnBoard   = &session.Error{Code: "touch-on-board", Message: "the leader has these last uses, the log will have them in their turn"}
	ErrBoardFull = &session.Error{Code: "touch-board-full", Message: "the leader has no room for these last uses at the moment: keep them"}
)

// touchRequest is KindTouch: the version, the backlog in 4 bytes, then key and time of each use.
type touchRequest struct {
	backlog uint32 // uses that wait at this node for their turn
	uses    []session.Use
}

const useSize = session.KeySize + 8

func (q touchRequest) encode() []byte {
	b := make([]byte, 0, 5+useSize*len(q.uses))
	b = binary.BigEndian.AppendUint32(append(b, messageVersion), q.backlog)
	for _, u := range q.uses {
		b = binary.BigEndian.AppendUint64(append(b, u.Key[:]...), uint64(u.At))
	}
	return b
}

func decodeTouch(b []byte) (touchRequest, error) {
	r := reader{b: b}
	r.version()
	q := touchRequest{backlog: r.uint32()}
	q.uses = make([]session.Use, r.count(useSize, session.MaxTouches))
	for i := range q.uses {
		q.uses[i] = session.Use{Key: r.key(), At: r.time()}
	}
	return q, r.end()
}

// indexAnswer answers KindTouch: the version, then the index in 8 bytes.
type indexAnswer struct{ index uint64 }

func (a indexAnswer) encode() []byte {
	return binary.BigEndian.AppendUint64([]byte{messageVersion}, a.index)
}

func decodeIndex(b []byte) (indexAnswer, error) {
	r := reader{b: b}
	r.version()
	a := indexAnswer{index: r.uint64()}
	return a, r.end()
}

// askRequest is KindAsk: the version, the leader's time in 8 bytes, then the keys.
type askRequest struct {
	now  session.Time
	keys []session.Key
}

func (q askRequest) encode() []byte {
	b := make([]byte, 0, 9+session.KeySize*len(q.keys))
	b = binary.BigEndian.AppendUint64(append(b, messageVersion), uint64(q.now))
	for _, k := range q.keys {
		b = append(b, k[:]...)
	}
	return b
}

func decodeAsk(b []byte) (askRequest, error) {
	r := reader{b: b}
	r.version()
	q := askRequest{now: r.time()}
	q.keys = make([]session.Key, r.count(session.KeySize, MaxAsk))
	for i := range q.keys {
		q.keys[i] = r.key()
	}
	return q, r.end()
}

// askAnswer answers KindAsk: the version, since when nothing was forgotten in 8 bytes, then for each key the latest
// use, 0 for none.
type askAnswer struct {
	since session.Time
	later []session.Time
}

func (a askAnswer) encode() []byte {
	b := make([]byte, 0, 9+8*len(a.later))
	b = binary.BigEndian.AppendUint64(append(b, messageVersion), uint64(a.since))
	for _, t := range a.later {
		b = binary.BigEndian.AppendUint64(b, uint64(t))
	}
	return b
}

func decodeAnswer(b []byte) (askAnswer, error) {
	r := reader{b: b}
	r.version()
	a := askAnswer{since: r.time()}
	a.later = make([]session.Time, r.count(8, MaxAsk))
	for i := range a.later {
		a.later[i] = r.time()
	}
	return a, r.end()
}

// query is a session that a lookup has found to be over, as far as its node knows.
type query struct {
	key session.Key
	use bool // the lookup counts as a use
}

// greyRequest is KindGrey: the version, then for each session its key and a byte of flags.
type greyRequest struct{ queries []query }

const flagUse = 1

func (q greyRequest) encode() []byte {
	b := append(make([]byte, 0, 1+(session.KeySize+1)*len(q.queries)), messageVersion)
	for _, x := range q.queries {
		flags := byte(0)
		if x.use {
			flags |= flagUse
		}
		b = append(append(b, x.key[:]...), flags)
	}
	return b
}

func decodeGrey(b []byte) (greyRequest, error) {
	r := reader{b: b}
	r.version()
	q := greyRequest{queries: make([]query, r.count(session.KeySize+1, MaxAsk))}
	for i := range q.queries {
		q.queries[i].key = r.key()
		flags := r.byte()
		q.queries[i].use = flags == flagUse
		r.expect(flags <= flagUse)
	}
	return q, r.end()
}

// verdict is what a question about a session has come to. The numbers are sent between nodes.
type verdict uint8

const (
	ended     verdict = 1 // it is over, and an entry says so; or there is none
	alive     verdict = 2 // it was used later than its replicated last use said
	undecided verdict = 3 // nobody knows of a later use, but not everybody could be asked: it is accepted for the time being
	unsettled verdict = 4 // the same, but too late to accept it, and this leader too new to end it: ask again
)

// greyAnswer answers KindGrey: the version, the index in 8 bytes, then a verdict for each session.
type greyAnswer struct {
	index    uint64
	verdicts []verdict
}

func (a greyAnswer) encode() []byte {
	b := make([]byte, 0, 9+len(a.verdicts))
	b = binary.BigEndian.AppendUint64(append(b, messageVersion), a.index)
	for _, v := range a.verdicts {
		b = append(b, byte(v))
	}
	return b
}

func decodeVerdicts(b []byte) (greyAnswer, error) {
	r := reader{b: b}
	r.version()
	a := greyAnswer{index: r.uint64()}
	a.verdicts = make([]verdict, r.count(1, MaxAsk))
	for i := range a.verdicts {
		a.verdicts[i] = verdict(r.byte())
		r.expect(a.verdicts[i] >= ended && a.verdicts[i] <= unsettled)
	}
	return a, r.end()
}

// reader takes fields from the front of a body. After the first that is not there it returns zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) expect(ok bool) { r.bad = r.bad || !ok }

func (r *reader) take(n int) []byte {
	if r.expect(len(r.b) >= n); r.bad {
		return make([]byte, n)
	}
	field := r.b[:n]
	r.b = r.b[n:]
	return field
}

func (r *reader) version() { r.expect(r.byte() == messageVersion) }

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }

func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *reader) key() session.Key { return session.Key(r.take(session.KeySize)) }

func (r *reader) time() session.Time {
	t := session.Time(r.uint64())
	r.expect(t >= 0 && t <= session.MaxTime)
	return t
}

// count returns how many fields of a size the rest holds, which must be at most limit and fill it.
func (r *reader) count(size, limit int) int {
	n := len(r.b) / size
	if r.expect(len(r.b)%size == 0 && n <= limit); r.bad {
		return 0
	}
	return n
}

func (r *reader) end() error {
	if r.bad || len(r.b) > 0 {
		return session.ErrBadEncoding
	}
	return nil
}
