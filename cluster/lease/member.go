package lease

// member is what a node knows of those who may grant it a lease.
type member struct {
	want   bool
	leader string    // whom this node follows; "": nobody
	recent [2]string // the last two leaders that it has followed, the latest first
	sent   Time      // when the last report went out
	due    Time      // when the next one is to go
}

// follow notes a new leader, which is told of this node at once.
func (m *Machine) follow(leader string) {
	if leader == m.member.leader {
		return
	}
	m.member.leader = leader
	if leader != "" && leader != m.member.recent[0] {
		m.member.recent = [2]string{leader, m.member.recent[0]}
	}
	m.member.due = m.now
}

// want notes whether this node is to have leases.
func (m *Machine) want(lease bool) {
	if lease == m.member.want {
		return
	}
	m.member.want = lease
	if !lease {
		m.renew()
	}
	m.member.due = m.now
}

// reports says whether this node reports to anybody.
func (m *Machine) reports() bool {
	return !m.restoring && m.office == nil && m.member.leader != "" && m.member.leader != m.cfg.Self
}

// nextReport returns when a report is due.
func (m *Machine) nextReport() Time {
	if !m.reports() {
		return Never
	}
	return m.member.due
}

// report tells the leader where this node stands, if that is due.
func (m *Machine) report() {
	if m.nextReport() > m.now {
		return
	}
	m.member.sent = m.now
	m.member.due = m.now.Add(m.cfg.retry())
	m.send(m.member.leader, Report{
		Boot:    m.lease.Boot,
		Applied: m.applied,
		Stable:  m.stable,
		Sent:    m.now,
		Want:    m.member.want,

		Duration: m.cfg.Duration,
	})
}

// granted takes a leader's answer. What it says of the log is true in any case; a lease counts only for this boot, of
// which nobody has heard yet while the table is being replaced.
func (m *Machine) granted(g Grant) {
	m.learn(g.Stable)
	if g.Boot != m.lease.Boot || g.Echo > m.now {
		return
	}
	until := m.cfg.until(g)
	if g.Remaining > 0 && until > m.now {
		m.hold(g.Term, until, g.Min)
	}
	m.settle(g, until)
}

// until returns when a lease ends that is granted so, on the clock of the member: counted from before the report was
// sent, and so from before the leader read its own clock, which may have gone on by a part of a nanosecond since.
func (c Config) until(g Grant) Time {
	return g.Echo.Add(c.slower(min(g.Remaining, c.Duration)) - c.Margin - 1)
}

// hold takes a lease. What the same leader has granted already stays true, and so does what it has demanded with it. One
// of a newer leader stands alone. One of an older leader is not needed.
func (m *Machine) hold(term uint64, until Time, least uint64) {
	l := &m.lease
	switch {
	case term > l.Term:
		l.Term, l.Until, l.Min = term, until, least
	case term == l.Term:
		l.Until, l.Min = max(l.Until, until), max(l.Min, least)
	}
}

// settle slows the reports down when the last one has brought what it should.
func (m *Machine) settle(g Grant, until Time) {
	next := m.member.sent.Add(m.cfg.rest())
	if g.From == m.member.leader && g.Echo >= m.member.sent && (until > next || !m.member.want) {
		m.member.due = next
	}
}

// giveBack ends this boot and its lease. Anchors of before are void too, for the clock may have stood still.
func (m *Machine) giveBack() {
	m.renew()
	if m.office != nil {
		m.office.unanchor(m.now)
		m.office.tick = m.now
	}
}

// recalled gives the lease back that a leader asks for. If it is back already, the leader has not heard of that.
func (m *Machine) recalled(r Recall) {
	switch {
	case r.Boot == m.lease.Boot:
		m.renew()
	case r.Boot.before(m.lease.Boot):
		m.send(r.From, Over{Boot: r.Boot})
	}
}

// renew begins a new boot without a lease and tells those who may have granted the old one some. The boot is new before
// anybody hears that the old one is over.
func (m *Machine) renew() {
	over := m.lease.Boot
	m.lease = Lease{Boot: Boot{Process: over.Process, Serial: over.Serial + 1}, Floor: m.lease.Floor}
	m.member.due = min(m.member.due, m.now.Add(m.cfg.retry()))
	for _, leader := range m.member.recent {
		if leader != "" && leader != m.cfg.Self {
			m.send(leader, Over{Boot: over})
		}
	}
}
