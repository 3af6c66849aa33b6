package cluster

import (
	"context"
	"sync/atomic"
	"time"

	"cloakroom/cluster/guard"
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
// alone, hands over; where nobody could take the office, or most disks are full, what would store more is refused.
func (c *Cluster) mindOffice(ctx context.Context) {
	for {
		c.judgeRoom(ctx)
		if c.draining.Load() && c.others() {
			if err := c.raft.Transfer(ctx, ""); err != nil {
				c.logger.Debug("leadership not handed over, will be tried again", "error", err)
			}
		}
		pause := time.NewTimer(guard.CheckInterval)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
	}
}

func (c *Cluster) judgeRoom(ctx context.Context) {
	ownDisk, ownMemory := c.room.own()
	low := !c.roster.Room()
	if ownDisk && !low {
		low = !c.handOverForRoom(ctx)
	}
	c.room.diskLow.Store(low)
	full := 0
	health := c.roster.Health()
	for _, h := range health {
		if h.Answers && h.MemoryFull {
			full++
		}
	}
	// All nodes hold the same sessions. A single small machine must not stop the others.
	c.room.memoryFull.Store(ownMemory || full > len(health)/2)
}

// handOverForRoom gives the leadership to a voter with room on its disk; false: nobody took it.
func (c *Cluster) handOverForRoom(ctx context.Context) bool {
	servers, err := c.raft.Servers()
	if err != nil {
		return false
	}
	health := c.roster.Health()
	for _, s := range servers {
		if h := health[s.ID]; s.Voter && s.ID != c.id() && h.Answers && !h.DiskLow {
			c.logger.Warn("the disk of this leader is nearly full: another node is to lead", "to", s.ID)
			err := c.raft.Transfer(ctx, s.ID)
			if err == nil || !c.raft.IsLeader() {
				return true
			}
			c.logger.Warn("leadership not handed over, so nothing new is stored", "error", err)
		}
	}
	return false
}
