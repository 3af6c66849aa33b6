package main

import "fmt"

// goal is a target that was set beforehand: a bound on a figure, or on its ratio to somebody else's in the same round.
type goal struct {
	id       string
	what     string
	scenario string
	figure   string
	ours     string // who
	theirs   string // "": the bound is on the figure itself
	atLeast  bool   // else at most
	every    bool   // every round decides, not the median: what must never fail
	bound    float64
	unit     string // of the bound, for readers
	then     string // a further target, for readers
	sessions int    // for which it was set; 0: any number
}

// goals are the targets. A miss is a finding, not a failure.
func goals() []goal {
	const leader, follower = "verify, leader", "verify, follower"
	return []goal{
		{id: "P1", what: "lookups/s, /auth/verify, to a bare handler", scenario: "lookup", figure: perSecond, ours: leader, theirs: "fasthttp", atLeast: true, bound: 0.92, then: "0.97", sessions: 1e6},
		{id: "P1", what: "lookups/s, GET /api/session, to a bare handler", scenario: "lookup", figure: perSecond, ours: "session, leader", theirs: "fasthttp", atLeast: true, bound: 0.92, then: "0.97", sessions: 1e6},
		{id: "P1", what: "lookups/s, a follower to the leader", scenario: "lookup", figure: perSecond, ours: follower, theirs: leader, atLeast: true, bound: 0.97, sessions: 1e6},
		{id: "P2", what: "lookups/s to redis GET", scenario: "lookup", figure: perSecond, ours: leader, theirs: "redis", atLeast: true, bound: 1, sessions: 1e6},
		{id: "P3", what: "server CPU a lookup, to a bare handler", scenario: "lookup", figure: serverCPU, ours: leader, theirs: "fasthttp", bound: 1.1, then: "1.05", sessions: 1e6},
		{id: "P4", what: "quorum lookups/s to etcd's linearizable get", scenario: "quorum", figure: perSecond, ours: us, theirs: "etcd", atLeast: true, bound: 6, sessions: 1e6},
		{id: "P6", what: "puts/s to etcd put", scenario: "put", figure: perSecond, ours: us, theirs: "etcd", atLeast: true, bound: 3},
		{id: "P7", what: "a lone put, p50, to etcd put", scenario: "lone-put", figure: p50, ours: us, theirs: "etcd", bound: 1},
		{id: "P7", what: "a lone put, p99, to etcd put", scenario: "lone-put", figure: p99, ours: us, theirs: "etcd", bound: 1},
		{id: "P8", what: "bytes resident a session, to a redis hash", scenario: "memory", figure: bytesEach, ours: us, theirs: "redis", bound: 0.8, sessions: 1e6},
		{id: "P9", what: "lookup p99, many sessions to few", scenario: "latency", figure: p99, ours: us, theirs: usFew, bound: 1.5, sessions: 1e7},
		{id: "P9", what: "lookup p99.9, many sessions to few", scenario: "latency", figure: p999, ours: us, theirs: usFew, bound: 1.5, sessions: 1e7},
		{id: "P9", what: "lookup p99 during a snapshot, to without", scenario: "snapshot", figure: p99, ours: whileSnapshot, theirs: quiet, bound: 2, sessions: 1e7},
		{id: "P9", what: "lookup p99.9 during a snapshot, to without", scenario: "snapshot", figure: p999, ours: whileSnapshot, theirs: quiet, bound: 2, sessions: 1e7},
		{id: "P9", what: "lookup p99 during a mass expiry, to before", scenario: "expiry", figure: p99, ours: whileExpiring, theirs: quiet, bound: 2, sessions: 1e6},
		{id: "P9", what: "lookup p99.9 during a mass expiry, to before", scenario: "expiry", figure: p999, ours: whileExpiring, theirs: quiet, bound: 2, sessions: 1e6},
		{id: "P10", what: "leader killed: failed lookups", scenario: "failover", figure: lookupsFailed, ours: us, every: true, bound: 0},
		{id: "P10", what: "leader killed: longest lookup", scenario: "failover", figure: lookupWait, ours: us, bound: 400, unit: "ms"},
		{id: "P10", what: "leader killed: failed lookups of changed sessions", scenario: "failover", figure: changedFailed, ours: us, every: true, bound: 0},
		{id: "P10", what: "leader killed: longest lookup of a changed session", scenario: "failover", figure: changedWait, ours: us, bound: 1100, unit: "ms"},
		{id: "P10", what: "leader killed: gap of writes", scenario: "failover", figure: writeGap, ours: us, bound: 1500, unit: "ms"},
		{id: "P11", what: "bulk verification, tokens/s, to redis MGET", scenario: "bulk", figure: tokensPerSecond, ours: us, theirs: "redis", atLeast: true, bound: 2},
		{id: "P12", what: "restart until it answers under a lease", scenario: "restart", figure: restartSeconds, ours: us, bound: 15, unit: "s", sessions: 1e7},
		{id: "P13", what: "CPU of one node of an idle cluster", scenario: "idle", figure: idleShare, ours: us, bound: 2, unit: "% of a core"},
	}
}

