package history

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// ErrViolation is in the error of a report that has any violation, ErrUndecided in that of one with users whose history
// could not be judged in time.
var (
	ErrViolation = errors.New("no correct store could have answered so")
	ErrUndecided = errors.New("not judged in time")
)

// Rules are what the store promises about timeouts.
type Rules struct {
	Early time.Duration // a session may end so much before its timeout: the error of cluster time
	Late  time.Duration // and be accepted so long after it: what may be forgiven where a node that knew of uses is lost
	// Firm says whether a lookup that counts as a use surely counts: a node that is lost, or cut off, right after it may
	// have told nobody. Nil: all do. Changes always count.
	Firm  func(op *Operation) bool
	Limit time.Duration // for the search of one user's order; 0: the default
}

// Report is what a check found.
type Report struct {
	Operations                      int
	Done, Refused, Unknown, Dropped int
	Users                           int
	Largest                         int           // operations of one user
	Slowest                         time.Duration // search of one user's order
	Violations                      []Violation   // the first few
	More                            int           // violations that are not told
	Undecided                       []string      // users whose history was not judged in time
}

// Violation is one thing that no correct store does.
type Violation struct {
	User string
	What string
	Text string // the user's operations, for people

	model porcupine.Model
	info  *porcupine.LinearizationInfo
}

// Visualize writes an HTML page that shows the operations and how far an order was found. Only violations of the model
// have one; false: this one has none.
func (v Violation) Visualize(w io.Writer) (bool, error) {
	if v.info == nil {
		return false, nil
	}
	return true, porcupine.Visualize(v.model, *v.info, w)
}

// Err is nil if everything was judged and nothing was wrong.
func (r *Report) Err() error {
	var errs []error
	if len(r.Violations) > 0 {
		var b strings.Builder
		for _, v := range r.Violations {
			fmt.Fprintf(&b, "\nuser %s: %s\n%s", v.User, v.What, v.Text)
		}
		errs = append(errs, fmt.Errorf("%w: %d times%s", ErrViolation, len(r.Violations)+r.More, b.String()))
	}
	if len(r.Undecided) > 0 {
		errs = append(errs, fmt.Errorf("%w: %s", ErrUndecided, strings.Join(r.Undecided, " ")))
	}
	return errors.Join(errs...)
}

func (r *Report) String() string {
	return fmt.Sprintf("%d operations (%d done, %d refused, %d unknown, %d dropped) of %d users, at most %d each, slowest search %v: %d violations, %d undecided",
		r.Operations, r.Done, r.Refused, r.Unknown, r.Dropped, r.Users, r.Largest, r.Slowest.Round(time.Millisecond), len(r.Violations)+r.More, len(r.Undecided))
}

func (r *Report) add(v Violation) {
	if len(r.Violations) == maxViolations {
		r.More++
		return
	}
	r.Violations = append(r.Violations, v)
}

// Check judges a history. It takes real time: in a bubble of fake time nothing would end a search that takes too long.
func Check(h *History, rules Rules) *Report {
	r := &Report{Operations: len(h.Operations)}
	byUser := make(map[string][]*Operation)
	for i := range h.Operations {
		op := &h.Operations[i]
		r.count(op.Outcome)
		byUser[op.User] = append(byUser[op.User], op)
	}
	r.Users = len(byUser)
	seed := maphash.MakeSeed()
	for _, user := range slices.Sorted(maps.Keys(byUser)) {
		p := newPartition(user, byUser[user])
		r.Largest = max(r.Largest, len(p.ops))
		p.checkLate(r, rules)
		p.addExpiries(h, rules)
		p.check(r, cmp.Or(rules.Limit, checkTime), seed)
	}
	checkRevisions(r, h)
	return r
}

func (r *Report) count(o Outcome) {
	switch o {
	case Done:
		r.Done++
	case Refused:
		r.Refused++
	case Unknown:
		r.Unknown++
	case Dropped:
		r.Dropped++
	}
}

