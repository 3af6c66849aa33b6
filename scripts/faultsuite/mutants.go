//go:build linux

package main

import (
	"slices"
	"time"

	"cloakroom/cluster/clustertest/mutant"
)

// bug is a bug on purpose in the running program, and the faults that show it best.
type bug struct {
	name    string
	what    string
	changes []mutant.Mutant
	faults  []string // in this order, again and again
	options func(*options)
}

// fit makes a run's options those that show the bug.
func (b bug) fit(o options) options {
	o.For = mutantFor
	if b.options != nil {
		b.options(&o)
	}
	return o
}

func mutantNamed(name string) (bug, bool) {
	for _, m := range mutants() {
		if m.name == name {
			return m, true
		}
	}
	return bug{}, false
}

// mutants is all bugs, in the order of --list. Bugs of the lease protocol that need a rarer coincidence than real processes
// offer within a minute or two are left to the simulation (cluster/lease/simulation).
func mutants() []bug { return slices.Concat(leaseBugs(), serviceBugs(), idleBugs()) }

// change is one piece of a file and what stands there instead.
func change(file, from, to string) mutant.Mutant {
	return mutant.Mutant{Name: file, File: file, Old: from, New: to}
}

// leaseBugs are in the protocol by which nodes answer from memory, and in how it is wired up.
func leaseBugs() []bug {
	leases := func(o *options) { o.Consistency = "lease" }
	longer := func(o *options) { o.Consistency, o.For = "lease", 2*mutantFor }
	return []bug{
		{
			name: "ack-at-commit", what: "a write is acknowledged when it is applied at the leader, and not everywhere",
			changes: []mutant.Mutant{change("cluster/propose/merger.go", "case !m.stable(ctx, entry.Index):", "case entry.Index == 0:")},
			faults:  []string{"slow-link", "pause-follower"}, options: leases,
		},
		{
			name: "no-tombstones", what: "a session that is gone may be told to be gone before all nodes know",
			changes: []mutant.Mutant{change("cluster/session/lookup.go",
				"if t, ok := m.Tombstone(k); ok {\n\t\treturn t.Mod\n\t}\n\treturn m.store.table.tombs.forgotten", "return 0")},
			faults: []string{"slow-link", "pause-follower"}, options: leases,
		},
		{
			name: "shown-early", what: "a change is shown before all nodes have it",
			changes: []mutant.Mutant{change("cluster/lease/lease.go", "{ return max(mod, l.Floor) <= stable }", "{ return max(mod, l.Floor) <= stable+1<<32 }")},
			faults:  []string{"slow-link", "pause-follower"}, options: leases,
		},
		{
			name: "no-freeze", what: "a new leader does not wait until leases of the last one are over",
			changes: []mutant.Mutant{change("cluster/lease/leader.go", "thaw := m.history.lastOld(term).Add(m.cfg.outlast())", "thaw := m.now")},
			faults:  []string{"isolate-leader", "isolate-pair"},
			// The sooner the next leader comes, the more is left of the last one's lease.
			options: func(o *options) { longer(o); o.Heartbeat = 150 * time.Millisecond },
		},
		{
			name: "from-receipt", what: "a lease is counted from when it arrives",
			changes: []mutant.Mutant{
				change("cluster/lease/member.go", "until := m.cfg.until(g)", "until := m.now.Add(min(g.Remaining, m.cfg.Duration))"),
				// A late answer is not waited for, which would hide the bug.
				change("cluster/lookup/limits.go", "{ return duration / 4 }", "{ return 10 * duration }"),
			},
			faults: []string{"late-link"}, options: longer,
		},
		{
			name: "endless-lease", what: "a lease does not run out",
			changes: []mutant.Mutant{change("cluster/lease/lease.go", "{ return now < l.Until && applied >= l.Min }", "{ return l.Until > 0 && applied >= l.Min }")},
			faults:  []string{"isolate-follower", "isolate-leader"}, options: leases,
		},
		{
			name: "forgotten-lease", what: "a leader does not wait for nodes that hold a lease",
			changes: []mutant.Mutant{change("cluster/lease/leader.go", "\t\tindex = min(index, r.applied)\n", "\t\tindex = max(index, r.applied)\n")},
			faults:  []string{"isolate-follower", "slow-link"}, options: leases,
		},
		{
			name: "quorum-local", what: "a follower takes what it knows to be committed for all that is, at level quorum",
			changes: []mutant.Mutant{change("cluster/lookup/round.go", "\tanswer, err := r.callLeader(ctx, KindReadIndex, nil)\n",
				"\tif index := r.log.CommitIndex(); index > 0 {\n\t\treturn index, nil\n\t}\n\tanswer, err := r.callLeader(ctx, KindReadIndex, nil)\n")},
			faults:  []string{"isolate-follower", "slow-link"},
			options: func(o *options) { o.Consistency = "quorum" },
		},
	}
}

