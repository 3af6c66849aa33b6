package cluster

import (
	"slices"
	"strings"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/gossip"
	"cloakroom/cluster/session"
)

// leaderlessAfter is how long a member knows of no leader before its log says so in plain words. An election takes a second
// or two; gossip takes some ten until it has found out that two others are gone, and the line is to name them.
const leaderlessAfter = 15 * time.Second

// readyGrace is how long a node that has lost its leader goes on to want requests. In an election all nodes are without one
// at once: were none of them ready, a load balancer would refuse what they let wait, which is longer (propose.LeaderWait,
// lookup.LeaderWait). It has room for two elections, since votes may be split. A node that is cut off wants requests for as
// much longer.
const readyGrace = 2 * time.Second

// mindLeader keeps account of since when this node knows of no leader, and says so in the log, who is missing, and that it
// is over. Of the library's own words, which are many, none says what that means for users.
func (c *Cluster) mindLeader() {
	var since time.Time // since when this member knows of no leader; zero: it knows of one, or is no member
	told := false
	for {
		changed := c.raft.Changed() // before the question, so that no change is missed
		due := leaderlessAfter
		leader, voters := c.raft.LeaderID(), c.voters()
		if now := time.Now(); leader == "" {
			c.leaderless.CompareAndSwap(nil, &now)
		} else {
			c.leaderless.Store(nil)
		}
		switch {
		case leader != "" || len(voters) == 0:
			if told && leader != "" {
				c.logger.Info("there is a leader again", "leader", c.nameOf(leader), "after", time.Since(since).Round(time.Second))
			}
			since, told = time.Time{}, false
		case since.IsZero():
			since = time.Now()
		case time.Since(since) < leaderlessAfter:
			due -= time.Since(since)
		case !told:
			c.tellLeaderless(voters)
			told = true
		}
		select {
		case <-c.ctx.Done():
			return
		case <-changed:
		case <-time.After(due):
		}
	}
}

// electing reports whether this node has lost its leader so lately that there is likely to be another one soon. What it
// knows of the time before it has heard of a leader is nothing: see Ready.
func (c *Cluster) electing() bool {
	since := c.leaderless.Load() // nil: lost just now
	return since == nil || time.Since(*since) < readyGrace
}

// voters returns those of the configuration, if this node is in it. One that belongs to no cluster yet waits for no leader.
func (c *Cluster) voters() (voters []string) {
	servers, err := c.raft.Servers()
	if err != nil || !slices.ContainsFunc(servers, func(s consensus.Server) bool { return s.ID == c.id() }) {
		return nil
	}
	for _, s := range servers {
		if s.Voter {
			voters = append(voters, s.ID)
		}
	}
	return voters
}

func (c *Cluster) tellLeaderless(voters []string) {
	alive := map[string]bool{c.id(): true}
	for _, m := range c.gossip.Members() {
		alive[m.ID] = alive[m.ID] || m.State == gossip.StateAlive
	}
	var there, missing []string
	for _, id := range voters {
		if alive[id] {
			there = append(there, c.nameOf(id))
		} else {
			missing = append(missing, c.nameOf(id))
		}
	}
	slices.Sort(there)
	slices.Sort(missing)
	c.logger.Error("no leader is known: logins and changes are refused here, and lookups once the lease has run out",
		"voters", len(voters), "needed", len(voters)/2+1, "alive", strings.Join(there, ","), "missing", strings.Join(missing, ","))
}

// nameOf returns a member's name, or its id where that is all that is known.
func (c *Cluster) nameOf(id string) string {
	name := id
	c.raft.Read(func(m *session.Machine) {
		if member, known := m.Member(id); known {
			name = member.Name
		}
	})
	return name
}
