package lease

import (
	"slices"
	"time"
)

// office is what a leader knows of its term.
type office struct {
	term   uint64
	since  Time   // when this node learnt of its election
	thaw   Time   // from here on no lease of a former leader is out
	taken  bool   // the first tick is applied
	first  uint64 // its index: everything of former terms is below
	quiet  uint64 // index of the latest tick after it: of no record, so nobody waits to hear that just that is stable
	tick   Time   // when a tick is due
	former Time   // from here on nobody answers by leave of a former leader

	anchor Time // read before a command was proposed that was committed in this term; 0: none
	// Commands anchor leases only from here on, that is, after what would have made a new leader trust that there are
	// none, or after a clock that is not to be trusted.
	from  Time
	above uint64

	records []*record       // leases that are out, in the order of their boots' first grants
	newest  map[string]Boot // by member: the boot that its latest process has last told of
	pursuit map[string]goal // by member: what it has to reach to be granted more
	others  map[string]bool // members that have told of another lease duration
	ended   map[string]Time // by node: until when it could answer by what is not in records any more
	hand    hand
}

// goal is how far a leader was at a moment. A member that has not come as far for long gets no more leases, however few
// entries that may be: it may be one whose reports get through and that hears nothing, and writes wait for it.
type goal struct {
	index uint64
	since Time
}

// record is what a leader knows of one boot that it has granted a lease.
type record struct {
	id       string
	boot     Boot
	until    Time   // on the leader's clock, at which the member's ends earlier
	applied  uint64 // the highest that was reported
	recalled bool   // since the last grant
}

// enter begins an office. It is frozen until all leases of former leaders have ended.
func (m *Machine) enter(term uint64) {
	if term < m.term || m.office != nil && term <= m.office.term || m.restoring {
		return
	}
	thaw := m.history.lastOld(term).Add(m.cfg.outlast())
	m.office = &office{
		term:   term,
		since:  m.now,
		thaw:   thaw,
		tick:   m.now,
		former: max(thaw, m.now).Add(m.cfg.outlast()),
		newest: make(map[string]Boot), pursuit: make(map[string]goal), others: make(map[string]bool),
		ended: make(map[string]Time),
	}
}

// leave ends the office. This node's own lease stays: whoever comes next outlasts it as all others.
func (m *Machine) leave() { m.office = nil }

// committed takes the outcome of a proposal. That it was committed in this term proves that at Proposed no later leader
// had been elected.
func (m *Machine) committed(c Committed) {
	o := m.office
	if o == nil || c.Term < o.term {
		return
	}
	if c.Term > o.term {
		m.leave()
		return
	}
	o.tick = max(o.tick, c.Proposed.Add(m.cfg.period()))
	switch c.Kind {
	case TickCommand:
		m.takeOffice(c)
	case HandoverCommand:
		m.handoverCommitted(c.Index)
	}
	if o.anchors(c) {
		o.anchor = max(o.anchor, c.Proposed)
	}
	m.holdOwn()
}

// takeOffice notes the first tick, and of later ones that they are nothing else.
func (m *Machine) takeOffice(c Committed) {
	o := m.office
	if o.taken {
		o.quiet = max(o.quiet, c.Index)
		return
	}
	o.taken, o.first = true, c.Index
	if c.Handed {
		o.thaw = min(o.thaw, m.now)
		o.former = o.since.Add(m.cfg.outlast())
	}
}

// anchors says whether leases may be counted from a command of this term.
func (o *office) anchors(c Committed) bool {
	return c.Proposed >= o.from && c.Index > o.above && !o.hand.pending
}

// unanchor ends the counting from commands that were proposed before.
func (o *office) unanchor(from Time) {
	o.anchor, o.from = 0, from
}

// failed takes it that a proposal did not get into the log, or perhaps did not.
func (m *Machine) failed(kind CommandKind) {
	switch {
	case m.office == nil:
	case kind == HandoverCommand:
		m.handoverFailed()
	case kind == TickCommand:
		m.office.tick = min(m.office.tick, m.now.Add(m.cfg.again()))
	}
}

// holdOwn raises this node's own lease to what the anchor allows.
func (m *Machine) holdOwn() {
	o := m.office
	until := o.anchor.Add(m.cfg.own())
	if o.taken && o.anchor > 0 && !o.hand.on && m.member.want && until > m.now && !m.mixed() {
		m.hold(o.term, until, o.first)
	}
}

// answer answers a member's report. A lease is on record before the member can hear of it, and before S moves again.
func (m *Machine) answer(r Report) {
	m.learn(r.Stable)
	o := m.office
	if o == nil {
		return
	}
	g := Grant{Term: o.term, Boot: r.Boot, Echo: r.Sent}
	m.agree(r)
	current := m.heard(r)
	if current && m.grants(r) {
		until := o.anchor.Add(m.cfg.Duration)
		o.put(r, until)
		g.Remaining = time.Duration(until - m.now)
	}
	m.raise(r.From)
	if g.Remaining > 0 {
		g.Min = max(m.stable, o.first)
	}
	g.Stable = m.stable
	m.send(r.From, g)
}

// heard takes what a report says of boots: how far this one is, and that earlier ones of the same process are over. It
// says whether this one may be alive.
func (m *Machine) heard(r Report) bool {
	o := m.office
	if r.Boot.before(o.newest[r.From]) {
		return false
	}
	o.end(m.now, r.From, r.Boot.previous())
	if m.isMember(r.From) {
		o.newest[r.From] = r.Boot
		if g, known := o.pursuit[r.From]; !known || r.Applied >= g.index {
			o.pursuit[r.From] = goal{index: m.applied, since: m.now}
		}
	}
	if rec := o.find(r.From, r.Boot); rec != nil {
		rec.applied = max(rec.applied, r.Applied)
	}
	return true
}

