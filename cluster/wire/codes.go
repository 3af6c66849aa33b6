package wire

import "cloakroom/cluster/session"

// What the packages above answer when the cluster can't serve a request. They stand here because several of one floor
// share them, and because they travel between nodes.
var (
	ErrNoLeader = &session.Error{Code: "no-leader", Message: "the cluster has no leader at the moment: try again"}
	ErrTimeout  = &session.Error{Code: "timeout", Message: "the cluster did not answer in time: try again"}
)
