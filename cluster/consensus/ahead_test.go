package consensus

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/storage"
)

// slowDisk is how long the leader's disk takes in these tests: longer than followers need to hear of a commit by whatever
// way, shorter than a stall.
var slowDisk = diskFault{stall: 4 * time.Second, times: 1}

func stored(t *testing.T, s *storage.Stores, index uint64) bool {
	t.Helper()
	last, err := s.Log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	return last >= index
}

// TestLeaderWritesBeside: followers have an entry while the leader still writes it, and until it has, nobody applies it or
// hears that it is committed, though a majority may have it.
func TestLeaderWritesBeside(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		c.equal()
		leader := c.leader()
		id := leader.cfg.NodeID
		followers := without(id)
		c.net.Partition([]string{id, followers[0]}, []string{followers[1]}) // the leader is needed for a majority
		index := leader.raft.LastIndex() + 1
		applied := leader.Applied()
		c.disks[id].breaks(slowDisk, logPart)
		future := leader.Propose(t.Context(), encode(t, c.role(1)))
		more := leader.Propose(t.Context(), encode(t, c.role(1)))
		for range 35 {
			time.Sleep(100 * time.Millisecond) // fake
			if stored(t, c.stores[id], index) {
				t.Fatal("the disk is not slow")
			}
			if !stored(t, c.stores[followers[0]], index+1) {
				t.Fatal("the follower waits for the leader's disk")
			}
			for _, n := range c.nodes {
				if n.Applied() != applied || n.CommitIndex() >= index {
					t.Fatalf("%s has applied %d and heard that %d is committed; %d is not", n.cfg.NodeID, n.Applied(), n.CommitIndex(), index)
				}
			}
		}
		for i, f := range []Future{future, more} {
			if a, err := f.Wait(t.Context()); err != nil || a.Index != index+uint64(i) {
				t.Errorf("applied %+v, %v", a, err)
			}
		}
		if !stored(t, c.stores[id], index+1) {
			t.Error("acknowledged before it was written")
		}
		if !leader.IsLeader() {
			t.Error("it has lost its office for a slow write")
		}
		c.net.Heal()
		c.equal()
	})
}

// TestLeaderDiesBeforeItHasWritten: what the leader has sent and lost was acknowledged to nobody, and applied nowhere.
func TestLeaderDiesBeforeItHasWritten(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		c.equal()
		leader := c.leader()
		id := leader.cfg.NodeID
		has, lacks := without(id)[0], without(id)[1]
		c.stop(lacks) // not cut off: what was sent to it would arrive later
		index := leader.raft.LastIndex() + 1
		c.disks[id].breaks(diskFault{stall: 4 * time.Second, err: errors.New("input/output error")}, logPart)
		lost := c.role(1)
		future := leader.Propose(t.Context(), encode(t, lost))
		time.Sleep(3 * time.Second) // fake
		if !stored(t, c.stores[has], index) || c.nodes[has].Applied() >= index {
			t.Fatal("the follower must have the entry and not apply it")
		}
		if _, err := future.Wait(t.Context()); !errors.Is(err, ErrLeadershipLost) {
			t.Errorf("the proposal: %v", err)
		}
		c.stop(id)
		c.disks[id].isRepaired()
		if stored(t, c.stores[id], index) {
			t.Fatal("it was written all the same")
		}
		// The one that has it is away, and the former leader may win without it.
		c.net.Partition([]string{id, lacks}, []string{has})
		c.start(id)
		c.start(lacks)
		kept := c.role(1)
		next := c.leader(id, lacks)
		c.mustAt(next, kept)
		c.net.Heal()
		c.equal()
		for _, n := range c.nodes {
			if hasRole(n, lost.Name) {
				t.Errorf("%s has applied what was lost", n.cfg.NodeID)
			}
			if !hasRole(n, kept.Name) {
				t.Errorf("%s lacks what was kept", n.cfg.NodeID)
			}
		}
	})
}

