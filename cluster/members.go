package cluster

import (
	"context"
	"encoding/binary"
	"sort"
	"sync"
	"time"

	"cloakroom/cluster/gossip"
	"cloakroom/cluster/guard"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// kindStatus asks a node for the index that it has applied. Answer: 8 bytes. The roster's question says that and more; this
// one is for nodes of the first version, which ask and know no other.
const kindStatus wire.Kind = 64

// statusTimeout bounds the question, for a page that a person waits for.
const statusTimeout = 300 * time.Millisecond

func (c *Cluster) serveStatus(context.Context, wire.Peer, []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint64(nil, c.raft.Applied()), nil
}

// Members returns the nodes that raft's configuration, the roster or gossip know of, by name. It asks the others how they
// are.
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
			m.ReadReplica, m.Pin, m.Version = known.ReadReplica, known.Pin.String(), known.MaxVersion
		}
	})
	for _, g := range c.gossip.Members() {
		if g.ID == "" {
			continue
		}
		m := member(g.ID)
		m.State, m.Name, m.Peer, m.HTTP, m.Version = string(g.State), g.Name, g.Peer, g.HTTP, g.MaxVersion
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
	c.askThem(ctx, byID)
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

// askThem asks the members that gossip finds alive how they are. Of one that does not answer in time nothing is known.
func (c *Cluster) askThem(ctx context.Context, members map[string]*Member) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var group sync.WaitGroup
	for _, m := range members {
		if m.Self || m.State == string(gossip.StateAlive) {
			group.Go(func() { c.ask(ctx, m) })
		}
	}
	group.Wait()
}

func (c *Cluster) ask(ctx context.Context, m *Member) {
	health, ok := c.roster.Ask(ctx, m.ID)
	if !ok {
		return
	}
	m.AppliedIndex, m.Draining, m.DiskLow, m.MemoryFull = health.Applied, health.Draining, health.DiskLow, health.MemoryFull
	if m.AppliedIndex > 0 || m.Self {
		return
	}
	if answer, err := c.dial.Call(ctx, m.ID, kindStatus, nil); err == nil && len(answer) == 8 {
		m.AppliedIndex = binary.BigEndian.Uint64(answer)
	}
}

// Stats returns this node's counters.
func (c *Cluster) Stats() Stats {
	r, p, l, k, w := c.raft.Stats(), c.proposer.Stats(), c.reader.Stats(), c.keeper.Stats(), c.wire.Stats()
	s := Stats{
		ClusterID: c.roster.ClusterID(), NodeID: c.id(), Name: c.cfg.Name,
		LeaderID: c.raft.LeaderID(), IsLeader: c.raft.IsLeader(), Version: c.known(),
		Term: r.Term, LastLogIndex: r.LastLogIndex, CommitIndex: r.CommitIndex, AppliedIndex: r.Applied,
		Elections: r.Elections, Snapshots: r.Snapshots, Restores: r.Restores, LastContact: r.LastContact.Seconds(),
		LogWrites: r.Store.Took, LogLongestWrite: r.Store.Longest.Seconds(), Commits: r.Commit, Applies: r.Apply, Pending: r.Pending,
		QueuedCommands: p.Queued, Proposed: p.Proposed, Refused: p.Refused, Unknown: p.Unknown,
		Entries: p.Entries, EntryCommands: p.EntryCommands,
		PeerConns: w.StreamsIn + w.StreamsOut + w.Raft, Denied: p.Denied, AtRest: r.AtRest,
		Lookup: l, Idle: k, Tries: c.tries.Stats(), Disk: c.room.disk.Stats(), Memory: c.room.memory.Stats(), Parts: MemoryParts{Parts: guard.ReadParts()},
	}
	c.raft.Read(func(m *session.Machine) {
		s.Machine = m.Stats()
		s.Parts.Sessions = m.Slabs()
		s.Parts.SessionsSpare = m.SlabsTaken() - s.Parts.Sessions
		if leader, ok := m.Member(s.LeaderID); ok {
			s.Leader = leader.Name
		}
	})
	heard := c.gossip.Stats()
	s.Keys = keyStats(w, heard)
	s.PeersRefused, s.PeersCrowded, s.PeersMalformed = w.Refused, w.Crowded+heard.Crowded, w.Malformed
	s.GossipRefused, s.GossipReplayed = heard.RefusedPackets+heard.RefusedStreams, heard.Replayed
	s.GossipHealth, s.GossipFailures = heard.Health, heard.Failures
	s.GossipChanges = heard.Joins + heard.Updates + heard.Leaves + heard.Failures
	alive := map[string]bool{c.id(): true}
	for _, m := range c.gossip.Members() {
		switch m.State {
		case gossip.StateAlive:
			s.GossipAlive++
			alive[m.ID] = true
		case gossip.StateFailed:
			s.GossipFailed++
		}
	}
	s.MembersMissing = c.missing(alive)
	return s
}

// missing counts the members that gossip does not find alive. What gossip has seen fail is no measure of that: it forgets a
// member that is lost after some minutes, and remembers one that was replaced or removed for as long.
func (c *Cluster) missing(alive map[string]bool) (n int) {
	servers, err := c.raft.Servers()
	if err != nil {
		return 0 // the node is stopping
	}
	for _, s := range servers {
		if !alive[s.ID] {
			n++
		}
	}
	return n
}
