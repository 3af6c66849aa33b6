package consensus

import (
	"errors"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/session"
)

// What becomes of a proposal or a change that did not succeed. Only ErrLeadershipLost leaves open whether it did;
// after any other it surely did not get into the log.
var (
	ErrNotLeader      = &session.Error{Code: "not-leader", Message: "this node is not the leader"}
	ErrLeadershipLost = &session.Error{Code: "leadership-lost", Message: "the leader was lost while it worked on this: it may or may not have taken effect"}
	ErrShutdown       = &session.Error{Code: "shutdown", Message: "this node has stopped"}
	ErrBusy           = &session.Error{Code: "log-busy", Message: "too many entries wait for their place in the log: try again"}
	ErrEntryTooLarge  = &session.Error{Code: "entry-too-large", Message: "the entry is larger than the log takes"}
)

// Why a node could not be started. Open has errors of storage, too.
var (
	// ErrLogLost refuses the data of a member without its log: the node has forgotten what it acknowledged and voted for.
	ErrLogLost      = errors.New("the log of this member is gone: empty the data directory, and the node joins anew under another id")
	ErrBootstrapped = errors.New("the node has state already: a cluster is bootstrapped only once")
	// ErrHalfBootstrapped: the node has a term, which it keeps over restarts, but neither log nor configuration. A crash
	// came into its Bootstrap, or it has voted for another member. Only a start with Config.First gets it further, or a
	// leader that adds it.
	ErrHalfBootstrapped = errors.New("the node has a term but no configuration, a bootstrap was cut short: start the node again")
)

// Why a node gave up while it ran; handed to Config.OnFatal, as are storage.ErrStalled and storage.ErrDiskFull. The latter
// may be an error of Open too, and of a snapshot that was not possible, after which the node goes on.
var (
	ErrDiverged = errors.New("the log had diverged from the snapshot that was installed, and was cleared: start the node again")
	ErrBackward = errors.New("the snapshot is older than the state of this node")
)

// proposalError says what an error of the library means for an entry that was handed to it. What is not known to come
// from before the append is an unknown outcome: a failed write to the log may have reached the disk, and a shutdown
// may have come between commit and apply.
//
// Before the append come: ErrNotLeader (followers and candidates, and a leader that removes itself, answer it to what
// they take from the queue), ErrLeadershipTransferInProgress (likewise) and ErrEnqueueTimeout (never queued).
func proposalError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return ErrNotLeader
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrBusy
	}
	return ErrLeadershipLost
}
