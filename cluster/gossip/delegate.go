package gossip

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/memberlist"

	"cloakroom/cluster/session"
)

var (
	_ memberlist.Delegate         = (*delegate)(nil)
	_ memberlist.EventDelegate    = (*delegate)(nil)
	_ memberlist.AliveDelegate    = (*delegate)(nil)
	_ memberlist.MergeDelegate    = (*delegate)(nil)
	_ memberlist.ConflictDelegate = (*delegate)(nil)
)

// delegate is what memberlist calls, mostly while it holds its lock: nothing here may block or call it back.
type delegate struct {
	id        string
	table     *table
	news      News // nil: nothing but metadata travels
	own       atomic.Pointer[ownMeta]
	contested atomic.Bool // somebody believes this node to be at another address
}

// ownMeta is what this node announces, in both forms.
type ownMeta struct {
	announcement
	encoded []byte
}

// announce replaces what NodeMeta returns. It fails if the encoding is too large, so that memberlist never sees it.
func (d *delegate) announce(a announcement) error {
	b, err := a.encode()
	if err != nil {
		return err
	}
	d.own.Store(&ownMeta{a, b})
	return nil
}

// check refuses nodes of another cluster, and metadata that can't be read.
func (d *delegate) check(n *memberlist.Node) error {
	a, err := decodeAnnouncement(n.Meta)
	if err != nil {
		return err
	}
	if a.ID != n.Name {
		return badMeta("id %q of node %q", a.ID, n.Name)
	}
	if foreign(d.clusterID(), a.ClusterID) {
		return session.ErrOtherCluster
	}
	return nil
}

func (d *delegate) clusterID() string { return d.own.Load().ClusterID }

// foreign says that two nodes belong to different clusters. A node without a cluster is foreign to none.
func foreign(a, b string) bool { return a != "" && b != "" && a != b }

// NotifyAlive refuses single nodes, by whatever way the news of them came.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	err := d.check(n)
	d.note(n, err)
	return err
}

// NotifyMerge refuses to join with a node that knows live members of another cluster: each of them would be refused
// anyway, and so the joining side learns why.
func (d *delegate) NotifyMerge(nodes []*memberlist.Node) error {
	for _, n := range nodes {
		if own := d.table.address(d.id); n.Name == d.id && own != "" && n.Address() != own {
			d.contested.Store(true)
		}
		if n.State != memberlist.StateAlive {
			continue // may be a leftover that the other side is about to forget
		}
		if err := d.check(n); err != nil {
			d.note(n, err)
			return fmt.Errorf("member %s: %w", n.Name, err)
		}
	}
	return nil
}

// note counts a refusal, and hides a member that was let in while it had no cluster.
func (d *delegate) note(n *memberlist.Node, err error) {
	switch {
	case err == nil:
	case errors.Is(err, session.ErrOtherCluster):
		d.table.expel(n.Name)
	default:
		d.table.count(func(s *Stats) { s.RefusedMeta++ })
	}
}

// NotifyJoin and NotifyUpdate come after NotifyAlive has let the node pass.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.put(n) }

func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.put(n) }

func (d *delegate) put(n *memberlist.Node) {
	a, err := decodeAnnouncement(n.Meta)
	if err != nil {
		panic("BUG: metadata passed the alive delegate and does not decode: " + err.Error())
	}
	d.table.put(n, a)
}

// NotifyLeave comes for the dead and for those that left; n.State does not tell which (memberlist sets it nowhere).
func (d *delegate) NotifyLeave(n *memberlist.Node) { d.table.lose(n.Name) }

// NotifyConflict hears of one node at two addresses. If that is us, we have been restarted elsewhere, and the others
// must first lose the old address (NotifyMerge sees that too, once they have); or two nodes run with the same data
// directory.
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	d.table.count(func(s *Stats) { s.Conflicts++ })
	if other.Name == d.id {
		d.contested.Store(true)
	}
}

func (d *delegate) NodeMeta(int) []byte { return d.own.Load().encoded }
