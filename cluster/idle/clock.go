package idle

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// KindTime asks the leader for cluster time. Answer: 8 bytes, Unix milliseconds.
const KindTime wire.Kind = 48

// Clock is this node's estimate of cluster time. It never shows less than the machine's clock.
type Clock struct {
	machine func() session.Time // the latest stamp applied here

	mu     sync.Mutex
	base   session.Time // cluster time at the moment at
	at     time.Time    // with its monotonic reading
	synced bool         // base came from a leader, or this node led; else it is the wall clock of a cold start
}

// NewClock makes a clock that shows the wall clock until it hears from a leader.
func NewClock(machine func() session.Time) *Clock {
	now := time.Now()
	return &Clock{machine: machine, base: session.TimeOf(now), at: now}
}

// Now returns the estimate.
func (c *Clock) Now() session.Time {
	c.mu.Lock()
	now := c.base.Add(time.Since(c.at))
	c.mu.Unlock()
	return max(now, c.machine())
}

// Lead fixes the estimate when this node becomes leader: from then on it is cluster time. A node that never heard of
// another leader's time goes on from its wall clock, but never back behind the machine.
func (c *Clock) Lead() {
	now := c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.at, c.synced = now, time.Now(), true
}

// Synced reports whether the estimate rests on a leader's time.
func (c *Clock) Synced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.synced
}

// heard takes the leader's time, read half a round trip before now.
func (c *Clock) heard(told session.Time, roundTrip time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
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

// ServeTime answers other nodes' questions for the time, as leader.
func (c *Clock) ServeTime(log Log, peers Peers) {
	peers.Handle(KindTime, func(context.Context, wire.Peer, []byte) ([]byte, error) {
		if !log.IsLeader() || !c.Synced() {
			return nil, errNotLeader
		}
		return binary.BigEndian.AppendUint64(nil, uint64(c.Now())), nil
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
	start := time.Now()
	answer, err := peers.Call(ctx, leader, KindTime, nil)
	if err != nil || len(answer) != 8 || log.IsLeader() {
		return // the estimate goes on by itself; the next question comes soon
	}
	c.heard(session.Time(binary.BigEndian.Uint64(answer)), time.Since(start))
}
