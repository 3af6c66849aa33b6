package lease

// hand is how far the handing over of an office is.
type hand struct {
	on      bool // no grants, no proposals
	done    bool // the Handover is applied
	pending bool // a Handover is on its way into the log, or may be
	stale   bool // it belongs to an attempt that was given up
	recall  Time // when to ask again for what is not back
	propose Time // when to propose (again)
}

// handOver begins to hand the office over, if it is fully this node's: while leases of a former leader may be out, a
// new one must not believe that there are none.
func (m *Machine) handOver() {
	o := m.office
	if o == nil || !o.taken || m.now < o.thaw || o.hand.on {
		return
	}
	o.hand.on, o.hand.done = true, false
	o.hand.recall, o.hand.propose = m.now, m.now
	m.drop()
}

// drop ends this node's own lease, which no other one has on record.
func (m *Machine) drop() { m.lease = Lease{Boot: m.lease.Boot, Floor: m.lease.Floor} }

// handStep asks for the leases that are out. When there are none, it says so in the log.
func (m *Machine) handStep() {
	h := &m.office.hand
	switch {
	case !h.on || h.done || h.pending:
	case len(m.office.records) > 0:
		if m.now >= h.recall {
			h.recall = m.now.Add(m.cfg.again())
			m.recallAll()
		}
	case m.now >= h.propose:
		h.pending, h.stale = true, false
		m.office.unanchor(m.now)
		m.propose(HandoverCommand)
	}
}

func (m *Machine) recallAll() {
	for _, r := range m.office.records {
		m.send(r.id, Recall{Boot: r.boot})
	}
}

// handoverCommitted: a new leader that finds the Handover to be the last command will grant and acknowledge at once. So
// from here on only what comes behind it can anchor a lease.
func (m *Machine) handoverCommitted(index uint64) {
	h := &m.office.hand
	m.office.above = max(m.office.above, index)
	m.office.unanchor(m.office.from)
	h.done = h.on && h.pending && !h.stale
	m.settleHand()
}

// handoverFailed: the Handover may be in the log all the same, before anything that is proposed from now on.
func (m *Machine) handoverFailed() {
	m.office.unanchor(m.now)
	m.office.hand.propose = m.now.Add(m.cfg.again())
	m.settleHand()
}

// settleHand notes that no Handover is on its way any more. If the leader goes on, it needs a new anchor.
func (m *Machine) settleHand() {
	m.office.hand.pending, m.office.hand.stale = false, false
	if !m.office.hand.on {
		m.office.tick = m.now
	}
}

// resume goes on with an office that nobody has taken over.
func (m *Machine) resume() {
	o := m.office
	if o == nil || !o.hand.on {
		return
	}
	o.hand.on, o.hand.done, o.hand.stale = false, false, o.hand.pending
	o.tick = m.now
	m.holdOwn()
}

// nextHand returns when a hand-over has something to do, but for leases that run out.
func (m *Machine) nextHand() Time {
	h := &m.office.hand
	switch {
	case !h.on || h.done || h.pending:
		return Never
	case len(m.office.records) > 0:
		return h.recall
	}
	return h.propose
}
