package simulation

import "cloakroom/cluster/clustertest/mutant"

// planted is a bug in the machine and the first seed at which it is seen.
type planted struct {
	mutant.Mutant
	seed   uint64
	hidden bool // it breaks the invariant; clients are not known to see that
}

// mutants returns the ways in which the protocol can be got wrong. What each of them would allow is in the package
// documentation of lease; here it is shown to matter.
func mutants() []planted {
	plant := func(seed uint64, file, name, old, replacement string) planted {
		return planted{Mutant: mutant.Mutant{Name: name, File: "cluster/lease/" + file, Old: old, New: replacement}, seed: seed}
	}
	hide := func(seed uint64, file, name, old, replacement string) planted {
		p := plant(seed, file, name, old, replacement)
		p.hidden = true
		return p
	}
	return []planted{
		// A new leader.
		plant(19, "leader.go", "a new leader does not wait",
			"thaw := m.history.lastOld(term).Add(m.cfg.outlast())",
			"thaw := m.now"),
		plant(18, "limits.go", "it waits 0.7 D",
			"return c.faster(c.Duration) + c.Margin + 1",
			"return c.Duration * 7 / 10"),
		plant(5195, "limits.go", "it forgets that clocks differ",
			"return c.faster(c.Duration) + c.Margin + 1",
			"return c.Duration + c.Margin + 1"),
		plant(937, "history.go", "the start of the process does not count",
			"return history{last: now, older: now}",
			"return history{last: -1 << 60, older: -1 << 60}"),
		hide(1352, "history.go", "a snapshot that came does not count",
			"func (h *history) restored(now Time) { h.older = now }",
			"func (h *history) restored(Time) {}"),
		plant(48, "leader.go", "S begins at the first tick",
			"o.taken, o.first = true, c.Index",
			"o.taken, o.first = true, c.Index\n\tm.learn(c.Index)"),
		hide(163, "leader.go", "a grant does not demand the first tick",
			"g.Min = max(m.stable, o.first)",
			"g.Min = m.stable"),
		plant(9859, "serving.go", "nor does a point",
			"return max(m.stable, o.first), true",
			"return m.stable, true"),
		hide(1, "leader.go", "an office does not end",
			"func (m *Machine) leave() { m.office = nil }",
			"func (m *Machine) leave() {}"),
		plant(2606, "machine.go", "one goes on over entries of later terms",
			"if m.office != nil && m.term > m.office.term {",
			"if false {"),
		hide(44127, "machine.go", "one goes on over a restore",
			"func (m *Machine) beginRestore() {\n\tm.leave()\n",
			"func (m *Machine) beginRestore() {\n"),

		// Leases that are out.
		plant(22, "leader.go", "the lease of a silent member is dropped",
			"\t\tindex = min(index, r.applied)\n",
			"\t\tif r.until > m.now.Add(m.cfg.Duration/2) {\n\t\t\tindex = min(index, r.applied)\n\t\t}\n"),
		plant(264, "leader.go", "a removed member's is",
			"\t\tindex = min(index, r.applied)\n",
			"\t\tif m.isMember(r.id) {\n\t\t\tindex = min(index, r.applied)\n\t\t}\n"),
		plant(22, "leader.go", "one that is given back ends those of later boots",
			"return r.id == id && (r.boot == last || r.boot.before(last))",
			"return r.id == id"),
		hide(226, "leader.go", "leases are known by member",
			"return r.id == id && r.boot == boot })",
			"return r.id == id })"),
		plant(1, "leader.go", "a report ends the lease of its own boot",
			"o.end(m.now, r.From, r.Boot.previous())",
			"o.end(m.now, r.From, r.Boot)"),
		plant(1, "leader.go", "the first grant is not recorded",
			"rec = &record{id: r.From, boot: r.Boot, applied: r.Applied}\n\t\to.records = append(o.records, rec)\n",
			"rec = &record{id: r.From, boot: r.Boot, applied: r.Applied}\n\t\to.records = append(o.records, rec)\n\t\treturn\n"),

		// A member.
		plant(82, "lease.go", "a lease counts before the table is as far",
			"return now < l.Until && applied >= l.Min }",
			"return now < l.Until }"),
		plant(1174, "lease.go", "what a snapshot does not tell counts as old",
			"return max(mod, l.Floor) <= stable }",
			"return mod <= stable }"),
		plant(318, "member.go", "a lease is counted from the receipt",
			"\tuntil := m.cfg.until(g)\n\tif",
			"\tg.Echo = m.now\n\tuntil := m.cfg.until(g)\n\tif"),
		plant(765, "member.go", "a member forgets that clocks differ",
			"c.slower(min(g.Remaining, c.Duration))",
			"min(g.Remaining, c.Duration)"),
		plant(30, "member.go", "it takes grants to another boot",
			"if g.Boot != m.lease.Boot || g.Echo",
			"if g.Echo"),
		plant(42, "member.go", "a lease that is given back goes on under the same boot",
			"m.lease = Lease{Boot: Boot{Process: over.Process, Serial: over.Serial + 1}, Floor: m.lease.Floor}",
			"m.lease = Lease{Boot: over, Floor: m.lease.Floor}"),
		plant(66, "machine.go", "a lease is kept over a restore",
			"\tm.leave()\n\tm.renew()\n",
			"\tm.leave()\n"),

		// The leader's own lease, and anchors.
		plant(23, "limits.go", "the leader's own lease ends late",
			"return c.Duration - c.Margin }",
			"return 3 * c.Duration }"),
		plant(57, "serving.go", "a point needs no lease",
			" || !m.lease.Holds(max(now, m.now), m.applied) {",
			" {"),
		plant(10, "leader.go", "anchors of before a hand-over or a give-back stay",
			"\to.anchor, o.from = 0, from\n",
			"\t_ = from\n"),

		// Who may have answered.
		plant(10, "serving.go", "leave to answer one read is forgotten",
			"\t\tm.office.served(id, m.now.Add(m.cfg.Duration))\n",
			"\t\t_ = id\n"),
		plant(8, "serving.go", "what former leaders have allowed is",
			"until = max(o.former, o.ended[id])",
			"until = o.ended[id]"),
		plant(1, "leader.go", "a lease that is over is",
			"\t\to.served(r.id, min(r.until, now))\n",
			""),

		// Handing over.
		plant(756, "handover.go", "a frozen leader hands over",
			"!o.taken || m.now < o.thaw || o.hand.on",
			"!o.taken || o.hand.on"),
		plant(164, "handover.go", "one does before leases are back",
			"\tcase len(m.office.records) > 0:\n\t\tif m.now >= h.recall {",
			"\tcase len(m.office.records) > 0 && m.now < h.recall:\n\t\tif m.now >= h.recall {"),
		plant(1144, "handover.go", "one keeps its own lease",
			"\to.hand.recall, o.hand.propose = m.now, m.now\n\tm.drop()\n",
			"\to.hand.recall, o.hand.propose = m.now, m.now\n"),
	}
}
