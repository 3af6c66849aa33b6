package cluster_test

import (
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/history"
	"cloakroom/cluster/idle"
	"cloakroom/cluster/session"
)

// wall is the wall clock of a machine. It can be set while a node runs.
type wall struct {
	offset atomic.Int64 // nanoseconds
	read   atomic.Int64 // how often
}

func (w *wall) option(c *cluster.Config) {
	right := idle.System()
	c.Clocks = &idle.Source{Mono: right.Mono, Wall: func() time.Time {
		w.read.Add(1)
		return time.Now().Add(time.Duration(w.offset.Load()))
	}}
}

// slowDisk is a log store that takes its time.
type slowDisk struct {
	raft.LogStore
	pause  atomic.Int64 // nanoseconds a write
	slowed atomic.Int64 // writes
}

// StoreLog stores one entry.
func (d *slowDisk) StoreLog(log *raft.Log) error { return d.StoreLogs([]*raft.Log{log}) }

// StoreLogs stores entries, late.
func (d *slowDisk) StoreLogs(logs []*raft.Log) error {
	if pause := d.pause.Load(); pause > 0 {
		d.slowed.Add(1)
		time.Sleep(time.Duration(pause))
	}
	return d.LogStore.StoreLogs(logs)
}

// DeleteRange deletes entries. An empty log has none: the store in memory would lose count of what it holds.
func (d *slowDisk) DeleteRange(first, last uint64) error {
	if at, err := d.FirstIndex(); err != nil || at == 0 {
		return err
	}
	return d.LogStore.DeleteRange(first, last)
}

// patient is a node that, cut off, takes itself for the leader for longer than leases last and others need to elect one.
const (
	patient  = "n1"
	stubborn = 2 * time.Second
)

// slowable puts a node's log on a disk that can be slow.
func (s *stage) slowable(name string) option {
	return func(c *cluster.Config) {
		tune := c.Tune
		c.Tune = func(c *consensus.Config) {
			tune(c)
			disk, ok := c.Stores.Log.(*slowDisk)
			if !ok {
				disk = &slowDisk{LogStore: c.Stores.Log}
				c.Stores.Log = disk
			}
			s.disks[name] = disk
			if name == patient {
				c.Heartbeat, c.Election, c.Lease = stubborn, stubborn, stubborn
			}
		}
	}
}

// harms is when nodes were lost or cut off. What only such a node knew may be lost with it.
type harms struct {
	begun time.Time
	spans []*harm
}

type harm struct {
	node     string
	from, to time.Duration // to 0: it is not over
}

// begin notes a harm; the function that is returned ends it.
func (h *harms) begin(nodes ...string) (end func()) {
	var spans []*harm
	for _, node := range nodes {
		spans = append(spans, &harm{node: node, from: time.Since(h.begun)})
	}
	h.spans = append(h.spans, spans...)
	return func() {
		for _, s := range spans {
			s.to = time.Since(h.begun)
		}
	}
}

// firm reports whether a use was made on a node that had the time to tell of it.
func (h *harms) firm(op *history.Operation) bool {
	for _, s := range h.spans {
		if s.node == op.Node && op.Ended+session.TouchSlack+time.Second > s.from && (s.to == 0 || op.Begun < s.to) {
			return false
		}
	}
	return true
}
