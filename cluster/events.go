package cluster

import (
	"context"
	"time"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/session"
)

// hookEvents tells whoever keeps records what the state machine does by its own rules. Every node applies every command;
// the leader is the one that tells. One that is about to lose its office may tell what the next one tells, too, and what is
// applied between two leaders nobody may: the log is the truth, this is a diary.
func (c *Cluster) hookEvents(cfg *consensus.Config) {
	if c.cfg.OnEnd != nil {
		cfg.OnEnd = func(s *session.Session, t session.Tombstone) {
			if c.leading.Load() {
				c.cfg.OnEnd(s, t)
			}
		}
	}
	cfg.OnCommand = func(cmd session.Command, result session.Result) {
		c.changes.command(cmd)
		if c.cfg.OnMember == nil || result.Err != nil || !c.leading.Load() {
			return
		}
		switch cmd := cmd.(type) {
		case *session.PutMember:
			c.cfg.OnMember("put", cmd.Member)
		case *session.RemoveMember:
			if !c.roster.Ordered(cmd.ID) { // there since before this node led
				c.cfg.OnMember("removed", session.Member{ID: cmd.ID})
			}
		}
	}
}

// Leading reports whether this node has taken office as the leader, and does not know that it has lost it.
func (c *Cluster) Leading() bool { return c.leading.Load() }

// modernPause is how long a leader waits before it looks again whether all members know the newest commands.
const modernPause = 10 * time.Second

// modernize proposes the first command of the newest version as soon as all members know it: from then on the machine keeps
// what older builds could not, such as who has ended a session, and for how long that is told.
func (c *Cluster) modernize(ctx context.Context) {
	for {
		modern := false
		c.raft.Read(func(m *session.Machine) { modern = m.Modern() })
		if modern {
			return
		}
		nothing := &session.SetRoles{} // of nobody: it changes nothing but that
		if c.known() >= session.VersionOf(nothing) {
			if _, err := c.Do(ctx, nothing); err != nil {
				c.logger.Debug("the newest commands are not in use yet, will be tried again", "error", err)
			}
		}
		if !sleep(ctx, modernPause) {
			return
		}
	}
}
