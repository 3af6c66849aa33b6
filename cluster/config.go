package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/memberlist"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/idle"
	"cloakroom/cluster/keyring"
	"cloakroom/cluster/lease"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// Bounds of Config.Lease.
const (
	DefaultLease = time.Second
	// MinLease leaves room for the margin by which leases end early, and for a report that is late.
	MinLease = 250 * time.Millisecond
	// MaxLease bounds how long writes wait for a node that has died while it held a lease, and a new leader until it takes
	// any. It is less than what the outcome of a write waits for such a node (propose.StableTimeout), and less than callers
	// wait.
	MaxLease = 8 * time.Second
)

// What leases rest on, the same on all nodes.
const (
	// clockRate is by how many thousandths the rates of two machines' clocks may differ. Crystals are good for 0.1, and
	// NTP drives them by 0.5 at most; the rest is for what nobody has thought of.
	clockRate = 20
	// clockMargin is how long a machine may stand still together with its clocks while others go on, unnoticed.
	clockMargin = 50 * time.Millisecond
	// maxLag is how many entries a node may be behind and still get a lease: what a node in order is behind under full
	// load, some times over. Writes wait for whoever has one.
	maxLag = 512
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
	Expect    int             // bootstrap when so many empty voters are there; 0: only join
	Keys      *wire.KeyRing   // the cluster's keys; they may be replaced while the node runs
	Key       wire.ClusterKey // without Keys: the only one
	DataKeys  *keyring.Ring   // encrypt log and snapshots on this node's disk; nil: they are not encrypted

	ReadReplica bool          // never become a voter
	Idle        time.Duration // idle timeout of the sessions made here
	Heartbeat   time.Duration // a follower that hears nothing for so long starts an election; 0: the default
	Lease       time.Duration // how long a read lease lasts, the same on all nodes; 0: DefaultLease, or two heartbeats if that is more
	CutOff      Level         // what lookups that want more are answered at when no leader can be reached: Local; 0: they are refused
	RemoveAfter time.Duration // a server that has been dead for so long is removed; 0: never
	DiskReserve int64         // bytes to keep free on the data directory's disk; 0: the default
	MemoryLimit int64         // bytes of memory in use above which nothing new is stored; 0: the default

	// OnEnd is told of each session that was ended by itself, by a logout, an admin or a rule, and OnMember of each change of
	// the roster: on the leader only, so about once in the cluster, and not again after a restart. Both come from within the
	// state machine and must not block.
	OnEnd    func(*session.Session, session.Tombstone)
	OnMember func(what string, m session.Member)
	// OnOrigin is told at the first start on a data directory that was restored or recovered, before the node serves: those who
	// did that had no node to do it by.
	OnOrigin func(clusterID string, from Origin)

	Logger  *slog.Logger
	OnFatal func(error) // called once, from a goroutine of its own, when this node can't go on

	// For tests: the network between nodes. Nil: the real one.
	Network         wire.Network
	GossipTransport memberlist.NodeAwareTransport
	Tune            func(*consensus.Config) // changes raft's times and sizes
	Clocks          *idle.Source            // this machine's clocks; nil: the real ones
	Version         uint8                   // the newest that this node knows, as if it were an older program; 0: session.MaxVersion
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
	case c.CutOff != 0 && c.CutOff != Local:
		return fmt.Errorf("level %v when cut off: must be local, or lookups are refused", c.CutOff)
	}
	return c.validateTimes()
}

// version is the newest version of commands that this node knows, and says that it knows.
func (c Config) version() uint8 { return cmp.Or(c.Version, session.MaxVersion) }

// validateTimes checks the times of the lease protocol and of raft against each other. An election takes one heartbeat
// until it begins, up to a second one that is random, and some round trips; the leases of the leader that is lost are to
// last until the next one grants its own, or lookups wait.
func (c Config) validateTimes() error {
	heartbeat, lease := c.heartbeat(), c.lease()
	switch {
	case c.Heartbeat < 0 || c.Lease < 0:
		return errors.New("heartbeat and lease duration can't be negative")
	case lease < MinLease || lease > MaxLease:
		return fmt.Errorf("lease duration %v: must be %v to %v; a node that is lost holds up writes for so long, once", lease, MinLease, MaxLease)
	case lease < 2*heartbeat:
		return fmt.Errorf("lease duration %v with a heartbeat of %v: must be twice the heartbeat at least, so that leases outlast an election", lease, heartbeat)
	}
	return nil
}

// leases returns what all nodes have to agree on for the lease protocol.
func (c Config) leases() lease.Config {
	return lease.Config{Duration: c.lease(), Rate: clockRate, Margin: clockMargin, MaxLag: maxLag}
}

func (c Config) heartbeat() time.Duration { return cmp.Or(c.Heartbeat, consensus.DefaultHeartbeat) }

func (c Config) lease() time.Duration {
	return cmp.Or(c.Lease, max(DefaultLease, 2*c.heartbeat()))
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
