package wire

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// client is the dialer's end of a stream: it numbers the requests and gives each answer to the call that waits for it.
type client struct {
	stream *stream
	addr   string
	peer   string // id of the node that answers there
	gone   func() // called by who runs it, when it has ended

	// Of a renewal; the two keys are those of the handshake, first says what new ones are made under by now.
	ownKey, peerKey KeyID
	first           func() KeyID
	renew           func(*client)        // begins one; it calls beginRenewal, and then retire or renewLater
	failed          func(*client, error) // notes one that failed

	mu       sync.Mutex
	ended    bool
	renewing bool
	renewAt  time.Time // not before
	retired  time.Time // since when calls go by another connection; zero: they don't
	lastID   uint64
	lastCall time.Time
	pending  map[uint64]*call
}

// call is one request without an answer. Whoever takes it out of pending owns its reply.
type call struct {
	state atomic.Uint32
	reply chan reply // room for the one reply
}

type reply struct {
	body []byte
	err  error
}

// The states of a call. Only a queued one is certain not to have been sent.
const (
	callQueued uint32 = iota
	callClaimed
	callDropped
)

// claim is the writer's: false if the caller has gone.
func (c *call) claim() bool { return c.state.CompareAndSwap(callQueued, callClaimed) }

// drop is the caller's: true if nothing was sent, nor will be.
func (c *call) drop() bool { return c.state.CompareAndSwap(callQueued, callDropped) }

func newClient(s *stream, addr string) *client {
	c := &client{stream: s, addr: addr, lastCall: time.Now(), pending: make(map[uint64]*call)}
	s.tick = c.tick
	return c
}

// run serves the connection until it ends.
func (c *client) run() {
	var writer sync.WaitGroup
	writer.Go(c.stream.write)
	c.stream.end(c.stream.read(c.frame))
	writer.Wait()
	c.fail(c.stream.err)
}

// call sends a request and waits for its answer. errEnded: nothing was sent, and a new connection may do.
func (c *client) call(ctx context.Context, kind Kind, body []byte) ([]byte, error) {
	id, waiting, err := c.enter()
	if err != nil {
		return nil, err
	}
	request := frame{typ: frameRequest, id: id, kind: kind, timeout: timeLeft(ctx), body: body}
	if !c.stream.push(outgoing{bytes: request.encode(), call: waiting}) {
		c.take(id)
		return nil, ErrOverloaded
	}
	select {
	case r := <-waiting.reply:
		return r.body, r.err
	case <-ctx.Done():
		return c.abandon(ctx, id, waiting)
	}
}

// enter makes a call that waits.
func (c *client) enter() (uint64, *call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, nil, errEnded
	}
	if len(c.pending) >= MaxInFlight {
		return 0, nil, ErrOverloaded
	}
	c.lastID++
	c.lastCall = time.Now()
	waiting := &call{reply: make(chan reply, 1)}
	c.pending[c.lastID] = waiting
	return c.lastID, waiting, nil
}

// take removes a call; nil if an answer, a failure or its caller was quicker.
func (c *client) take(id uint64) *call {
	c.mu.Lock()
	waiting := c.pending[id]
	delete(c.pending, id)
	last := !c.retired.IsZero() && len(c.pending) == 0
	c.mu.Unlock()
	if last {
		c.stream.end(errRenewed)
	}
	return waiting
}

// abandon ends a call whose context has ended. If a reply came at the same moment, it is that.
func (c *client) abandon(ctx context.Context, id uint64, waiting *call) ([]byte, error) {
	if c.take(id) == nil {
		r := <-waiting.reply
		return r.body, r.err
	}
	if waiting.drop() {
		return nil, unreachable(c.addr, ctx.Err())
	}
	// A full queue loses the cancel: the handler then runs for nothing until its own time is over.
	c.stream.push(outgoing{bytes: (&frame{typ: frameCancel, id: id}).encode()})
	return nil, lost(c.addr, ctx.Err())
}

// frame takes an answer. One that nobody waits for is late, and dropped.
func (c *client) frame(f frame) error {
	var r reply
	switch f.typ {
	case frameAnswer:
		r.body = f.body
	case frameFailure:
		r.err = rebuild(f)
	default:
		return errFrame
	}
	if waiting := c.take(f.id); waiting != nil {
		waiting.reply <- r
	}
	return nil
}

// fail gives all who wait their error.
func (c *client) fail(why error) {
	c.mu.Lock()
	pending := c.pending
	c.pending = nil
	c.ended = true
	c.mu.Unlock()
	for _, waiting := range pending {
		r := reply{err: lost(c.addr, why)}
		if waiting.drop() {
			r.err = errEnded
		}
		waiting.reply <- r
	}
}

// over says whether the connection takes no more calls.
func (c *client) over() bool {
	select {
	case <-c.stream.done:
		return true
	default:
		return false
	}
}

// tick closes a connection that nobody uses, and has one renewed that is not under the first key at both ends. The peer's
// end is so if the peer came later to the exchange of the key, and it can't ask for a new connection.
func (c *client) tick() {
	c.mu.Lock()
	now := time.Now()
	idle := len(c.pending) == 0 && now.Sub(c.lastCall) > IdleAfter
	stuck := !c.retired.IsZero() && now.Sub(c.retired) > RetiredFor
	due := c.first != nil && c.retired.IsZero() && !c.renewing && !now.Before(c.renewAt)
	c.mu.Unlock()
	switch {
	case stuck:
		c.stream.end(errRenewed)
	case idle:
		c.stream.end(errIdle) // a call that comes just now was not sent, and is repeated on a new connection
	case due:
		if first := c.first(); c.ownKey != first || c.peerKey != first {
			c.renew(c)
		}
	}
}

// beginRenewal is false if there is one already, or no more sense in it.
func (c *client) beginRenewal() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.renewing || !c.retired.IsZero() {
		return false
	}
	c.renewing = true
	return true
}

// renewLater ends a renewal that has failed.
func (c *client) renewLater(why error) {
	c.mu.Lock()
	c.renewing, c.renewAt = false, time.Now().Add(RenewEvery)
	c.mu.Unlock()
	c.failed(c, why)
}

// retire lets the connection end with the last answer. A call that comes just after that was not sent, and is made on the
// new one.
func (c *client) retire() {
	c.mu.Lock()
	c.retired = time.Now()
	last := len(c.pending) == 0
	c.mu.Unlock()
	if last {
		c.stream.end(errRenewed)
	}
}

// lastUse is when the last call began.
func (c *client) lastUse() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastCall
}

// timeLeft is what a request says about its caller's patience; 0 is no limit.
func timeLeft(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(deadline), time.Millisecond)
}

// isEnded says whether a call met a connection that had ended before anything was sent.
func isEnded(err error) bool { return errors.Is(err, errEnded) }
