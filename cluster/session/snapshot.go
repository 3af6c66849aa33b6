package session

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
)

// A snapshot is a stream of MessagePack byte strings, each holding one record:
//
//	head       magic, version, log index
//	meta       clock, command number, counters, how many records of each kind follow, …
//	roles, realms, users (by id), members (by id), sweeps (in their order), sessions (by key), tombstones (oldest first)
//	checksum   SHA-256 of all bytes before it
//
// The order is the same on every node, whatever the memory layout. Indexes, accounts and the expiry wheel are not
// written: Restore builds them again.
//
// Version 2 adds the pace to meta and the pin to each member. It is written only of a state that version 1 can't tell
// whole, so that nodes of the older build can read what was made without the newer commands; and one state still has
// one encoding. Version 3 is that of a state in which a command of version 4 was carried out: it adds the limits, the
// reasons since then, and who ended sessions. From then on the sweep of a whole realm may be of one that is still there.
const (
	snapshotMagic  = "cloakroom sessions"
	snapshotV1     = 1
	snapshotV2     = 2
	snapshotV3     = 3
	snapshotBuffer = 64 << 10 // bytes written at a time
)

// Snapshot is the state of a machine at one index. It shares what never changes with the machine, and as long as it is
// neither written nor released, the machine keeps for it what it changes.
type Snapshot struct {
	index uint64
	state state
}

// state is everything that machines which applied the same entries have in common, but for the index.
type state struct {
	clusterID  string
	clock      Time
	seq        uint64
	everUser   bool
	created    uint64
	endedCount [reasonCount]uint64
	roles      []*Role  // by id
	realms     []*Realm // by id
	userCount  int
	users      []*cowShard[string, *User]
	members    []Member
	pace       Pace
	limits     Limits
	modern     bool
	sweeps     fifo[*sweep]
	swept      int
	cursor     Key
	sessions   *walk
	tombs      fifo[Tombstone]
}

// Snapshot captures the state, at a price that does not depend on the number of sessions. It is to be written once, or
// released: until then the machine saves the record of each session that it changes or ends, once. Several may be written
// at the same time.
//
// WriteTo may run beside the machine's further work if reading keeps the machine from changing: the lock that its owner
// reads under. It is held for some hundred sessions at a time. Nil: the machine does not change before all is written.
func (m *Machine) Snapshot(reading Locker) *Snapshot {
	s := &Snapshot{index: m.applied, state: m.state()}
	s.state.users = m.users.freeze()
	s.state.sessions = m.store.table.walk(reading)
	s.state.sweeps = m.store.sweeps.view()
	s.state.tombs = m.store.table.tombs.queue.view()
	return s
}

// Release is for a snapshot that is not to be written, or not any more. It takes the lock that the snapshot was given.
func (s *Snapshot) Release() { s.state.sessions.end() }

// Hash is equal on all machines with the same state. It reads the whole state: for tests and for an operator's
// comparison of nodes. The log index does not count: entries that carry no command may move it.
func (m *Machine) Hash() [32]byte {
	defer runtime.KeepAlive(m)
	w := snapshotWriter{w: io.Discard, sum: sha256.New()}
	st := m.state()
	if err := w.state(&st, st.version()); err != nil {
		panic("BUG: hash of a state: " + err.Error())
	}
	return [32]byte(w.sum.Sum(nil))
}

// state returns the state without a copy of its large parts: good until the next write.
func (m *Machine) state() state {
	st := &m.store
	return state{
		clusterID: m.clusterID, clock: m.clock, seq: m.seq, everUser: m.everUser,
		created: st.created, endedCount: st.endedCount,
		roles:     slices.SortedFunc(maps.Values(m.roles), func(a, b *Role) int { return strings.Compare(a.ID, b.ID) }),
		realms:    slices.SortedFunc(slices.Values(m.Realms()), func(a, b *Realm) int { return strings.Compare(a.ID, b.ID) }),
		userCount: m.users.n, users: m.users.shards,
		members: m.Members(), pace: m.pace, limits: m.limits, modern: m.modern,
		sweeps: st.sweeps, swept: st.swept, cursor: st.cursor,
		sessions: st.table.view(), tombs: st.table.tombs.queue,
	}
}

