package simulation

import "fmt"

// request is what a client wants.
type request uint8

const (
	lookUp         request = iota // a key and its owner's record
	lookUpAtQuorum                // the same, at level quorum
	put                           // gives a key a value
	update                        // does so unless it is ended
	end                           // ends a key
	endAll                        // ends all keys of an owner by one change
	describe                      // changes an owner's record
)

func (q request) String() string {
	return [...]string{"look up", "look up at quorum", "put", "update", "end", "end all", "describe"}[q]
}

func (q request) reads() bool { return q <= lookUpAtQuorum }

// means says how an operation was answered.
type means uint8

const (
	byLease means = iota
	byPoint
	byQuorum
	byLog
)

func (m means) String() string { return [...]string{"lease", "point", "quorum", "log"}[m] }

// operation is a client's request and what came of it.
type operation struct {
	w          *world
	number     int
	kind       request
	owner, key int
	value      int
	at         int    // the node that was asked
	life       uint32 // of that node
	called     micros
	before     versions // the latest that anybody was shown before the call

	index     uint64 // in a log, when applied somewhere; 0: not applied
	version   uint64 // the same, and its place in the entry
	effective bool   // it changed something there
	answered  bool
	returned  micros
	ok        bool
	seen      view
}

func (op *operation) String() string {
	return fmt.Sprintf("op %d %v %d/%d", op.number, op.kind, op.owner, op.key)
}

// finish gives the client its answer, once.
func (op *operation) finish(ok bool, seen view, how means) {
	if op.answered {
		return
	}
	w := op.w
	op.answered, op.ok, op.seen, op.returned = true, ok, seen, w.now
	switch how {
	case byLease:
		w.counts.ByLease++
	case byPoint:
		w.counts.ByPoint++
	case byQuorum:
		w.counts.ByQuorum++
	case byLog:
		w.counts.Acknowledged++
	}
	if w.trace != nil {
		w.nodes[op.at].tell("answers %v, called at %.3f, by %v: ok %v, value %d, owner's %d, versions %d and %d",
			op, float64(op.called)/1000, how, ok, seen.value, seen.described, seen.key, seen.owner)
	}
	w.judge.onAnswer(op)
}

// clients ask any node for anything, each operation being a client of its own.
type clients struct {
	w          *world
	operations []*operation
}

func (c *clients) open() {
	c.w.later(c.w.about(c.w.p.operations), func() {
		c.call(c.w.nodes[c.w.random.IntN(maxNodes)])
		c.open()
	})
}

// call begins an operation at a node. Those that are not members are rarely asked.
func (c *clients) call(n *node) {
	w := c.w
	if !n.up || !n.raft.config().has(n.index) && w.chance(0.7) {
		return
	}
	number := len(c.operations) + 1
	op := &operation{
		w: w, number: number, kind: c.choose(), value: number,
		owner: w.random.IntN(ownerCount), key: w.random.IntN(keysPerOwner),
		at: n.index, life: n.life, called: w.now,
	}
	op.before = w.judge.shown(op.owner, op.key)
	c.operations = append(c.operations, op)
	w.counts.Operations++
	n.later(w.upTo(300), func() { c.serve(n, op) })
}

func (c *clients) choose() request {
	switch f := c.w.random.Float64(); {
	case f < 0.60:
		return lookUp
	case f < 0.66:
		return lookUpAtQuorum
	case f < 0.79:
		return put
	case f < 0.87:
		return update
	case f < 0.95:
		return end
	case f < 0.97:
		return endAll
	default:
		return describe
	}
}

// serve is the node's part.
func (c *clients) serve(n *node, op *operation) {
	l := &lookup{op: op, n: n}
	switch {
	case op.kind == lookUp:
		l.begin()
	case op.kind == lookUpAtQuorum:
		l.ask()
	case n.raft.leader != nobody:
		c.w.network.answer(n.index, n.raft.leader, func(m *node) { m.runner.request(op) })
	}
}
