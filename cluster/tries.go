package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"net/netip"
	"strings"

	"cloakroom/cluster/session"
	"cloakroom/cluster/tries"
	"cloakroom/cluster/wire"
)

// openTries makes the part that counts failed logins. Its table has been with the gossip from the first packet on.
func (c *Cluster) openTries() {
	var peers tries.Peers = c.dial
	if c.cfg.version() < triesVersion {
		peers = deaf{c.dial}
	}
	c.tries = tries.New(tries.Config{Log: c.raft, Peers: peers, Table: c.counters, Now: c.clock.Stamp, Old: c.countsApart})
}

// triesVersion is the version of commands with which the requests of package tries came. An older leader does not know them.
const triesVersion = 4

// countsApart reports whether a node is of a version that does not know the requests of package tries.
func (c *Cluster) countsApart(id string) (apart bool) {
	c.raft.Read(func(m *session.Machine) { apart = c.knownBy(m, id) < triesVersion })
	return apart
}

// deaf is a dialer that answers no request.
type deaf struct{ dialer }

func (deaf) Handle(wire.Kind, wire.Handler) {}

// Reserve counts a login as failed, in the whole cluster, before its password is looked at; Ticket.Forgive takes that back.
// realmName "" is the realm native. The error is a *tries.Refusal, that is tries.ErrFailures with a time to wait, or
// ErrNoLeader, ErrOverloaded or ErrTimeout.
func (c *Cluster) Reserve(ctx context.Context, realmName, username string, addr netip.Addr) (*tries.Ticket, error) {
	realmName = cmp.Or(realmName, session.NativeRealm)
	names := c.names()
	return c.tries.Reserve(ctx, tries.Try{
		User: names.User(realmName, username), Address: names.Address(addr), Known: c.atHome(realmName, username, addr),
	})
}

// names returns the names of counters. They hang on the cluster's id, which stays, and not on its key, which may be
// exchanged: nodes that had it and nodes that had it not yet would count apart.
func (c *Cluster) names() tries.Names {
	id := ""
	c.raft.Read(func(m *session.Machine) { id = m.ClusterID() })
	return tries.NewNames(sha256.Sum256([]byte("failed logins of cluster " + id)))
}

// atHome reports whether the user has a live session from the address, as far as this node knows.
func (c *Cluster) atHome(realmName, username string, addr netip.Addr) (home bool) {
	network := tries.Network(addr)
	from := func(address string) bool {
		at, err := netip.ParseAddr(address)
		return err == nil && tries.Network(at) == network
	}
	c.raft.Read(func(m *session.Machine) {
		home = m.HasSessionFrom(realmName, username, from)
		if lower := strings.ToLower(username); !home && lower != username { // by which directory servers' users go
			home = m.HasSessionFrom(realmName, lower, from)
		}
	})
	return home
}
