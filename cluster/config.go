package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/memberlist"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/idle"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/wire"
)

// Config is what a node needs to take its place in a cluster.
type Config struct {
	Name      string // unique in the cluster: what people call the node
	DataDir   string // holds the node's id, its log and snapshots; with Ephemeral unused
	Ephemeral bool   // keep everything in memory, under a new node id at each start
	Peer      string // address that the peer port listens on, TCP
	Gossip    string // address that gossip listens on, TCP and UDP
	Advertise string // host that others reach this node at; "": the host of Peer, and of Gossip
	HTTP      string // address of the API, as told to others
	Join      []string
	Expect    int // bootstrap when so many empty voters are there; 0: only join
	Key       wire.ClusterKey

	ReadReplica bool          // never become a voter
	Idle        time.Duration // idle timeout of the sessions made here
	Heartbeat   time.Duration // a follower that hears nothing for so long starts an election; 0: the default
	RemoveAfter time.Duration // a server that has been dead for so long is removed; 0: never
	DiskReserve int64         // bytes to keep free on the data directory's disk; 0: the default
	MemoryLimit int64         // bytes of memory in use above which nothing new is stored; 0: the default

	Logger  *slog.Logger
	OnFatal func(error) // called once, from a goroutine of its own, when this node can't go on

	// For tests: the network between nodes. Nil: the real one.
	Network         wire.Network
	GossipTransport memberlist.NodeAwareTransport
	Tune            func(*consensus.Config) // changes raft's times and sizes
	Clocks          *idle.Source            // this machine's clocks; nil: the real ones
}

// Validate checks the fields and the relations between them.
func (c Config) Validate() error {
	switch {
	case c.Name == "":
		return errors.New("a node needs a name")
	case c.DataDir == "" && !c.Ephemeral:
		return errors.New("a node needs a data directory, or must be ephemeral")
	case c.Expect < 0 || c.Expect > roster.MaxExpect:
		return fmt.Errorf("bootstrap-expect %d: must be 0 to %d", c.Expect, roster.MaxExpect)
	case c.Expect == 1 && len(c.Join) > 0:
		return errors.New("bootstrap-expect 1 makes a cluster of this node alone: leave --join out, or expect more nodes")
	case c.Expect > 1 && len(c.Join) == 0:
		return fmt.Errorf("bootstrap-expect %d: name the nodes to find with --join", c.Expect)
	case c.Expect == 0 && len(c.Join) == 0:
		return errors.New("nothing to do without --join or --bootstrap-expect: the node would wait for ever")
	case c.Idle <= 0:
		return errors.New("the idle timeout must be above zero")
	}
	return nil
}

// advertised is the address that others reach a listener at.
func (c Config) advertised(bind string) (string, error) {
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", bind, err)
	}
	if c.Advertise != "" {
		host = c.Advertise
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return "", fmt.Errorf("address %q is not one that others can reach: name this host with --advertise", bind)
	}
	return net.JoinHostPort(host, port), nil
}
