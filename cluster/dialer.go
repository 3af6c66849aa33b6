package cluster

import (
	"context"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/roster"
	"cloakroom/cluster/wire"
)

// dialer calls nodes by their ids, wherever they are reached at the moment.
type dialer struct {
	wire *wire.Transport
	book *roster.Book
}

// Call sends a request to the node and returns its answer.
func (d dialer) Call(ctx context.Context, id string, kind wire.Kind, body []byte) ([]byte, error) {
	addr := d.book.Lookup(id)
	if addr == "" {
		return nil, wire.ErrUnreachable
	}
	return d.wire.Call(ctx, wire.Node{ID: id, Addr: addr}, kind, body)
}

// Handle registers the answer to a kind of request.
func (d dialer) Handle(kind wire.Kind, h wire.Handler) { d.wire.Handle(kind, h) }

// raftLayer carries raft over the peer port. In raft's configuration a server's address is its id.
func (d dialer) raftLayer(self string) raft.StreamLayer {
	return raftLayer{StreamLayer: d.wire.Raft(), dialer: d, self: self}
}

type raftLayer struct {
	raft.StreamLayer
	dialer dialer
	self   string
}

// Dial connects to the server with the id.
func (l raftLayer) Dial(id raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	addr := l.dialer.book.Lookup(string(id))
	if addr == "" {
		return nil, wire.ErrUnreachable
	}
	return l.dialer.wire.DialRaft(wire.Node{ID: string(id), Addr: addr}, timeout)
}

// Addr returns this node's own id.
func (l raftLayer) Addr() net.Addr { return nodeAddr(l.self) }

// nodeAddr is a node's id as an address.
type nodeAddr string

func (nodeAddr) Network() string  { return "cloakroom" }
func (a nodeAddr) String() string { return string(a) }
