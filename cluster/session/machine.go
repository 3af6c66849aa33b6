package session

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
)

// Machine is the replicated state. It has no lock: its owner holds one around it, exclusively for Apply, Advance,
// Snapshot and Due, shared for everything else. Records that it returns never change and may be kept.
type Machine struct {
	directory // users, roles, realms

	clusterID string
	clock     Time
	applied   uint64
	seq       uint64 // commands so far
	members   map[string]Member
	pace      Pace
	limits    Limits
	modern    bool // a command of version 4 was carried out, so every node knows that version
	lostAt    Time
	handed    bool // the last command was a Handover that counts. Like lostAt no part of the state: a restored machine does not know
	store     store
}

// New returns the machine that has applied nothing.
func New() *Machine {
	all := newAccounts()
	return &Machine{directory: newDirectory(all), members: make(map[string]Member), store: newStore(all)}
}

// Apply carries out the commands of the log entry at index and returns one Result for each, in order. A command that
// fails changes nothing but the clock and the command number. The entry is not kept, but strings in it are.
func (m *Machine) Apply(index uint64, e *Entry) []Result {
	return m.AppendApply(make([]Result, 0, len(e.Commands)), index, e)
}

// AppendApply is Apply, and appends the results to dst.
func (m *Machine) AppendApply(dst []Result, index uint64, e *Entry) []Result {
	defer runtime.KeepAlive(m)
	if index <= m.applied {
		panic(fmt.Sprintf("BUG: entry %d applied after entry %d", index, m.applied))
	}
	m.clock = max(m.clock, e.Stamp)
	m.store.table.prune(m.clock, m.modern, maxPrune)
	m.store.wheel.advance(m.clock, wheelSteps)
	for _, c := range e.Commands {
		m.seq++
		modern := m.modern
		m.modern = modern || VersionOf(c) >= 4
		result := step{Machine: m, mod: index}.run(c)
		dst = append(dst, result)
		if result.Err != nil {
			m.modern = modern
		}
		h, ok := c.(*Handover)
		m.handed = ok && h.Term == e.Term
	}
	m.applied = index
	return dst
}

// Modern reports whether a command of version 4 was carried out: from then on the state is one that every node knows how
// to read, whatever of that version is in it.
func (m *Machine) Modern() bool { return m.modern }

// Version returns the lowest version of this package that can read a snapshot of the machine.
func (m *Machine) Version() uint8 {
	st := state{modern: m.modern, pace: m.pace, members: m.Members()}
	return [...]uint8{snapshotV1: 1, snapshotV2: 2, snapshotV3: 4}[st.version()]
}

// OnEnd has fn called with each session that is ended by itself, and not with all others of its user or of all users:
// logged out, expired, evicted, replaced, ended by its handle. It is called within Apply, so it must not block, and must not
// call the machine. It is no part of the state: a restored machine calls nobody.
func (m *Machine) OnEnd(fn func(*Session, Tombstone)) { m.store.onEnd = fn }

// Advance notes that the log has gone on to index without a command: by a configuration entry.
func (m *Machine) Advance(index uint64) { m.applied = max(m.applied, index) }

// Clock returns cluster time as of the last entry.
func (m *Machine) Clock() Time { return m.clock }

// Applied returns the index of the last entry.
func (m *Machine) Applied() uint64 { return m.applied }

// ClusterID returns the cluster's id, "" before Genesis.
func (m *Machine) ClusterID() string { return m.clusterID }

// Members returns the roster in the order of ids.
func (m *Machine) Members() []Member {
	return slices.SortedFunc(maps.Values(m.members), func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
}

// Member returns a node's entry in the roster.
func (m *Machine) Member(id string) (Member, bool) {
	mem, ok := m.members[id]
	return mem, ok
}

// Due returns up to limit sessions for an Expire command: those whose replicated last use plus idle timeout is at or
// before cutoff, and those whose lifetime is over by the machine's clock. Their order is about that of coming due. A
// key is returned again after dueRetry if the session is due still, and at its new deadline when its last use has moved:
// so no harm is done by an Expire that got lost, was refused, or was not proposed yet. However many wait for that, half of
// limit is for sessions not returned before. Due looks at a bounded number of sessions, so that after a leap of the
// clock it may take several calls to return all. A session that an end index has ended may be among them until it is
// swept; an Expire passes it by.
func (m *Machine) Due(cutoff Time, limit int) []Key {
	defer runtime.KeepAlive(m)
	return m.store.wheel.due(min(cutoff, MaxTime), m.clock, limit)
}

// OldestDue returns the deadline, by idle timeout or lifetime, of the session that is due for longest and is still
// there, and false when none is. It costs next to nothing. It sees what the wheel has looked at, so call Due before; and
// after a leap of the clock there may be an older one than the one it returns.
func (m *Machine) OldestDue() (Time, bool) {
	defer runtime.KeepAlive(m)
	return m.store.wheel.oldest()
}

// SweepPending reports whether a Sweep would find something to do.
func (m *Machine) SweepPending() bool { return m.store.sweeps.len() > 0 }

// Slabs returns how many bytes of the sessions are in memory that the collector does not know of.
func (m *Machine) Slabs() int64 { return m.store.table.bytes() }

// SlabsTaken returns how many bytes the slabs have from the system: those of Slabs, and room for more.
func (m *Machine) SlabsTaken() int64 { return m.store.table.mem.bytes }

// Stats returns what the machine holds and has done.
func (m *Machine) Stats() Stats {
	st := &m.store
	s := Stats{
		Sessions:       st.count(),
		ByRealm:        make(map[string]int, len(m.realms)),
		Users:          m.users.n,
		Roles:          len(m.roles),
		Realms:         len(m.realms),
		Tombstones:     st.table.tombs.queue.len(),
		AttributeBytes: st.attrBytes,
		Created:        st.created,
		Ended:          make(map[Reason]uint64, reasonCount),
	}
	for name, rs := range m.realms {
		s.ByRealm[name] = rs.live
	}
	for r, n := range st.endedCount {
		if n > 0 {
			s.Ended[Reason(r)] = n
		}
	}
	return s
}
