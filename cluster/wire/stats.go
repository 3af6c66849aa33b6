package wire

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Stats is a snapshot of a Transport's counters.
type Stats struct {
	StreamsIn  int // stream connections of peers
	StreamsOut int // stream connections to peers
	Raft       int // raft's connections, both ways
	Handshakes int // connections that are not through their handshake, both ways

	Calls       uint64 // requests of this node
	Unreachable uint64 // of these, not sent
	Lost        uint64 // of these, perhaps sent and without an answer
	Overloaded  uint64 // requests of this node or to it that a bound refused
	Served      uint64 // requests of peers that were given to a handler
	Refused     uint64 // connections that did not get through their handshake
	Crowded     uint64 // of these, those that were turned out because there were too many
	NotRenewed  uint64 // attempts at a connection under a new key that failed; the old one was kept
	Malformed   uint64 // raft connections that were closed for what a peer sent on them

	Keys []KeyStats // the ring's, in its order

	BytesSent     uint64 // on stream connections, before TLS
	BytesReceived uint64
}

// KeyStats says what is in use under one key. An old key can go when no stream is left under it on any node; raft's
// connections are closed then, and made anew by the next message.
type KeyStats struct {
	ID      KeyID
	Streams int // stream connections that this node's certificate, the peer's or both are under
	Raft    int // raft's connections, the same
}

// counters are those of Stats that are counted as it happens.
type counters struct {
	streamsIn, streamsOut                                 atomic.Int64
	calls, unreachable, lost, overloaded, served, refused atomic.Uint64
	crowded, notRenewed, malformed                        atomic.Uint64
	sent, received                                        atomic.Uint64
}

// failed counts a call's error.
func (c *counters) failed(err error) {
	switch {
	case errors.Is(err, ErrUnreachable):
		c.unreachable.Add(1)
	case errors.Is(err, ErrLost):
		c.lost.Add(1)
	case errors.Is(err, ErrOverloaded):
		c.overloaded.Add(1)
	}
}

// Stats returns the counters as they are.
func (t *Transport) Stats() Stats {
	handshakes, raft, keys := t.table.counts()
	c := &t.counters
	return Stats{
		StreamsIn:     int(c.streamsIn.Load()),
		StreamsOut:    int(c.streamsOut.Load()),
		Raft:          raft,
		Handshakes:    handshakes,
		Calls:         c.calls.Load(),
		Unreachable:   c.unreachable.Load(),
		Lost:          c.lost.Load(),
		Overloaded:    c.overloaded.Load(),
		Served:        c.served.Load(),
		Refused:       c.refused.Load(),
		Crowded:       c.crowded.Load(),
		NotRenewed:    c.notRenewed.Load(),
		Malformed:     c.malformed.Load(),
		Keys:          keys,
		BytesSent:     c.sent.Load(),
		BytesReceived: c.received.Load(),
	}
}

// counts returns the connections in the handshake, and raft's, and what is under each key.
func (t *table) counts() (handshakes, raft int, keys []KeyStats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range t.keys {
		keys = append(keys, KeyStats{ID: id})
	}
	for e := range t.open {
		if e.stream == nil {
			raft++
		}
		for i := range keys {
			switch k := &keys[i]; {
			case e.ownKey != k.ID && e.peerKey != k.ID:
			case e.stream == nil:
				k.Raft++
			default:
				k.Streams++
			}
		}
	}
	return len(t.shaking), raft, keys
}

// throttle lets one line of a sort through in a while, with the number of those that it kept back before.
type throttle struct {
	every time.Duration

	mu   sync.Mutex
	last map[string]time.Time // by sort; the sorts are constants of this package
	kept map[string]int
}

func newThrottle(every time.Duration) *throttle {
	return &throttle{every: every, last: make(map[string]time.Time), kept: make(map[string]int)}
}

func (t *throttle) warn(log *slog.Logger, sort, message string, args ...any) {
	kept, ok := t.allow(sort, time.Now())
	if !ok {
		return
	}
	if kept > 0 {
		args = append(args, "suppressed", kept)
	}
	log.Warn(message, args...)
}

func (t *throttle) allow(sort string, now time.Time) (kept int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, seen := t.last[sort]; seen && now.Sub(last) < t.every {
		t.kept[sort]++
		return 0, false
	}
	kept = t.kept[sort]
	t.last[sort], t.kept[sort] = now, 0
	return kept, true
}
