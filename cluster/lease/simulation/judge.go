package simulation

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"
)

// versions are the indexes at which what a lookup shows was changed.
type versions struct{ key, owner uint64 }

// judge watches a history and finds what is wrong with it.
type judge struct {
	w       *world
	highest uint64 // the highest index that any leader has found stable
	passed  []passage
	keys    [ownerCount][keysPerOwner]uint64
	owners  [ownerCount]uint64

	invariant, order string // the first things wrong
}

// passage is when an index was found stable.
type passage struct {
	index uint64
	at    micros
}

// shown returns the latest versions that anybody has been shown.
func (j *judge) shown(owner, key int) versions {
	return versions{key: j.keys[owner][key], owner: j.owners[owner]}
}

// onAnswer holds an answer to what had been shown before its operation began.
func (j *judge) onAnswer(op *operation) {
	v := versions{key: op.seen.key, owner: op.seen.owner}
	if (v.key < op.before.key || v.owner < op.before.owner) && j.order == "" {
		j.order = fmt.Sprintf("at %v, %v saw versions %d and %d though %d and %d had been shown before it was called",
			j.w.now.real(), op, v.key, v.owner, op.before.key, op.before.owner)
		j.w.tell("WRONG %s", j.order)
	}
	j.keys[op.owner][op.key] = max(j.keys[op.owner][op.key], v.key)
	j.owners[op.owner] = max(j.owners[op.owner], v.owner)
}

// onStep looks at the leases after a step.
func (j *judge) onStep(n *node, moved, renewed bool) {
	if moved && n.runner.stable > j.highest {
		j.highest = n.runner.stable
		j.passed = append(j.passed, passage{j.highest, j.w.now})
		for _, m := range j.w.nodes {
			if m.up {
				j.onHeld(m, fmt.Sprintf("has a lease when %s finds %d stable", n.id, j.highest))
			}
		}
	} else if renewed {
		j.onHeld(n, "gets a lease")
	}
}

// onHeld looks whether a node with a lease, if it has one, has applied what is stable.
func (j *judge) onHeld(n *node, when string) {
	if n.applied >= j.highest || n.numb || j.invariant != "" || !n.runner.lease.Holds(n.now(), n.applied) {
		return
	}
	j.invariantBroken(n, fmt.Sprintf("%s, having applied %d, though %d is stable", when, n.applied, j.highest))
}

func (j *judge) invariantBroken(n *node, what string) {
	if j.invariant == "" {
		j.invariant = fmt.Sprintf("at %v, %s %s", j.w.now.real(), n.id, what)
		j.w.tell("WRONG %s", j.invariant)
	}
}

// verdict looks for orders of the operations that explain all answers.
func (j *judge) verdict() Outcome {
	w := j.w
	out := Outcome{Seed: w.seed, Versions: j.order, Uses: w.uses.wrong, Invariant: j.invariant}
	var byOwner [ownerCount][]*operation
	for _, op := range w.clients.operations {
		switch {
		case op.kind.reads() && !op.answered:
			w.counts.Unanswered++
			continue
		case op.kind.reads():
		case op.index == 0 && !op.answered:
			continue // it reached no table
		default:
			w.counts.Writes++
			if !op.answered {
				w.counts.Unknown++
			}
		}
		byOwner[op.owner] = append(byOwner[op.owner], op)
	}
	for o, operations := range byOwner {
		switch j.explain(operations) {
		case porcupine.Illegal:
			if out.Order == "" {
				out.Order = fmt.Sprintf("no order explains the answers about owner %d", o)
			}
		case porcupine.Unknown:
			w.counts.Undecided++
		case porcupine.Ok:
		}
	}
	out.Counts = w.counts
	return out
}

// explain looks for an order. Many operations at a time, or some without an answer, which may take effect at any time or
// never, make the search long. So it begins with a guess: that writes took effect when their index was found stable, and
// those without an answer that were never found so, or changed nothing, not at all. An order found so is one. Only when
// there is none does it leave them free.
func (j *judge) explain(operations []*operation) porcupine.CheckResult {
	m := model()
	if porcupine.CheckOperationsTimeout(m, j.history(operations, true), guessTime) == porcupine.Ok {
		return porcupine.Ok
	}
	return porcupine.CheckOperationsTimeout(m, j.history(operations, false), verdictTime)
}

func (j *judge) history(operations []*operation, guess bool) []porcupine.Operation {
	// Between two moments there is room for all that happens at the first: for the writes, in their order.
	const room = 1 << 16
	never := j.w.p.length + 1
	history := make([]porcupine.Operation, 0, len(operations))
	for _, op := range operations {
		returned := op.returned
		if !op.answered {
			returned = never
		}
		from, to := op.called*room, returned*room+room-1
		if guess && op.index > 0 {
			at, stable := j.stableAt(op.index)
			if !op.answered && (!stable || !op.effective) {
				continue
			}
			if stable {
				from = min(max(at, op.called), returned)*room + micros(op.version)
				to = from
			}
		}
		history = append(history, porcupine.Operation{
			ClientId: op.number, Input: op, Call: int64(from), Output: op, Return: int64(to),
		})
	}
	return history
}

// stableAt returns when an index was found stable.
func (j *judge) stableAt(index uint64) (at micros, ok bool) {
	i, _ := slices.BinarySearchFunc(j.passed, index, func(p passage, index uint64) int { return cmp.Compare(p.index, index) })
	if i == len(j.passed) {
		return 0, false
	}
	return j.passed[i].at, true
}

// state is what one owner's records are to clients.
type state struct {
	described int
	keys      [keysPerOwner]int
}

// model is what a single copy of an owner's records would do.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, input, _ any) (bool, any) {
			fits, next := s.(state).step(input.(*operation))
			return fits, next
		},
		Equal: func(a, b any) bool { return a.(state) == b.(state) },
	}
}

// step reports whether the answer to an operation fits, which one without an answer always does.
func (s state) step(op *operation) (fits bool, next state) {
	live := s.keys[op.key] != 0
	switch op.kind {
	case put:
		s.keys[op.key] = op.value
		return !op.answered || op.ok, s
	case update:
		if live {
			s.keys[op.key] = op.value
		}
	case end:
		s.keys[op.key] = 0
	case endAll:
		live = s.keys != [keysPerOwner]int{}
		s.keys = [keysPerOwner]int{}
	case describe:
		s.described = op.value
		return !op.answered || op.ok, s
	default:
		return op.seen.value == s.keys[op.key] && op.seen.described == s.described, s
	}
	return !op.answered || op.ok == live, s
}
