package consensus

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

// broken are the ways of a disk to be of no use, and what people are told.
var broken = map[string]struct {
	fault diskFault
	want  error
	says  string
}{
	"fails":  {diskFault{err: errors.New("input/output error")}, nil, "input/output error"},
	"full":   {diskFault{err: full}, storage.ErrDiskFull, "no space left on the disk of the data directory"},
	"stalls": {diskFault{stall: 2 * time.Minute}, storage.ErrStalled, "not done after 10s: the disk of the data directory takes too long"},
}

// gaveUp checks what a node said when it gave up.
func (c *trio) gaveUp(id string, want error, says string) {
	c.t.Helper()
	err := c.fatal.of(id)
	if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
		c.t.Errorf("%s says %v; want %q", id, err, says)
	}
	if coded, ok := errors.AsType[*session.Error](err); want != nil && (!ok || !strings.HasPrefix(coded.Code, "disk-")) {
		c.t.Errorf("%s: %v has no code of a disk", id, err)
	}
}

// TestBadDiskOfLeader: a leader that can't write gives up and is replaced; without it nobody would notice, for it goes on
// with its heartbeats. It says why, what it holds is readable, and with a good disk it catches up.
func TestBadDiskOfLeader(t *testing.T) {
	for name, test := range broken {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
				id := c.leader().cfg.NodeID
				kept := c.role(1)
				c.must(kept)
				c.disks[id].breaks(test.fault, logPart)
				start := time.Now()
				future := c.nodes[id].Propose(t.Context(), encode(t, c.role(1)))
				if _, err := future.Wait(t.Context()); !errors.Is(err, ErrLeadershipLost) {
					t.Errorf("the proposal: %v", err)
				}
				next := c.leader(without(id)...)
				if took := time.Since(start); took > 15*time.Second {
					t.Errorf("it took %v to replace it", took)
				}
				c.mustAt(next, c.role(1))
				c.gaveUp(id, test.want, test.says)
				c.stop(id)
				c.disks[id].isRepaired()
				if !hasRole(c.start(id), kept.Name) {
					c.equal()
				}
				if !hasRole(c.nodes[id], kept.Name) {
					t.Error("what was acknowledged is gone")
				}
				c.equal()
			})
		})
	}
}

// TestBadDiskOfFollower: one that can't store entries, or can't clear the end of its log, gives up too. The others go on.
func TestBadDiskOfFollower(t *testing.T) {
	for name, test := range broken {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
				leader := c.leader()
				id := without(leader.cfg.NodeID)[0]
				c.disks[id].breaks(test.fault, logPart)
				for range 20 {
					c.mustAt(leader, c.role(1))
					time.Sleep(time.Second)
				}
				if !leader.IsLeader() || leader.Stats().Elections != 1 {
					t.Error("the leader was lost over a follower's disk")
				}
				c.gaveUp(id, test.want, test.says)
				c.stop(id)
				c.disks[id].isRepaired()
				c.start(id)
				c.equal()
			})
		})
	}
}

// TestBadDiskAtTruncation: a former leader must clear the end of its log, and can't.
func TestBadDiskAtTruncation(t *testing.T) {
	for name, test := range broken {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
				old := c.leader()
				id := old.cfg.NodeID
				c.net.Partition([]string{id}, without(id))
				for range 10 {
					old.Propose(t.Context(), encode(t, c.role(1)))
				}
				next := c.leader(without(id)...)
				c.mustAt(next, c.role(1))
				time.Sleep(10 * time.Second) // it has stepped down, and writes nothing
				c.disks[id].breaks(test.fault, logPart)
				c.net.Heal()
				time.Sleep(30 * time.Second)
				c.gaveUp(id, test.want, test.says)
				c.stop(id)
				c.disks[id].isRepaired()
				c.start(id)
				c.equal()
			})
		})
	}
}

// TestBadDiskAtElection: a node that can't store the new term or its vote gives up, without a panic and without a vote;
// those whose disks are good elect.
func TestBadDiskAtElection(t *testing.T) {
	for name, test := range broken {
		for written := range 3 { // the term, the vote's term, the vote
			t.Run(name, func(t *testing.T) {
				inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
					old := c.leader()
					others := without(old.cfg.NodeID)
					bad, next := others[0], others[1]
					c.equal()
					fault := test.fault
					fault.after = written
					c.disks[bad].breaks(fault, stablePart)
					// Who hears of the new leader before it is asked for its vote writes the term alone.
					for elections := 0; elections < 5 && c.fatal.of(bad) == nil; elections++ {
						leader := c.leader(next, old.cfg.NodeID)
						to := next
						if leader.cfg.NodeID == next {
							to = old.cfg.NodeID
						}
						if err := leader.Transfer(t.Context(), to); err != nil {
							t.Fatal(err)
						}
						c.mustAt(c.leader(next, old.cfg.NodeID), c.role(1))
						time.Sleep(time.Minute)
					}
					c.gaveUp(bad, test.want, test.says)
					c.stop(bad)
					c.disks[bad].isRepaired()
					c.start(bad)
					c.equal()
				})
			})
		}
	}
}

