package history

import (
	"slices"
	"sync"
	"time"
)

// Recorder notes operations as they begin and end. All its methods may be called from many goroutines; each costs a lock
// that is held for some nanoseconds, and nothing waits while it is held.
type Recorder struct {
	clock func() time.Duration

	mu    sync.Mutex
	ops   []*Operation
	marks []time.Duration // of each begin and end, in their order; they never go back
}

// New returns a recorder. The clock tells the time since a moment of its own; it must not go back.
func New(clock func() time.Duration) *Recorder { return &Recorder{clock: clock} }

// Call is an operation that has begun. It ends by one of Done, Refused, Unknown and Dropped; one that does not is of
// unknown outcome.
type Call struct {
	r  *Recorder
	op *Operation
}

// Begin notes an operation, before anything of it is sent.
func (r *Recorder) Begin(op Operation) Call {
	op.Attrs, op.Names = slices.Clone(op.Attrs), slices.Clone(op.Names)
	r.mu.Lock()
	defer r.mu.Unlock()
	op.Call, op.Begun = r.markLocked()
	op.Outcome, op.Return, op.Ended = Unknown, 0, 0
	r.ops = append(r.ops, &op)
	return Call{r, &op}
}

func (r *Recorder) markLocked() (place int64, at time.Duration) {
	at = r.clock()
	r.marks = append(r.marks, at)
	return int64(len(r.marks)), at
}

func (c Call) end(outcome Outcome, refusal Refusal, answer Answer) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.op.Outcome, c.op.Refusal, c.op.Answer = outcome, refusal, answer
	c.op.Return, c.op.Ended = c.r.markLocked()
}

// Done notes that the operation took effect, and its answer.
func (c Call) Done(answer Answer) {
	answer.Attrs = slices.Clone(answer.Attrs)
	c.end(Done, 0, answer)
}

// Refused notes that the store refused the operation, by what it holds.
func (c Call) Refused(why Refusal) { c.end(Refused, why, Answer{}) }

// Unknown notes that the client does not know, and never will, whether the operation takes effect.
func (c Call) Unknown() { c.end(Unknown, 0, Answer{}) }

// Dropped notes that the operation has not taken effect and will not, and showed nothing.
func (c Call) Dropped() { c.end(Dropped, 0, Answer{}) }

// History returns what was recorded so far.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &History{Operations: make([]Operation, len(r.ops)), marks: slices.Clone(r.marks)}
	for i, op := range r.ops {
		h.Operations[i] = *op
	}
	return h
}
