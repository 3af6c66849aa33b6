package propose

import (
	"context"
	"fmt"
	"sync/atomic"

	"cloakroom/cluster/session"
)

// verdict is what became of a command, as far as the one who sent it can know. The numbers are sent between nodes, but
// for that of denied.
type verdict uint8

const (
	applied     verdict = 1 // result holds the machine's answer
	notAppended verdict = 2 // surely not in the log: may be sent again
	unknown     verdict = 3 // perhaps in the log: never sent again
	overloaded  verdict = 4 // refused by the leader's full queue
	denied      verdict = 5 // not admitted by the leader, surely not in the log and never sent again: result.Err says why

	// Of a call in this node, never sent.
	queued verdict = 6 // its outcome is to come
	unsent verdict = 7 // given up before it was sent
)

type outcome struct {
	verdict verdict
	index   uint64
	result  session.Result
}

// Where a call stands. It moves from waiting to sent and, only when it was surely not appended, back; the caller can
// give it up as long as it waits.
const (
	waiting int32 = iota
	sent
	givenUp
)

// call is one command on its way. Its outcome is delivered once each time that it is sent.
type call struct {
	cmd   session.Command
	room  []byte // what it was encoded in, to know its size
	size  int
	own   bool // of this node's callers, and waiting at the merger itself
	state atomic.Int32
	done  chan outcome // capacity 1: delivery never blocks
}

func newCall(cmd session.Command, size int) *call {
	return &call{cmd: cmd, size: size, done: make(chan outcome, 1)}
}

// last reports whether a call with the outcome is in nobody's hands any more but its caller's.
func (o outcome) last() bool {
	return o.verdict == applied || o.verdict == denied || o.verdict == overloaded
}

// reset makes a call that is in nobody else's hands one for a command.
func (c *call) reset(cmd session.Command) error {
	encoded, err := session.AppendCommand(c.room[:0], cmd)
	if err != nil {
		return fmt.Errorf("encode command: %w", err)
	}
	if len(encoded) > MaxCommandBytes {
		return ErrTooLarge
	}
	if cap(encoded) <= maxCallRoom {
		c.room = encoded
	}
	c.cmd, c.size, c.own = cmd, len(encoded), false
	c.state.Store(waiting)
	return nil
}

// send claims the call for sending; false means that its caller has given it up.
func (c *call) send() bool { return c.state.CompareAndSwap(waiting, sent) }

// again puts the call back: it was surely not appended.
func (c *call) again() { c.state.Store(waiting) }

// giveUp takes the call back; false means that it was sent, and its outcome is not known.
func (c *call) giveUp() bool { return c.state.CompareAndSwap(waiting, givenUp) }

func (c *call) finish(o outcome) { c.done <- o }

// await returns the outcome, or what is known of it when ctx ends. A call without one when ended is closed was left in a
// queue that nobody reads any more.
func (c *call) await(ctx context.Context, ended <-chan struct{}) outcome {
	select {
	case o := <-c.done:
		return o
	case <-ctx.Done():
		if c.giveUp() {
			return outcome{verdict: unsent}
		}
		return c.sofar(unknown)
	case <-ended:
		return c.sofar(notAppended)
	}
}

// sofar returns the outcome if it is there: both may come at the same moment.
func (c *call) sofar(otherwise verdict) outcome {
	select {
	case o := <-c.done:
		return o
	default:
		return outcome{verdict: otherwise}
	}
}

// gather takes first and what else has arrived, up to the bounds of one entry. next is the call that did not fit.
func gather(first *call, queue <-chan *call) (batch []*call, next *call) {
	batch, size := append(batch, first), first.size
	for len(batch) < MaxEntryCommands {
		select {
		case c := <-queue:
			if size+c.size > MaxEntryBytes {
				return batch, c
			}
			batch, size = append(batch, c), size+c.size
		default:
			return batch, nil
		}
	}
	return batch, nil
}