// serviceBugs are in what the store does.
func serviceBugs() []bug {
	const apply, logins = "cluster/session/apply_session.go", "httpapi/access/logins.go"
	calm := []string{"pause-follower"}
	return []bug{
		{
			name: "put-revives", what: "a put that comes after the end of its session brings it back",
			changes: []mutant.Mutant{
				change("cluster/session/store.go", "\tst.endedCount[t.Reason]++\n",
					"\tst.endedCount[t.Reason]++\n\tgraves[t.Key] = grave{st.table.session(r), r.a.realm}\n"),
				change("cluster/session/store.go", "func newStore(all *accounts) store {",
					"type grave struct {\n\ts *Session\n\trs *realmState\n}\n\nvar graves = map[Key]grave{}\n\nfunc newStore(all *accounts) store {"),
				change(apply, "\tr, err := s.usable(k)\n\tif err != nil {\n\t\treturn refuse(err)\n\t}\n\tif ifRev != 0",
					"\tr, err := s.usable(k)\n\tif old, buried := graves[k]; err != nil && buried {\n"+
						"\t\ts.store.insert(old.s, old.rs.account(old.s.Username), s.clock)\n\t\tr, err = s.usable(k)\n\t}\n"+
						"\tif err != nil {\n\t\treturn refuse(err)\n\t}\n\tif ifRev != 0"),
			},
			faults: calm,
		},
		{
			name: "early-logout", what: "a logout is acknowledged before it is in the log",
			changes: []mutant.Mutant{change(logins, "\t_, err := l.state.Do(rc, end)\n\treturn err",
				"\tgo func() { _, _ = l.state.Cluster.Do(l.state.Base, end) }()\n\treturn nil")},
			faults: calm,
		},
		{
			name: "cas-ignored", what: "a put with If-Match does not compare",
			changes: []mutant.Mutant{change(apply, "if ifRev != 0 && ifRev != r.rev {", "if ifRev != 0 && r.rev == 0 {")},
			faults:  calm,
		},
		{
			name: "end-all-misses", what: "the end of all sessions of a user misses the youngest",
			changes: []mutant.Mutant{
				change("cluster/session/store.go", "\ta.end = end.seq\n\ta.await(sw)\n\ta.clear()\n\ta.realm.live -= n\n",
					"\tif n--; n == 0 {\n\t\treturn 0\n\t}\n\tyoungest := a.youngest\n\tsw.keys = sw.keys[:n]\n\tsw.end.seq = st.table.rows.at(youngest).seq - 1\n"+
						"\ta.end = sw.end.seq\n\ta.await(sw)\n\ta.clear()\n\tst.table.rows.append(a, youngest)\n\ta.realm.live -= n\n"),
			},
			faults: calm,
		},
	}
}

// idleBugs are in what is promised about idle sessions. They take the idle timeout to show.
func idleBugs() []bug {
	patient := func(o *options) { o.For = 2 * mutantFor }
	const judge = "cluster/idle/judge.go"
	return []bug{
		{
			name: "expiry-unasked", what: "a session is ended by its replicated last use, though another node knows of a later one",
			changes: []mutant.Mutant{change(judge, "case later.Add(f.idle) > h.now:", "case later.Add(f.idle) > h.now+1<<40:")},
			faults:  []string{"pause-follower"}, options: patient,
		},
		{
			name: "expiry-no-grace", what: "a session is ended although a node that may know of a later use can't be asked",
			changes: []mutant.Mutant{change(judge, "case h.reach <= f.rep:", "case h.reach <= f.rep+1<<40:")},
			faults:  []string{"freeze-follower", "freeze-replica"},
			// With a timeout of 15 s there is no time between the replicated timeout and the true one.
			options: func(o *options) { o.For, o.Idle = 4*mutantFor, 45*time.Second },
		},
		{
			name: "touch-lost", what: "a use that a node has replicated is not in the log",
			changes: []mutant.Mutant{change("cluster/idle/office.go",
				"if err := o.propose(ctx, &session.Touch{Uses: uses}); err != nil {", "if err := error(nil); err != nil {")},
			faults: []string{"kill-follower", "kill-leader", "kill-replica"}, options: patient,
		},
		{
			name: "never-idle", what: "nobody is ended for idleness",
			changes: []mutant.Mutant{change(judge, "case !f.live || f.expires <= h.now:\n\t\treturn ended, 0\n", "case !f.live || f.expires <= h.now:\n\t\treturn ended, 0\n\tcase h.now > 0:\n\t\treturn alive, h.now\n")},
			faults:  []string{"pause-follower"}, options: patient,
		},
	}
}