// Outcomes of a goal.
const (
	hit         = "hit"
	miss        = "miss"
	notMeasured = "not measured"
)

// verdict is what came of a goal.
type verdict struct {
	ID      string    `json:"id"`
	What    string    `json:"what"`
	Target  string    `json:"target"`
	Bound   float64   `json:"bound"`
	AtLeast bool      `json:"atLeast"` // else at most
	Outcome string    `json:"outcome"`
	Ratio   bool      `json:"ratio"`  // what is bounded is a ratio
	Values  []float64 `json:"values"` // what is bounded, round by round
	Spread  *spread   `json:"spread"` // of these; nil: not measured
	Figure  string    `json:"figure"` // what Ours and Theirs are
	Ours    *spread   `json:"ours"`   // the figure itself
	Peer    string    `json:"peer"`   // who Theirs are
	Theirs  *spread   `json:"theirs"` // the peer's figure of the same run
	Remark  string    `json:"remark"` // that it was measured otherwise than the target says
}

// judgeGoal compares what was measured with a goal. The median decides, but where every round must hold.
func judgeGoal(g goal, r *report) verdict {
	v := verdict{ID: g.id, What: g.what, Target: g.target(), Bound: g.bound, AtLeast: g.atLeast, Outcome: notMeasured, Figure: g.figure, Peer: g.theirs, Ratio: g.theirs != ""}
	t := r.table(g.scenario)
	if t == nil {
		return v
	}
	ours := t.find(g.ours, g.figure)
	if ours == nil {
		return v
	}
	s := spreadOf(ours)
	v.Ours, v.Values = &s, ours
	if g.theirs != "" {
		theirs := t.find(g.theirs, g.figure)
		v.Values = ratios(ours, theirs)
		if len(v.Values) == 0 {
			return v
		}
		s := spreadOf(theirs)
		v.Theirs = &s
	}
	bounded := spreadOf(v.Values)
	v.Spread = &bounded
	v.Outcome = miss
	least, most := bounded.Median, bounded.Median
	if g.every {
		least, most = bounded.Min, bounded.Max
	}
	if g.atLeast && least >= g.bound || !g.atLeast && most <= g.bound {
		v.Outcome = hit
	}
	if g.sessions > 0 && r.Settings.Sessions < g.sessions {
		v.Remark = fmt.Sprintf("set for %s sessions, measured with %s", thousands(float64(g.sessions)), thousands(float64(r.Settings.Sessions)))
	}
	return v
}

// target prints the bound.
func (g goal) target() string {
	sign := "≤"
	if g.atLeast {
		sign = "≥"
	}
	text := fmt.Sprintf("%s %g", sign, g.bound)
	if g.unit != "" {
		text += " " + g.unit
	}
	if g.then != "" {
		text += ", then " + g.then
	}
	return text
}

// find returns the figure round by round of one who is measured; nil: there is none.
func (t *table) find(who, figure string) []float64 {
	if r := t.row(who, 0); r != nil {
		return r.values(figure)
	}
	return nil
}

// judgeAll judges every goal whose scenario was wanted.
func (r *report) judgeAll(wanted func(scenario string) bool) {
	r.Goals = []verdict{}
	for _, g := range goals() {
		if wanted(g.scenario) {
			r.Goals = append(r.Goals, judgeGoal(g, r))
		}
	}
}
