package wire

import (
	"context"
	"net"
)

// Network is where a Transport listens and dials: TCP, or memory in tests. Connections must support deadlines and
// Close must unblock what waits in Read and Write.
type Network interface {
	Listen(addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// TCP is the network of the operating system.
type TCP struct{}

var _ Network = TCP{}

// Listen listens on host:port.
func (TCP) Listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

// Dial connects to host:port until ctx ends.
func (TCP) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
