package lease

// Office returns what this node knows as leader.
func (m *Machine) Office(now Time) Office {
	o := m.office
	if o == nil {
		return Office{}
	}
	return Office{Term: o.term, Taken: o.taken, Frozen: now < o.thaw, Handing: o.hand.on, Handed: o.hand.done, Mixed: m.mixed()}
}

// Point returns an index for one read on a node that has no lease: whoever has applied it, and shows only what is stable,
// reads no less than what was acknowledged or shown anywhere by now. It answers only while this node, as leader, holds a
// lease of its own, which it has taken its office for and does not have while it hands that over. Pointed is to be stepped
// before another node is told.
func (m *Machine) Point(now Time) (index uint64, ok bool) {
	o := m.office
	if o == nil || m.lease.Term != o.term || !m.lease.Holds(max(now, m.now), m.applied) {
		return 0, false
	}
	return max(m.stable, o.first), true
}

// Serving returns until when the node may answer lookups by what this leader has granted it or a former one may have:
// Serving(id) <= t means that it has answered none at t or later on this node's clock. False: this node does not lead, or is meant itself.
// A lookup counts as answered at its point in time, though a node that was paused may utter it later. Of itself a node has
// no need to ask.
func (m *Machine) Serving(id string, now Time) (until Time, ok bool) {
	o := m.office
	if o == nil || id == m.cfg.Self {
		return 0, false
	}
	until = max(o.former, o.ended[id])
	for _, r := range o.records {
		if r.id == id {
			until = max(until, r.until)
		}
	}
	return until, true
}

// Holders returns how many leases of other nodes have not run out.
func (m *Machine) Holders(now Time) int {
	if m.office == nil {
		return 0
	}
	count := 0
	for _, r := range m.office.records {
		if r.until > now {
			count++
		}
	}
	return count
}

// pointed notes that a node was given leave to answer a read.
func (m *Machine) pointed(id string) {
	if m.office != nil {
		m.office.served(id, m.now.Add(m.cfg.Duration))
	}
}

// served notes until when a node could answer by what is not in the records.
func (o *office) served(id string, until Time) {
	if _, known := o.ended[id]; !known && len(o.ended) >= maxServed {
		for _, other := range o.ended {
			o.former = max(o.former, other)
		}
		clear(o.ended)
	}
	o.ended[id] = max(o.ended[id], until)
}
