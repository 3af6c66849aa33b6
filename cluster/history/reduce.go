package history

import "slices"

// A search for an order is exponential where it has to guess. This file takes guesses from it, and changes nothing of what
// it finds.

// relevant drops operations of unknown outcome that explain nothing: no answer shows their effect. If there is an order in
// which such a one takes effect, there is one without it.
func relevant(ops []input) []input {
	counted := slices.ContainsFunc(ops, func(in input) bool { return in.op.Answer.Ended != nil })
	return slices.DeleteFunc(slices.Clone(ops), func(in input) bool {
		if in.op.Outcome != Unknown || in.op.Kind == Remove {
			return false
		}
		if counted && in.op.Kind != Put {
			return false
		}
		return !slices.ContainsFunc(ops, func(other input) bool { return explains(in, other) })
	})
}

// explains reports whether the effect of an operation of unknown outcome may be why another one was answered as it was.
func explains(in, other input) bool {
	op, seen := in.op, other.op
	if seen.Outcome == Unknown || seen.Return < op.Call || op.Kind != EndAll && in.n != other.n {
		return false
	}
	switch op.Kind {
	case Create:
		return seen.Outcome == Done || seen.Refusal != NotLive
	case Put:
		return seen.Refusal == Conflict || slices.ContainsFunc(in.attrs, func(a Attr) bool { return slices.Contains(other.attrs, a) })
	default:
		return seen.Refusal == NotLive
	}
}

// version is what a session was from one change to the next. A revision is given once, so it lasts without a gap. The
// revision 0 stands for the session's whole life.
type version struct {
	n   int
	rev uint64
}

// thin drops answers that say nothing new. A version was shown rightly by all reads of it if and only if it had come
// before the first of them was over and was not gone before the last of them began: those two stand for all. So it is
// with the verifications of a session, which lives once. Of the refusals that were asked for after a session's create was
// answered, the first that is over stands for all: its end is final.
func thin(ops []input) []input {
	created := make(map[int]int64) // when it was answered
	for _, in := range ops {
		if in.op.Kind == Create && in.op.Outcome == Done {
			created[in.n] = in.op.Return
		}
	}
	type group struct {
		version
		refused bool
	}
	groupOf := func(in input) (g group, ok bool) {
		g.n = in.n
		switch op := in.op; {
		case op.Kind == Get && op.Outcome == Done && op.Answer.Rev != 0:
			g.rev = op.Answer.Rev
		case op.Kind == Verify && op.Outcome == Done:
		case op.Outcome == Refused && op.Refusal == NotLive && created[in.n] != 0 && op.Call > created[in.n]:
			g.refused = true
		default:
			return g, false
		}
		return g, true
	}
	first, last := make(map[group]input), make(map[group]input) // the one that ended first, the one that began last
	for _, in := range ops {
		g, ok := groupOf(in)
		if !ok {
			continue
		}
		if f, seen := first[g]; !seen || in.op.Return < f.op.Return {
			first[g] = in
		}
		if l, seen := last[g]; !seen || in.op.Call > l.op.Call {
			last[g] = in
		}
	}
	return slices.DeleteFunc(slices.Clone(ops), func(in input) bool {
		g, ok := groupOf(in)
		switch {
		case !ok, first[g].op == in.op, last[g].op == in.op && !g.refused:
			return false
		}
		return slices.Equal(in.attrs, first[g].attrs) || g.refused // else one revision has two contents, which must be seen
	})
}

// facts are what a search knows beforehand. Each makes steps impossible that lead nowhere.
type facts struct {
	certain int             // operations whose outcome is known: only when all of them are placed, the others may be nothing
	reads   map[version]int // those of a version, all of which come before the next change; verifications, before the end
	before  map[uint64]uint64
}

// learn gathers the facts. Changes that were told their revisions come in that order.
func learn(ops []input) *facts {
	f := &facts{reads: make(map[version]int), before: make(map[uint64]uint64)}
	var revs []uint64
	for _, in := range ops {
		op := in.op
		if op.Outcome != Unknown {
			f.certain++
		}
		switch {
		case op.Outcome != Done:
		case op.Kind == Verify:
			f.reads[version{n: in.n}]++
		case op.Answer.Rev == 0:
		case op.Kind == Get:
			f.reads[version{in.n, op.Answer.Rev}]++
		default:
			revs = append(revs, op.Answer.Rev)
		}
	}
	slices.Sort(revs)
	for i := 1; i < len(revs); i++ {
		f.before[revs[i]] = revs[i-1]
	}
	return f
}
