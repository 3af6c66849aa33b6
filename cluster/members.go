package cluster

import (
	"context"
	"encoding/binary"
	"sort"
	"sync"
	"time"

	"cloakroom/cluster/gossip"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// kindStatus asks a node for the index that it has applied. Answer: 8 bytes.
const kindStatus wire.Kind = 64

// statusTimeout bounds the question, for a page that a person waits for.
const statusTimeout = 300 * time.Millisecond

func (c *Cluster) serveStatus(context.Context, wire.Peer, []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, c.raft.Applied()), nil
}

// Members returns the nodes that raft's configuration, the roster or gossip know of, by name. It asks the others for
// their applied index.
func (c *Cluster) Members(ctx context.Context) []Member {
	byID := make(map[string]*Member)
	member := func(id string) *Member {
		m := byID[id]
		if m == nil {
			m = &Member{ID: id, Role: "none", State: "unknown", Self: id == c.id()}
			byID[id] = m
		}
		return m
	}
	c.raft.Read(func(machine *session.Machine) {
		for _, known := range machine.Members() {
			m := member(known.ID)
			m.Name, m.Peer, m.HTTP = known.Name, known.Peer, known.HTTP
			m.ReadReplica, m.Pin = known.ReadReplica, known.Pin.String()
		}
	})
	for _, g := range c.gossip.Members() {
		if g.ID == "" {
			continue
		}
		m := member(g.ID)
		m.State, m.Name, m.Peer, m.HTTP = string(g.State), g.Name, g.Peer, g.HTTP
	}
	if servers, err := c.raft.Servers(); err == nil {
		for _, s := range servers {
			m := member(s.ID)
			m.Role = "non-voter"
			if s.Voter {
				m.Role = "voter"
			}
			m.Leader = s.ID == c.raft.LeaderID()
		}
	}
	c.askApplied(ctx, byID)
	list := make([]Member, 0, len(byID))
	for _, m := range byID {
		// A node that left for good stays in gossip's memory for a while: it is no member.
		if m.Role != "none" || m.State == string(gossip.StateAlive) {
			list = append(list, *m)
		}
	}
	sort.Slice(list, func(i, j int) bool {
		return list[i].Name < list[j].Name || list[i].Name == list[j].Name && list[i].ID < list[j].ID
	})
	return list
}

func (c *Cluster) askApplied(ctx context.Context, members map[string]*Member) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var group sync.WaitGroup
	for _, m := range members {
		switch {
		case m.Self:
			m.AppliedIndex = c.raft.Applied()
		case m.State == string(gossip.StateAlive):
			group.Go(func() {
				if answer, err := c.dial.Call(ctx, m.ID, kindStatus, nil); err == nil && len(answer) == 8 {
					m.AppliedIndex = binary.BigEndian.Uint64(answer)
				}
			})
		}
	}
	group.Wait()
}

// Stats returns this node's counters.
func (c *Cluster) Stats() Stats {
	r, p, l, k, w := c.raft.Stats(), c.proposer.Stats(), c.reader.Stats(), c.keeper.Stats(), c.wire.Stats()
	s := Stats{
		ClusterID: c.roster.ClusterID(), NodeID: c.id(), Name: c.cfg.Name,
		LeaderID: c.raft.LeaderID(), IsLeader: c.raft.IsLeader(),
		Term: r.Term, LastLogIndex: r.LastLogIndex, CommitIndex: r.CommitIndex, AppliedIndex: r.Applied,
		Elections: r.Elections, Snapshots: r.Snapshots, Restores: r.Restores, LastContact: r.LastContact.Seconds(),
		QueuedCommands: p.Queued, Proposed: p.Proposed, Refused: p.Refused, Unknown: p.Unknown,
		Entries: p.Entries, EntryCommands: p.EntryCommands,
		LookupsLocal: l.Local, LookupsQuorum: l.Quorum, QuorumRounds: l.Rounds,
		PeerConns: w.StreamsIn + w.StreamsOut + w.Raft, Denied: p.Denied,
		Idle: k, Disk: c.room.disk.Stats(), Memory: c.room.memory.Stats(),
	}
	c.raft.Read(func(m *session.Machine) {
		s.Machine = m.Stats()
		if leader, ok := m.Member(s.LeaderID); ok {
			s.Leader = leader.Name
		}
	})
	for _, m := range c.gossip.Members() {
		switch m.State {
		case gossip.StateAlive:
			s.GossipAlive++
		case gossip.StateFailed:
			s.GossipFailed++
		}
	}
	return s
}
