package roster

import (
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// The requests between nodes.
const (
	KindAnnounce wire.Kind = 32 // to the leader: here I am. announcement → welcome
	KindLeave    wire.Kind = 33 // to the leader: take me out for good. Empty → empty
	KindPromise  wire.Kind = 34 // Proposal → empty
	KindRelease  wire.Kind = 35 // Proposal → empty
	KindLock     wire.Kind = 36 // Proposal → empty
	KindConfirm  wire.Kind = 37 // to the proposer: does it still stand? Proposal → empty
	KindHere     wire.Kind = 38 // are you there? Empty → empty
	KindHealth   wire.Kind = 39 // from the leader, or whoever lists the members: how are you? Empty → condition
	KindChange   wire.Kind = 40 // to the leader: an operator wants this. change → empty
	KindDismiss  wire.Kind = 41 // from the leader: an operator has removed you. Empty → empty
)

// messageVersion is the first byte of every message; what follows is msgpack. They are few and small.
const messageVersion = 1

// announcement is what a node says of itself at its start.
type announcement struct {
	Member   session.Member
	Admitted bool   // it was let in before: if the configuration does not have it, it was removed
	Applied  uint64 // index that its machine has applied; leaders of the first version promote by it
}

// welcome is the leader's answer. A node that is not the leader answers with the leader's id and nothing else.
type welcome struct {
	LeaderID   string
	LeaderPeer string
	Accepted   bool
	Voter      bool
	Settled    bool // it has the place that it is to have: it votes, or is not to; leaders of the first version do not say
	ClusterID  string
}

// condition is what a member says of itself when it is asked.
type condition struct {
	Applied    uint64 // index that its machine has applied
	DiskLow    bool
	MemoryFull bool
	Draining   bool
}

// change is what an operator asks the leader for.
type change struct {
	Op op
	ID string // of the member; empty in a transfer: to any
}

// op is a change of the membership. The texts of those that an operator asks for travel.
type op string

const (
	opNone     op = ""
	opPromote  op = "promote"
	opDemote   op = "demote"
	opRemove   op = "remove"
	opTransfer op = "transfer"
	opForget   op = "forget" // the leader's own: strike an entry of the roster that no server has
)

func encode(message any) ([]byte, error) {
	body, err := msgpack.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", message, err)
	}
	return append([]byte{messageVersion}, body...), nil
}

func decode[T any](data []byte) (T, error) {
	var message T
	if len(data) == 0 || data[0] != messageVersion {
		return message, session.ErrBadEncoding
	}
	if !sound(data[1:]) {
		return message, session.ErrBadEncoding
	}
	if err := msgpack.Unmarshal(data[1:], &message); err != nil {
		return message, session.ErrBadEncoding
	}
	return message, nil
}