// TestOfficeEndsWithTheDisk: a leader that is deposed has written all before it acknowledges anything to the next.
func TestOfficeEndsWithTheDisk(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		c.equal()
		leader := c.leader()
		id := leader.cfg.NodeID
		index := leader.raft.LastIndex() + 1
		c.disks[id].breaks(slowDisk, logPart)
		future := leader.Propose(t.Context(), encode(t, c.role(1)))
		synctest.Wait()
		c.net.Partition([]string{id}, without(id))
		c.leader(without(id)...)
		c.net.Heal()
		for {
			state, last := leader.raft.State(), leader.raft.LastIndex() // before the look at the disk, which may be done in between
			if stored(t, c.stores[id], index) {
				break
			}
			if !slices.Contains([]raft.RaftState{raft.Leader, raft.Follower, raft.Shutdown}, state) {
				t.Fatalf("it is %v before its disk is done", state)
			}
			if last > index {
				t.Fatal("it has taken entries before its disk was done")
			}
			time.Sleep(50 * time.Millisecond) // fake
		}
		if _, err := future.Wait(t.Context()); err != nil && !errors.Is(err, ErrLeadershipLost) {
			t.Errorf("the proposal: %v", err)
		}
		c.equal()
		if e := c.fatal.of(id); e != nil {
			t.Errorf("it gave up: %v", e)
		}
	})
}

// TestAhead is the store by itself.
func TestAhead(t *testing.T) {
	command := func(index uint64) *raft.Log { return &raft.Log{Index: index, Term: 1, Data: []byte{byte(index)}} }
	clustertest.Run(t, 1, func(t *testing.T, _ *clustertest.Network) {
		disk := &badDisk{}
		inner := storage.NewMemoryStores()
		a := newAhead(disk.before(inner).Log)
		slow := func() { disk.breaks(diskFault{stall: time.Second, times: 1}, logPart) }
		took := func(what string, want time.Duration, do func() error) {
			t.Helper()
			start := time.Now()
			if err := do(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if got := time.Since(start); got != want {
				t.Errorf("%s took %v, not %v", what, got, want)
			}
		}
		slow()
		took("a follower's write", time.Second, func() error { return a.StoreLog(command(1)) })
		a.enter(raft.Leader)
		slow()
		took("a leader's write", 0, func() error { return a.StoreLog(command(2)) })
		took("the next", 0, func() error { return a.StoreLogs([]*raft.Log{command(3), command(4)}) })
		var l raft.Log
		for i := uint64(1); i <= 4; i++ {
			if err := a.GetLog(i, &l); err != nil || l.Index != i {
				t.Errorf("entry %d: %+v, %v", i, l, err)
			}
		}
		if last, err := a.LastIndex(); err != nil || last != 4 || a.written(9) != 1 || a.written(1) != 1 {
			t.Errorf("last %d, %v, written %d", last, err, a.written(9))
		}
		took("what is written", 0, func() error { return a.wait(nil, 1) })
		took("what is not", time.Second, func() error { return a.wait(nil, 2) })
		took("all", 0, a.flush)
		if a.written(9) != 9 {
			t.Error("something is not written")
		}
		slow()
		took("one more", 0, func() error { return a.StoreLog(command(5)) })
		took("a configuration", time.Second, func() error { return a.StoreLog(&raft.Log{Index: 6, Type: raft.LogConfiguration}) })
		slow()
		took("one more", 0, func() error { return a.StoreLog(command(7)) })
		synctest.Wait() // it is being written
		took("a removal", time.Second, func() error { return a.DeleteRange(7, 7) })
		synctest.Wait()
		if last, err := inner.Log.LastIndex(); err != nil || last != 6 {
			t.Errorf("last %d after the removal, %v", last, err)
		}
		slow()
		took("one more", 0, func() error { return a.StoreLog(command(7)) })
		took("shutdown", 0, func() error { a.enter(raft.Shutdown); return nil })
		took("the end of the office", time.Second, func() error { a.enter(raft.Follower); return nil })
		if last, err := inner.Log.LastIndex(); err != nil || last != 7 {
			t.Errorf("last %d, %v", last, err)
		}

		a.enter(raft.Leader)
		disk.breaks(diskFault{stall: time.Second, err: full}, logPart)
		took("one more", 0, func() error { return a.StoreLog(command(8)) })
		halted := make(chan struct{})
		close(halted)
		if err := a.wait(halted, 8); !errors.Is(err, ErrShutdown) {
			t.Errorf("halted: %v", err)
		}
		for i, do := range []func() error{
			func() error { return a.wait(nil, 8) }, a.flush, func() error { return a.StoreLog(command(9)) },
			func() error { return a.DeleteRange(1, 1) },
		} {
			if err := do(); !errors.Is(err, full) {
				t.Errorf("%d after a failure: %v", i, err)
			}
		}
		ended := make(chan bool)
		go func() {
			returned := false
			defer func() { ended <- returned }()
			_ = a.GetLog(8, &raft.Log{})
			returned = true
		}()
		if <-ended {
			t.Error("an entry that did not get to the disk was handed out")
		}
		a.close()
	})
}
