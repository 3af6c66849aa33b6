package idle

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// KindTime asks a node for cluster time; one that does not know it refuses. Answer: 8 bytes, Unix milliseconds.
const KindTime wire.Kind = 48

// Clock is this node's estimate of cluster time. It never shows less than the machine's clock.
type Clock struct {
	machine func() session.Time // the latest stamp applied here

	mu     sync.Mutex
	base   session.Time // cluster time at the moment at
	at     time.Time    // with its monotonic reading
	last   session.Time // the latest time that was shown: it never goes back
	synced bool         // base came from a node that knew, or this node led; else it is the wall clock of a cold start
}

// NewClock makes a clock that shows the wall clock until it hears from a leader.
func NewClock(machine func() session.Time) *Clock {
	now := time.Now()
	return &Clock{machine: machine, base: session.TimeOf(now), at: now}
}

// Now returns the estimate.
func (c *Clock) Now() session.Time {
	applied := c.machine() // before the lock: it takes the machine's
	c.mu.Lock()
	defer c.mu.Unlock()
	at := time.Now()
	now := c.base.Add(at.Sub(c.at))
	if applied > now {
		// Go on from there: to wait until this estimate has come as far would stop cluster time.
		c.base, c.at, now = applied, at, applied
	}
	c.last = max(c.last, now)
	return c.last
}

// Stamp returns the time for an entry; false means that this node does not know cluster time yet, and must not propose.
func (c *Clock) Stamp() (session.Time, bool) {
	if !c.Synced() {
		return 0, false
	}
	return c.Now(), true
}

// Lead fixes the estimate when this node becomes leader: from then on it is cluster time. A node that has not heard it
// yet asks the others first. Only when none of them knows it either, at a cold start, it goes on from its wall clock,
// but never back behind the machine.
func (c *Clock) Lead(ctx context.Context, others []string, peers Peers) {
	if !c.Synced() {
		c.askAll(ctx, others, peers)
	}
	now := c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.at, c.synced = now, time.Now(), true
}

// askAll takes the highest of the others' estimates.
func (c *Clock) askAll(ctx context.Context, others []string, peers Peers) {
	ctx, cancel := context.WithTimeout(ctx, SyncTimeout)
	defer cancel()
	var group sync.WaitGroup
	var mu sync.Mutex
	for _, id := range others {
		group.Go(func() {
			told, roundTrip, err := askTime(ctx, id, peers)
			if err != nil {
				return // it does not know, or does not answer
			}
			mu.Lock()
			defer mu.Unlock()
			if told.Add(roundTrip/2) > c.Now() || !c.Synced() {
				c.heard(told, roundTrip)
			}
		})
	}
	group.Wait()
}

func askTime(ctx context.Context, id string, peers Peers) (told session.Time, roundTrip time.Duration, err error) {
	start := time.Now()
	answer, err := peers.Call(ctx, id, KindTime, nil)
	if err != nil {
		return 0, 0, err
	}
	if len(answer) != 8 {
		return 0, 0, session.ErrBadEncoding
	}
	return session.Time(binary.BigEndian.Uint64(answer)), time.Since(start), nil
}

// Synced reports whether the estimate rests on a leader's time.
func (c *Clock) Synced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.synced
}

// heard takes another node's time, read half a round trip before now. An answer that took long says less than what is
// known already. A first one replaces the wall clock, whatever that has shown.
func (c *Clock) heard(told session.Time, roundTrip time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.synced && roundTrip > MaxRoundTrip {
		return
	}
	if !c.synced {
		c.last = 0
	}
	c.base, c.at, c.synced = told.Add(roundTrip/2), time.Now(), true
}

// Log tells who leads.
type Log interface {
	IsLeader() bool
	LeaderID() string
}

// Peers is the node-to-node stream; nodes are called by their ids.
type Peers interface {
	Call(ctx context.Context, id string, kind wire.Kind, body []byte) ([]byte, error)
	Handle(kind wire.Kind, h wire.Handler)
}

// ErrNotSynced refuses a question for the time: this node does not know it yet.
var ErrNotSynced = &session.Error{Code: "not-synced", Message: "this node does not know cluster time yet"}

// Serve answers other nodes' questions for the time.
func (c *Clock) Serve(peers Peers) {
	peers.Handle(KindTime, func(context.Context, wire.Peer, []byte) ([]byte, error) {
		now, ok := c.Stamp()
		if !ok {
			return nil, ErrNotSynced
		}
		return binary.BigEndian.AppendUint64(nil, uint64(now)), nil
	})
}

// Sync asks the leader once. A node that leads, or knows no leader, keeps its estimate.
func (c *Clock) Sync(ctx context.Context, log Log, peers Peers) {
	leader := log.LeaderID()
	if leader == "" || log.IsLeader() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, SyncTimeout)
	defer cancel()
	told, roundTrip, err := askTime(ctx, leader, peers)
	if err != nil || log.IsLeader() {
		return // the estimate goes on by itself; the next question comes soon
	}
	c.heard(told, roundTrip)
}
