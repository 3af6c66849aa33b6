package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/session"
)

// ErrNotVoter refuses to hand the leadership to a member without a vote.
var ErrNotVoter = &session.Error{Code: "not-a-voter", Message: "this member has no vote, and can't lead: promote it first, or name another one"}

// HasState reports whether this node has ever been part of a cluster: it has a log, a snapshot or a term.
func (n *Node) HasState() bool {
	has, err := raft.HasExistingState(n.log, n.disk.Stable, n.snapshots)
	return has || err != nil // what can't be read must not be taken for empty
}

// Bootstrap makes the first configuration of a new cluster; the node itself must be a voter in it. Exactly one node
// of a cluster may do it, or several with the identical configuration. ErrBootstrapped: this node has state.
// ErrHalfBootstrapped: it has a term and nothing else; started again with these servers as Config.First it goes on.
func (n *Node) Bootstrap(servers []Server) error {
	return n.ask(context.Background(), "bootstrap", func() error {
		err := n.raft.BootstrapCluster(configurationOf(servers)).Error()
		if errors.Is(err, raft.ErrCantBootstrap) && n.unconfigured() {
			return ErrHalfBootstrapped
		}
		return err
	})
}

func (n *Node) unconfigured() bool {
	servers, err := n.Servers()
	return err == nil && len(servers) == 0
}

// Servers returns the latest configuration in the log, which may not be committed yet.
func (n *Node) Servers() ([]Server, error) {
	future := n.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return nil, fmt.Errorf("get configuration: %w", err)
	}
	var servers []Server
	for _, s := range future.Configuration().Servers {
		servers = append(servers, Server{ID: string(s.ID), Addr: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return servers, nil
}

// AddVoter makes a member a voter, or gives a voter its new address. Only the leader can; the errors are those of a
// proposal, and the context's. It makes an entry in the log even if nothing changes.
func (n *Node) AddVoter(ctx context.Context, id, addr string) error {
	return n.reconfigure(ctx, "add voter", func(limit time.Duration) raft.IndexFuture {
		return n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(addr), 0, limit)
	})
}

// AddNonvoter makes a node a member without a vote, or gives a member its new address: it takes no vote away.
func (n *Node) AddNonvoter(ctx context.Context, id, addr string) error {
	return n.reconfigure(ctx, "add non-voter", func(limit time.Duration) raft.IndexFuture {
		return n.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), 0, limit)
	})
}

// Remove takes a member out of the configuration. A leader that removes itself steps down.
func (n *Node) Remove(ctx context.Context, id string) error {
	return n.reconfigure(ctx, "remove member", func(limit time.Duration) raft.IndexFuture {
		return n.raft.RemoveServer(raft.ServerID(id), 0, limit)
	})
}

// Demote takes a member's vote; it stays in the configuration and gets the log. A leader that demotes itself steps down.
func (n *Node) Demote(ctx context.Context, id string) error {
	return n.reconfigure(ctx, "demote voter", func(limit time.Duration) raft.IndexFuture {
		return n.raft.DemoteVoter(raft.ServerID(id), 0, limit)
	})
}

// Transfer hands the leadership to a voter, "": to the one that has most of the log. It returns when this node is not
// the leader any more: another voter than the one named may have been elected, or none yet. If it fails, this node goes
// on as the leader.
func (n *Node) Transfer(ctx context.Context, to string) error {
	if to == "" {
		return n.ask(ctx, "transfer leadership", func() error { return n.raft.LeadershipTransfer().Error() })
	}
	servers, err := n.Servers()
	if err != nil {
		return err
	}
	// The library does not look: a member without a vote would stand for election, and could win it.
	i := slices.IndexFunc(servers, func(s Server) bool { return s.ID == to && s.Voter })
	if i < 0 {
		return ErrNotVoter
	}
	return n.ask(ctx, "transfer leadership", func() error {
		return n.raft.LeadershipTransferToServer(raft.ServerID(to), raft.ServerAddress(servers[i].Addr)).Error()
	})
}

// TimeoutNow asks a voter to stand for election at once. One that does not answer in the time that an election may take is
// given up: until then the library refuses each proposal, though it has long said that the transfer failed. The voter may
// still hear of it later, and be elected, like any other that stands for election.
func (t *calmTransport) TimeoutNow(id raft.ServerID, to raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	type outcome struct {
		resp raft.TimeoutNowResponse
		err  error
	}
	answered := make(chan outcome, 1)
	go func() { // until the transport's own limit, or the end of the node, which closes the connections
		var o outcome
		o.err = t.cappedTransport.TimeoutNow(id, to, args, &o.resp)
		answered <- o
	}()
	limit := time.NewTimer(t.node.cfg.Election)
	defer limit.Stop()
	select {
	case o := <-answered:
		*resp = o.resp
		return o.err
	case <-limit.C:
		return errors.New("no answer to the request to stand for election")
	}
}

func (n *Node) reconfigure(ctx context.Context, what string, change func(time.Duration) raft.IndexFuture) error {
	limit := changeTimeout
	if deadline, ok := ctx.Deadline(); ok {
		limit = max(time.Until(deadline), time.Millisecond) // 0 would mean for ever
	}
	return n.ask(ctx, what, func() error { return change(limit).Error() })
}

// ask has the library do something that takes its time. The library may forget a question when it ends: see Propose.
func (n *Node) ask(ctx context.Context, what string, question func() error) error {
	if err := n.proposals.enter(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer n.proposals.leave()
		done <- question()
	}()
	select {
	case err := <-done:
		return questionError(what, err)
	case <-n.halted:
		return ErrLeadershipLost
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
}

// questionError translates an answer. What is not an error of the log speaks for itself: a configuration that makes no
// sense, a transfer that found no voter.
func questionError(what string, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, raft.ErrCantBootstrap):
		return ErrBootstrapped
	case errors.Is(err, ErrHalfBootstrapped):
		return err
	}
	for _, known := range []error{
		raft.ErrNotLeader, raft.ErrLeadershipTransferInProgress, raft.ErrEnqueueTimeout,
		raft.ErrLeadershipLost, raft.ErrAbortedByRestore, raft.ErrRaftShutdown,
	} {
		if errors.Is(err, known) {
			return proposalError(err)
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}
