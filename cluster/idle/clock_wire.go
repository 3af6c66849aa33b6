package idle

import (
	"context"
	"encoding/binary"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

const (
	// KindTime asks a node for cluster time; one that is cold refuses with ErrNotSynced. Question: the version byte.
	// Answer: the version byte, its trust, and Unix microseconds in 8 bytes.
	KindTime wire.Kind = 48
	// KindWall asks a node for its wall clock. Question and answer are the same, the trust always that of a cold clock.
	KindWall wire.Kind = 49
)

// timeVersion begins the questions and answers of both kinds.
const timeVersion = 1

// ErrNotSynced refuses a question for the time: this node does not know it yet.
var ErrNotSynced = &session.Error{Code: "not-synced", Message: "this node does not know cluster time yet"}

// Peers is the node-to-node stream; nodes are called by their ids.
type Peers interface {
	Call(ctx context.Context, id string, kind wire.Kind, body []byte) ([]byte, error)
	Handle(kind wire.Kind, h wire.Handler)
}

// Serve answers other nodes' questions for the time.
func (c *Clock) Serve(peers Peers) {
	peers.Handle(KindTime, func(_ context.Context, _ wire.Peer, body []byte) ([]byte, error) {
		if len(body) != 1 || body[0] != timeVersion {
			return nil, session.ErrBadEncoding
		}
		c.look() // this machine may just have woken up
		c.now()  // a later stamp may have been applied here
		now, r := c.read()
		if r.trust == cold {
			return nil, ErrNotSynced
		}
		return encodeTime(now, r.trust), nil
	})
	peers.Handle(KindWall, func(_ context.Context, _ wire.Peer, body []byte) ([]byte, error) {
		if len(body) != 1 || body[0] != timeVersion {
			return nil, session.ErrBadEncoding
		}
		return encodeTime(micros(c.source.Wall().UnixMicro()), cold), nil
	})
}

func encodeTime(now micros, t trust) []byte {
	return binary.BigEndian.AppendUint64([]byte{timeVersion, byte(t)}, uint64(now))
}

// told is another node's answer.
type told struct {
	sample
	trust trust
}

func (c *Clock) askTime(ctx context.Context, id string, peers Peers) (told, error) {
	return c.ask(ctx, id, KindTime, peers)
}

func (c *Clock) askWall(ctx context.Context, id string, peers Peers) (told, error) {
	return c.ask(ctx, id, KindWall, peers)
}

func (c *Clock) ask(ctx context.Context, id string, kind wire.Kind, peers Peers) (told, error) {
	ctx, cancel := context.WithTimeout(ctx, SyncTimeout)
	defer cancel()
	sent := c.mono()
	answer, err := peers.Call(ctx, id, kind, []byte{timeVersion})
	if err != nil {
		return told{}, err
	}
	received := c.mono()
	if len(answer) != 10 || answer[0] != timeVersion || answer[1] > byte(synced) {
		return told{}, session.ErrBadEncoding
	}
	now := micros(binary.BigEndian.Uint64(answer[2:]))
	if now < 0 || now > microsOf(session.MaxTime) {
		return told{}, session.ErrBadEncoding
	}
	return told{sample: newSample(now, sent, received), trust: trust(answer[1])}, nil
}

// ownWall is the wall clock of this machine as another node would tell it.
func (c *Clock) ownWall() sample {
	sent := c.mono()
	wall := micros(c.source.Wall().UnixMicro())
	return newSample(wall, sent, c.mono())
}
