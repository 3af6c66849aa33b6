package wire

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// links holds the stream connections that this node has dialed, one for each address, and dials when one is needed. While
// one is renewed it stays in use; when the new one is there, it is retired: it ends with the last answer that it owes.
type links struct {
	dial func(addr string) (*client, error) // with a time limit of its own, and the caller's
	run  func(c *client)                    // until the connection has ended
	own  func(func()) bool                  // runs a function in a goroutine of the transport; false if it is closed

	mu     sync.Mutex
	byAddr map[string]*link
}

// link is one attempt at an address, and the connection if it succeeds.
type link struct {
	ready   chan struct{} // closed when the attempt is over; the fields below are set then and never change
	client  *client       // nil if it failed
	err     error
	retryAt time.Time     // when it failed: not before
	backoff time.Duration // when it failed: how long that was
}

// get returns the connection to addr, and makes it if there is none. Those who ask while it is made share the attempt;
// those who ask soon after it failed share the failure.
func (l *links) get(ctx context.Context, addr string) (*client, error) {
	k, err := l.find(addr)
	if err != nil {
		return nil, err
	}
	select {
	case <-k.ready:
		return k.client, k.err
	default:
	}
	select {
	case <-k.ready:
		return k.client, k.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// find returns the link of addr, newly begun if need be.
func (l *links) find(addr string) (*link, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.byAddr[addr]
	if old != nil && !old.over() {
		return old, nil
	}
	if old == nil {
		l.forget()
		if len(l.byAddr) >= MaxLinks {
			return nil, fmt.Errorf("%d addresses in use: %w", MaxLinks, ErrOverloaded)
		}
	}
	k := &link{ready: make(chan struct{}), backoff: backoffMin}
	if old != nil && old.err != nil {
		k.backoff = min(2*old.backoff, backoffMax)
	}
	if !l.own(func() { l.connect(addr, k) }) {
		return nil, errClosed
	}
	l.byAddr[addr] = k
	return k, nil
}

// forget drops the addresses that would have to be dialed anew, when there are many.
func (l *links) forget() {
	if len(l.byAddr) < MaxLinks {
		return
	}
	for addr, k := range l.byAddr {
		if k.over() {
			delete(l.byAddr, addr)
		}
	}
}

// connect makes the connection and serves it until it ends.
func (l *links) connect(addr string, k *link) {
	k.client, k.err = l.dial(addr)
	if k.err != nil {
		k.retryAt = time.Now().Add(k.backoff)
	}
	close(k.ready)
	if k.client != nil {
		l.run(k.client)
	}
}

// renewSoon is what a connection calls that is due to be renewed.
func (l *links) renewSoon(c *client) { l.own(func() { l.renew(c.addr, c) }) }

// renew puts a new connection in the place of one that works. Where that fails the old one stays, and is looked at again
// later.
func (l *links) renew(addr string, old *client) {
	if !old.beginRenewal() {
		return
	}
	c, err := l.dial(addr)
	if err != nil {
		old.renewLater(err)
		return
	}
	c.lastCall = old.lastUse() // nobody has it yet; a connection that nobody uses must not live on by renewals
	k := &link{ready: make(chan struct{}), client: c, backoff: backoffMin}
	close(k.ready)
	if !l.replace(addr, old, k) { // the old one has ended meanwhile, and another is made or there already
		c.stream.end(errRenewed)
	} else {
		old.retire()
	}
	l.run(c)
}

// replace puts k in the place of the link of old; false if that is in use no more.
func (l *links) replace(addr string, old *client, k *link) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if present := l.byAddr[addr]; present == nil || present.working() != old {
		return false
	}
	l.byAddr[addr] = k
	return true
}

// working returns the connection if there is one.
func (k *link) working() *client {
	select {
	case <-k.ready:
	default:
		return nil
	}
	if k.client == nil || k.client.over() {
		return nil
	}
	return k.client
}

// over says whether the link is of no more use.
func (k *link) over() bool {
	select {
	case <-k.ready:
	default:
		return false
	}
	if k.err != nil {
		return !time.Now().Before(k.retryAt)
	}
	return k.client.over()
}
