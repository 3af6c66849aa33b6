package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"cloakroom/cluster/session"
)

// officePause is the pause before a new leader tries again to name its cluster.
const officePause = 50 * time.Millisecond

// leadWhenElected does a leader's work while this node is one.
func (c *Cluster) leadWhenElected() {
	for {
		changed := c.raft.Changed() // before the question, so that no change is missed
		if c.raft.IsLeader() {
			c.lead()
		}
		select {
		case <-c.ctx.Done():
			return
		case <-changed:
		}
	}
}

// lead runs from an election until the office is lost.
func (c *Cluster) lead() {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	term := c.raft.Term()
	c.clock.Lead(ctx, c.raft, c.otherServers, c.dial)
	defer c.reader.Deposed()
	if !c.takeOffice(ctx, term) {
		return
	}
	c.logger.Info("this node leads", "term", term)
	c.leading.Store(true)
	defer c.leading.Store(false)
	var work sync.WaitGroup
	work.Go(func() { c.keeper.Lead(ctx) })
	work.Go(func() { c.roster.Lead(ctx) })
	work.Go(func() { c.mindOffice(ctx) })
	work.Go(func() { c.modernize(ctx) })
	for ctx.Err() == nil {
		changed := c.raft.Changed()
		if !c.leads(term) {
			c.logger.Info("this node does not lead any more", "term", term)
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	cancel()
	work.Wait()
	c.room.forget()
}

// otherServers returns the ids of the others in the configuration.
func (c *Cluster) otherServers() []string {
	return slices.DeleteFunc(c.servers(), func(id string) bool { return id == c.id() })
}

// leads reports whether this node is the leader of the term. The term is read first: an office once lost comes back in
// a later term only, so a node that leads after it was read leads in it or in a later one, which the second look tells.
func (c *Cluster) leads(term uint64) bool {
	return c.raft.Term() == term && c.raft.IsLeader() && c.raft.Term() == term
}

// takeOffice proves the term by a command of its own: everything that was acknowledged before is applied then. A cluster
// without a name gets one.
func (c *Cluster) takeOffice(ctx context.Context, term uint64) bool {
	if !c.reader.Lead(ctx, term) {
		return false
	}
	for c.leads(term) {
		if c.name(ctx) {
			return true
		}
		if !sleep(ctx, officePause) {
			return false
		}
	}
	return false
}

// sleep waits for so long; false: ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// name gives a new cluster its id. A cluster that has one by now keeps it.
func (c *Cluster) name(ctx context.Context) bool {
	var named bool
	c.raft.Read(func(m *session.Machine) { named = m.ClusterID() != "" })
	if named {
		return true
	}
	_, err := c.Do(ctx, &session.Genesis{
		ClusterID: uuid.NewString(), RealmID: uuid.NewString(), AdminID: uuid.NewString(), ServiceID: uuid.NewString(),
	})
	if err != nil {
		c.logger.Warn("new cluster not named, will be tried again", "error", err)
	}
	return err == nil
}