// TestBadDiskOfCandidate: it can't vote for itself.
func TestBadDiskOfCandidate(t *testing.T) {
	for name, test := range broken {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
				old := c.leader()
				bad := without(old.cfg.NodeID)[0]
				c.equal()
				c.disks[bad].breaks(test.fault, stablePart)
				if err := old.Transfer(t.Context(), bad); err == nil {
					t.Error("the leadership was handed to it")
				}
				time.Sleep(time.Minute)
				c.mustAt(c.leader(without(bad)...), c.role(1))
				c.gaveUp(bad, test.want, test.says)
				c.stop(bad)
				c.disks[bad].isRepaired()
				c.start(bad)
				c.equal()
			})
		})
	}
}

// TestFullDiskAtStart: a node that is started before there is room says so once more, and does not panic.
func TestFullDiskAtStart(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		id := c.leader().cfg.NodeID
		c.equal()
		c.stop(id)
		c.disks[id].breaks(diskFault{err: full}, logPart, stablePart, snapshotPart)
		c.start(id)
		c.must(c.role(1))
		time.Sleep(10 * time.Second)
		c.gaveUp(id, storage.ErrDiskFull, "no space left on the disk of the data directory")
		c.stop(id)
		c.disks[id].isRepaired()
		c.start(id)
		c.equal()
	})
}

// TestSnapshotAgain: a snapshot that was not possible is tried again, though nothing more is written.
func TestSnapshotAgain(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, network *clustertest.Network) {
		out := &logBuffer{}
		c := newTrio(t, network, Config{SnapshotBytes: 1000, Logger: out.logger()})
		c.disks["n1"] = &badDisk{}
		c.disks["n1"].breaks(diskFault{err: full, times: 3}, snapshotPart)
		n := c.start("n1")
		if err := n.Bootstrap(c.servers("n1")); err != nil {
			t.Fatal(err)
		}
		c.must(c.role(1000))
		time.Sleep(time.Minute)
		if s := n.Stats(); s.Snapshots != 1 || s.LogBytes != 0 {
			t.Errorf("%d snapshots, %d bytes of log beyond the last", s.Snapshots, s.LogBytes)
		}
		if said := strings.Count(out.String(), "a snapshot was not possible"); said != 3 {
			t.Errorf("said so %d times", said)
		}
		if !strings.Contains(out.String(), storage.ErrDiskFull.Message) {
			t.Error("nothing was said of the full disk")
		}
		if err := c.fatal.of("n1"); err != nil {
			t.Errorf("it gave up: %v", err)
		}
	})
}

// TestBadDiskAtSnapshot: wherever a snapshot's writing fails (its directory, its content, its end), nothing is lost and
// the next one is whole; where it stalls, the node gives up.
func TestBadDiskAtSnapshot(t *testing.T) {
	writes := 0
	for failed := true; failed; writes++ {
		inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
			leader := c.leader()
			id := leader.cfg.NodeID
			c.disks[id].breaks(diskFault{err: full, after: writes, times: 1}, snapshotPart)
			err := leader.Snapshot(t.Context())
			if failed = err != nil; !failed {
				return
			}
			if !strings.Contains(err.Error(), storage.ErrDiskFull.Message) {
				t.Errorf("after %d writes: %v", writes, err)
			}
			if err := leader.Snapshot(t.Context()); err != nil {
				t.Errorf("after %d writes: the next one: %v", writes, err)
			}
			c.disks[id].breaks(diskFault{stall: time.Minute, after: writes, times: 1}, snapshotPart)
			c.mustAt(leader, c.role(1))
			if err := leader.Snapshot(t.Context()); !errors.Is(err, ErrShutdown) {
				t.Errorf("a snapshot that stalls: %v", err)
			}
			c.mustAt(c.leader(without(id)...), c.role(1))
			c.gaveUp(id, storage.ErrStalled, broken["stalls"].says)
		})
	}
	if writes < 4 {
		t.Errorf("a snapshot took %d writes", writes-1)
	}
}

// TestFullDiskAtInstall: a follower without room for the leader's snapshot stays, and takes it when there is room.
func TestFullDiskAtInstall(t *testing.T) {
	clustertest.Run(t, 1, func(t *testing.T, network *clustertest.Network) {
		out := &logBuffer{}
		c := newTrio(t, network, Config{TrailingLogs: 4, Logger: out.logger()})
		for _, id := range []string{"n1", "n2", "n3"} {
			c.start(id)
		}
		if err := c.nodes["n1"].Bootstrap(c.servers("n1", "n2", "n3")); err != nil {
			t.Fatal(err)
		}
		leader := c.leader()
		lagging := without(leader.cfg.NodeID)[0]
		c.net.Partition([]string{lagging}, without(lagging))
		for range 100 {
			c.mustAt(leader, c.role(10))
		}
		if err := leader.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.disks[lagging].breaks(diskFault{err: full, after: 1}, snapshotPart)
		c.net.Heal()
		time.Sleep(time.Minute)
		if s := c.nodes[lagging].Stats(); s.Restores != 0 || c.fatal.of(lagging) != nil {
			t.Errorf("%d restores, %v", s.Restores, c.fatal.of(lagging))
		}
		if !strings.Contains(out.String(), storage.ErrDiskFull.Message) {
			t.Error("nothing was said of the full disk")
		}
		c.disks[lagging].isRepaired()
		c.equal()
		if s := c.nodes[lagging].Stats(); s.Restores != 1 {
			t.Errorf("%d restores", s.Restores)
		}
	})
}
