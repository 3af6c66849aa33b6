package consensus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/session"
)

func TestProposeRefusals(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		leader := c.leader()
		follower := c.nodes[without(leader.cfg.NodeID)[0]]
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		entry := encode(t, &session.Tick{})
		last := leader.Stats().LastLogIndex
		for _, test := range []struct {
			node  *Node
			ctx   context.Context
			entry []byte
			want  error
		}{
			{follower, t.Context(), entry, ErrNotLeader},
			{leader, gone, entry, context.Canceled},
			{leader, t.Context(), []byte(strings.Repeat("x", MaxEntryBytes+1)), ErrEntryTooLarge},
		} {
			if _, err := test.node.Propose(test.ctx, test.entry).Wait(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		}
		if now := leader.Stats().LastLogIndex; now != last {
			t.Errorf("the log has grown by %d", now-last)
		}
		c.stop(leader.cfg.NodeID)
		if _, err := leader.Propose(t.Context(), entry).Wait(t.Context()); !errors.Is(err, ErrShutdown) {
			t.Errorf("a closed node: %v", err)
		}
		if err := leader.AddVoter(t.Context(), "x", "x:1"); !errors.Is(err, ErrShutdown) {
			t.Errorf("a closed node: %v", err)
		}
	})
}

// TestProposeBound: a leader without a majority takes MaxPending entries, refuses more at once, and loses all of them.
func TestProposeBound(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		leader := c.leader()
		c.net.Partition([]string{leader.cfg.NodeID}, without(leader.cfg.NodeID))
		var futures []Future
		for range MaxPending {
			futures = append(futures, leader.Propose(t.Context(), encode(t, c.role(1))))
		}
		if _, err := leader.Propose(t.Context(), encode(t, c.role(1))).Wait(t.Context()); !errors.Is(err, ErrBusy) {
			t.Errorf("one too many: %v", err)
		}
		soon, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := futures[0].Wait(soon); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a wait that was too short: %v", err)
		}
		for _, f := range futures {
			if _, err := f.Wait(t.Context()); !errors.Is(err, ErrLeadershipLost) {
				t.Fatal(err)
			}
		}
		synctest.Wait() // a place is free a moment after the outcome is told
		if p := leader.Stats().Pending; p != 0 {
			t.Errorf("%d pending", p)
		}
	})
}

// TestCloseResolves: whatever happens to a leader that is closed under load, each proposal ends, and one that ended
// well is on the others too.
func TestCloseResolves(t *testing.T) {
	inFakeTime(t, Config{}, func(t *testing.T, c *trio) {
		c.net.SetDelay(time.Millisecond)
		leader := c.leader()
		type outcome struct {
			name string
			err  error
		}
		outcomes := make(chan outcome, 200)
		for i := range 200 {
			name := fmt.Sprintf("close-%d", i)
			entry := encode(t, role(name, 1))
			go func() {
				_, err := leader.Propose(context.Background(), entry).Wait(context.Background())
				outcomes <- outcome{name, err}
			}()
			if i%50 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		c.stop(leader.cfg.NodeID)
		c.equal()
		for range 200 {
			o := <-outcomes
			switch {
			case o.err == nil && !hasRole(c.leader(), o.name):
				t.Errorf("%s was acknowledged and is gone", o.name)
			case errors.Is(o.err, ErrShutdown) && hasRole(c.leader(), o.name):
				t.Errorf("%s was refused and is there", o.name)
			case o.err != nil && !errors.Is(o.err, ErrShutdown): // it had time to finish what it had taken
				t.Error(o.err)
			}
		}
	})
}

// TestProposalErrors: only what the library answers before it appends may be told as "not appended".
func TestProposalErrors(t *testing.T) {
	for _, test := range []struct{ err, want error }{
		{raft.ErrNotLeader, ErrNotLeader},
		{raft.ErrLeadershipTransferInProgress, ErrNotLeader},
		{raft.ErrEnqueueTimeout, ErrBusy},
		{raft.ErrLeadershipLost, ErrLeadershipLost},
		{raft.ErrAbortedByRestore, ErrLeadershipLost},
		{raft.ErrRaftShutdown, ErrLeadershipLost},
		{errors.New("disk full"), ErrLeadershipLost},
	} {
		if got := proposalError(fmt.Errorf("wrapped: %w", test.err)); !errors.Is(got, test.want) {
			t.Errorf("%v became %v", test.err, got)
		}
	}
	if errors.Is(ErrLeadershipLost, ErrNotLeader) {
		t.Error("an unknown outcome counts as not appended")
	}
}
