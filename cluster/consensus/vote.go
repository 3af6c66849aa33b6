package consensus

import (
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// RequestVote asks a member for its vote.
func (t *calmTransport) RequestVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.again(func() error { return t.cappedTransport.RequestVote(id, to, args, resp) })
}

// RequestPreVote asks a member whether it would give its vote.
func (t *calmTransport) RequestPreVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.again(func() error { return t.cappedTransport.RequestPreVote(id, to, args, resp) })
}

// again makes a request that a member may get twice until it has gone over a new connection. The library keeps those of
// this node's last office, and learns that a member has been restarted since then only when a request fails. It asks for a
// vote once in an election: that one would come to nothing, and what is left of Config.Election would go by without a
// leader.
func (t *calmTransport) again(request func() error) (err error) {
	begun := time.Now()
	for range maxPool + 1 {
		err = request()
		if err == nil || errors.Is(err, errDial) || time.Since(begun) >= t.node.cfg.Election {
			break
		}
	}
	return err
}
