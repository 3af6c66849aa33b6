package history

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// life is how far a session's key has come. It only grows.
type life uint8

const (
	never life = iota
	live
	ended
)

// card is what the model holds of one session.
type card struct {
	life  life
	rev   uint64 // open: all that is known is that the revision is higher
	open  bool   // by a change whose revision nobody was told yet
	attrs []Attr // sorted; never changed in place

	shown    int // reads of this version that are placed
	verified int // verifications that are placed
}

// state is that of one user's sessions. It is never changed in place.
type state struct {
	last   uint64 // highest revision so far
	told   uint64 // of the last change that was told its revision
	placed int    // operations of known outcome
	cards  []card // by the sessions' numbers
}

// input is an operation as the model takes it. Its answer is part of it.
type input struct {
	op    *Operation
	n     int    // the session's number
	attrs []Attr // those to set, or those shown, sorted
}

// search is the model of one user's store, and what is known about the history that it is to explain.
type search struct {
	facts    *facts
	sessions int
}

// step says whether an operation, with its answer, is possible in a state, and what the state is then.
func (m search) step(s state, in input) (bool, state) {
	if in.op.Outcome == Unknown {
		return m.attempt(s, in)
	}
	ok, next := m.answered(s, in)
	next.placed++
	return ok, next
}

func (m search) answered(s state, in input) (bool, state) {
	op := in.op
	if op.Kind == EndAll {
		ok, next, n := m.endAll(s)
		return ok && (op.Answer.Ended == nil || *op.Answer.Ended == n), next
	}
	c := s.cards[in.n]
	if op.Outcome == Refused {
		return refused(op, c), s
	}
	switch op.Kind {
	case Create:
		return c.life == never && m.follows(s, op), s.write(in, c)
	case Put, Remove:
		return matches(op, c) && m.shown(in.n, c) && m.follows(s, op), s.write(in, c)
	case Get:
		return s.get(in, c)
	case Verify:
		c.verified++
		return c.life == live, s.with(in.n, c)
	case End:
		return c.life == live && m.over(in.n, c), s.with(in.n, card{life: ended})
	}
	return false, s
}

// attempt is an operation whose answer nobody has seen. It is placed where it has an effect; after everything else it may
// have none.
func (m search) attempt(s state, in input) (bool, state) {
	if s.placed == m.facts.certain {
		return true, s
	}
	op := in.op
	if op.Kind == EndAll {
		ok, next, n := m.endAll(s)
		return ok && n > 0, next
	}
	switch c := s.cards[in.n]; op.Kind {
	case Create:
		return c.life == never, s.write(in, c)
	case Put, Remove:
		return matches(op, c) && m.shown(in.n, c), s.write(in, c)
	case End, expire:
		return c.life == live && m.over(in.n, c), s.with(in.n, card{life: ended})
	}
	return false, s
}

func refused(op *Operation, c card) bool {
	switch op.Refusal {
	case NotLive:
		return c.life != live
	case KeyUsed:
		return c.life != never
	case Conflict:
		return c.life == live && (c.open || c.rev != op.IfRev)
	}
	return false
}

// matches reports whether a session can be changed by an operation.
func matches(op *Operation, c card) bool {
	switch {
	case c.life != live:
		return false
	case op.IfRev == 0:
		return true
	case c.open:
		return op.IfRev > c.rev
	}
	return op.IfRev == c.rev
}

// follows reports whether the revision that a change was told is the next one.
func (m search) follows(s state, op *Operation) bool {
	rev := op.Answer.Rev
	return rev == 0 || rev > s.last && m.facts.before[rev] == s.told
}

// shown reports whether all reads of a version are placed: after the next change none fits any more.
func (m search) shown(n int, c card) bool {
	return c.open || c.shown == m.facts.reads[version{n, c.rev}]
}

// over is the same for all that needs the session to live.
func (m search) over(n int, c card) bool {
	return m.shown(n, c) && c.verified == m.facts.reads[version{n: n}]
}

// get compares what was shown; a revision that nobody was told before is learned.
func (s state) get(in input, c card) (bool, state) {
	rev := in.op.Answer.Rev
	switch {
	case c.life != live || !slices.Equal(c.attrs, in.attrs):
		return false, s
	case rev == 0:
		return true, s
	case c.open && rev > c.rev:
		c.rev, c.open = rev, false
	case c.open || rev != c.rev:
		return false, s
	}
	c.shown++
	next := s.with(in.n, c)
	next.last = max(s.last, rev)
	return true, next
}

// write is what a create, put or removal leaves.
func (s state) write(in input, c card) state {
	op := in.op
	next := card{life: live, rev: s.last, open: true, attrs: c.attrs, verified: c.verified}
	switch {
	case op.Kind == Remove && len(op.Names) == 0:
		next.attrs = nil
	case op.Kind == Remove:
		next.attrs = slices.DeleteFunc(slices.Clone(c.attrs), func(a Attr) bool { return slices.Contains(op.Names, a.Key) })
	case op.Kind == Create:
		next.attrs = in.attrs
	default:
		next.attrs = sorted(slices.Concat(c.attrs, in.attrs))
	}
	rev := op.Answer.Rev
	if rev != 0 {
		next.rev, next.open = rev, false
	}
	after := s.with(in.n, next)
	if rev != 0 {
		after.last, after.told = max(s.last, rev), rev
	}
	return after
}

// endAll ends all sessions, and says how many that are.
func (m search) endAll(s state) (ok bool, next state, n int) {
	next = s
	next.cards = slices.Clone(s.cards)
	for i, c := range s.cards {
		if c.life != live {
			continue
		}
		if !m.over(i, c) {
			return false, s, 0
		}
		next.cards[i] = card{life: ended}
		n++
	}
	return true, next, n
}

// with returns the state with one card replaced.
func (s state) with(n int, c card) state {
	next := s
	next.cards = slices.Clone(s.cards)
	next.cards[n] = c
	return next
}

func (s state) equal(t state) bool {
	return s.last == t.last && s.told == t.told && s.placed == t.placed && slices.EqualFunc(s.cards, t.cards, func(a, b card) bool {
		return a.life == b.life && a.rev == b.rev && a.open == b.open && a.shown == b.shown && a.verified == b.verified && slices.Equal(a.attrs, b.attrs)
	})
}

func (s state) String() string {
	var b strings.Builder
	for i, c := range s.cards {
		if i > 0 {
			b.WriteString(", ")
		}
		switch c.life {
		case never:
			fmt.Fprintf(&b, "#%d –", i)
		case ended:
			fmt.Fprintf(&b, "#%d ended", i)
		case live:
			sign := ""
			if c.open {
				sign = ">"
			}
			fmt.Fprintf(&b, "#%d at %s%d %s", i, sign, c.rev, textOf(c.attrs))
		}
	}
	return b.String()
}

// model is the search as porcupine takes it. The seed is of this process.
func (m search) model(seed maphash.Seed) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{cards: make([]card, m.sessions)} },
		Step: func(s, in, _ any) (bool, any) {
			ok, next := m.step(s.(state), in.(input))
			return ok, next
		},
		Equal: func(a, b any) bool { return a.(state).equal(b.(state)) },
		Hash: func(s any) uint64 {
			st := s.(state)
			h := st.last
			for _, c := range st.cards { // revisions tell most states apart; Equal does the rest
				h = h*31 + maphash.Comparable(seed, [3]uint64{uint64(c.life), c.rev, uint64(len(c.attrs))})
			}
			return h
		},
		DescribeOperation: func(in, _ any) string { return describe(in.(input)) },
		DescribeState:     func(s any) string { return s.(state).String() },
	}
}
