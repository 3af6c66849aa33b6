package simulation

import "cloakroom/cluster/lease"

type role uint8

const (
	follower role = iota
	candidate
	leader
)

const nobody = -1

// raft is a node's part in consensus, abstractly: terms, votes, the log, the commit rule, configurations that count from
// their writing on, snapshots and the transfer of leadership. It holds no leases and knows nothing of them.
type raft struct {
	n *node

	// On disk.
	term     uint64
	votedFor int
	log      replicatedLog
	snapshot *snapshot

	// In memory.
	role         role
	leader       int
	commit       uint64
	electAt      micros
	votes        members
	next, match  [maxNodes]uint64
	heard        [maxNodes]micros // by a leader: when it had the last answer
	transferring bool
}

func newRaft(n *node, c config) raft {
	return raft{n: n, votedFor: nobody, leader: nobody, log: replicatedLog{configs: []configAt{{0, c}}}}
}

// start forgets what is not on disk.
func (r *raft) start() {
	r.role, r.leader, r.commit, r.votes, r.transferring = follower, nobody, 0, 0, false
	if r.snapshot != nil {
		r.commit = r.snapshot.index
	}
	r.expectLeader()
	r.watch()
}

func (r *raft) config() config { return r.log.config() }

// isVoter reports whether this node may vote, as far as it knows.
func (r *raft) isVoter() bool { return r.config().voters.has(r.n.index) }

// expectLeader puts this node's next election off.
func (r *raft) expectLeader() {
	w := r.n.w
	r.electAt = w.now + w.p.election + w.upTo(w.p.election)
}

// watch calls elections when no leader is heard of.
func (r *raft) watch() {
	r.n.later(max(r.electAt-r.n.w.now, millisecond), func() {
		if r.n.w.now >= r.electAt {
			if r.role != leader {
				r.campaign()
			}
			r.expectLeader()
		}
		r.watch()
	})
}

func (r *raft) follow(leader int) {
	if r.leader == leader {
		return
	}
	r.leader = leader
	r.n.runner.leaderChanged()
}

// stepDown makes a follower of this node, in a term that may be new.
func (r *raft) stepDown(term uint64) {
	if term > r.term {
		r.term, r.votedFor = term, nobody
	}
	was := r.role
	r.role = follower
	if was == leader {
		r.transferring = false
		r.follow(nobody)
		r.n.runner.lostOffice()
	}
}

// campaign asks for votes in the next term.
func (r *raft) campaign() {
	n := r.n
	if n.restoring || !r.isVoter() {
		return
	}
	r.stepDown(r.term)
	r.term++
	r.votedFor = n.index
	r.role = candidate
	r.follow(nobody)
	r.votes = 0
	r.votes.add(n.index)
	if r.config().majority(r.votes) {
		r.lead()
		return
	}
	me, term, last, lastTerm := n.index, r.term, r.log.last(), r.log.lastTerm()
	for to := range maxNodes {
		if to != me && r.config().voters.has(to) {
			n.w.network.send(me, to, func(m *node) { m.raft.onVoteRequest(me, term, last, lastTerm) })
		}
	}
}

func (r *raft) onVoteRequest(from int, term, last, lastTerm uint64) {
	if r.n.restoring {
		return
	}
	if term > r.term {
		r.stepDown(term)
	}
	granted := false
	if term == r.term && (r.votedFor == nobody || r.votedFor == from) {
		mine := r.log.lastTerm()
		granted = lastTerm > mine || lastTerm == mine && last >= r.log.last()
	}
	if granted {
		r.votedFor = from
		r.expectLeader()
	}
	me, now := r.n.index, r.term
	r.n.w.network.send(me, from, func(c *node) { c.raft.onVote(me, term, now, granted) })
}

func (r *raft) onVote(from int, asked, term uint64, granted bool) {
	if term > r.term {
		r.stepDown(term)
		return
	}
	if !granted || r.role != candidate || r.term != asked {
		return
	}
	r.votes.add(from)
	if r.config().majority(r.votes) {
		r.lead()
	}
}

// lead begins an office.
func (r *raft) lead() {
	n := r.n
	n.w.counts.Elections++
	r.role = leader
	n.w.uses.latest = max(n.w.uses.latest, r.term)
	r.follow(n.index)
	for i := range r.next {
		r.next[i], r.match[i], r.heard[i] = r.log.last()+1, 0, n.w.now
	}
	if n.w.trace != nil {
		n.tell("leads term %d, log up to %d", r.term, r.log.last())
	}
	n.runner.wonOffice(r.term)
	r.append(entry{kind: noopEntry})
	r.beat(r.term)
}

// beat sends heartbeats while the office lasts.
func (r *raft) beat(term uint64) {
	w := r.n.w
	r.n.later(w.p.election/3, func() {
		if r.role != leader || r.term != term {
			return
		}
		if w.p.attentive && !r.inTouch() {
			r.n.tell("hears from no majority")
			r.stepDown(r.term)
			return
		}
		r.replicate()
		r.beat(term)
	})
}

func (r *raft) inTouch() bool {
	var near members
	near.add(r.n.index)
	for i, at := range r.heard {
		if at+r.n.w.p.election >= r.n.w.now {
			near.add(i)
		}
	}
	return r.config().majority(near)
}

// append writes an entry into this leader's log and sends it.
func (r *raft) append(e entry) uint64 {
	e.term = r.term
	index := r.log.append(e)
	r.n.runner.step(lease.Stored{Term: e.term})
	if e.kind == configEntry {
		r.n.runner.membersChanged()
	}
	r.replicate()
	r.advance()
	return index
}

// advance moves the commit index of a leader over what a majority holds.
func (r *raft) advance() {
	c := r.config()
	if c.voters.has(r.n.index) {
		r.match[r.n.index] = r.log.last()
	}
	before := r.commit
	for i := r.log.last(); i > r.commit; i-- {
		if term, _ := r.log.termAt(i); term != r.term {
			break
		}
		var have members
		for m := range maxNodes {
			if r.match[m] >= i {
				have.add(m)
			}
		}
		if c.majority(have) {
			r.commit = i
			break
		}
	}
	if r.commit == before {
		return
	}
	r.n.applier.kick()
	r.replicate() // tells the commit index
	if r.commit >= r.log.configIndex() && !c.voters.has(r.n.index) {
		r.n.tell("is no voter any more")
		r.stepDown(r.term)
	}
}

// transfer asks a voter to call an election at once.
func (r *raft) transfer(to int) {
	term := r.term
	r.n.w.network.send(r.n.index, to, func(m *node) {
		if m.raft.term == term && m.raft.role == follower {
			m.w.counts.Transfers++
			m.raft.campaign()
		}
	})
}