// grants says whether a boot that has reported so is to have a lease.
func (m *Machine) grants(r Report) bool {
	o := m.office
	return o.taken && !o.hand.on && r.Want &&
		o.anchor > 0 && m.now < o.anchor.Add(m.cfg.window()) &&
		m.isMember(r.From) && !m.lags(r.From, r.Applied) && !m.mixed() &&
		(len(o.records) < maxRecords || o.find(r.From, r.Boot) != nil)
}

// lags reports whether a member is too far behind to have a lease, in entries or in time.
func (m *Machine) lags(id string, applied uint64) bool {
	g := m.office.pursuit[id]
	return m.behind(applied) > m.cfg.MaxLag || applied < g.index && m.now >= g.since.Add(m.cfg.patience())
}

// mixed reports whether a member knows another lease duration than this leader: if it were elected, it might not wait until
// leases of this one have ended. So there are none: the leader gives up its own, grants no more, and asks back what is out.
func (m *Machine) mixed() bool { return len(m.office.others) > 0 }

// agree notes what a member says of the lease duration.
func (m *Machine) agree(r Report) {
	o := m.office
	if !m.isMember(r.From) || r.Duration == 0 || r.Duration == m.cfg.Duration {
		delete(o.others, r.From)
		return
	}
	if !m.mixed() {
		m.renew()
	}
	o.others[r.From] = true
}

// put records a grant.
func (o *office) put(r Report, until Time) {
	rec := o.find(r.From, r.Boot)
	if rec == nil {
		rec = &record{id: r.From, boot: r.Boot, applied: r.Applied}
		o.records = append(o.records, rec)
	}
	rec.until = max(rec.until, until)
	rec.recalled = false
}

func (o *office) find(id string, boot Boot) *record {
	i := slices.IndexFunc(o.records, func(r *record) bool { return r.id == id && r.boot == boot })
	if i < 0 {
		return nil
	}
	return o.records[i]
}

// over takes it that a boot has ended. Reports of it that are still on their way count no more.
func (m *Machine) over(e Over) {
	o := m.office
	if o == nil {
		return
	}
	o.end(m.now, e.From, e.Boot)
	next := Boot{Process: e.Boot.Process, Serial: e.Boot.Serial + 1}
	newest, known := o.newest[e.From]
	if m.isMember(e.From) && (!known || newest.before(next)) {
		o.newest[e.From] = next
	}
}

// end forgets the leases of a boot and of those that it has followed in its process.
func (o *office) end(now Time, id string, last Boot) {
	o.forget(now, func(r *record) bool { return r.id == id && (r.boot == last || r.boot.before(last)) })
}

// lapse forgets the leases that have run out.
func (o *office) lapse(now Time) {
	o.forget(now, func(r *record) bool { return r.until <= now })
}

// forget drops records. What their nodes may have answered stays known.
func (o *office) forget(now Time, drop func(*record) bool) {
	o.records = slices.DeleteFunc(o.records, func(r *record) bool {
		if !drop(r) {
			return false
		}
		o.served(r.id, min(r.until, now))
		return true
	})
}

// raise moves S: to where this node is, and every boot whose lease has not run out. The node that is being answered
// hears of it by that.
func (m *Machine) raise(answered string) {
	o := m.office
	if !o.taken || m.now < o.thaw {
		return
	}
	o.lapse(m.now)
	index, known := m.applied, m.stable
	for _, r := range o.records {
		index = min(index, r.applied)
	}
	if index <= known {
		return
	}
	m.learn(index)
	if index == known+1 && index == o.quiet {
		return
	}
	for i, r := range o.records {
		same := func(other *record) bool { return other.id == r.id }
		if r.id != answered && !slices.ContainsFunc(o.records[:i], same) {
			m.send(r.id, Stable{Index: index})
		}
	}
}

// lead does what is due to be done by a leader.
func (m *Machine) lead() {
	o := m.office
	if o == nil {
		return
	}
	o.lapse(m.now)
	m.raise("")
	m.recallLaggards()
	m.handStep()
	if !o.hand.on && m.now >= o.tick {
		o.tick = m.now.Add(m.cfg.period())
		m.propose(TickCommand)
	}
}

// recallLaggards asks those for their leases who would hold up all writes until they have caught up.
func (m *Machine) recallLaggards() {
	for _, r := range m.office.records {
		if !r.recalled && (m.lags(r.id, r.applied) || m.mixed()) {
			r.recalled = true
			m.send(r.id, Recall{Boot: r.boot})
		}
	}
}

// nextDuty returns when a leader has something to do.
func (m *Machine) nextDuty() Time {
	o := m.office
	if o == nil {
		return Never
	}
	next := m.nextHand()
	if !o.hand.on {
		next = o.tick
	}
	if o.thaw > m.now {
		next = min(next, o.thaw)
	}
	for _, r := range o.records {
		if o.hand.on || r.applied < m.applied {
			next = min(next, r.until)
		}
		if g := o.pursuit[r.id]; !r.recalled && r.applied < g.index {
			next = min(next, g.since.Add(m.cfg.patience()))
		}
	}
	return next
}

func (m *Machine) isMember(id string) bool {
	_, found := slices.BinarySearch(m.members, id)
	return found
}