// partition is one user's part of a history.
type partition struct {
	user   string
	ops    []*Operation
	number map[string]int // of each session
}

func newPartition(user string, ops []*Operation) *partition {
	p := &partition{user: user, ops: ops, number: make(map[string]int)}
	for _, op := range ops {
		if _, known := p.number[op.Key]; !known && op.Kind != EndAll {
			p.number[op.Key] = len(p.number)
		}
	}
	return p
}

// of returns the operations on one session, in order of their begins.
func (p *partition) of(key string) []*Operation {
	return slices.DeleteFunc(slices.Clone(p.ops), func(op *Operation) bool { return op.Kind == EndAll || op.Key != key })
}

// check looks for an order.
func (p *partition) check(r *Report, limit time.Duration, seed maphash.Seed) {
	begun := time.Now()
	inputs := thin(relevant(p.inputs()))
	var ops []porcupine.Operation
	for _, in := range inputs {
		end := int64(math.MaxInt64)
		if in.op.Outcome != Unknown {
			end = in.op.Return
		}
		ops = append(ops, porcupine.Operation{ClientId: max(in.op.Client, 0), Input: in, Call: in.op.Call, Return: end})
	}
	m := search{learn(inputs), len(p.number)}.model(seed)
	result := porcupine.CheckOperationsTimeout(m, ops, limit)
	r.Slowest = max(r.Slowest, time.Since(begun))
	switch result {
	case porcupine.Ok:
	case porcupine.Illegal:
		_, info := porcupine.CheckOperationsVerbose(m, ops, limit)
		r.add(Violation{User: p.user, What: "its operations have no order", Text: p.text(inputs, longest(info)), model: m, info: &info})
	default:
		r.Undecided = append(r.Undecided, fmt.Sprintf("%s (%d operations)", p.user, len(ops)))
	}
}

// inputs returns what the model is to explain: a read without an answer is nothing to explain.
func (p *partition) inputs() []input {
	var inputs []input
	for _, op := range p.ops {
		if op.Outcome == Dropped || op.Outcome == Unknown && !op.changes() {
			continue
		}
		in := input{op: op, n: p.number[op.Key], attrs: sorted(op.Attrs)}
		if op.Kind == Get {
			in.attrs = sorted(op.Answer.Attrs)
		}
		inputs = append(inputs, in)
	}
	return inputs
}

// longest returns the operations of the longest order that was found, in that order.
func longest(info porcupine.LinearizationInfo) []*Operation {
	var best []porcupine.Operation
	for _, partials := range info.PartialLinearizationsOperations() {
		for _, order := range partials {
			if len(order) > len(best) {
				best = order
			}
		}
	}
	var ops []*Operation
	for _, o := range best {
		ops = append(ops, o.Input.(input).op)
	}
	return ops
}

// checkRevisions compares the order of all changes with real time.
func checkRevisions(r *Report, h *History) {
	type moment struct {
		at int64
		op *Operation
	}
	var moments []moment
	for i := range h.Operations {
		op := &h.Operations[i]
		if op.Outcome == Done && op.Answer.Rev != 0 {
			moments = append(moments, moment{op.Call, op}, moment{op.Return, op})
		}
	}
	slices.SortFunc(moments, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	var highest *Operation                   // of those that are over
	floor := make(map[*Operation]*Operation) // at their begin
	byRev := make(map[uint64]*Operation)
	for _, m := range moments {
		op := m.op
		if m.at == op.Call {
			floor[op] = highest
			continue
		}
		if op.changes() {
			if low := floor[op]; low != nil && low.Answer.Rev >= op.Answer.Rev {
				r.add(Violation{User: op.User, What: "a revision goes back", Text: lines(low, op)})
			}
			if other := byRev[op.Answer.Rev]; other != nil {
				r.add(Violation{User: op.User, What: "two changes have one revision", Text: lines(other, op)})
			}
			byRev[op.Answer.Rev] = op
		}
		if highest == nil || op.Answer.Rev > highest.Answer.Rev {
			highest = op
		}
	}
}