// version returns the lowest that tells the state whole.
func (st *state) version() uint64 {
	if st.modern {
		return snapshotV3
	}
	if st.pace != (Pace{}) || slices.ContainsFunc(st.members, func(mem Member) bool { return mem.Pin != PinNone }) {
		return snapshotV2
	}
	return snapshotV1
}

// Index returns the log index of the last entry that the snapshot holds.
func (s *Snapshot) Index() uint64 { return s.index }

// WriteTo writes the snapshot, which is worth nothing afterwards. It holds no lock while it writes to w.
func (s *Snapshot) WriteTo(w io.Writer) (int64, error) {
	if s.state.sessions.done {
		panic("BUG: snapshot written twice, or after its release")
	}
	defer runtime.KeepAlive(s.state.sessions)
	defer s.Release()
	sw := snapshotWriter{w: w, sum: sha256.New()}
	version := s.state.version()
	sw.record(head{magic: snapshotMagic, version: version, index: s.index}.append(nil))
	err := sw.state(&s.state, version)
	if err == nil {
		err = sw.checksum()
	}
	if err != nil {
		return sw.n, fmt.Errorf("write snapshot: %w", err)
	}
	return sw.n, nil
}

// snapshotWriter writes records in large pieces and sums them up. After an error it does nothing more.
type snapshotWriter struct {
	w       io.Writer
	sum     hash.Hash
	buf     []byte
	scratch []byte // one record
	n       int64
	err     error
}

func (w *snapshotWriter) state(st *state, version uint64) error {
	w.record(st.appendMeta(w.scratch[:0], version))
	for _, r := range st.roles {
		w.record(r.append(w.scratch[:0]))
	}
	for _, r := range st.realms {
		w.record(r.append(w.scratch[:0]))
	}
	ascend(st.users, 0, "", strings.Compare, func(u *User) bool {
		return w.record(u.append(w.scratch[:0]))
	})
	for _, mem := range st.members {
		w.record(appendMember(w.scratch[:0], mem, version >= snapshotV2))
	}
	swept := st.swept
	st.sweeps.each(func(sw *sweep) bool {
		ok := w.record(sw.append(w.scratch[:0], swept, version))
		swept = 0 // only the oldest is begun
		return ok
	})
	if err := st.sessions.write(w); err != nil {
		return err
	}
	st.tombs.each(func(t Tombstone) bool {
		return w.record(t.append(w.scratch[:0], version))
	})
	return w.flush()
}

// record adds one record, whose bytes become the next scratch.
func (w *snapshotWriter) record(b []byte) bool {
	w.scratch = b
	w.add(b)
	return w.drain() == nil
}

// add takes a copy of one record and writes nothing yet.
func (w *snapshotWriter) add(b []byte) {
	if len(b) > maxRecord {
		panic(fmt.Sprintf("BUG: snapshot record of %d bytes", len(b)))
	}
	w.buf = appendBytes(w.buf, b)
}

// drain writes what was added if there is much of it.
func (w *snapshotWriter) drain() error {
	if len(w.buf) >= snapshotBuffer {
		return w.flush()
	}
	return w.err
}

func (w *snapshotWriter) flush() error {
	w.sum.Write(w.buf) // never fails
	w.write(w.buf)
	w.buf = w.buf[:0]
	return w.err
}

func (w *snapshotWriter) checksum() error {
	w.write(appendBytes(nil, w.sum.Sum(nil)))
	return w.err
}

func (w *snapshotWriter) write(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.w.Write(b)
	w.n += int64(n)
	w.err = err
}
