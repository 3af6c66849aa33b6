package cluster

import (
	"context"
	"sync/atomic"

	"cloakroom/cluster/guard"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
)

// room is what this node knows of its disk and its memory, and as leader decides for all.
type room struct {
	disk   *guard.Disk
	memory *guard.Memory

	diskLow, memoryFull atomic.Bool // what the leader refuses by
}

func (c *Cluster) openRoom() (err error) {
	c.room.disk, err = guard.OpenDisk(guard.DiskConfig{Path: c.data.path, Reserve: c.cfg.DiskReserve, Logger: c.logger})
	if err != nil {
		return err
	}
	c.room.memory = guard.OpenMemory(guard.MemoryConfig{Limit: c.cfg.MemoryLimit, Logger: c.logger})
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

// own is what the leader asks each node for.
func (r *room) own() (diskLow, memoryFull bool) { return r.disk.Low(), r.memory.Full() }

// admit is the leader's word on a command.
func (r *room) admit(cmd session.Command) error {
	return guard.Admit(cmd, r.diskLow.Load(), r.memoryFull.Load())
}

// known is the highest version of commands that every member knows. A server that the roster does not know of yet has
// not said what it knows.
func (c *Cluster) known() uint8 {
	servers, err := c.raft.Servers()
	if err != nil {
		return session.MinVersion
	}
	known := uint8(session.MaxVersion)
	c.raft.Read(func(m *session.Machine) {
		for _, s := range servers {
			member, found := m.Member(s.ID)
			if !found {
				known = session.MinVersion
				return
			}
			known = min(known, member.MaxVersion)
		}
	})
	return known
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
	stays := true
	if ownDisk || c.draining.Load() {
		stays = !c.handOver(ctx)
	}
	c.room.diskLow.Store(!c.roster.Room() || ownDisk && stays)
	full := 0
	for _, h := range health {
		if h.Answers && h.MemoryFull {
			full++
		}
	}
	// All nodes hold the same sessions. A single small machine must not stop the others.
	c.room.memoryFull.Store(ownMemory || full > len(health)/2)
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
