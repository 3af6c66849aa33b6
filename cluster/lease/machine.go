package lease

import (
	"fmt"
	"maps"
	"slices"
)

// Machine is one node's part in the protocol. It has no lock.
type Machine struct {
	cfg Config
	now Time // of the last step

	applied   uint64 // effects of the log are visible up to here
	term      uint64 // of the last entry applied
	restoring bool   // the table is being replaced
	stable    uint64 // the highest index known to be stable; S, while this node leads
	history   history
	members   []string // of the latest configuration, sorted

	lease  Lease // carries the boot and the floor without a lease too
	member member
	office *office // nil: this node does not lead

	actions []Action // of the step under way
}

// New returns the part of a node that starts now. Process is a fresh random number. It panics if cfg is not valid.
func New(cfg Config, process uint64, now Time) *Machine {
	if err := cfg.Validate(); err != nil {
		panic("BUG: " + err.Error())
	}
	return &Machine{
		cfg:     cfg,
		now:     now,
		history: started(now),
		lease:   Lease{Boot: Boot{Process: process, Serial: 1}},
		member:  member{want: true},
	}
}

// Step takes an event and returns what is to be done, in order. Now must have been read after the event has come in. One
// that is before that of an earlier step counts as that: the clock has been read there since. The slice is the caller's.
func (m *Machine) Step(now Time, e Event) []Action {
	m.now = max(m.now, now)
	m.take(e)
	m.lead()
	m.report()
	actions := m.actions
	m.actions = nil
	return actions
}

// Next returns when Tick is due if nothing else happens before: always after the last step. Never if nothing is due.
func (m *Machine) Next() Time { return min(m.nextReport(), m.nextDuty()) }

// Lease returns the lease that this node holds, or one without Until.
func (m *Machine) Lease() Lease { return m.lease }

// Stable returns the index up to which this node knows the log to be stable. It never goes back.
func (m *Machine) Stable() uint64 { return m.stable }

// take takes what happens on the node; messages go further.
func (m *Machine) take(e Event) {
	switch e := e.(type) {
	case Stored:
		m.history.stored(m.now, e.Term)
	case Restoring:
		m.beginRestore()
	case Restored:
		m.endRestore(e.Applied)
	case Applied:
		m.apply(e)
	case Follows:
		m.follow(e.Leader)
	case Members:
		m.setMembers(e.IDs)
	case Elected:
		m.enter(e.Term)
	case Deposed:
		m.leave()
	case Committed:
		m.committed(e)
	case Failed:
		m.failed(e.Kind)
	case GiveBack:
		m.giveBack()
	case Want:
		m.want(e.Lease)
	case HandOver:
		m.handOver()
	case Resume:
		m.resume()
	case Pointed:
		m.pointed(e.ID)
	case Tick:
	default:
		m.receive(e)
	}
}

// receive takes what another node has sent.
func (m *Machine) receive(e Event) {
	switch e := e.(type) {
	case Report:
		m.answer(e)
	case Grant:
		m.granted(e)
	case Over:
		m.over(e)
	case Recall:
		m.recalled(e)
	case Stable:
		m.learn(e.Index)
	default:
		panic(fmt.Sprintf("BUG: lease: event of type %T", e))
	}
}

// apply notes how far the table is. An entry of a later term ends the office before S could move over it.
func (m *Machine) apply(a Applied) {
	m.term = max(m.term, a.Term)
	if m.office != nil && m.term > m.office.term {
		m.leave()
	}
	if a.Index <= m.applied {
		return
	}
	m.applied = a.Index
	if m.member.want {
		m.member.due = m.now
	}
}

// beginRestore ends all that rests on the table.
func (m *Machine) beginRestore() {
	m.leave()
	m.renew()
	m.restoring = true
}

// endRestore starts over with the table of a snapshot. It may be an older one.
func (m *Machine) endRestore(applied uint64) {
	if !m.restoring {
		m.beginRestore()
	}
	m.restoring = false
	m.history.restored(m.now)
	m.applied = applied
	m.lease.Floor = applied
	m.member.due = m.now
}

// setMembers takes the ids of the configuration. Who has left it is not asked for an opinion any more.
func (m *Machine) setMembers(ids []string) {
	m.members = slices.Sorted(slices.Values(ids))
	if m.office != nil {
		maps.DeleteFunc(m.office.others, func(id string, _ bool) bool { return !m.isMember(id) })
	}
}

// learn notes what is known to be stable. Such a fact stays true, whoever leads.
func (m *Machine) learn(index uint64) { m.stable = max(m.stable, index) }

// behind returns how far applied is behind this node's.
func (m *Machine) behind(applied uint64) uint64 { return m.applied - min(m.applied, applied) }

func (m *Machine) send(to string, message Event) {
	m.actions = append(m.actions, Send{To: to, Message: message})
}

func (m *Machine) propose(kind CommandKind) {
	m.actions = append(m.actions, Propose{Term: m.office.term, Kind: kind})
}
