package access

import (
	"strconv"
	"sync"
	"time"

	"cloakroom/httpapi/audit"
)

// often audits what callers do again and again, and would fill the log with. The first time is told of at once. Then there
// is a line every callAudit, as long as there is anything to tell: what it came to since the last one.
type often struct {
	log *audit.Log

	mu     sync.Mutex
	of     map[callKey]*tally
	closed bool
}

// callKey is what such calls are told apart by.
type callKey struct{ name, realm, user, address string }

// tally is what calls came to since their last line.
type tally struct {
	event               audit.Event // of the first of them
	of                  string      // whose they are, where there is no saying
	next                *time.Timer // for the next line
	calls, count, found int
}

// done counts a call in which count things were done, found of them with success. line makes its own line, if it gets one.
// While there are more callers than are remembered, those over share a tally that names nobody.
func (o *often) done(key callKey, count, found int, line func() audit.Event) {
	o.mu.Lock()
	t := o.of[key]
	others := t == nil && len(o.of) >= maxCallers
	if others {
		key = callKey{name: key.name}
		t = o.of[key]
	}
	if t != nil {
		t.calls, t.count, t.found = t.calls+1, t.count+count, t.found+found
		o.mu.Unlock()
		return
	}
	e := line()
	if !o.closed {
		t := &tally{event: e}
		if others {
			t.event, t.of = audit.Event{Name: e.Name, Outcome: e.Outcome, Detail: e.Detail}, " of other callers"
		}
		t.next = time.AfterFunc(callAudit, func() { o.turn(key, t) })
		if o.of == nil {
			o.of = map[callKey]*tally{}
		}
		o.of[key] = t
	}
	o.mu.Unlock()
	o.log.Write(e)
}

// turn writes a tally's line when it is time to, or forgets it.
func (o *often) turn(key callKey, t *tally) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.of[key] != t: // close has been faster
	case t.calls == 0:
		delete(o.of, key)
	default:
		o.log.Write(t.line()) // under the lock, or close would not wait for it; a disk that hangs holds it up once
		t.calls, t.count, t.found = 0, 0, 0
		t.next.Reset(callAudit)
	}
}

// close writes what is left to tell.
func (o *often) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for _, t := range o.of {
		t.next.Stop()
		if t.calls > 0 {
			o.log.Write(t.line())
		}
	}
	o.of = nil
}

// line returns the line of what calls came to after the first.
func (t *tally) line() audit.Event {
	e := t.event
	e.Request, e.Count = "", t.calls
	if e.Name == audit.Verified {
		e.Count, e.Detail = t.count, activeOf(t.found)+" in "+strconv.Itoa(t.calls)+" calls"
	}
	e.Detail += t.of
	return e
}

// activeOf is how the log tells what became of tokens that were checked.
func activeOf(n int) string { return strconv.Itoa(n) + " active" }
