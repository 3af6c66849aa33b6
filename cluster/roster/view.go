package roster

import (
	"slices"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/session"
)

// view is all that the leader decides by. It computes and touches nothing.
type view struct {
	nodes       []node   // raft's latest configuration
	strays      []string // entries of the roster that no server has
	removeAfter time.Duration
}

// node is one server of the configuration.
type node struct {
	id       string
	self     bool // the leader
	voter    bool
	known    bool      // the roster has an entry
	wanted   bool      // it is to vote, by its entry
	barred   bool      // an operator has taken its vote
	live     bool      // it answered the last question
	draining bool      // it is to be left alone
	diskLow  bool      // it has no room for what is new
	applied  uint64    // index that its machine has come to
	steady   time.Time // since when it has kept up; zero: it does not
	dead     time.Time // since when neither gossip nor the stream has found it; zero: one of them has
}

// wantsVote reports whether a member is to vote. An operator's decision goes before what the node asks for.
func wantsVote(m session.Member) bool {
	return m.Pin == session.PinVoter || m.Pin == session.PinNone && !m.ReadReplica
}

// next is what the leader does by itself: the first of these that applies, and one at a time.
//
//	an entry of the roster that no server has    strike it: a removal did not come to its end
//	a voter whose vote an operator has taken     demote it; a leader hands over first
//	a non-voter that is to vote and keeps up     promote it
//	a dead voter                                 remove it while a majority lives, and if MinVoters are left
//	a dead non-voter                             remove it
func (v view) next(now time.Time) change {
	for _, id := range v.strays {
		return change{opForget, id}
	}
	for _, n := range v.nodes {
		if n.voter && n.barred && v.quorumWithout(n) {
			if n.self {
				return change{Op: opTransfer}
			}
			return change{opDemote, n.id}
		}
	}
	for _, n := range v.nodes {
		if !n.voter && n.wanted && lasted(n.steady, now, StabilizeFor) {
			return change{opPromote, n.id}
		}
	}
	for _, n := range v.nodes {
		dead := v.removeAfter > 0 && lasted(n.dead, now, v.removeAfter)
		if dead && !n.self && (!n.voter || v.spares()) {
			return change{opRemove, n.id}
		}
	}
	return change{}
}

// check says why an operator's change is refused; nil: it may be made.
func (v view) check(c change) error {
	n, found := v.node(c.ID)
	switch {
	case c.Op == opTransfer && c.ID == "":
		if to, _ := v.successor(); to == "" {
			return ErrNotTransferred
		}
		return nil
	case !found:
		return ErrMemberNotFound
	}
	switch c.Op {
	case opPromote:
		if !n.known {
			return ErrMemberNotFound
		}
	case opDemote:
		if !n.known {
			return ErrMemberNotFound
		}
		return v.mayLoseVote(n)
	case opRemove:
		return v.mayLoseVote(n)
	case opTransfer:
		switch {
		case !n.voter:
			return consensus.ErrNotVoter
		case !n.live:
			return ErrNotTransferred
		}
	default:
		return session.ErrBadEncoding
	}
	return nil
}

func (v view) mayLoseVote(n node) error {
	switch voters, _ := v.votes(); {
	case !n.voter:
		return nil
	case voters == 1:
		return ErrLastVoter
	case !v.quorumWithout(n):
		return ErrQuorumAtRisk
	}
	return nil
}

// quorumWithout reports whether the live voters are a majority of the configuration without n's vote.
func (v view) quorumWithout(n node) bool {
	voters, live := v.votes()
	if n.live {
		live--
	}
	return live >= majority(voters-1)
}

// spares reports whether the voters can do without a dead one.
func (v view) spares() bool {
	voters, live := v.votes()
	return live >= majority(voters) && voters-1 >= MinVoters
}

// successor returns the voter that is to lead instead of this leader: one that answers and is not to be left alone, with
// room on its disk if any has, and of these the one that has most of the log; "": none. (The library would take one that
// has died.)
func (v view) successor() (id string, room bool) {
	var best node
	for _, n := range v.nodes {
		if !n.voter || !n.live || n.draining || n.self {
			continue
		}
		if best.id == "" || best.diskLow && !n.diskLow || best.diskLow == n.diskLow && n.applied > best.applied {
			best = n
		}
	}
	return best.id, !best.diskLow
}

// votes counts the voters, and those that live.
func (v view) votes() (voters, live int) {
	for _, n := range v.nodes {
		if n.voter {
			voters++
			if n.live {
				live++
			}
		}
	}
	return voters, live
}

// candidates reports whether a live member is about to become a voter.
func (v view) candidates() bool {
	return slices.ContainsFunc(v.nodes, func(n node) bool { return !n.voter && n.wanted && n.live })
}

func (v view) node(id string) (node, bool) {
	i := slices.IndexFunc(v.nodes, func(n node) bool { return n.id == id })
	if i < 0 {
		return node{}, false
	}
	return v.nodes[i], true
}

func majority(voters int) int { return voters/2 + 1 }

func lasted(since, now time.Time, long time.Duration) bool {
	return !since.IsZero() && now.Sub(since) >= long
}
