// Package history owns what clients saw of a cluster and the judgement on it: a recorder of operations, the sequential
// model of a session store in which logout is final, and the checks of one against the other. It does not own the
// clients, nor how they reach the cluster: calls in one process and requests over HTTP are recorded alike.
//
// # What is checked
//
// Linearizability, by porcupine, for each user by itself: there is an order of the user's operations that real time allows
// and that one copy of the store, doing them one after another, could have answered so. In that store
//
//   - nothing but a create makes a session, and a key serves once: what has ended, or was refused, never lives again;
//   - a put, a removal and an end need a session that lives; with a revision they need that one. A refusal says as much
//     about the state as an answer: "no such session" needs one that does not live;
//   - end-all ends every session that the user has at that point, all at once;
//   - a get shows what the puts and removals before it have left, no more and no less, and the revision of the last.
//
// Revisions are numbers of the one log, so they order all changes. Within a user that is part of the model (a change has a
// higher revision than all that were linearized before it); over all users it is checked by itself: a change that was
// acknowledged before another began has the lower revision, and no two have the same.
//
// An operation of unknown outcome may take effect at any moment after its begin, once, or never: for the model it has no
// end, and at the end of time its effect is seen by nobody. One that surely was not done is left out.
//
// # Idle timeouts
//
// A session with an idle timeout may end by itself, and the model can't see that happen. So each such session has one
// operation more, that of the environment: an end of unknown outcome, which begins at the earliest moment at which the
// timeout may run out. Once expired, the session does not live any more, so every acknowledged use comes before that
// moment, and it is the latest begin of an acknowledged use plus the timeout. (A use that only one node knows of, which is
// lost right after, is none that must count: see Rules.) A refusal before it is a violation of the
// model: somebody active was logged out. The other side, that nobody idle stays in, is no question of order, and is checked
// by itself: an answer is too late if all uses that may have come before it had returned a timeout, and the grace, before
// it was asked. Uses of unknown outcome may have come at any time, so they switch that second check off for their session.
// An absolute lifetime is treated alike, counted from the create.
package history

import (
	"slices"
	"strings"
	"time"
)

// Kind is what a client asked for.
type Kind uint8

// The kinds of operation.
const (
	Create Kind = iota + 1 // makes the session, with attributes
	Put                    // sets attributes
	Remove                 // removes attributes; no names: all of them
	Get                    // shows attributes, and the revision where the client is told
	Verify                 // shows that a session lives, and nothing more of it
	End                    // ends the session: a logout
	EndAll                 // ends all sessions of the user
	expire                 // by the environment: see the package documentation
)

func (k Kind) String() string {
	names := []string{"", "create", "put", "remove", "get", "verify", "end", "end-all", "expire"}
	if int(k) >= len(names) {
		return "?"
	}
	return names[k]
}

// Outcome is what became of an operation.
type Outcome uint8

// The outcomes.
const (
	Unknown Outcome = iota // it may have taken effect, or will, or not
	Done                   // it took effect, and this is the answer
	Refused                // the store refused it, for a reason that shows the state
	Dropped                // it surely took no effect and showed nothing
)

func (o Outcome) String() string { return []string{"unknown", "done", "refused", "dropped"}[o&3] }

// Refusal is what a refused operation shows of the state.
type Refusal uint8

// The refusals.
const (
	NotLive  Refusal = iota + 1 // there is no such session, or it has ended, also for idleness
	Conflict                    // the session lives, and has another revision
	KeyUsed                     // a session of this key was made before
)

func (r Refusal) String() string { return []string{"", "not live", "conflict", "key used"}[r&3] }

// Attr is one attribute.
type Attr struct{ Key, Value string }

// Operation is what one client asked for, and what it was told.
type Operation struct {
	Client int    // operations of one client do not overlap
	Node   string // whom it asked; for people
	Kind   Kind
	User   string
	Key    string // the session; not for EndAll
	Attrs  []Attr // Create, Put: to be set
	Names  []string
	IfRev  uint64 // Put, Remove: the revision that the session must have; 0: any
	Use    bool   // Get, Verify: counts as a use of the session. Create, Put and Remove always do

	// The session's timeouts, for Create; 0: none that could run out while the history is recorded.
	Idle, Lifetime time.Duration

	Outcome Outcome
	Refusal Refusal
	Answer  Answer

	Call, Return int64         // places in the order of all begins and ends; Return 0: none
	Begun, Ended time.Duration // the same in time; Ended 0 without Return
}

// Answer is what a client was shown by an operation that was done.
type Answer struct {
	Rev   uint64 // the session's revision; 0: not told
	Attrs []Attr // Get: all attributes, in any order
	Ended *int   // EndAll: how many sessions it has ended; nil: not told
}

// History is what a recorder has seen.
type History struct {
	Operations []Operation // in order of their begins
	marks      []time.Duration
}

// sorted returns attributes by key, without touching the argument. Of several with one key the last counts.
func sorted(attrs []Attr) []Attr {
	out := slices.Clone(attrs)
	slices.SortStableFunc(out, func(a, b Attr) int { return strings.Compare(a.Key, b.Key) })
	kept := out[:0]
	for i, a := range out {
		if i+1 == len(out) || out[i+1].Key != a.Key {
			kept = append(kept, a)
		}
	}
	return kept
}

// changes reports whether an operation can change the state.
func (op *Operation) changes() bool { return op.Kind != Get && op.Kind != Verify }

// uses reports whether an operation prolongs its session if it takes effect.
func (op *Operation) uses() bool {
	switch op.Kind {
	case Create, Put, Remove:
		return true
	case Get, Verify:
		return op.Use
	}
	return false
}
