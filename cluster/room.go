package cluster

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/guard"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
)

// room is what this node knows of its disk and its memory, and as leader decides for all.
type room struct {
	disk   *guard.Disk
	memory *guard.Memory
	raft   atomic.Pointer[consensus.Node] // whose table is in memory; nil: not open yet

	diskLow, memoryFull atomic.Bool // what the leader refuses by
}

func (c *Cluster) openRoom() (err error) {
	c.room.disk, err = guard.OpenDisk(guard.DiskConfig{Path: c.data.path, Reserve: c.cfg.DiskReserve, Logger: c.logger})
	if err != nil {
		return err
	}
	c.room.memory = guard.OpenMemory(guard.MemoryConfig{Limit: c.cfg.MemoryLimit, Logger: c.logger, Slabs: c.room.slabs})
	return nil
}

func (r *room) close() {
	if r.disk != nil {
		r.disk.Close()
	}
	if r.memory != nil {
		r.memory.Close()
	}
}

// slabs is how much of the memory the collector does not know of.
func (r *room) slabs() int64 {
	if node := r.raft.Load(); node != nil {
		return node.Slabs()
	}
	return 0
}

// own is what the leader asks each node for.
func (r *room) own() (diskLow, memoryFull bool) { return r.disk.Low(), r.memory.Full() }

// admit is the leader's word on a command.
func (r *room) admit(cmd session.Command) error {
	return guard.Admit(cmd, r.diskLow.Load(), r.memoryFull.Load())
}

// forget ends what the leader refuses by. A later office begins with what its members say, not with what they have said.
func (r *room) forget() {
	r.diskLow.Store(false)
	r.memoryFull.Store(false)
}

// known is the highest version of commands that every member knows.
func (c *Cluster) known() uint8 {
	servers, err := c.raft.Servers()
	if err != nil {
		return session.MinVersion
	}
	known := c.cfg.version()
	c.raft.Read(func(m *session.Machine) {
		for _, s := range servers {
			known = min(known, c.knownBy(m, s.ID))
		}
	})
	return known
}

// knownBy is the highest version of commands that a server knows. One that the roster does not know of yet has not said
// what it knows.
func (c *Cluster) knownBy(m *session.Machine, id string) uint8 {
	member, found := m.Member(id)
	switch {
	case found:
		return member.MaxVersion
	case m.Modern(): // no older build is let in any more
		return c.cfg.version()
	}
	return session.MinVersion
}

// mindOffice looks after a leader's fitness for its office until ctx ends. One with a full disk, or that is to be left
// alone, hands over to one that is fit. Where nobody is, a full disk refuses what would store more, and so do most disks.
// It waits for the first answers of the members: before, nobody seems fit.
func (c *Cluster) mindOffice(ctx context.Context) {
	for ok := true; ok; ok = sleep(ctx, guard.CheckInterval) {
		if health := c.roster.Health(); len(health) > 0 {
			c.judgeOffice(ctx, health)
		}
	}
}

func (c *Cluster) judgeOffice(ctx context.Context, health map[string]roster.Health) {
	ownDisk, ownMemory := c.room.own()
	own := health[c.id()] // of the last round of questions, which this one is ahead of
	own.DiskLow, own.MemoryFull = ownDisk, ownMemory
	health[c.id()] = own
	stays := true
	if ownDisk || c.draining.Load() {
		stays = !c.handOver(ctx)
	}
	c.decide(&c.room.diskLow, !c.roster.Room() || ownDisk && stays, "disks", health, func(h roster.Health) bool { return h.DiskLow })
	full := 0
	for _, h := range health {
		if h.Answers && h.MemoryFull {
			full++
		}
	}
	// All nodes hold the same sessions. A single small machine must not stop the others.
	c.decide(&c.room.memoryFull, ownMemory || full > len(health)/2, "memory", health, func(h roster.Health) bool { return h.MemoryFull })
}

// decide notes whether the leader refuses what is new, and says so when that changes: users are told by then, and each
// node's own warning may be hours old.
func (c *Cluster) decide(refuse *atomic.Bool, now bool, what string, health map[string]roster.Health, short func(roster.Health) bool) {
	switch {
	case refuse.Swap(now) == now:
	case now:
		c.logger.Warn("nothing new is stored any more in the whole cluster, for want of room", "room", what,
			"without", c.namesOf(health, short), "silent", c.namesOf(health, func(h roster.Health) bool { return !h.Answers }))
	default:
		c.logger.Info("there is room again, and what is new is stored", "room", what)
	}
}

// namesOf returns the names of the members that something is so of, in order.
func (c *Cluster) namesOf(health map[string]roster.Health, so func(roster.Health) bool) string {
	var names []string
	for id, h := range health {
		if so(h) {
			names = append(names, c.nameOf(id))
		}
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// handOver gives the leadership to a voter that is fit for it; false: there is none, or it did not take it.
func (c *Cluster) handOver(ctx context.Context) bool {
	err := c.roster.HandOver(ctx, !c.draining.Load())
	if err != nil {
		c.logger.Debug("leadership not handed over, will be tried again", "error", err)
		return false
	}
	c.logger.Info("leadership handed over", "disk_low", c.room.disk.Low(), "draining", c.draining.Load())
	return true
}
